//! Load: how many requests per second are offered, second by second, and when they arrive.

pub mod bursty;
pub mod fitted;
pub mod match_day;
pub mod scheduled;
pub mod weekly;

use crate::draw;
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::{RequestRate, TimeOfWeek};
use autoscale_core::validate::{ConfigError, in_range};
use bursty::Bursty;
use fitted::Fitted;
use match_day::MatchDay;
use rand::RngExt;
use scheduled::Scheduled;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use weekly::Weekly;

const DAY_S: f64 = 86_400.0;
const WEEK_S: f64 = 7.0 * DAY_S;
const MOST_RPS: f64 = 1e6;

/// The shape of the load, as written in a scenario. Rates are in requests per second, times in seconds
/// after the start of the episode unless said otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LoadConfig {
    /// Always the same rate.
    Constant {
        /// Requests per second.
        rps: f64,
    },
    /// A sine over the day; the episode is a window at a seeded hour.
    Diurnal {
        /// Mean over a day.
        mean_rps: f64,
        /// Height of the sine as a share of the mean, 0 to 1.
        amplitude: f64,
        /// Hour of the day with the most load, 0 to 24.
        peak_hour: f64,
    },
    /// A day rhythm that is weaker or stronger at weekends; the episode is a window at a seeded time of a week.
    Weekly(Weekly),
    /// Batches on the clock; the episode is a window at a seeded time between two of them.
    Scheduled(Scheduled),
    /// Bursts of random heights and lengths at random times.
    Bursty(Bursty),
    /// From one rate to another in a straight line.
    Ramp {
        /// Rate before.
        from_rps: f64,
        /// Rate after.
        to_rps: f64,
        /// When it begins.
        start_s: f64,
        /// How long it takes.
        duration_s: f64,
    },
    /// From one rate to another at once.
    Step {
        /// Rate before.
        before_rps: f64,
        /// Rate after.
        after_rps: f64,
        /// When.
        at_s: f64,
    },
    /// A crowd comes, stays and goes.
    FlashCrowd {
        /// Rate without the crowd.
        base_rps: f64,
        /// Peak as a multiple of the base.
        factor: f64,
        /// When it begins.
        at_s: f64,
        /// Straight rise to the peak.
        rise_s: f64,
        /// Time at the peak.
        hold_s: f64,
        /// Straight fall back.
        fall_s: f64,
    },
    /// Markov-modulated Poisson process with two states (Fischer and Meier-Hellstern 1993).
    Mmpp {
        /// Rate in the quiet state.
        low_rps: f64,
        /// Rate in the busy state.
        high_rps: f64,
        /// Mean stay in the quiet state.
        mean_low_s: f64,
        /// Mean stay in the busy state.
        mean_high_s: f64,
    },
    /// Day rhythm, match surges and sudden spikes; the episode is a window at a seeded time of a day.
    MatchDay(MatchDay),
    /// A shape that was measured: hours, days, drift and spikes.
    Fitted(Fitted),
}

/// Over-dispersion beyond Poisson: a heavy-tailed, correlated factor on the rate, drawn each minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Relative standard deviation per minute around the level, 0 to 1.
    pub relative_sd: f64,
    /// Correlation from one minute to the next, 0 to 0.99.
    pub correlation: f64,
    /// Degrees of freedom of the Student t innovations: the fewer, the heavier the tail; above 4, up to 100.
    pub degrees_of_freedom: f64,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self { relative_sd: 0.0, correlation: 0.3, degrees_of_freedom: 5.0 }
    }
}

impl LoadConfig {
    /// Checks all ranges.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let rps = |field: &str, value: f64| in_range(field, value, 0.0, MOST_RPS).map(|_| ());
        let time = |field: &str, value: f64| in_range(field, value, 0.0, 1e9).map(|_| ());
        let length = |field: &str, value: f64| in_range(field, value, 1.0, 1e9).map(|_| ());
        match *self {
            Self::Constant { rps: r } => rps("rps", r),
            Self::Diurnal { mean_rps, amplitude, peak_hour } => {
                rps("mean_rps", mean_rps)?;
                in_range("amplitude", amplitude, 0.0, 1.0)?;
                in_range("peak_hour", peak_hour, 0.0, 24.0).map(|_| ())
            }
            Self::Ramp { from_rps, to_rps, start_s, duration_s } => {
                rps("from_rps", from_rps)?;
                rps("to_rps", to_rps)?;
                time("start_s", start_s)?;
                length("duration_s", duration_s)
            }
            Self::Step { before_rps, after_rps, at_s } => {
                rps("before_rps", before_rps)?;
                rps("after_rps", after_rps)?;
                time("at_s", at_s)
            }
            Self::FlashCrowd { base_rps, factor, at_s, rise_s, hold_s, fall_s } => {
                rps("base_rps", base_rps)?;
                in_range("factor", factor, 1.0, 1000.0)?;
                time("at_s", at_s)?;
                length("rise_s", rise_s)?;
                time("hold_s", hold_s)?;
                length("fall_s", fall_s)
            }
            Self::Mmpp { low_rps, high_rps, mean_low_s, mean_high_s } => {
                rps("low_rps", low_rps)?;
                rps("high_rps", high_rps)?;
                length("mean_low_s", mean_low_s)?;
                length("mean_high_s", mean_high_s)
            }
            Self::Weekly(ref week) => week.check(),
            Self::Scheduled(ref scheduled) => scheduled.check(),
            Self::Bursty(ref bursty) => bursty.check(),
            Self::MatchDay(ref day) => day.check(),
            Self::Fitted(ref fitted) => fitted.check(),
        }
    }

    /// Long-run mean rate (of an hour from the start on for shapes that end).
    pub fn mean(&self) -> RequestRate {
        let mean = match *self {
            Self::Constant { rps } => rps,
            Self::Diurnal { mean_rps, .. } => mean_rps,
            Self::Ramp { from_rps, to_rps, .. } => f64::midpoint(from_rps, to_rps),
            Self::Step { before_rps, after_rps, .. } => f64::midpoint(before_rps, after_rps),
            Self::FlashCrowd { base_rps, factor, rise_s, hold_s, fall_s, .. } => {
                base_rps * (1.0 + (factor - 1.0) * (hold_s + f64::midpoint(rise_s, fall_s)) / 3600.0)
            }
            Self::Mmpp { low_rps, high_rps, mean_low_s, mean_high_s } => {
                (low_rps * mean_low_s + high_rps * mean_high_s) / (mean_low_s + mean_high_s)
            }
            Self::Weekly(ref week) => week.mean_rps,
            Self::Scheduled(ref scheduled) => scheduled.mean(),
            Self::Bursty(ref bursty) => bursty.mean(),
            Self::MatchDay(ref day) => day.mean_rps,
            Self::Fitted(ref fitted) => fitted.mean_rps,
        };
        RequestRate::new(mean).unwrap_or_default()
    }

    /// What the clock says `lead` seconds into the path of [`Self::rates`]. Shapes that know no clock begin at any time
    /// of the week, those that know the time of day on any day.
    pub(crate) fn begins(&self, seed: Seed, lead: u32) -> TimeOfWeek {
        let lead = f64::from(lead);
        let mut stream = seed.child("shape").stream();
        let mut any = seed.child("clock").stream();
        let mut one_of = |periods: f64| (any.random::<f64>() * periods).floor();
        TimeOfWeek::from_secs_f64(match *self {
            Self::Diurnal { .. } | Self::MatchDay(_) => one_of(7.0) * DAY_S + time_of_day(&mut stream),
            Self::Weekly(_) => Weekly::start(&mut stream) + lead,
            Self::Scheduled(ref batches) => {
                let periods = (WEEK_S / batches.every_s).floor().max(1.0);
                one_of(periods) * batches.every_s + batches.start(&mut stream) + lead
            }
            Self::Fitted(_) => one_of(7.0) * DAY_S + Fitted::start(seed) + lead,
            Self::Constant { .. }
            | Self::Ramp { .. }
            | Self::Step { .. }
            | Self::FlashCrowd { .. }
            | Self::Mmpp { .. }
            | Self::Bursty(_) => one_of(WEEK_S),
        })
    }

    /// Mean rate of every second from `-lead` to `length`, without noise.
    pub(crate) fn rates(&self, seed: Seed, lead: u32, length: u32) -> Vec<f64> {
        let seconds = || (0..lead + length).map(move |s| f64::from(s) - f64::from(lead));
        let straight = |t: f64, from: f64, to: f64, start: f64, duration: f64| {
            from + (to - from) * ((t - start) / duration).clamp(0.0, 1.0)
        };
        let mut stream = seed.child("shape").stream();
        match *self {
            Self::Constant { rps } => seconds().map(|_| rps).collect(),
            Self::Diurnal { mean_rps, amplitude, peak_hour } => {
                let start = time_of_day(&mut stream);
                seconds().map(|t| mean_rps * (1.0 + amplitude * sine(start + t, peak_hour))).collect()
            }
            Self::Ramp { from_rps, to_rps, start_s, duration_s } => {
                seconds().map(|t| straight(t, from_rps, to_rps, start_s, duration_s)).collect()
            }
            Self::Step { before_rps, after_rps, at_s } => {
                seconds().map(|t| if t < at_s { before_rps } else { after_rps }).collect()
            }
            Self::FlashCrowd { base_rps, factor, at_s, rise_s, hold_s, fall_s } => seconds()
                .map(|t| {
                    let up = straight(t, 0.0, 1.0, at_s, rise_s);
                    let down = straight(t, 0.0, 1.0, at_s + rise_s + hold_s, fall_s);
                    base_rps * (1.0 + (factor - 1.0) * (up - down))
                })
                .collect(),
            Self::Mmpp { low_rps, high_rps, mean_low_s, mean_high_s } => {
                let mut busy = stream.random::<f64>() < mean_high_s / (mean_low_s + mean_high_s);
                let mut left = 0.0;
                let mut first = true;
                seconds()
                    .map(|_| {
                        while left <= 0.0 {
                            busy ^= !first;
                            first = false;
                            left +=
                                draw::exponential(&mut stream) * if busy { mean_high_s } else { mean_low_s };
                        }
                        left -= 1.0;
                        if busy { high_rps } else { low_rps }
                    })
                    .collect()
            }
            Self::Weekly(ref week) => week.rates(&mut stream, lead, length),
            Self::Scheduled(ref scheduled) => scheduled.rates(&mut stream, lead, length),
            Self::Bursty(ref bursty) => bursty.rates(&mut stream, lead, length),
            Self::MatchDay(ref day) => day.rates(&mut stream, lead, length),
            Self::Fitted(ref fitted) => fitted.rates(seed, lead, length),
        }
    }
}

/// Seconds since midnight at which an episode begins, the first draw of the stream of its shape.
fn time_of_day(stream: &mut Stream) -> f64 {
    stream.random::<f64>() * DAY_S
}

/// A sine over the day with its top at `peak_hour`.
fn sine(time_of_day_s: f64, peak_hour: f64) -> f64 {
    libm::cos(TAU * (time_of_day_s / DAY_S - peak_hour / 24.0))
}

impl NoiseConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        in_range("relative_sd", self.relative_sd, 0.0, 1.0)?;
        in_range("correlation", self.correlation, 0.0, 0.99)?;
        in_range("degrees_of_freedom", self.degrees_of_freedom, 4.1, 100.0)?;
        Ok(())
    }

    /// Multiplies each minute of `rates` by a factor around 1.
    pub(crate) fn apply(&self, rates: &mut [f64], seed: Seed) {
        if self.relative_sd == 0.0 {
            return;
        }
        let mut stream = seed.child("noise").stream();
        let unit = (self.degrees_of_freedom / (self.degrees_of_freedom - 2.0)).sqrt();
        let innovation = (1.0 - self.correlation * self.correlation).sqrt();
        let mut x = draw::normal(&mut stream);
        for minute in rates.chunks_mut(60) {
            let t = draw::student_t(self.degrees_of_freedom, &mut stream);
            x = self.correlation * x + innovation * t / unit;
            // Clipped far out: one draw must not multiply a minute's load by more than 1 + 8 sd.
            let factor = (1.0 + self.relative_sd * x.clamp(-8.0, 8.0)).max(0.0);
            for rate in minute {
                *rate *= factor;
            }
        }
    }
}

/// Arrival times of a non-homogeneous Poisson process whose rate is constant within each second.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    stream: Stream,
}

impl Arrivals {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { stream: seed.child("arrivals").stream() }
    }

    /// Writes the sorted arrival times of one second, as offsets in [0, 1), into `offsets`. The gaps are
    /// exponential; that each second begins anew changes nothing, for a Poisson process has no memory.
    pub(crate) fn second(&mut self, rate: f64, offsets: &mut Vec<f64>) {
        offsets.clear();
        if rate <= 0.0 {
            return;
        }
        let mut offset = draw::exponential(&mut self.stream) / rate;
        while offset < 1.0 {
            offsets.push(offset);
            offset += draw::exponential(&mut self.stream) / rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64)
    }

    /// Loads that go by the clock are the same at the same time of the week, whenever an episode begins.
    #[test]
    fn the_clock_tells_where_in_the_day_or_week_an_episode_is() {
        let weekly = Weekly { mean_rps: 70.0, amplitude: 0.5, peak_hour: 15.0, weekend_factor: 0.5 };
        let batches = Scheduled {
            base_rps: 10.0,
            factor: 4.0,
            every_s: 1800.0,
            rise_s: 60.0,
            hold_s: 300.0,
            fall_s: 60.0,
            jitter_s: 0.0,
        };
        let hourly_factors = (0..24).map(|h| 1.0 + f64::from(h)).collect();
        let hours = Fitted { hourly_factors, ..fitted::tests::still() };
        let (lead, length) = (300, 7200);
        for load in [
            LoadConfig::Diurnal { mean_rps: 50.0, amplitude: 0.8, peak_hour: 15.0 },
            LoadConfig::Weekly(weekly),
            LoadConfig::Scheduled(batches),
            LoadConfig::Fitted(hours),
        ] {
            let mut seen = vec![None; WEEK_S as usize];
            let mut met = 0;
            for seed in (0..100).map(Seed::root) {
                let (begins, rates) = (load.begins(seed, lead), load.rates(seed, lead, length));
                for (second, &rate) in (0..).zip(&rates[lead as usize..]) {
                    let at = begins + std::time::Duration::from_secs(second);
                    if let Some(before) = seen[at.seconds() as usize].replace(rate) {
                        // The clock is rounded to seconds, in one of which a batch rises by 0.5.
                        let step: f64 = rate - before;
                        assert!(step.abs() < 0.51, "{load:?} at {at:?}: {before} and {rate}");
                        met += 1;
                    }
                }
            }
            assert!(met > 100_000, "episodes met at the same minute");
        }
    }

    #[test]
    fn counts_are_poisson_and_sorted_within_the_second() {
        let mut arrivals = Arrivals::new(Seed::root(3));
        let mut offsets = Vec::new();
        let counts: Vec<f64> = (0..20_000)
            .map(|_| {
                arrivals.second(40.0, &mut offsets);
                assert!(offsets.is_sorted() && offsets.iter().all(|o| (0.0..1.0).contains(o)));
                offsets.len() as f64
            })
            .collect();
        let (mean, variance) = moments(&counts);
        assert!((mean - 40.0).abs() < 0.2, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.04, "{variance}");
        arrivals.second(0.0, &mut offsets);
        assert!(offsets.is_empty());
    }

    #[test]
    fn match_day_has_the_mean_it_is_asked_for() {
        let scenario = Scenario::builtin("match-day").unwrap();
        let days: Vec<f64> = (0..400)
            .map(|k| {
                let rates = scenario.load_path(Seed::root(k), 3600);
                rates.iter().sum::<f64>() / rates.len() as f64
            })
            .collect();
        let (mean, variance) = moments(&days);
        let error = 4.0 * (variance / 400.0).sqrt();
        assert!((mean - 200.0).abs() < error, "mean {mean}, four standard errors {error}");
        assert!(error < 30.0);
    }

    #[test]
    fn noise_has_the_spread_correlation_and_tail_asked_for() {
        let noise = NoiseConfig { relative_sd: 0.05, correlation: 0.3, degrees_of_freedom: 5.0 };
        let mut rates = vec![1.0; 60 * 100_000];
        noise.apply(&mut rates, Seed::root(5));
        let minutes: Vec<f64> = rates.iter().step_by(60).copied().collect();
        let (mean, variance) = moments(&minutes);
        assert!((mean - 1.0).abs() < 0.001);
        assert!((variance.sqrt() - 0.05).abs() < 0.002, "{}", variance.sqrt());
        let lagged: f64 = minutes.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>();
        assert!((lagged / (minutes.len() as f64 * variance) - 0.3).abs() < 0.02);
        let fourth =
            minutes.iter().map(|m| ((m - mean) * (m - mean)) * ((m - mean) * (m - mean))).sum::<f64>()
                / minutes.len() as f64;
        assert!(fourth / (variance * variance) > 4.5, "heavier tails than a Gaussian's 3");
    }

    #[test]
    fn shapes_are_what_they_say() {
        let at = |load: &LoadConfig, t: usize| load.rates(Seed::root(1), 10, 4000)[t + 10];
        let step = LoadConfig::Step { before_rps: 10.0, after_rps: 30.0, at_s: 100.0 };
        assert_eq!((at(&step, 99), at(&step, 100)), (10.0, 30.0));
        let ramp = LoadConfig::Ramp { from_rps: 10.0, to_rps: 30.0, start_s: 100.0, duration_s: 200.0 };
        assert_eq!((at(&ramp, 0), at(&ramp, 200), at(&ramp, 900)), (10.0, 20.0, 30.0));
        let crowd = LoadConfig::FlashCrowd {
            base_rps: 10.0,
            factor: 4.0,
            at_s: 100.0,
            rise_s: 60.0,
            hold_s: 100.0,
            fall_s: 100.0,
        };
        assert_eq!(
            (at(&crowd, 50), at(&crowd, 200), at(&crowd, 310), at(&crowd, 2000)),
            (10.0, 40.0, 25.0, 10.0)
        );
        let mmpp = LoadConfig::Mmpp { low_rps: 10.0, high_rps: 50.0, mean_low_s: 30.0, mean_high_s: 10.0 };
        let (mean, _) = moments(&mmpp.rates(Seed::root(1), 0, 400_000));
        assert!((mean - 20.0).abs() < 1.0, "{mean}");
    }
}
