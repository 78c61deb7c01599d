//! What a rollout keeps, one lane an environment.

use crate::gae::{GaeStep, advantages};
use autoscale_core::agent::{ActionMask, Transition};
use autoscale_core::environment::EpisodeEnd;

/// The steps of one environment, in order.
#[derive(Clone, Debug, Default)]
struct Lane {
    features: Vec<f32>,
    next_features: Vec<f32>,
    masks: Vec<ActionMask>,
    actions: Vec<u16>,
    log_probabilities: Vec<f32>,
    rewards: Vec<f32>,
    ends: Vec<Option<EpisodeEnd>>,
}

/// Steps gathered since the last update.
#[derive(Clone, Debug, Default)]
pub struct RolloutBuffer {
    lanes: Vec<Lane>,
    len: usize,
}

/// A rollout ready to learn from; everything is `[steps]`, features are row-major `[steps, features]`.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Normalised features.
    pub features: Vec<f32>,
    /// Actions that were allowed.
    pub masks: Vec<ActionMask>,
    /// Actions taken.
    pub actions: Vec<u16>,
    /// Their log-probabilities under the policy that took them.
    pub log_probabilities: Vec<f32>,
    /// Estimated advantages.
    pub advantages: Vec<f32>,
    /// Estimated values.
    pub values: Vec<f32>,
    /// Value targets.
    pub returns: Vec<f32>,
}

impl RolloutBuffer {
    /// Steps kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a step whose action had `log_probability` when it was chosen.
    pub fn push(&mut self, step: &Transition<'_>, log_probability: f32) {
        if self.lanes.len() <= step.env {
            self.lanes.resize_with(step.env + 1, Lane::default);
        }
        let lane = &mut self.lanes[step.env];
        lane.features.extend_from_slice(step.features);
        lane.next_features.extend_from_slice(step.next_features);
        lane.masks.push(step.mask);
        lane.actions.push(step.action.0);
        lane.log_probabilities.push(log_probability);
        lane.rewards.push(step.reward);
        lane.ends.push(step.end);
        self.len += 1;
    }

    /// All features kept, lane after lane, one slice a lane.
    pub fn features(&self) -> impl Iterator<Item = &[f32]> {
        self.lanes.iter().map(|lane| lane.features.as_slice())
    }

    /// Empties the buffer into a batch. `normalize` maps features, `value` judges normalised ones.
    pub fn drain(
        &mut self,
        width: usize,
        (gamma, lambda): (f32, f32),
        normalize: impl Fn(&[f32], &mut [f32]),
        mut value: impl FnMut(&[f32]) -> f32,
    ) -> Batch {
        let mut batch = Batch::default();
        let mut scratch = vec![0.0; width];
        for lane in self.lanes.drain(..) {
            let rows = lane.features.chunks_exact(width).zip(lane.next_features.chunks_exact(width));
            let mut steps = Vec::with_capacity(lane.rewards.len());
            for ((row, next), (&reward, &end)) in rows.zip(lane.rewards.iter().zip(&lane.ends)) {
                normalize(next, &mut scratch);
                let next_value = value(&scratch);
                normalize(row, &mut scratch);
                let step = GaeStep { reward, value: value(&scratch), next_value, end };
                batch.features.extend_from_slice(&scratch);
                batch.values.push(step.value);
                steps.push(step);
            }
            let estimated = advantages(&steps, gamma, lambda);
            batch.returns.extend(estimated.iter().zip(&steps).map(|(a, s)| a + s.value));
            batch.advantages.extend(estimated);
            batch.masks.extend(lane.masks);
            batch.actions.extend(lane.actions);
            batch.log_probabilities.extend(lane.log_probabilities);
        }
        self.len = 0;
        batch
    }
}
