//! The one training loop.

use autoscale_core::agent::{ActionMask, Learner, Task, TaskStep, Transition, UpdateStats};
use autoscale_core::environment::{EpisodeEnd, EpisodeOver};
use autoscale_core::seed::Seed;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// A completed training episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpisodeSummary {
    /// Its ordinal.
    pub episode: u64,
    /// Its seed.
    pub seed: Seed,
    /// Steps taken.
    pub steps: u64,
    /// Sum of the rewards, in the learner's unit.
    pub return_: f64,
    /// How it ended.
    pub end: EpisodeEnd,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Stop before the next step.
    Now,
}

/// Looks on while training runs.
pub trait TrainObserver<T, L: Learner> {
    /// What is taken out of a task the moment its episode ends.
    type Detail;

    /// Takes out of `task`, whose episode just ended, what [`Self::episode`] will need.
    fn detail(&mut self, task: &T) -> Self::Detail;

    /// An episode was completed; called in the order of their ordinals.
    fn episode(&mut self, summary: &EpisodeSummary, detail: Self::Detail);

    /// The learner learnt, after `steps` environment steps in all. Here a snapshot can be judged or saved.
    fn update(&mut self, stats: &UpdateStats, steps: u64, learner: &L);

    /// Asked before every step.
    fn should_stop(&self) -> Stop {
        Stop::No
    }
}

/// Looks at nothing.
impl<T, L: Learner> TrainObserver<T, L> for () {
    type Detail = ();
    fn detail(&mut self, _: &T) {}
    fn episode(&mut self, _: &EpisodeSummary, (): ()) {}
    fn update(&mut self, _: &UpdateStats, _: u64, _: &L) {}
}

/// What training came to.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// The completed episodes, in order.
    pub episodes: Vec<EpisodeSummary>,
    /// Environment steps taken.
    pub steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Whether it was stopped early.
    pub stopped: bool,
}

/// An environment with the episode that it is in.
struct Slot<T> {
    env: usize,
    task: T,
    episode: u64,
    steps: u64,
    return_: f64,
    /// What the task showed before the step.
    features: Vec<f32>,
    mask: ActionMask,
}

impl<T: Task> Slot<T> {
    fn start(&mut self, episode: u64, seed: Seed) {
        self.task.reset(seed);
        (self.episode, self.steps, self.return_) = (episode, 0, 0.0);
        self.look();
    }

    fn look(&mut self) {
        self.features.clear();
        self.features.extend_from_slice(self.task.features());
        self.mask = self.task.valid_actions();
    }
}

/// Trains `learner` on exactly the episodes `episodes`, the k-th on the seed `seeds(k)`. An environment that
/// finishes takes the next episode not yet begun; when there is none, it rests. Environments step in
/// parallel; the result does not depend on the number of threads. What is left at the end is learnt from.
///
/// # Errors
/// When a task refuses a step without having said that its episode is over.
pub fn train<T: Task + Send, L: Learner, O: TrainObserver<T, L>>(
    learner: &mut L,
    tasks: Vec<T>,
    seeds: impl Fn(u64) -> Seed,
    mut episodes: Range<u64>,
    observer: &mut O,
) -> Result<TrainReport, EpisodeOver> {
    let mut report = TrainReport { episodes: Vec::new(), steps: 0, updates: 0, stopped: false };
    let mut next_report = episodes.start;
    let mut waiting = BTreeMap::new();
    let mut active: Vec<Slot<T>> = Vec::new();
    for (env, task) in tasks.into_iter().enumerate() {
        let Some(episode) = episodes.next() else { break };
        let mask = ActionMask::all(task.action_count());
        let mut slot = Slot { env, task, episode, steps: 0, return_: 0.0, features: Vec::new(), mask };
        slot.start(episode, seeds(episode));
        active.push(slot);
    }
    let (mut features, mut masks, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    while !active.is_empty() {
        if observer.should_stop() == Stop::Now {
            report.stopped = true;
            return Ok(report);
        }
        features.clear();
        masks.clear();
        for slot in &active {
            features.extend_from_slice(&slot.features);
            masks.push(slot.mask);
        }
        learner.explore(&features, &masks, &mut actions);
        let stepped: Vec<Result<TaskStep, EpisodeOver>> =
            active.par_iter_mut().zip(&actions).map(|(slot, &action)| slot.task.step(action)).collect();
        for ((slot, step), &action) in active.iter_mut().zip(stepped).zip(&actions) {
            let TaskStep { reward, end } = step?;
            learner.record(Transition {
                env: slot.env,
                features: &slot.features,
                mask: slot.mask,
                action,
                reward,
                next_features: slot.task.features(),
                next_mask: slot.task.valid_actions(),
                end,
            });
            slot.steps += 1;
            slot.return_ += f64::from(reward);
            slot.look();
            report.steps += 1;
            if let Some(end) = end {
                let (episode, steps, return_) = (slot.episode, slot.steps, slot.return_);
                let summary = EpisodeSummary { episode, seed: seeds(episode), steps, return_, end };
                waiting.insert(episode, (summary, observer.detail(&slot.task)));
                // A slot without a next episode is told by its step count and leaves below.
                match episodes.next() {
                    Some(next) => slot.start(next, seeds(next)),
                    None => slot.steps = u64::MAX,
                }
            }
        }
        active.retain(|slot| slot.steps != u64::MAX);
        while let Some((summary, detail)) = waiting.remove(&next_report) {
            observer.episode(&summary, detail);
            report.episodes.push(summary);
            next_report += 1;
        }
        let stats = if active.is_empty() { learner.finish() } else { learner.update() };
        if let Some(stats) = stats {
            report.updates += 1;
            observer.update(&stats, report.steps, learner);
        }
    }
    Ok(report)
}
