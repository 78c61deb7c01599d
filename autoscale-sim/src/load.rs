//! Where the load of a scenario comes from: a generator, or a trace.

use crate::arrivals::{LoadConfig, NoiseConfig};
use crate::trace::{Trace, TraceError};
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{RequestRate, TimeOfWeek};
use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

const DAY_S: u64 = 86_400;

/// A recorded load. Each episode is a window of it at a seeded step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceConfig {
    /// A CSV file `time_s,rps`; a relative path starts at the scenario file's folder.
    pub path: PathBuf,
    /// Multiplies all rates; not together with `target_mean_rps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Scales the mean to this many requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_mean_rps: Option<f64>,
    /// Leaves out what comes before, in seconds after the trace's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<f64>,
    /// Leaves out what comes from here on, in seconds after the trace's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_s: Option<f64>,
    /// Averages into steps of this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_s: Option<f64>,
    /// Plays it so many times as fast, 0.01 to 100; not together with `test_every_days`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_warp: Option<f64>,
    /// Splits by day, 2 to 100: the last of every so many days is for test episodes alone, the others are
    /// for training and validation. All episodes share the whole trace when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_every_days: Option<u32>,
}

/// The trace of a scenario cannot be used.
#[derive(Debug, Error)]
pub enum TraceLoadError {
    /// The file is not a trace.
    #[error(transparent)]
    File(#[from] TraceError),
    /// A setting does not fit the trace or is out of range.
    #[error(transparent)]
    Setting(#[from] ConfigError),
}

impl TraceConfig {
    /// The trace in `path` as it is.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            scale: None,
            target_mean_rps: None,
            from_s: None,
            to_s: None,
            step_s: None,
            time_warp: None,
            test_every_days: None,
        }
    }

    /// Reads the trace and makes it what the other fields say; `episodes` are the longest training and
    /// test windows that must fit into a part of a split trace.
    pub(crate) fn load(&self, folder: &Path, episodes: Windows) -> Result<Load, TraceLoadError> {
        let mut trace = Trace::read(&folder.join(&self.path))?;
        let seconds = |field: &str, value: f64| in_range(field, value, 0.0, 1e9).map(Duration::from_secs_f64);
        if self.from_s.is_some() || self.to_s.is_some() {
            let from = self.from_s.map_or(Ok(Duration::ZERO), |t| seconds("from_s", t))?;
            let to = self.to_s.map_or_else(|| Ok(trace.duration()), |t| seconds("to_s", t))?;
            trace = trace.slice(from, to)?;
        }
        if let Some(step) = self.step_s {
            trace = trace.resampled(seconds("step_s", step)?)?;
        }
        trace = match (self.scale, self.target_mean_rps) {
            (None, None) => trace,
            (Some(factor), None) => trace.scaled(factor)?,
            (None, Some(mean)) => {
                let above_zero = RequestRate::new(mean).ok().filter(|&rate| rate > RequestRate::ZERO);
                trace.scaled_to_mean(above_zero.ok_or_else(|| {
                    ConfigError::new("target_mean_rps", mean, "a rate above 0, in requests per second")
                })?)?
            }
            (Some(_), Some(mean)) => {
                return Err(ConfigError::new("target_mean_rps", mean, "absence, since scale is given").into());
            }
        };
        if let Some(factor) = self.time_warp {
            if self.test_every_days.is_some() {
                return Err(ConfigError::new("time_warp", factor, "absence, since days are split").into());
            }
            trace = trace.warped(factor)?;
        }
        if let Some(days) = self.test_every_days {
            check_split(days, &trace, episodes)?;
        }
        Ok(Load::Traced { trace: Arc::new(trace), test_every_days: self.test_every_days })
    }
}

/// Lengths of the longest windows, warm-up included, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) training: u64,
    pub(crate) test: u64,
}

fn check_split(days: u32, trace: &Trace, episodes: Windows) -> Result<(), ConfigError> {
    const FIELD: &str = "test_every_days";
    let every = count_in_range(FIELD, u64::from(days), 2, 100)?;
    let have = trace.duration().as_secs() / DAY_S;
    if have < every {
        return Err(ConfigError::new(FIELD, days, format!("at most the trace's {have} whole days")));
    }
    if episodes.test > DAY_S || episodes.training > (every - 1) * DAY_S {
        let expected = "episodes that fit, with their warm-up, into the days between two splits";
        return Err(ConfigError::new(FIELD, days, expected));
    }
    Ok(())
}

/// Where the load comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Load {
    Generated(LoadConfig),
    Traced {
        trace: Arc<Trace>,
        test_every_days: Option<u32>,
    },
    /// Several at once, each with its weight.
    Sum(Vec<(Load, f64)>),
}

/// A load on top of the scenario's own; either `load` or `trace`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Superposed {
    /// Its rates are multiplied by this, 0 to 1,000.
    #[serde(default = "unity")]
    pub weight: f64,
    /// A generated load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadConfig>,
    /// A recorded load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceConfig>,
}

fn unity() -> f64 {
    1.0
}

impl Load {
    /// Long-run mean rate.
    pub(crate) fn mean(&self) -> RequestRate {
        match self {
            Self::Generated(config) => config.mean(),
            Self::Traced { trace, .. } => trace.mean(),
            Self::Sum(loads) => {
                let sum = loads.iter().map(|(load, weight)| load.mean().per_second() * weight).sum();
                RequestRate::new(sum).unwrap_or_default()
            }
        }
    }

    /// Mean rate of every second from `-lead` to `length`, with noise on top.
    pub(crate) fn path(
        &self,
        branch: Option<Branch>,
        noise: &NoiseConfig,
        seed: Seed,
        lead: u32,
        length: u32,
    ) -> Vec<f64> {
        let mut rates = self.rates(branch, seed, lead, length);
        noise.apply(&mut rates, seed);
        rates
    }

    /// What the clock says after the path's first `lead` seconds. A trace is taken to begin on a Monday at midnight.
    pub(crate) fn begins(&self, branch: Option<Branch>, seed: Seed, lead: u32, length: u32) -> TimeOfWeek {
        match self {
            Self::Generated(config) => config.begins(seed, lead),
            Self::Traced { trace, test_every_days } => {
                let parts = parts(trace, test_every_days.zip(branch));
                let first = window(trace, &parts, seed, u64::from(lead + length));
                TimeOfWeek::from_secs_f64(first as f64 + f64::from(lead))
            }
            Self::Sum(loads) => {
                loads.first().map_or(TimeOfWeek::MONDAY, |(load, _)| load.begins(branch, seed, lead, length))
            }
        }
    }

    fn rates(&self, branch: Option<Branch>, seed: Seed, lead: u32, length: u32) -> Vec<f64> {
        match self {
            Self::Generated(config) => config.rates(seed, lead, length),
            Self::Traced { trace, test_every_days } => {
                let parts = parts(trace, test_every_days.zip(branch));
                let first = window(trace, &parts, seed, u64::from(lead + length));
                (0..lead + length).map(|s| trace.at_second(first + u64::from(s))).collect()
            }
            Self::Sum(loads) => {
                let mut sum = vec![0.0; (lead + length) as usize];
                for (k, (load, weight)) in loads.iter().enumerate() {
                    // The first keeps the draws that it would have alone.
                    let seed = if k == 0 { seed } else { seed.child("superposed").nth(k as u64) };
                    let rates = load.rates(branch, seed, lead, length);
                    sum.iter_mut().zip(rates).for_each(|(sum, rate)| *sum += weight * rate);
                }
                sum
            }
        }
    }
}

/// The parts of the trace, in seconds, that episodes of a branch come from; all of it without a split.
fn parts(trace: &Trace, split: Option<(u32, Branch)>) -> Vec<(u64, u64)> {
    let end = trace.duration().as_secs();
    let Some((every, branch)) = split else { return vec![(0, end)] };
    let (every, of_test) = (u64::from(every), branch == Branch::Test);
    let groups = 0..end.div_ceil(every * DAY_S);
    let part = |group: u64| {
        let (first, last) = (group * every, group * every + every - 1);
        if of_test { (last * DAY_S, (last + 1) * DAY_S) } else { (first * DAY_S, last * DAY_S) }
    };
    groups.map(part).map(|(a, b)| (a.min(end), b.min(end))).collect()
}

/// Where a window of `length` seconds begins: every step from which it stays within one part is as likely.
/// A trace shorter than the window is taken from its start, and repeated.
fn window(trace: &Trace, parts: &[(u64, u64)], seed: Seed, length: u64) -> u64 {
    let step = trace.step().as_secs_f64();
    let starts = |&(from, to): &(u64, u64)| {
        let spare = (to - from).checked_sub(length)?;
        Some(((spare as f64 / step) as u64) + 1)
    };
    let total: u64 = parts.iter().filter_map(starts).sum();
    if total == 0 {
        return 0;
    }
    let mut k = seed.child("shape").stream().random_range(0..total);
    for part in parts {
        let Some(count) = starts(part) else { continue };
        if k < count {
            return part.0 + (k as f64 * step) as u64;
        }
        k -= count;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `hours` of a trace whose rate is the number of the hour.
    fn hourly(hours: u32) -> Trace {
        let rates = (0..hours).map(|h| RequestRate::new(f64::from(h)).unwrap()).collect();
        Trace::new(Duration::from_secs(3600), rates).unwrap()
    }

    proptest! {
        #[test]
        fn branches_of_a_split_trace_share_no_second(
            seed: u64, every in 2u32..6, extra in 0u32..100, length in 1u32..86_000,
        ) {
            let load = Load::Traced { trace: Arc::new(hourly(24 * every + extra)), test_every_days: Some(every) };
            let days = |branch| {
                let path = load.path(Some(branch), &NoiseConfig::default(), Seed::root(seed), 180, length);
                prop_assert_eq!(path.len(), length as usize + 180);
                prop_assert!(path.windows(2).all(|w| (0.0..=1.0).contains(&(w[1] - w[0]))), "one piece");
                Ok(path.into_iter().map(|hour| hour as u32 / 24).collect::<Vec<_>>())
            };
            prop_assert!(days(Branch::Test)?.iter().all(|day| day % every == every - 1));
            for branch in [Branch::Train, Branch::Validate] {
                prop_assert!(days(branch)?.iter().all(|day| day % every != every - 1));
            }
        }
    }

    #[test]
    fn all_starts_of_an_unsplit_trace_occur_and_a_short_trace_is_repeated() {
        let load = Load::Traced { trace: Arc::new(hourly(5)), test_every_days: None };
        let path = |k, length| load.path(None, &NoiseConfig::default(), Seed::root(k), 0, length);
        let firsts: std::collections::BTreeSet<u64> = (0..200).map(|k| path(k, 7200)[0] as u64).collect();
        assert_eq!(firsts.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(path(3, 6 * 3600)[5 * 3600] as u64, 0);
    }

    #[test]
    fn loads_add_up_and_a_warped_trace_runs_faster() {
        let constant = |rps| Load::Generated(LoadConfig::Constant { rps });
        let trace = Arc::new(hourly(5).warped(4.0).unwrap());
        assert_eq!(trace.duration(), Duration::from_secs(5 * 900));
        let traced = Load::Traced { trace, test_every_days: None };
        let sum = Load::Sum(vec![(constant(10.0), 1.0), (traced, 2.0)]);
        assert!((sum.mean().per_second() - 14.0).abs() < 1e-9);
        let path = sum.path(None, &NoiseConfig::default(), Seed::root(1), 0, 5 * 900);
        let expected: Vec<f64> = (0..5 * 900).map(|s| 10.0 + 2.0 * f64::from(s / 900)).collect();
        assert_eq!(path, expected);
        assert!(hourly(5).warped(0.0).is_err());
    }

    #[test]
    fn a_trace_is_cut_averaged_and_scaled_as_asked_or_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<String> = (0..96).map(|h| format!("{},{h}", h * 3600)).collect();
        std::fs::write(folder.path().join("t.csv"), format!("time_s,rps\n{}\n", rows.join("\n"))).unwrap();
        let windows = Windows { training: 3780, test: 10_980 };
        let config = TraceConfig::new("t.csv".into());
        let cut = TraceConfig {
            from_s: Some(7200.0),
            to_s: Some(14_400.0),
            step_s: Some(7200.0),
            scale: Some(2.0),
            ..config.clone()
        };
        let load = cut.load(folder.path(), windows).unwrap();
        assert_eq!(load.mean(), RequestRate::new(5.0).unwrap());
        assert_eq!(load.path(None, &NoiseConfig::default(), Seed::root(1), 0, 7200), vec![5.0; 7200]);
        for (config, part) in [
            (TraceConfig { test_every_days: Some(5), ..config.clone() }, "at most the trace's 4 whole days"),
            (TraceConfig { test_every_days: Some(1), ..config.clone() }, "test_every_days: 1"),
            (TraceConfig { scale: Some(-1.0), ..config.clone() }, "scale: -1"),
            (TraceConfig { scale: Some(1.0), target_mean_rps: Some(3.0), ..config.clone() }, "absence"),
            (TraceConfig { target_mean_rps: Some(-3.0), ..config.clone() }, "target_mean_rps: -3"),
            (TraceConfig { from_s: Some(1e8), ..config.clone() }, "slice"),
            (TraceConfig { time_warp: Some(0.0), ..config.clone() }, "time_warp: 0"),
            (
                TraceConfig { time_warp: Some(2.0), test_every_days: Some(2), ..config.clone() },
                "time_warp: 2",
            ),
            (TraceConfig::new("none.csv".into()), "none.csv"),
        ] {
            let message = config.load(folder.path(), windows).unwrap_err().to_string();
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        let long = Windows { training: 3780, test: 90_000 };
        assert!(TraceConfig { test_every_days: Some(2), ..config }.load(folder.path(), long).is_err());
    }
}
