//! What all learners are told and what they count.

use crate::arrays::Arrays;
use crate::backend::BackendError;
use crate::learned::GreedyActor;
use autoscale_core::agent::{ActionMask, Learner};
use autoscale_core::environment::EpisodeEnd;
use autoscale_core::validate::ConfigError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is learnt on.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Features of a state.
    pub features: usize,
    /// What a critic sees beside them.
    pub privileged: usize,
    /// What a fresh policy prefers, one number an action, besides small random ones: logits, or values of actions.
    pub initial_logits: Vec<f32>,
    /// Environment steps that training will take; schedules run over them.
    pub total_steps: u64,
}

/// What is done to observations, rewards, actions and ends before learning. Each part can be switched off to see what it
/// is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set by name in a file")]
pub struct Treatment {
    /// Only allowed actions are taken and have a probability.
    pub mask_actions: bool,
    /// Features have mean 0 and deviation 1.
    pub normalize_observations: bool,
    /// Rewards are divided by the deviation of the discounted return.
    pub normalize_rewards: bool,
    /// An episode that the clock ended goes on in the value of its last state.
    pub bootstrap_truncation: bool,
}

impl Default for Treatment {
    fn default() -> Self {
        Self {
            mask_actions: true,
            normalize_observations: true,
            normalize_rewards: false,
            bootstrap_truncation: true,
        }
    }
}

impl Treatment {
    /// The actions that count as allowed.
    pub(crate) fn mask(self, mask: ActionMask, actions: usize) -> ActionMask {
        if self.mask_actions { mask } else { ActionMask::all(actions) }
    }

    /// What counts as an episode's end.
    pub(crate) fn end(self, end: Option<EpisodeEnd>) -> Option<EpisodeEnd> {
        if self.bootstrap_truncation { end } else { end.map(|_| EpisodeEnd::Terminated) }
    }
}

/// A learner cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// How far a learner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Environment steps recorded.
    pub steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Minibatches skipped for a loss or gradient that was not finite.
    pub skipped: u64,
}

impl Counters {
    pub(crate) fn put(self, arrays: &mut Arrays) {
        arrays.put("training.counters", vec![self.steps, self.updates, self.skipped]);
    }

    pub(crate) fn get(arrays: &Arrays) -> Result<Self, String> {
        let counters = arrays.exactly::<u64>("training.counters", 3)?;
        Ok(Self { steps: counters[0], updates: counters[1], skipped: counters[2] })
    }
}

/// A learner whose state can be kept. What was kept and loaded goes on as if nothing had been.
pub trait Trainable: Learner<Policy = GreedyActor> {
    /// Its name: `ppo`, `a2c` or `dqn`.
    fn algorithm(&self) -> &'static str;

    /// How far it is.
    fn counters(&self) -> Counters;

    /// What acting needs.
    fn weights(&self) -> Arrays;

    /// What going on needs beside, under names that begin with `training.`. Only where [`Learner::update`] has just
    /// learnt.
    fn state(&self) -> Arrays;

    /// Takes over what acting needs.
    ///
    /// # Errors
    /// When it is of another network.
    fn load_weights(&mut self, arrays: &Arrays) -> Result<(), String>;

    /// Takes over all.
    ///
    /// # Errors
    /// When something is missing, or of another network.
    fn load(&mut self, arrays: &Arrays) -> Result<(), String>;
}
