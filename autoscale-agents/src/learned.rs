//! A trained network as a policy like any other.

use crate::actions::ActionSpace;
use crate::categorical::argmax;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::features::FeatureEncoder;
use crate::net::Mlp;
use crate::normalizer::Normalizer;
use autoscale_core::agent::{ActionIndex, ActionMask, GreedyPolicy};
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use std::time::Duration;

/// The likeliest action of an actor over normalised features. Acting allocates nothing.
#[derive(Clone, Debug)]
pub struct GreedyActor {
    actor: Mlp,
    normalizer: Normalizer,
    scratch: Vec<f32>,
}

impl GreedyActor {
    /// An actor that sees features through `normalizer`.
    pub fn new(actor: Mlp, normalizer: Normalizer) -> Self {
        let scratch = vec![0.0; normalizer.mean.len()];
        Self { actor, normalizer, scratch }
    }
}

impl GreedyPolicy for GreedyActor {
    fn act(&mut self, features: &[f32], mask: ActionMask) -> ActionIndex {
        self.normalizer.apply(features, &mut self.scratch);
        argmax(self.actor.forward(&self.scratch), mask)
    }
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
        checkpoint.check_compatible()?;
        Ok(Self {
            actor: checkpoint.greedy_actor(),
            base,
            space: checkpoint.manifest.action_space.clone(),
            interval: checkpoint.manifest.interval,
            encoder: FeatureEncoder::default(),
        })
    }
}

impl Policy for LearnedPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.interval)
    }

    fn reset(&mut self, seed: Seed) {
        // As in training: the base policy's stream is this policy's own.
        self.base.reset(seed);
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let answer = self.base.decide(observation).target;
        let current = observation.workload.spec;
        let mask = self.space.mask(current, answer, observation.limits);
        let action = self.actor.act(self.encoder.encode(observation, answer), mask);
        let target = self.space.target(action, current, answer);
        Decision { target, reason: Reason { raw: Some(answer.or(current)), ..Reason::rule("learned") } }
    }
}
