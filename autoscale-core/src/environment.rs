//! Worlds that a policy can be run in.

use crate::limits::Granted;
use crate::policy::{Cadence, Decision, Observation};
use crate::record::EpisodeRecord;
use crate::reward::RewardTerms;
use crate::seed::Seed;
use crate::units::RequestRate;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;
use thiserror::Error;

/// How an episode ended. The two are never merged: only `Terminated` zeroes a bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpisodeEnd {
    /// The task itself is over; nothing follows.
    Terminated,
    /// Time ran out; the task would go on.
    Truncated,
}

/// What one decision led to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What the wish became.
    pub granted: Granted,
    /// What happened until the next decision, in units; a learner weighs them.
    pub reward: RewardTerms,
    /// Whether this was the last step.
    pub end: Option<EpisodeEnd>,
}

/// A step was asked of an episode that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the episode is over: reset before the next step")]
pub struct EpisodeOver;

/// A world. Construction is not part of the contract, and nothing resets itself: the last observation of
/// an episode stays readable.
pub trait Environment {
    /// Starts an episode. `cadence` says when the caller will decide: each step lasts one period.
    fn reset(&mut self, seed: Seed, cadence: Cadence);

    /// What a policy may see now.
    fn observe(&self) -> Observation<'_>;

    /// Applies a decision and goes on to the next one.
    ///
    /// # Errors
    /// When the episode is over.
    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver>;

    /// What truly happened so far, complete once the episode has ended.
    fn record(&self) -> &EpisodeRecord;
}

/// An environment that knows what is to come, for critics that may see it while they learn. No policy may.
pub trait Foresight {
    /// Mean load offered in this part of the time ahead; of a part beyond the episode's end, the last that is known.
    fn upcoming(&self, ahead: Range<Duration>) -> RequestRate;
}
