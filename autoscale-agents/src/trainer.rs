//! The one training loop.

use autoscale_core::agent::{
    ActionIndex, ActionMask, Learner, Seen, Task, TaskStep, Transition, UpdateStats,
};
use autoscale_core::environment::{EpisodeEnd, EpisodeOver};
use autoscale_core::seed::Seed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

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

/// An episode that was begun: what was done in it is enough to get there again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// In which environment.
    pub env: usize,
    /// Its ordinal.
    pub episode: u64,
    /// The actions so far.
    pub actions: Vec<u16>,
}

/// How far training is. A run that is begun with this goes on as if it had never stopped, as long as its learner does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The next episode to begin.
    pub next: u64,
    /// Train up to here, not included.
    pub until: u64,
    /// The next episode to report.
    pub report: u64,
    /// Environment steps taken.
    pub steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Episodes under way.
    pub active: Vec<Begun>,
    /// Episodes that ended before one with a lower ordinal.
    pub waiting: Vec<Begun>,
}

impl Progress {
    /// So many episodes, from the first on.
    pub const fn fresh(episodes: u64) -> Self {
        Self {
            next: 0,
            until: episodes,
            report: 0,
            steps: 0,
            updates: 0,
            active: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

/// Whether environments are stepped side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepping {
    /// On all threads, which pays where a step takes much longer than waking a thread. Results are the same.
    Parallel,
    /// One after the other.
    Sequential,
}

/// Looks on while training runs.
pub trait TrainObserver<T, L: Learner> {
    /// What is taken out of a task the moment its episode ends.
    type Detail;

    /// Takes out of `task`, whose episode just ended, what [`Self::episode`] will need.
    fn detail(&mut self, task: &T) -> Self::Detail;

    /// An episode was completed; called in the order of their ordinals.
    fn episode(&mut self, summary: &EpisodeSummary, detail: Self::Detail);

    /// The learner learnt. Here a snapshot can be judged, or all saved: `progress` says how far training is.
    fn update(
        &mut self,
        stats: &UpdateStats,
        steps: u64,
        learner: &L,
        progress: &mut dyn FnMut() -> Progress,
    );

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
    fn update(&mut self, _: &UpdateStats, _: u64, _: &L, _: &mut dyn FnMut() -> Progress) {}
}

/// What training came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainReport {
    /// Completed episodes, those before a resumption included.
    pub episodes: u64,
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
    return_: f64,
    actions: Vec<u16>,
    /// Nothing is left to do here.
    rests: bool,
    /// The episode has been taken on, but not begun.
    due: bool,
    /// What the task showed before the step, what is privileged included.
    features: Vec<f32>,
    mask: ActionMask,
}

impl<T: Task> Slot<T> {
    fn new(env: usize, task: T) -> Self {
        let mask = ActionMask::all(task.action_count());
        let (actions, features) = (Vec::new(), Vec::new());
        Self { env, task, episode: 0, return_: 0.0, actions, rests: true, due: false, features, mask }
    }

    fn take_on(&mut self, episode: u64) {
        (self.episode, self.return_, self.rests, self.due) = (episode, 0.0, false, true);
        self.actions.clear();
    }

    fn start(&mut self, seed: Seed) {
        self.task.reset(seed);
        self.due = false;
        self.look();
    }

    fn look(&mut self) {
        show(&self.task, &mut self.features);
        self.mask = self.task.valid_actions();
    }

    /// Takes these actions from the start of the episode on.
    fn replay(&mut self, begun: &Begun, seed: Seed) -> Result<Option<EpisodeEnd>, EpisodeOver> {
        self.take_on(begun.episode);
        self.start(seed);
        let mut end = None;
        for &action in &begun.actions {
            let step = self.task.step(ActionIndex(action))?;
            self.return_ += f64::from(step.reward);
            end = step.end;
        }
        self.actions.clone_from(&begun.actions);
        self.look();
        Ok(end)
    }

    fn begun(&self) -> Begun {
        Begun { env: self.env, episode: self.episode, actions: self.actions.clone() }
    }

    fn summary(&self, seed: Seed, end: EpisodeEnd) -> EpisodeSummary {
        let (steps, return_) = (self.actions.len() as u64, self.return_);
        EpisodeSummary { episode: self.episode, seed, steps, return_, end }
    }
}

/// What a learner sees of a task.
fn show(task: &impl Task, features: &mut Vec<f32>) {
    features.clear();
    features.extend_from_slice(task.features());
    features.extend_from_slice(task.privileged());
}

/// Brings environments to where they were in these episodes.
fn take_up<T: Task>(
    slots: &mut [Slot<T>],
    active: Vec<Begun>,
    seeds: &impl Fn(u64) -> Seed,
) -> Result<(), EpisodeOver> {
    for begun in active {
        if let Some(slot) = slots.iter_mut().find(|slot| slot.env == begun.env) {
            slot.replay(&begun, seeds(begun.episode))?;
        }
    }
    Ok(())
}

/// Begins the episodes that were taken on: a world takes as long for its warm-up as for some ten steps.
fn start_due<T: Task + Send>(
    slots: &mut [Slot<T>],
    seeds: &(impl Fn(u64) -> Seed + Sync),
    stepping: Stepping,
) {
    let due: Vec<&mut Slot<T>> = slots.iter_mut().filter(|slot| slot.due).collect();
    let start = |slot: &mut Slot<T>| slot.start(seeds(slot.episode));
    match stepping {
        Stepping::Parallel if due.len() > 1 => due.into_par_iter().for_each(start),
        _ => due.into_iter().for_each(start),
    }
}

/// Training cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TrainError {
    /// A task refused a step without having said that its episode is over.
    #[error(transparent)]
    EpisodeOver(#[from] EpisodeOver),
    /// What is saved was lived through in a world that differs from this one.
    #[error(
        "episode {episode} does not end where it ended before: the saved state is of another world or program"
    )]
    AnotherWorld {
        /// The episode.
        episode: u64,
    },
}

/// An episode that ended and is not reported yet.
type Ended<D> = (EpisodeSummary, D, Begun);

/// Episodes that ended before one with a lower ordinal, by their ordinals; they are lived through once more, in an
/// environment that is not used yet.
fn relive<T: Task, D>(
    slots: &mut [Slot<T>],
    ended: Vec<Begun>,
    seeds: &impl Fn(u64) -> Seed,
    mut detail: impl FnMut(&T) -> D,
) -> Result<BTreeMap<u64, Ended<D>>, TrainError> {
    let mut waiting = BTreeMap::new();
    let Some(slot) = slots.first_mut() else { return Ok(waiting) };
    for begun in ended {
        let seed = seeds(begun.episode);
        let end = slot.replay(&begun, seed)?.ok_or(TrainError::AnotherWorld { episode: begun.episode })?;
        waiting.insert(begun.episode, (slot.summary(seed, end), detail(&slot.task), begun));
        slot.rests = true;
    }
    Ok(waiting)
}

/// Trains `learner` on the episodes that are left of `progress`, the k-th on the seed `seeds(k)`. An environment that
/// finishes takes the next episode not yet begun; when there is none, it rests. The result does not depend on the number
/// of threads. What is left at the end is learnt from.
///
/// # Errors
/// See [`TrainError`].
pub fn train<T: Task + Send, L: Learner, O: TrainObserver<T, L>>(
    learner: &mut L,
    tasks: Vec<T>,
    seeds: impl Fn(u64) -> Seed + Sync,
    progress: Progress,
    stepping: Stepping,
    observer: &mut O,
) -> Result<TrainReport, TrainError> {
    let Progress { mut next, until, mut report, mut steps, mut updates, active, waiting: ended } = progress;
    let mut slots: Vec<Slot<T>> =
        tasks.into_iter().enumerate().map(|(env, task)| Slot::new(env, task)).collect();
    let mut waiting = relive(&mut slots, ended, &seeds, |task| observer.detail(task))?;
    take_up(&mut slots, active, &seeds)?;
    if steps == 0 {
        for slot in &mut slots {
            if next < until {
                slot.take_on(next);
                next += 1;
            }
        }
        start_due(&mut slots, &seeds, stepping);
    }
    slots.retain(|slot| !slot.rests);

    let (mut envs, mut features, mut masks, mut actions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut stepped: Vec<Result<TaskStep, EpisodeOver>> = Vec::new();
    let mut successor = Vec::new();
    while !slots.is_empty() {
        if observer.should_stop() == Stop::Now {
            return Ok(TrainReport { episodes: report, steps, updates, stopped: true });
        }
        envs.clear();
        features.clear();
        masks.clear();
        for slot in &slots {
            envs.push(slot.env);
            features.extend_from_slice(&slot.features);
            masks.push(slot.mask);
        }
        learner.explore(&Seen { envs: &envs, features: &features, masks: &masks }, &mut actions);
        match stepping {
            Stepping::Parallel => {
                let side_by_side = slots.par_iter_mut().zip(&actions);
                side_by_side.map(|(slot, &action)| slot.task.step(action)).collect_into_vec(&mut stepped);
            }
            Stepping::Sequential => {
                stepped.clear();
                stepped.extend(slots.iter_mut().zip(&actions).map(|(slot, &action)| slot.task.step(action)));
            }
        }
        for ((slot, step), &action) in slots.iter_mut().zip(stepped.drain(..)).zip(&actions) {
            let TaskStep { reward, end } = step?;
            show(&slot.task, &mut successor);
            let next_mask = slot.task.valid_actions();
            learner.record(Transition {
                env: slot.env,
                features: &slot.features,
                mask: slot.mask,
                action,
                reward,
                next_features: &successor,
                next_mask,
                end,
            });
            steps += 1;
            slot.return_ += f64::from(reward);
            slot.actions.push(action.0);
            std::mem::swap(&mut slot.features, &mut successor);
            slot.mask = next_mask;
            if let Some(end) = end {
                let (seed, begun) = (seeds(slot.episode), slot.begun());
                let known = (slot.summary(seed, end), observer.detail(&slot.task), begun);
                waiting.insert(slot.episode, known);
                if next < until {
                    slot.take_on(next);
                    next += 1;
                } else {
                    slot.rests = true;
                }
            }
        }
        start_due(&mut slots, &seeds, stepping);
        slots.retain(|slot| !slot.rests);
        while let Some((summary, detail, _)) = waiting.remove(&report) {
            observer.episode(&summary, detail);
            report += 1;
        }
        let stats = if slots.is_empty() { learner.finish() } else { learner.update() };
        if let Some(stats) = stats {
            updates += 1;
            let mut progress = || Progress {
                next,
                until,
                report,
                steps,
                updates,
                active: slots.iter().map(Slot::begun).collect(),
                waiting: waiting.values().map(|(_, _, begun)| begun.clone()).collect(),
            };
            observer.update(&stats, steps, learner, &mut progress);
        }
    }
    Ok(TrainReport { episodes: report, steps, updates, stopped: false })
}
