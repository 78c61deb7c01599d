//! Learning a task, and keeping the model that does best on validation seeds.

use autoscale_agents::backend::Backend;
use autoscale_agents::learned::GreedyActor;
use autoscale_agents::learner::Setup;
use autoscale_agents::toy::mean_return;
use autoscale_agents::trainer::{EpisodeSummary, Progress, Stepping, Stop, TrainObserver, train};
use autoscale_core::agent::{Learner, Task, UpdateStats};
use autoscale_core::seed::{Branch, Seed};

/// Judges the learner on validation episodes every so many steps.
struct KeepBest<T> {
    task: T,
    root: Seed,
    every: u64,
    most: u64,
    enough: f64,
    judged: u64,
    steps: u64,
    best: Option<(f64, GreedyActor)>,
}

impl<T: Task, L: Learner<Policy = GreedyActor>> TrainObserver<T, L> for KeepBest<T> {
    type Detail = ();
    fn detail(&mut self, _: &T) {}
    fn episode(&mut self, _: &EpisodeSummary, (): ()) {}
    fn update(&mut self, _: &UpdateStats, steps: u64, learner: &L, _: &mut dyn FnMut() -> Progress) {
        self.steps = steps;
        if steps < self.judged + self.every {
            return;
        }
        self.judged = steps;
        let mut policy = learner.snapshot();
        let seeds = (0..20).map(|k| self.root.episode(Branch::Validate, k));
        let score = mean_return(&mut policy, &mut self.task, seeds);
        if self.best.as_ref().is_none_or(|(best, _)| score > *best) {
            self.best = Some((score, policy));
        }
    }
    fn should_stop(&self) -> Stop {
        let solved = self.best.as_ref().is_some_and(|(best, _)| *best >= self.enough);
        if solved || self.steps >= self.most { Stop::Now } else { Stop::No }
    }
}

/// What a task is learnt on.
pub(crate) fn setup(task: &impl Task, total_steps: u64) -> Setup {
    Setup {
        features: task.feature_count(),
        privileged: task.privileged_count(),
        initial_logits: vec![0.0; task.action_count()],
        total_steps,
    }
}

/// What learning came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Learnt {
    /// Mean return of 100 test episodes under the model chosen on validation seeds.
    pub(crate) score: f64,
    /// Environment steps until a model was good enough on validation seeds, or all that were allowed.
    pub(crate) steps: u64,
}

/// Learns a task from seed `root` with `envs` environments, judging a model each `every` steps, until one's mean return on
/// 20 validation episodes is `enough` or `most` steps are taken.
pub(crate) fn learn<T: Task + Default + Send, L: Learner<Policy = GreedyActor>>(
    learner: impl FnOnce(Setup, Backend) -> L,
    envs: usize,
    root: Seed,
    (every, most): (u64, u64),
    enough: f64,
) -> Learnt {
    let mut learner = learner(setup(&T::default(), most), Backend::Flex);
    let mut keep =
        KeepBest { task: T::default(), root, every, most, enough, judged: 0, steps: 0, best: None };
    let tasks = (0..envs).map(|_| T::default()).collect();
    let seeds = |k| root.episode(Branch::Train, k);
    let progress = Progress::fresh(u64::MAX);
    train(&mut learner, tasks, seeds, progress, Stepping::Sequential, &mut keep)
        .expect("tasks say when they end");
    let (_, mut policy) = keep.best.expect("judged at least once");
    let seeds = (0..100).map(|k| root.episode(Branch::Test, k));
    Learnt { score: mean_return(&mut policy, &mut T::default(), seeds), steps: keep.steps }
}
