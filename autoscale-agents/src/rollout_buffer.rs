//! What a rollout keeps, one lane an environment, and how it is cut into minibatches.

use crate::gae::{GaeStep, advantages};
use crate::graph::Sequence;
use autoscale_core::agent::ActionMask;
use autoscale_core::environment::EpisodeEnd;
use autoscale_core::seed::Stream;
use rand::RngExt;
use std::ops::Range;

/// One step, as it was acted on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    /// Normalised features, what is privileged included.
    pub(crate) row: &'a [f32],
    /// What was remembered before the step.
    pub(crate) state: &'a [f32],
    pub(crate) mask: ActionMask,
    pub(crate) action: u16,
    pub(crate) log_probability: f32,
    pub(crate) value: f32,
    pub(crate) reward: f32,
    pub(crate) end: Option<EpisodeEnd>,
    /// The value of the true successor, where the episode ended.
    pub(crate) end_value: f32,
}

/// The steps of one environment, in order.
#[derive(Clone, Debug, Default)]
struct Lane {
    rows: Vec<f32>,
    states: Vec<f32>,
    masks: Vec<ActionMask>,
    actions: Vec<u16>,
    log_probabilities: Vec<f32>,
    steps: Vec<GaeStep>,
}

/// Steps gathered since the last update.
#[derive(Clone, Debug, Default)]
pub(crate) struct RolloutBuffer {
    lanes: Vec<Lane>,
    len: usize,
}

/// A rollout ready to learn from; everything is `[steps]`, features are row-major `[steps, features]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// Normalised features.
    pub(crate) rows: Vec<f32>,
    /// What was remembered before each step, `[steps, state_width]`.
    states: Vec<f32>,
    /// Whether an episode began with the step.
    begins: Vec<bool>,
    /// Which steps are of one environment.
    lanes: Vec<Range<usize>>,
    /// Actions that were allowed.
    pub(crate) masks: Vec<ActionMask>,
    /// Actions taken.
    pub(crate) actions: Vec<u16>,
    /// Their log-probabilities under the policy that took them.
    pub(crate) log_probabilities: Vec<f32>,
    /// Estimated advantages.
    pub(crate) advantages: Vec<f32>,
    /// Estimated values.
    pub(crate) values: Vec<f32>,
    /// Value targets.
    pub(crate) returns: Vec<f32>,
}

impl RolloutBuffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, env: usize, step: &Step<'_>) {
        if self.lanes.len() <= env {
            self.lanes.resize_with(env + 1, Lane::default);
        }
        let lane = &mut self.lanes[env];
        // The value of a step is the successor's of the step before.
        if let Some(before) = lane.steps.last_mut().filter(|before| before.end.is_none()) {
            before.next_value = step.value;
        }
        lane.rows.extend_from_slice(step.row);
        lane.states.extend_from_slice(step.state);
        lane.masks.push(step.mask);
        lane.actions.push(step.action);
        lane.log_probabilities.push(step.log_probability);
        lane.steps.push(GaeStep {
            reward: step.reward,
            value: step.value,
            next_value: step.end_value,
            end: step.end,
        });
        self.len += 1;
    }

    /// Empties the buffer into a batch. `value` judges where an environment is now, for a rollout that ends within an
    /// episode.
    pub(crate) fn drain(&mut self, gamma: f32, lambda: f32, mut value: impl FnMut(usize) -> f32) -> Batch {
        let mut batch = Batch::default();
        for (env, mut lane) in self.lanes.drain(..).enumerate() {
            if let Some(last) = lane.steps.last_mut().filter(|last| last.end.is_none()) {
                last.next_value = value(env);
            }
            let first = batch.actions.len();
            let estimated = advantages(&lane.steps, gamma, lambda);
            batch.returns.extend(estimated.iter().zip(&lane.steps).map(|(a, s)| a + s.value));
            batch.advantages.extend(estimated);
            batch.values.extend(lane.steps.iter().map(|s| s.value));
            // Where a rollout begins, what is remembered is as kept.
            batch.begins.extend(
                lane.steps.iter().scan(false, |began, s| Some(std::mem::replace(began, s.end.is_some()))),
            );
            batch.rows.append(&mut lane.rows);
            batch.states.append(&mut lane.states);
            batch.masks.append(&mut lane.masks);
            batch.actions.append(&mut lane.actions);
            batch.log_probabilities.append(&mut lane.log_probabilities);
            batch.lanes.push(first..batch.actions.len());
        }
        self.len = 0;
        batch
    }
}

/// Steps of a batch that are learnt from at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Minibatch {
    /// Which.
    pub(crate) rows: Vec<usize>,
    /// How they follow each other, for a network that remembers.
    pub(crate) sequence: Option<Sequence>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.actions.len()
    }

    fn state_width(&self) -> usize {
        self.states.len() / self.len().max(1)
    }

    /// All steps once, in random order, `size` at a time.
    ///
    /// For a network that remembers, the order is that of sequences of at most `length` steps, each of which begins with
    /// what was remembered then; a minibatch has sequences of one length.
    pub(crate) fn minibatches(&self, size: usize, length: usize, stream: &mut Stream) -> Vec<Minibatch> {
        let width = self.state_width();
        if width == 0 {
            let mut order: Vec<usize> = (0..self.len()).collect();
            shuffle(&mut order, stream);
            return order
                .chunks(size)
                .map(|rows| Minibatch { rows: rows.to_vec(), sequence: None })
                .collect();
        }
        let mut pieces: Vec<Range<usize>> = self
            .lanes
            .iter()
            .flat_map(|lane| {
                let lane = lane.clone();
                lane.clone().step_by(length).map(move |from| from..(from + length).min(lane.end))
            })
            .collect();
        shuffle(&mut pieces, stream);
        // A stable sort keeps the order random within a length.
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
        pieces
            .chunk_by(|a, b| a.len() == b.len())
            .flat_map(|alike| alike.chunks((size / alike[0].len()).max(1)))
            .map(|chunk| self.sequences(chunk, width))
            .collect()
    }

    fn sequences(&self, pieces: &[Range<usize>], width: usize) -> Minibatch {
        let length = pieces[0].len();
        let rows: Vec<usize> = (0..length).flat_map(|t| pieces.iter().map(move |p| p.start + t)).collect();
        let kept = |(n, &row): (usize, &usize)| if n >= pieces.len() && self.begins[row] { 0.0 } else { 1.0 };
        let keeps = rows.iter().enumerate().map(kept).collect();
        let states = pieces.iter().flat_map(|p| &self.states[p.start * width..(p.start + 1) * width]);
        let states = states.copied().collect();
        Minibatch { rows, sequence: Some(Sequence { chunks: pieces.len(), length, states, keeps }) }
    }
}

fn shuffle<T>(items: &mut [T], stream: &mut Stream) {
    for i in (1..items.len()).rev() {
        items.swap(i, stream.random_range(0..=i));
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers and halves are exact")]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    /// Two environments; the state of a step is its number, an episode of the first ends after its third step.
    fn batch(width: usize) -> Batch {
        let mut buffer = RolloutBuffer::default();
        for n in 0..10_usize {
            for env in 0..2 {
                let number = (env * 100 + n) as f32;
                let end = (env == 0 && n == 2).then_some(EpisodeEnd::Truncated);
                buffer.push(
                    env,
                    &Step {
                        row: &[number],
                        state: &vec![number; width],
                        mask: ActionMask::all(2),
                        action: 0,
                        log_probability: 0.0,
                        value: number,
                        reward: 1.0,
                        end,
                        end_value: if end.is_some() { 1000.0 } else { f32::NAN },
                    },
                );
            }
        }
        buffer.drain(0.5, 0.0, |env| 2000.0 + env as f32)
    }

    #[test]
    fn values_of_successors_are_the_next_steps_the_ends_or_the_last() {
        let batch = batch(0);
        // One-step targets: the reward and half of the successor's value.
        let expected = |env: usize, n: usize| match (env, n) {
            (0, 2) => 501.0,
            (_, 9) => 1001.0 + 0.5 * env as f32,
            _ => 1.0 + 0.5 * (env * 100 + n + 1) as f32,
        };
        for env in 0..2 {
            for n in 0..10 {
                assert_eq!(batch.returns[env * 10 + n], expected(env, n), "{env} {n}");
            }
        }
    }

    #[test]
    fn minibatches_have_each_step_once() {
        let mut stream = Seed::root(1).stream();
        for (width, length) in [(0, 16), (3, 4), (3, 100)] {
            let batch = batch(width);
            let minibatches = batch.minibatches(8, length, &mut stream);
            let mut all: Vec<usize> = minibatches.iter().flat_map(|m| m.rows.clone()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..20).collect::<Vec<_>>());
            for Minibatch { rows, sequence } in minibatches {
                assert!(rows.len() <= 8 || length == 100);
                let Some(Sequence { chunks, length, states, keeps }) = sequence else {
                    assert_eq!(width, 0);
                    continue;
                };
                assert_eq!((rows.len(), keeps.len()), (chunks * length, chunks * length));
                for chunk in 0..chunks {
                    assert_eq!(states[chunk * width], batch.rows[rows[chunk]], "its own state");
                    for t in 1..length {
                        let row = rows[t * chunks + chunk];
                        assert_eq!(row, rows[(t - 1) * chunks + chunk] + 1, "in order");
                        // The fourth step of the first environment begins an episode.
                        assert_eq!(keeps[t * chunks + chunk], if row == 3 { 0.0 } else { 1.0 });
                    }
                }
            }
        }
    }
}
