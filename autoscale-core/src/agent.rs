//! What a learner sees and is: numbers in, an index out.

use crate::environment::{EpisodeEnd, EpisodeOver};
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which of a task's actions; below its action count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionIndex(pub u16);

/// Which actions are allowed now: bit k stands for action k, so at most 64 actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionMask(u64);

impl ActionMask {
    /// The first `actions` actions are allowed.
    ///
    /// # Panics
    /// When `actions` is 0 or above 64.
    pub const fn all(actions: usize) -> Self {
        assert!(actions >= 1 && actions <= 64, "a mask holds 1 to 64 actions");
        Self(u64::MAX >> (64 - actions))
    }

    /// Only the actions for which `allowed` holds, out of `actions`.
    pub fn from_fn(actions: usize, mut allowed: impl FnMut(usize) -> bool) -> Self {
        Self((0..actions).filter(|&k| allowed(k)).fold(0, |bits, k| bits | (1 << k)))
    }

    /// Whether action `k` is allowed.
    pub const fn allows(self, k: usize) -> bool {
        k < 64 && self.0 >> k & 1 == 1
    }

    /// How many actions are allowed.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// What one action led to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskStep {
    /// The reward, already in the learner's unit.
    pub reward: f32,
    /// Whether the episode is over, and how.
    pub end: Option<EpisodeEnd>,
}

/// A sequential decision problem in a learner's terms. Toy worlds implement it directly.
pub trait Task {
    /// How many features [`Self::features`] gives, always the same.
    fn feature_count(&self) -> usize;

    /// How many actions there are, at most 64.
    fn action_count(&self) -> usize;

    /// Starts an episode.
    fn reset(&mut self, seed: Seed);

    /// What a learner sees now; shape `[feature_count]`.
    fn features(&self) -> &[f32];

    /// How many numbers [`Self::privileged`] gives, always the same.
    fn privileged_count(&self) -> usize {
        0
    }

    /// What a critic may see beside the features while it learns, and no policy ever: for instance the future of the
    /// episode; shape `[privileged_count]`.
    fn privileged(&self) -> &[f32] {
        &[]
    }

    /// What it may do now; never empty before the episode's end.
    fn valid_actions(&self) -> ActionMask;

    /// Acts.
    ///
    /// # Errors
    /// When the episode is over.
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver>;
}

/// What a learner keeps of one step in environment `env`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition<'a> {
    /// Which of the vectorised environments.
    pub env: usize,
    /// Features before the step and then what is privileged, `[feature_count + privileged_count]`.
    pub features: &'a [f32],
    /// Actions allowed before the step.
    pub mask: ActionMask,
    /// The action taken.
    pub action: ActionIndex,
    /// The reward.
    pub reward: f32,
    /// The same of the true successor, never of a following episode.
    pub next_features: &'a [f32],
    /// Actions allowed in the successor.
    pub next_mask: ActionMask,
    /// Whether the episode ended here, and how.
    pub end: Option<EpisodeEnd>,
}

/// Figures of one update under the names that `CleanRL` uses, for instance `losses/policy_loss`.
pub type UpdateStats = BTreeMap<&'static str, f64>;

/// What several environments show before a step.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which environments, ascending.
    pub envs: &'a [usize],
    /// Their features, each followed by what is privileged, row-major `[envs, feature_count + privileged_count]`.
    pub features: &'a [f32],
    /// What they allow, `[envs]`.
    pub masks: &'a [ActionMask],
}

/// A frozen, greedy policy over features.
pub trait GreedyPolicy {
    /// Forgets what it remembers of an episode.
    fn reset(&mut self) {}

    /// The best allowed action in the state that `features` describe.
    fn act(&mut self, features: &[f32], mask: ActionMask) -> ActionIndex;
}

/// A learning algorithm. Exploring (this) and acting greedily ([`Self::Policy`]) are different types.
pub trait Learner {
    /// The greedy policy learnt so far.
    type Policy: GreedyPolicy;

    /// Chooses one exploring action per environment.
    fn explore(&mut self, seen: &Seen<'_>, actions: &mut Vec<ActionIndex>);

    /// Keeps one step, in the order in which its action was chosen.
    fn record(&mut self, transition: Transition<'_>);

    /// Learns, if there is enough to learn from.
    fn update(&mut self) -> Option<UpdateStats>;

    /// Learns from whatever is left when training ends, however little it is.
    fn finish(&mut self) -> Option<UpdateStats>;

    /// The policy as it is now, frozen.
    fn snapshot(&self) -> Self::Policy;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_allow_just_what_they_were_made_of() {
        assert_eq!(ActionMask::all(64).count(), 64);
        assert!(ActionMask::all(3).allows(2) && !ActionMask::all(3).allows(3));
        let odd = ActionMask::from_fn(5, |k| k % 2 == 1);
        assert_eq!((odd.count(), odd.allows(3), odd.allows(4)), (2, true, false));
    }
}
