//! A trained network as a policy like any other.

use crate::actions::{ActionSpace, Choice};
use crate::categorical::argmax;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::features::FeatureEncoder;
use crate::net::Tower;
use crate::normalizer::Normalizer;
use autoscale_core::agent::{ActionIndex, ActionMask, GreedyPolicy};
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason, Target};
use autoscale_core::seed::Seed;
use std::time::Duration;

/// The best allowed action of a network over normalised features: the likeliest, or the most valuable. Acting allocates
/// nothing.
#[derive(Clone, Debug)]
pub struct GreedyActor {
    tower: Tower,
    normalizer: Normalizer,
    actions: usize,
    state: Vec<f32>,
    scratch: Vec<f32>,
}

impl GreedyActor {
    /// The first `actions` outputs of `tower` stand for actions.
    pub(crate) fn new(tower: Tower, normalizer: Normalizer, actions: usize) -> Self {
        let state = vec![0.0; tower.state_width()];
        Self { tower, normalizer, actions, state, scratch: Vec::new() }
    }

    /// What the network says of each action, `[actions]`: logits or, of a DQN, values up to a common number.
    pub fn preferences(&mut self, features: &[f32]) -> &[f32] {
        self.scratch.clear();
        self.normalizer.append(features, &mut self.scratch);
        &self.tower.forward(&self.scratch, &mut self.state)[..self.actions]
    }
}

impl GreedyPolicy for GreedyActor {
    fn reset(&mut self) {
        self.state.fill(0.0);
    }

    fn act(&mut self, features: &[f32], mask: ActionMask) -> ActionIndex {
        argmax(self.preferences(features), mask)
    }
}

/// What a learned policy weighed for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Deliberation<'a> {
    /// What the base rule answered.
    pub base: Target,
    /// What of the actions was allowed.
    pub mask: ActionMask,
    /// [`GreedyActor::preferences`] over them.
    pub preferences: &'a [f32],
    /// The action taken: the most preferred of those allowed.
    pub action: ActionIndex,
}

/// Runs a checkpoint greedily, over the base policy that it was trained with.
pub struct LearnedPolicy {
    actor: GreedyActor,
    base: Box<dyn Policy + Send>,
    space: ActionSpace,
    interval: Duration,
    encoder: FeatureEncoder,
}

impl LearnedPolicy {
    /// The policy of `checkpoint`; `base` must be what it was trained over.
    ///
    /// # Errors
    /// When the checkpoint's features or actions are not this program's.
    pub fn new(checkpoint: &Checkpoint, base: Box<dyn Policy + Send>) -> Result<Self, CheckpointError> {
        Ok(Self {
            actor: checkpoint.greedy_actor()?,
            base,
            space: checkpoint.manifest.action_space.clone(),
            interval: checkpoint.manifest.interval,
            encoder: FeatureEncoder::default(),
        })
    }

    /// [`Policy::decide`] with what was weighed for it.
    pub fn deliberate(&mut self, observation: &Observation<'_>) -> (Decision, Deliberation<'_>) {
        let base = self.base.decide(observation).target;
        let choice = Choice::new(&self.space, observation, base);
        let mask = self.space.mask(choice, observation.limits);
        let preferences = self.actor.preferences(self.encoder.encode(observation, base));
        let action = argmax(preferences, mask);
        let raw = Some(base.or(observation.workload.spec));
        let reason = Reason { raw, ..Reason::rule("learned") };
        let decision = Decision { target: self.space.target(action, choice), reason };
        (decision, Deliberation { base, mask, preferences, action })
    }
}

impl Policy for LearnedPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.interval)
    }

    fn reset(&mut self, seed: Seed) {
        // As in training: the base policy's stream is this policy's own.
        self.base.reset(seed);
        self.actor.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        self.deliberate(observation).0
    }
}
