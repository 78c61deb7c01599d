//! Two policies on the same seeds: both means, their paired difference, and what it means.

use crate::estimate::{Estimate, bootstrap_mean};
use crate::metric::{Direction, Family, metrics};
use crate::suite::PolicyRecords;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::Seed;
use serde::Serialize;
use std::fmt;

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval of the difference lies on the better side of zero.
    Better,
    /// It lies on the worse side.
    Worse,
    /// It contains zero.
    WithinNoise,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinNoise => "within noise",
        })
    }
}

/// One metric of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The metric's family.
    pub family: Family,
    /// The metric's name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Direction,
    /// The baseline's mean over the compared seeds.
    pub baseline: Estimate,
    /// The candidate's mean over the same seeds.
    pub candidate: Estimate,
    /// Mean of candidate − baseline, seed by seed.
    pub difference: Estimate,
    /// What the difference means.
    pub verdict: Verdict,
}

/// The return of an episode: its priced reward terms, per hour.
pub fn episode_return(episode: &EpisodeRecord, weights: &RewardWeights) -> f64 {
    weights.price(&episode.totals).total() * 3600.0 / episode.duration().as_secs_f64().max(1.0)
}

/// Compares all metrics and the return. Seeds on which a metric has no value for either policy do not count
/// for it; a metric without any such seed has no row.
pub fn compare(baseline: &PolicyRecords, candidate: &PolicyRecords, weights: &RewardWeights) -> Vec<Row> {
    let priced = |e: &EpisodeRecord| Some(episode_return(e, weights));
    let overall = row(Family::Overall, "return", "price/h", Direction::Higher, baseline, candidate, priced);
    let each = metrics().filter_map(|m| {
        row(m.family(), m.name(), m.unit(), m.better(), baseline, candidate, |e| m.measure(e))
    });
    each.chain(overall).collect()
}

fn row(
    family: Family,
    metric: &'static str,
    unit: &'static str,
    better: Direction,
    baseline: &PolicyRecords,
    candidate: &PolicyRecords,
    measure: impl Fn(&EpisodeRecord) -> Option<f64>,
) -> Option<Row> {
    let pairs: Vec<(f64, f64)> = baseline
        .records
        .iter()
        .zip(&candidate.records)
        .filter_map(|(b, c)| Some((measure(b)?, measure(c)?)))
        .collect();
    // The same resamples for all three, so that the table is consistent in itself.
    let seed = Seed::root(0).child(metric);
    let estimate =
        |value: fn(&(f64, f64)) -> f64| bootstrap_mean(&pairs.iter().map(value).collect::<Vec<_>>(), seed);
    let difference = estimate(|(b, c)| c - b)?;
    let verdict = match (difference.low > 0.0, difference.high < 0.0, better) {
        (true, _, Direction::Higher) | (_, true, Direction::Lower) => Verdict::Better,
        (true, _, Direction::Lower) | (_, true, Direction::Higher) => Verdict::Worse,
        _ => Verdict::WithinNoise,
    };
    let (baseline, candidate) = (estimate(|p| p.0)?, estimate(|p| p.1)?);
    Some(Row { family, metric, unit, better, baseline, candidate, difference, verdict })
}
