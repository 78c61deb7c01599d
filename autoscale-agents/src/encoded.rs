//! Any environment as a task for a learner.

use crate::actions::{ActionSpace, Choice};
use crate::features::{FeatureEncoder, feature_names, log_ratio};
use autoscale_core::agent::{ActionIndex, ActionMask, Task, TaskStep};
use autoscale_core::environment::{Environment, EpisodeOver, Foresight};
use autoscale_core::policy::{Cadence, Decision, Policy, Reason, Target};
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use std::ops::Range;
use std::time::Duration;

/// What a critic with foresight sees: the load from so many to so many seconds ahead, as the logarithm of its ratio to the
/// load that is measured now.
pub const FORESEEN_S: [(u64, u64); 5] = [(0, 15), (15, 30), (30, 60), (60, 120), (120, 300)];

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
    foresight: Option<fn(&E, Range<Duration>) -> RequestRate>,
    privileged: Vec<f32>,
}

impl<E: Environment + Foresight> EncodedTask<E> {
    /// Shows a critic the load to come, [`FORESEEN_S`].
    #[must_use]
    pub fn with_foresight(mut self) -> Self {
        self.foresight = Some(E::upcoming);
        self.privileged = vec![0.0; FORESEEN_S.len()];
        self
    }
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
            foresight: None,
            privileged: Vec::new(),
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
        let choice = Choice::new(&self.space, &observation, self.answer);
        self.mask = self.space.mask(choice, observation.limits);
        if let Some(upcoming) = self.foresight {
            let now = observation.history.last().map_or(0.0, |m| m.arrival_rate.per_second());
            for (seen, (from, to)) in self.privileged.iter_mut().zip(FORESEEN_S) {
                let load = upcoming(&self.environment, Duration::from_secs(from)..Duration::from_secs(to));
                *seen = log_ratio(load.per_second(), now).clamp(-5.0, 5.0) as f32;
            }
        }
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

    fn privileged_count(&self) -> usize {
        self.privileged.len()
    }

    fn privileged(&self) -> &[f32] {
        &self.privileged
    }

    fn valid_actions(&self) -> ActionMask {
        self.mask
    }

    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let choice = Choice::new(&self.space, &self.environment.observe(), self.answer);
        let target = self.space.target(action, choice);
        let outcome = self.environment.step(Decision { target, reason: Reason::rule("learner") })?;
        self.refresh();
        let reward = self.weights.price(&outcome.reward).total() / self.reward_scale;
        Ok(TaskStep { reward: reward as f32, end: outcome.end })
    }
}
