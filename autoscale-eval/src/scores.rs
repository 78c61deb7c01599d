//! What comparisons need of an episode.

use crate::metric::metrics;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::reward::{PricedReward, RewardTerms, RewardWeights};
use autoscale_core::seed::Seed;
use std::time::Duration;

/// All figures of an episode, in a thousandth of the memory that its record takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The episode's seed.
    pub seed: Seed,
    /// Simulated time covered.
    pub duration: Duration,
    /// Sum of the raw reward terms.
    pub totals: RewardTerms,
    /// The same at the scenario's prices.
    pub priced: PricedReward,
    /// The value of each of [`metrics`], in their order; `None` where it has none in this episode.
    pub metrics: Vec<Option<f64>>,
}

/// The return of an episode: its priced reward terms, per hour.
pub fn episode_return(episode: &EpisodeRecord, weights: &RewardWeights) -> f64 {
    per_hour(weights.price(&episode.totals).total(), episode.duration())
}

fn per_hour(sum: f64, duration: Duration) -> f64 {
    sum * 3600.0 / duration.as_secs_f64().max(1.0)
}

impl Scores {
    /// Those of a finished episode at these prices.
    pub fn of(episode: &EpisodeRecord, weights: &RewardWeights) -> Self {
        Self {
            seed: episode.seed,
            duration: episode.duration(),
            totals: episode.totals,
            priced: weights.price(&episode.totals),
            metrics: metrics().map(|m| m.measure(episode)).collect(),
        }
    }

    /// What a sum over the episode is per hour.
    pub fn per_hour(&self, sum: f64) -> f64 {
        per_hour(sum, self.duration)
    }

    /// The priced reward per hour.
    pub fn return_per_hour(&self) -> f64 {
        self.per_hour(self.priced.total())
    }
}
