//! Any environment as a task for a learner.

use crate::actions::ActionSpace;
use crate::features::{FeatureEncoder, feature_names};
use autoscale_core::agent::{ActionIndex, ActionMask, Task, TaskStep};
use autoscale_core::environment::{Environment, EpisodeOver};
use autoscale_core::policy::{Cadence, Decision, Policy, Reason, Target};
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::Seed;
use std::time::Duration;

/// An environment seen through features, actions and a priced reward. The base policy is asked at each
/// control interval.
pub struct EncodedTask<E> {
    environment: E,
    base: Box<dyn Policy + Send>,
    space: ActionSpace,
    weights: RewardWeights,
    interval: Duration,
    reward_scale: f64,
    encoder: FeatureEncoder,
    features: Vec<f32>,
    mask: ActionMask,
    answer: Target,
}

impl<E: Environment> EncodedTask<E> {
    /// A task over `environment`, decided every `interval`. Rewards are priced by `weights` and divided by
    /// `reward_scale`.
    pub fn new(
        environment: E,
        base: Box<dyn Policy + Send>,
        space: ActionSpace,
        weights: RewardWeights,
        interval: Duration,
        reward_scale: f64,
    ) -> Self {
        let mask = ActionMask::all(space.len());
        Self {
            environment,
            base,
            space,
            weights,
            interval,
            reward_scale,
            encoder: FeatureEncoder::default(),
            features: vec![0.0; feature_names().len()],
            mask,
            answer: Target::Hold,
        }
    }

    /// The environment, with the record of its current or last episode.
    pub fn environment(&self) -> &E {
        &self.environment
    }

    fn refresh(&mut self) {
        let observation = self.environment.observe();
        self.answer = self.base.decide(&observation).target;
        self.features.copy_from_slice(self.encoder.encode(&observation, self.answer));
        self.mask = self.space.mask(observation.workload.spec, self.answer, observation.limits);
    }
}

impl<E: Environment> Task for EncodedTask<E> {
    fn feature_count(&self) -> usize {
        self.features.len()
    }

    fn action_count(&self) -> usize {
        self.space.len()
    }

    fn reset(&mut self, seed: Seed) {
        self.base.reset(seed.child("policy"));
        self.environment.reset(seed, Cadence::every(self.interval));
        self.refresh();
    }

    fn features(&self) -> &[f32] {
        &self.features
    }

    fn valid_actions(&self) -> ActionMask {
        self.mask
    }

    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let current = self.environment.observe().workload.spec;
        let target = self.space.target(action, current, self.answer);
        let outcome = self.environment.step(Decision { target, reason: Reason::rule("learner") })?;
        self.refresh();
        let reward = self.weights.price(&outcome.reward).total() / self.reward_scale;
        Ok(TaskStep { reward: reward as f32, end: outcome.end })
    }
}
