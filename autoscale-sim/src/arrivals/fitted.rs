//! A load whose shape comes from measurement: what [`trace::fit`](crate::trace::fit) writes.

use super::{DAY_S, MOST_RPS};
use crate::draw;
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::validate::{ConfigError, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};

const HOURS: usize = 24;
const QUARTER_S: f64 = 900.0;

/// A product of five parts: the mean, the hour of the day, a level that varies from day to day, a level
/// that drifts within the day, and spikes. Each has a mean of 1 but the first, so that they can be changed
/// one by one. The episode is a window at a seeded time of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// Mean over many days, in requests per second.
    pub mean_rps: f64,
    /// Load of each of the 24 hours as a multiple of their mean; in between, straight lines from the middle
    /// of an hour to that of the next. Only proportions matter.
    pub hourly_factors: Vec<f64>,
    /// Standard deviation of the logarithm of a day's level, 0 to 2.
    pub day_sd: f64,
    /// Correlation of that logarithm from one day to the next, 0 to 0.99.
    pub day_correlation: f64,
    /// Standard deviation of the logarithm of the drifting level, 0 to 2: an Ornstein-Uhlenbeck process at
    /// every quarter of an hour, on straight lines in between.
    pub drift_sd: f64,
    /// Time in which the drift's correlation falls to 1/e, 60 to 1,000,000 s.
    pub drift_time_s: f64,
    /// Spikes per day, at times of a Poisson process, 0 to 1,440.
    pub spikes_per_day: f64,
    /// Least height of a spike: what it adds, as a multiple of the load at that time; 0.01 to 1,000.
    pub spike_low: f64,
    /// Largest height of a spike, up to 1,000.
    pub spike_high: f64,
    /// Exponent of the heights' bounded Pareto distribution: the smaller, the more high ones; 0.1 to 20.
    pub spike_tail: f64,
    /// Straight rise of a spike to its peak, 1 to 86,400 s.
    pub spike_rise_s: f64,
    /// Mean time in which a spike dies away (exponentially), 1 to 86,400 s.
    pub spike_decay_s: f64,
}

impl Fitted {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("mean_rps", self.mean_rps, 0.0, MOST_RPS)?;
        let factors = &self.hourly_factors;
        if factors.len() != HOURS || factors.iter().all(|&f| f == 0.0) {
            let given = format!("{} numbers", factors.len());
            return Err(ConfigError::new("hourly_factors", given, "24 numbers that are not all zero"));
        }
        for (hour, &factor) in factors.iter().enumerate() {
            in_range(&format!("hourly_factors.{hour}"), factor, 0.0, 1000.0)?;
        }
        in_range("day_sd", self.day_sd, 0.0, 2.0)?;
        in_range("day_correlation", self.day_correlation, 0.0, 0.99)?;
        in_range("drift_sd", self.drift_sd, 0.0, 2.0)?;
        in_range("drift_time_s", self.drift_time_s, 60.0, 1e6)?;
        in_range("spikes_per_day", self.spikes_per_day, 0.0, 1440.0)?;
        in_range("spike_low", self.spike_low, 0.01, 1000.0)?;
        in_range("spike_high", self.spike_high, self.spike_low, 1000.0)?;
        in_range("spike_tail", self.spike_tail, 0.1, 20.0)?;
        in_range("spike_rise_s", self.spike_rise_s, 1.0, DAY_S)?;
        in_range("spike_decay_s", self.spike_decay_s, 1.0, DAY_S)?;
        Ok(())
    }

    /// Seconds since midnight at which a window begins.
    pub(super) fn start(seed: Seed) -> f64 {
        seed.child("hour").stream().random::<f64>() * DAY_S
    }

    /// Mean rate of every second from `-lead` to `length`.
    pub(crate) fn rates(&self, seed: Seed, lead: u32, length: u32) -> Vec<f64> {
        let start = Self::start(seed);
        let seconds = lead + length;
        let last_day = (start + f64::from(seconds)) / DAY_S;
        let days = chain(&mut seed.child("days").stream(), self.day_correlation, last_day);
        let spikes = self.spikes(&mut seed.child("spikes").stream(), seconds);
        let keep = libm::exp(-QUARTER_S / self.drift_time_s);
        let drifts = chain(&mut seed.child("drift").stream(), keep, f64::from(seconds) / QUARTER_S);
        let hours: f64 = self.hourly_factors.iter().sum::<f64>() / HOURS as f64;
        let base = self.mean_rps / hours / (1.0 + self.mean_spike());
        (0..seconds)
            .zip(spikes)
            .map(|(s, spike)| {
                let t = start + f64::from(s);
                let day = factor(t / DAY_S, &days, self.day_sd, self.day_correlation);
                let drift = factor(f64::from(s) / QUARTER_S, &drifts, self.drift_sd, keep);
                base * self.hour(t) * day * drift * (1.0 + spike)
            })
            .collect()
    }

    fn hour(&self, t: f64) -> f64 {
        let (k, share) = between(t / 3600.0);
        let at = |k: i64| self.hourly_factors[k.rem_euclid(HOURS as i64) as usize];
        at(k) + (at(k + 1) - at(k)) * share
    }

    /// What spikes add in each second, as a multiple of the load without them.
    fn spikes(&self, stream: &mut Stream, seconds: u32) -> Vec<f64> {
        let mut sum = vec![0.0; seconds as usize];
        if self.spikes_per_day == 0.0 {
            return sum;
        }
        // Of a spike that peaked ten decay times ago, nothing is felt.
        let tail = 10.0 * self.spike_decay_s;
        let mut at = -self.spike_rise_s - tail;
        loop {
            let gap: f64 = draw::exponential(stream);
            at += gap * DAY_S / self.spikes_per_day;
            if at >= f64::from(seconds) {
                return sum;
            }
            let height = self.height(stream.random());
            let last = (at + self.spike_rise_s + tail).min(f64::from(seconds));
            let first = at.max(0.0).ceil() as usize;
            for (s, sum) in sum.iter_mut().enumerate().take(last as usize).skip(first) {
                let age = s as f64 - at;
                let past = age - self.spike_rise_s;
                let share =
                    if past < 0.0 { age / self.spike_rise_s } else { libm::exp(-past / self.spike_decay_s) };
                *sum += height * share;
            }
        }
    }

    /// The quantile `u` of heights, a bounded Pareto distribution (Johnson, Kotz and Balakrishnan 1994,
    /// chapter 20).
    fn height(&self, u: f64) -> f64 {
        let cut = 1.0 - libm::pow(self.spike_low / self.spike_high, self.spike_tail);
        self.spike_low * libm::pow(1.0 - u * cut, -1.0 / self.spike_tail)
    }

    /// Mean over time of what spikes add.
    pub(crate) fn mean_spike(&self) -> f64 {
        let (low, tail) = (self.spike_low, self.spike_tail);
        let ratio = self.spike_high / low;
        let cut = 1.0 - libm::pow(ratio, -tail);
        let height = if cut == 0.0 {
            low
        } else if (tail - 1.0).abs() < 1e-6 {
            low * libm::log(ratio) / cut
        } else {
            low * tail / (tail - 1.0) * (1.0 - libm::pow(ratio, 1.0 - tail)) / cut
        };
        self.spikes_per_day * height * (self.spike_rise_s / 2.0 + self.spike_decay_s) / DAY_S
    }
}

/// Standard normal numbers with `correlation` from one to the next, for the units of time that are touched
/// until `end` and for one before and after.
fn chain(stream: &mut Stream, correlation: f64, end: f64) -> Vec<f64> {
    let innovation = (1.0 - correlation * correlation).sqrt();
    let mut x: f64 = draw::normal(stream);
    (0..end as usize + 3)
        .map(|_| {
            let normal: f64 = draw::normal(stream);
            let next = correlation * x + innovation * normal;
            std::mem::replace(&mut x, next)
        })
        .collect()
}

/// A lognormal factor with a mean of 1 at any time: the logarithm goes on straight lines from the middle of
/// one unit of time to that of the next.
fn factor(t: f64, chain: &[f64], sd: f64, correlation: f64) -> f64 {
    let (k, share) = between(t);
    let (before, after) = (chain[(k + 1) as usize], chain[(k + 2) as usize]);
    let variance = share * share + libm::pow(1.0 - share, 2.0) + 2.0 * share * (1.0 - share) * correlation;
    libm::exp(sd * (before + (after - before) * share) - sd * sd * variance / 2.0)
}

/// The unit whose middle is the last before `t`, and how far `t` is from there to the next middle.
fn between(t: f64) -> (i64, f64) {
    let shifted = t - 0.5;
    (shifted.floor() as i64, shifted - shifted.floor())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn still() -> Fitted {
        Fitted {
            mean_rps: 100.0,
            hourly_factors: vec![1.0; 24],
            day_sd: 0.0,
            day_correlation: 0.0,
            drift_sd: 0.0,
            drift_time_s: 3600.0,
            spikes_per_day: 0.0,
            spike_low: 1.0,
            spike_high: 10.0,
            spike_tail: 1.5,
            spike_rise_s: 60.0,
            spike_decay_s: 600.0,
        }
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// Each part alone, over many episodes: the mean is what is asked for, to four standard errors.
    #[test]
    fn every_part_keeps_the_mean() {
        let mut hours = still();
        hours.hourly_factors = (0..24).map(|h| 1.0 + f64::from(h)).collect();
        let rates = hours.rates(Seed::root(1), 0, 86_400);
        assert!((mean(&rates) - 100.0).abs() < 0.01, "{}", mean(&rates));
        let highest = rates.iter().copied().fold(0.0, f64::max);
        assert!((highest - 100.0 * 24.0 / 12.5).abs() < 0.1, "{highest}");
        for part in [
            Fitted { day_sd: 0.5, day_correlation: 0.5, ..still() },
            Fitted { drift_sd: 0.5, ..still() },
            Fitted { spikes_per_day: 4.0, ..still() },
            Fitted { spikes_per_day: 4.0, spike_tail: 1.0, ..still() },
            Fitted { spikes_per_day: 4.0, spike_high: 1.0, ..still() },
        ] {
            part.check().unwrap();
            let means: Vec<f64> = (0..200).map(|k| mean(&part.rates(Seed::root(k), 600, 40_000))).collect();
            let grand = mean(&means);
            let variance = means.iter().map(|m| libm::pow(m - grand, 2.0)).sum::<f64>() / 199.0;
            let error = 4.0 * (variance / 200.0).sqrt();
            assert!(error > 0.0 && error < 15.0, "{part:?}: four standard errors are {error}");
            assert!((grand - 100.0).abs() < error, "{part:?}: {grand} ± {error}");
        }
    }

    #[test]
    fn a_spike_rises_straight_and_dies_away() {
        let config = Fitted { spikes_per_day: 2.0, spike_high: 1.0, ..still() };
        let spikes = config.spikes(&mut Seed::root(3).stream(), 200_000);
        // A lone one: height 1 after a rise of 60 s, 1/e of it 600 s later.
        let peak = (1000..199_000)
            .find(|&s| {
                (0.98..=1.0).contains(&spikes[s]) && spikes[s - 62] == 0.0 && spikes[s] > spikes[s + 1]
            })
            .expect("a spike that no other overlaps");
        assert!((spikes[peak - 30] / spikes[peak] - 0.5).abs() < 0.02);
        assert!((spikes[peak + 600] / spikes[peak] - libm::exp(-1.0)).abs() < 0.01);
    }

    #[test]
    fn wrong_shapes_are_refused_by_name() {
        for (config, part) in [
            (Fitted { hourly_factors: vec![1.0; 23], ..still() }, "hourly_factors: 23 numbers"),
            (Fitted { hourly_factors: vec![-1.0; 24], ..still() }, "hourly_factors.0: -1"),
            (Fitted { day_correlation: 1.0, ..still() }, "day_correlation: 1"),
            (Fitted { spike_high: 0.5, ..still() }, "spike_high: 0.5"),
        ] {
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}
