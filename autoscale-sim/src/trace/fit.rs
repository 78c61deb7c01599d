//! A generator that looks like a trace: a [`Fitted`] load and its noise, estimated part by part.
//!
//! 1. Day levels are medians of the day over the shape of the hours, hours are medians over days of the
//!    hour's mean over its day's level; both alternate until they agree. Medians keep spikes out.
//! 2. What is left, smoothed over five minutes, is the excursion. Where it stays above a threshold (half as
//!    much again, or three robust standard deviations if that is more) is a spike. Heights are fitted by the
//!    estimator of Hill (1975); rise and decay are those that keep the area under all spikes before and after
//!    their peaks.
//! 3. Hours without a spike give the drift: spread, and correlation from one to the next.
//! 4. Noise, drift time and the mean of everything are then set so that a generated trace shows the figures
//!    of the original when it is [described](super::describe) (indirect inference: Gouriéroux, Monfort and
//!    Renault 1993).
//!
//! What it cannot express: a week's rhythm, growth (which is taken out first), spikes at scheduled hours or
//! on busy days only, and load that switches on and off within minutes. The hour 0 of a scenario is the hour at which
//! the trace begins.

use super::Trace;
use super::describe::{Description, Figure, Row, correlation, median, moments, robust_sd};
use crate::arrivals::fitted::Fitted;
use crate::arrivals::{LoadConfig, NoiseConfig};
use crate::draw;
use crate::scenario::{Scenario, ScenarioConfig, ScenarioError};
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::{ConfigError, in_range};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 86_400.0;
/// Steps that a fit can work in: the first that is not shorter than the trace's.
const GRAINS_S: [u64; 5] = [60, 300, 600, 900, 1800];
/// Least length from which anything can be said.
const SHORTEST_S: f64 = 1800.0;
/// Longest trace that is generated at once: two months of seconds fill 40 MB.
const LONGEST_S: f64 = 60.0 * DAY_S;
/// Least excursion that counts as a spike.
const LEAST_SPIKE: f64 = 0.5;
/// Relative standard deviation of a minute where a trace is too coarse to show it: the middle of what large
/// sites have.
const USUAL_NOISE: f64 = 0.045;
/// Rounds of comparing generated with original.
const ROUNDS: usize = 8;
/// Generated traces that are compared with an original.
const REHEARSALS: u64 = 6;

/// A generator fitted to a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// The load.
    pub load: Fitted,
    /// Its noise.
    pub noise: NoiseConfig,
    /// Growth of the logarithm of the load per day that was taken out before fitting; 0 where it is small.
    pub growth_per_day: f64,
    /// What could not be estimated from this trace, and what stands there instead.
    pub notes: Vec<&'static str>,
}

/// A figure of a trace and of what a generator fitted to it makes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What it is, as in [`Row`].
    pub name: String,
    /// Its unit; empty for pure numbers.
    pub unit: &'static str,
    /// Of the trace.
    pub original: Figure,
    /// Mean over six generated traces; absent where one of them has none.
    pub generated: Option<f64>,
}

impl Fit {
    /// Fits a generator to a trace.
    ///
    /// # Errors
    /// When the trace is shorter than half an hour, its step is longer than half an hour, or it is all zero.
    pub fn to(trace: &Trace) -> Result<Self, ConfigError> {
        let length_s = trace.duration().as_secs_f64();
        in_range("trace.duration_s", length_s, SHORTEST_S, f64::from(u32::MAX))?;
        let step_s = trace.step().as_secs_f64();
        let Some(grain) = GRAINS_S.map(Duration::from_secs).into_iter().find(|&g| g >= trace.step()) else {
            return Err(ConfigError::new("trace.step_s", step_s, "at most 1800"));
        };
        if trace.mean() == RequestRate::ZERO {
            return Err(ConfigError::new("trace", "all zero", "some load"));
        }
        let growth = growth(&trace.resampled(grain)?);
        let trace = &without_growth(trace, growth)?;
        let rates = trace.resampled(grain)?.rates;
        let parts = Parts::of(&rates, grain.as_secs_f64(), trace.mean().per_second());
        let mut fit = parts.generator();
        fit.growth_per_day = growth;
        if growth != 0.0 {
            fit.notes.push("the load grows or shrinks from day to day: the scenario keeps its mean");
        }
        if parts.days < 3 {
            fit.notes
                .push("less than three days: no rhythm of hours or days is estimated, all factors are 1");
        }
        if fit.load.spikes_per_day == 0.0 {
            fit.notes.push("no spikes found");
        }
        let target = Description::of(trace);
        if target.noise.excess_sd.value().is_none() {
            fit.notes.push("step longer than a minute: noise per minute is a usual value, not estimated");
        }
        fit.calibrate(trace, &target)?;
        if fit.noise.relative_sd >= 1.0 {
            fit.notes
                .push("load that switches on and off: the noise is stronger than a generator can express");
        }
        fit.round();
        Ok(fit)
    }

    /// The service of `base` under this load.
    ///
    /// # Errors
    /// When `name` is no scenario's name.
    pub fn scenario(
        &self,
        base: &Scenario,
        name: &str,
        description: &str,
    ) -> Result<Scenario, ScenarioError> {
        ScenarioConfig {
            name: name.to_owned(),
            description: description.to_owned(),
            load: Some(LoadConfig::Fitted(self.load.clone())),
            trace: None,
            superpose: Vec::new(),
            noise: self.noise,
            ..base.config().clone()
        }
        .check(name, Path::new(""))
    }

    /// A trace as this generator makes them: Poisson counts around its rates. At most 60 days.
    ///
    /// # Errors
    /// When `step` is not whole seconds or longer than `length`.
    pub fn rehearse(&self, seed: Seed, length: Duration, step: Duration) -> Result<Trace, ConfigError> {
        let width = step.as_secs() as usize;
        if width == 0 || step.subsec_nanos() != 0 {
            return Err(ConfigError::new("step", format!("{} s", step.as_secs_f64()), "whole seconds"));
        }
        let seconds = length.as_secs_f64().min(LONGEST_S) as u32;
        let mut path = self.load.rates(seed, 0, seconds);
        self.noise.apply(&mut path, seed);
        let mut stream = seed.child("counts").stream();
        let count = |rates: &[f64]| {
            let count = draw::poisson(rates.iter().sum(), &mut stream);
            RequestRate::new(count / step.as_secs_f64())
        };
        Trace::new(step, path.chunks_exact(width).map(count).collect::<Result<_, _>>()?)
    }

    /// The figures of the original, its growth taken out, beside those of what is generated.
    ///
    /// # Errors
    /// When the trace is not one that can be fitted.
    pub fn compare(&self, trace: &Trace) -> Result<Vec<Comparison>, ConfigError> {
        let original = Description::of(&without_growth(trace, self.growth_per_day)?).rows();
        let generated = (0..REHEARSALS)
            .map(|k| {
                let seed = Seed::root(1).nth(k);
                let made = self.rehearse(seed, trace.duration(), whole_seconds(trace.step()))?;
                Ok(Description::of(&made).rows())
            })
            .collect::<Result<Vec<_>, ConfigError>>()?;
        let line = |(k, row): (usize, Row)| {
            let values: Option<Vec<f64>> = generated.iter().map(|rows| rows[k].figure.value()).collect();
            let generated = values.map(|v| moments(&v).0);
            Comparison { name: row.name, unit: row.unit, original: row.figure, generated }
        };
        Ok(original.into_iter().enumerate().map(line).collect())
    }

    /// Sets noise and drift time so that what is generated shows the figures of the original.
    fn calibrate(&mut self, trace: &Trace, target: &Description) -> Result<(), ConfigError> {
        let step = whole_seconds(trace.step());
        // A day at least, so that the figures of what is generated scatter little.
        let length = trace.duration().clamp(Duration::from_secs(86_400), Duration::from_secs(14 * 86_400));
        let quarter =
            |d: &Description| d.allan.iter().find(|(w, _)| w.as_secs() == 900).and_then(|a| a.1.value());
        for round in 0..ROUNDS {
            let found = Description::of(&self.rehearse(Seed::root(round as u64), length, step)?);
            // Steps of half a power damp the scatter from one generated trace to the next.
            let ratio = |wanted: f64, got: f64| (wanted / got.max(1e-9)).sqrt().clamp(0.5, 2.0);
            let (wanted, got) = (&target.noise, &found.noise);
            if let (Some(wanted), Some(got)) = (wanted.excess_sd.value(), got.excess_sd.value()) {
                self.noise.relative_sd = (self.noise.relative_sd * ratio(wanted, got)).clamp(0.0, 1.0);
            }
            if let (Some(wanted), Some(got)) = (wanted.correlation.value(), got.correlation.value()) {
                self.noise.correlation = (self.noise.correlation + (wanted - got) / 2.0).clamp(0.0, 0.95);
            }
            if let (Some(wanted), Some(got)) = (quarter(target), quarter(&found))
                && wanted > 1.0
                && self.load.drift_sd > 0.0
            {
                // The slower the drift, the less neighbouring quarters of an hour differ.
                let time = self.load.drift_time_s * ratio(got, wanted);
                self.load.drift_time_s = time.clamp(300.0, 1e6);
            }
        }
        Ok(())
    }

    /// Four significant digits, which is more than is known.
    fn round(&mut self) {
        let round = |x: &mut f64| {
            if *x != 0.0 {
                let unit = libm::pow(10.0, f64::from(3 - libm::log10(x.abs()).floor() as i32));
                *x = (*x * unit).round() / unit;
            }
        };
        let Fitted { hourly_factors, .. } = &mut self.load;
        hourly_factors.iter_mut().for_each(round);
        let Fitted {
            mean_rps,
            hourly_factors: _,
            day_sd,
            day_correlation,
            drift_sd,
            drift_time_s,
            spikes_per_day,
            spike_low,
            spike_high,
            spike_tail,
            spike_rise_s,
            spike_decay_s,
        } = &mut self.load;
        let NoiseConfig { relative_sd, correlation, degrees_of_freedom } = &mut self.noise;
        for number in [
            mean_rps,
            day_sd,
            day_correlation,
            drift_sd,
            drift_time_s,
            spikes_per_day,
            spike_low,
            spike_high,
            spike_tail,
            spike_rise_s,
            spike_decay_s,
            relative_sd,
            correlation,
            degrees_of_freedom,
        ] {
            round(number);
        }
    }
}

/// The least whole number of seconds that is not shorter.
fn whole_seconds(step: Duration) -> Duration {
    Duration::from_secs(step.as_secs() + u64::from(step.subsec_nanos() > 0))
}

/// The trace with its growth taken out and its mean kept.
///
/// # Errors
/// When `growth_per_day` is so large that a rate becomes absurd.
pub fn without_growth(trace: &Trace, growth_per_day: f64) -> Result<Trace, ConfigError> {
    if growth_per_day == 0.0 {
        return Ok(trace.clone());
    }
    let days = |k: usize| k as f64 * trace.step.as_secs_f64() / DAY_S;
    let rates =
        trace.rates.iter().enumerate().map(|(k, r)| r * libm::exp(-growth_per_day * days(k))).collect();
    Trace { step: trace.step, rates }.scaled_to_mean(trace.mean())
}

/// Slope per day of the least-squares line through the logarithms of day levels, where it makes at least
/// twice or half over a week or more.
fn growth(trace: &Trace) -> f64 {
    let per_hour = (HOUR_S / trace.step.as_secs_f64()) as usize;
    let days = trace.rates.len() / (24 * per_hour);
    if days < 7 {
        return 0.0;
    }
    let (_, levels) = rhythm(&trace.rates, per_hour, 1e-3 * trace.mean().per_second());
    let logs: Vec<f64> = levels.iter().map(|l| libm::log(*l)).collect();
    let (middle, mean) = ((days - 1) as f64 / 2.0, moments(&logs).0);
    let (mut above, mut below) = (0.0, 0.0);
    for (day, log) in logs.iter().enumerate() {
        above += (day as f64 - middle) * (log - mean);
        below += libm::pow(day as f64 - middle, 2.0);
    }
    let slope = above / below;
    if (slope * days as f64).abs() < std::f64::consts::LN_2 { 0.0 } else { slope }
}

/// A trace taken apart. Times are in seconds.
struct Parts {
    grain: f64,
    mean: f64,
    days: usize,
    length: f64,
    hours: Vec<f64>,
    /// Logarithms of day levels; empty below three days.
    levels: Vec<f64>,
    spikes: Vec<Spike>,
    /// Logarithms of the excursion per unit of time, NaN where there is a spike.
    drift: Vec<f64>,
    drift_unit: f64,
    kurtosis: f64,
    excess_sd: f64,
    /// Share of the residual's variance that is not Poisson.
    noise_share: f64,
}

/// An excursion far above the usual level.
#[derive(Clone, Copy, Debug)]
struct Spike {
    height: f64,
    /// Area under the excursion before the peak, in seconds times the usual level.
    before: f64,
    /// The same from the peak on.
    after: f64,
}

impl Parts {
    fn of(rates: &[f64], grain: f64, mean: f64) -> Self {
        let per_hour = (HOUR_S / grain) as usize;
        let days = rates.len() / (24 * per_hour);
        // No level is quite zero, so that logarithms exist.
        let floor = 1e-3 * mean;
        let (hours, levels) = if days >= 3 {
            rhythm(rates, per_hour, floor)
        } else {
            (vec![1.0; 24], vec![median(&mut rates.to_vec()).max(floor)])
        };
        let width = (150.0 / grain) as usize;
        let excursion: Vec<f64> = smooth(rates, width)
            .iter()
            .enumerate()
            .map(|(k, rate)| {
                let hour = (k as f64 + 0.5) / per_hour as f64;
                rate.max(floor) / baseline(hour, &hours, &levels)
            })
            .collect();
        let logs: Vec<f64> = excursion.iter().map(|q| libm::log(*q)).collect();
        let threshold = LEAST_SPIKE.max(libm::exp(3.0 * robust_sd(&logs)) - 1.0);
        let (spikes, quiet) = spikes(&excursion, threshold, grain);
        let unit = per_hour.min((rates.len() / 24).max(1));
        let drift = logs
            .chunks_exact(unit)
            .zip(quiet.chunks_exact(unit))
            .map(|(logs, quiet)| if quiet.iter().all(|&q| q) { moments(logs).0 } else { f64::NAN })
            .collect();
        let noise =
            Description::of(&Trace { step: Duration::from_secs_f64(grain), rates: rates.to_vec() }).noise;
        Self {
            grain,
            mean,
            days,
            length: rates.len() as f64 * grain,
            hours,
            levels: if days >= 3 { levels.iter().map(|l| libm::log(*l)).collect() } else { Vec::new() },
            spikes,
            drift,
            drift_unit: unit as f64 * grain,
            kurtosis: noise.kurtosis.value().unwrap_or(9.0),
            excess_sd: noise.excess_sd.value().unwrap_or(USUAL_NOISE),
            noise_share: match (noise.excess_sd.value(), noise.robust_sd.value()) {
                (Some(excess), Some(robust)) if excess > 0.0 => libm::pow(excess / robust, 2.0),
                _ => 1.0,
            },
        }
    }

    fn generator(&self) -> Fit {
        let finite = |x: f64, otherwise: f64| if x.is_finite() { x } else { otherwise };
        let sum = |f: fn(&Spike) -> f64| self.spikes.iter().map(f).sum::<f64>();
        let mut heights: Vec<f64> = self.spikes.iter().map(|s| s.height).collect();
        heights.sort_by(f64::total_cmp);
        // The very lowest may be a hump of drift and noise: one in twenty is left below.
        let low = heights.get(heights.len() / 20).map_or(LEAST_SPIKE, |low| low.clamp(0.01, 1000.0));
        let high = heights.last().map_or(low, |high| high.clamp(low, 1000.0));
        // Hill's estimator of the tail.
        let logs: f64 = heights.iter().map(|h| libm::log(h / low).max(0.0)).sum();
        let hill = heights.len() as f64 / logs;
        let quiet: Vec<f64> = self.drift.iter().copied().filter(|d| d.is_finite()).collect();
        let units = self.drift_unit / 60.0;
        let drift_variance = moments(&quiet).1 - libm::pow(self.excess_sd, 2.0) / units;
        let kept = finite(correlation(&self.drift, 1), 0.5).clamp(0.05, 0.995);
        let load = Fitted {
            mean_rps: self.mean,
            hourly_factors: self.hours.clone(),
            day_sd: finite(moments(&self.levels).1.sqrt(), 0.0).min(2.0),
            day_correlation: finite(correlation(&self.levels, 1), 0.0).clamp(0.0, 0.95),
            drift_sd: finite(drift_variance.max(0.0).sqrt(), 0.0).min(2.0),
            drift_time_s: (-self.drift_unit / libm::log(kept)).clamp(300.0, 1e6),
            spikes_per_day: self.spikes.len() as f64 * DAY_S / self.length,
            spike_low: low,
            spike_high: high,
            spike_tail: finite(hill, 2.0).clamp(0.1, 20.0),
            spike_rise_s: finite(2.0 * sum(|s| s.before) / sum(|s| s.height), self.grain).clamp(60.0, DAY_S),
            spike_decay_s: finite(sum(|s| s.after) / sum(|s| s.height), self.grain).clamp(60.0, DAY_S),
        };
        // Kurtosis of Student's t with d degrees of freedom is 3 + 6 / (d − 4). Poisson scatter beside the
        // noise dilutes what is above 3 by the square of the noise's share of the variance.
        let tail = (self.kurtosis - 3.0).max(1e-3) / libm::pow(self.noise_share, 2.0);
        let degrees_of_freedom = (4.0 + 6.0 / tail).clamp(4.1, 100.0);
        let noise =
            NoiseConfig { relative_sd: self.excess_sd.clamp(0.0, 1.0), correlation: 0.3, degrees_of_freedom };
        Fit { load, noise, growth_per_day: 0.0, notes: Vec::new() }
    }
}

/// Factors of the hours, with a mean of 1, and levels of whole days.
fn rhythm(rates: &[f64], per_hour: usize, floor: f64) -> (Vec<f64>, Vec<f64>) {
    let per_day = 24 * per_hour;
    let mut hours = vec![1.0; 24];
    let mut levels = Vec::new();
    for _ in 0..5 {
        levels = rates
            .chunks_exact(per_day)
            .map(|day| {
                let flat =
                    |(k, rate): (usize, &f64)| rate / hour_factor((k as f64 + 0.5) / per_hour as f64, &hours);
                median(&mut day.iter().enumerate().map(flat).collect::<Vec<_>>()).max(floor)
            })
            .collect();
        hours = (0..24)
            .map(|h| {
                let of_day =
                    |(day, level): (&[f64], &f64)| moments(&day[h * per_hour..(h + 1) * per_hour]).0 / level;
                median(&mut rates.chunks_exact(per_day).zip(&levels).map(of_day).collect::<Vec<_>>())
                    .max(1e-3)
            })
            .collect();
        let mean = moments(&hours).0;
        for hour in &mut hours {
            *hour /= mean;
        }
        for level in &mut levels {
            *level *= mean;
        }
    }
    (hours, levels)
}

/// Factor of a time of day in hours, on straight lines between the middles of hours.
fn hour_factor(hour: f64, hours: &[f64]) -> f64 {
    let shifted = hour - 0.5;
    let (k, share) = (shifted.floor(), shifted - shifted.floor());
    let at = |k: f64| hours[(k as i64).rem_euclid(24) as usize];
    at(k) + (at(k + 1.0) - at(k)) * share
}

/// Usual rate `hour` hours after the start; the logarithm of the day's level on straight lines.
fn baseline(hour: f64, hours: &[f64], levels: &[f64]) -> f64 {
    let day = (hour / 24.0 - 0.5).clamp(0.0, (levels.len() - 1) as f64);
    let (k, share) = (day as usize, day.fract());
    let (before, after) = (levels[k], levels[(k + 1).min(levels.len() - 1)]);
    libm::exp(libm::log(before) + libm::log(after / before) * share) * hour_factor(hour, hours)
}

/// Moving average over `width` values on either side, fewer at the ends.
fn smooth(values: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0];
    sums.extend(values.iter().scan(0.0, |sum, v| {
        *sum += v;
        Some(*sum)
    }));
    (0..values.len())
        .map(|k| {
            let (from, to) = (k.saturating_sub(width), (k + width + 1).min(values.len()));
            (sums[to] - sums[from]) / (to - from) as f64
        })
        .collect()
}

/// Spikes, and which steps are free of them. One lasts as long as half the threshold is exceeded.
fn spikes(excursion: &[f64], threshold: f64, grain: f64) -> (Vec<Spike>, Vec<bool>) {
    let mut found = Vec::new();
    let mut quiet = vec![true; excursion.len()];
    let above = |k: usize| excursion[k] - 1.0;
    let mut k = 0;
    while k < excursion.len() {
        if above(k) <= threshold / 2.0 {
            k += 1;
            continue;
        }
        let from = k;
        while k < excursion.len() && above(k) > threshold / 2.0 {
            k += 1;
        }
        let peak = (from..k).max_by(|&a, &b| above(a).total_cmp(&above(b))).unwrap_or(from);
        let height = above(peak);
        if height <= threshold {
            continue;
        }
        quiet[from..k].fill(false);
        let area = |from: usize, to: usize| (from..to).map(above).sum::<f64>() * grain;
        found.push(Spike { height, before: area(from, peak), after: area(peak, k) });
    }
    (found, quiet)
}

#[cfg(test)]
mod tests;
