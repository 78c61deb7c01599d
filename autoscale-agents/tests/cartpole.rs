//! PPO solves CartPole-v1.

#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use autoscale_agents::backend::Backend;
use autoscale_agents::learned::GreedyActor;
use autoscale_agents::ppo::{Ppo, PpoConfig, PpoShape};
use autoscale_agents::trainer::{EpisodeSummary, Stop, TrainObserver, train};
use autoscale_core::agent::{ActionIndex, ActionMask, GreedyPolicy, Learner, Task, TaskStep, UpdateStats};
use autoscale_core::environment::{EpisodeEnd, EpisodeOver};
use autoscale_core::seed::{Branch, Seed};
use rand::RngExt;

const MOST_STEPS: u64 = 150_000;

/// Barto, Sutton and Anderson (1983), with the constants and bounds of Gymnasium's CartPole-v1.
#[derive(Default)]
struct CartPole {
    state: [f64; 4],
    seen: [f32; 4],
    steps: u32,
    over: bool,
}

impl CartPole {
    fn show(&mut self) {
        self.seen = self.state.map(|x| x as f32);
    }
}

impl Task for CartPole {
    fn feature_count(&self) -> usize {
        4
    }
    fn action_count(&self) -> usize {
        2
    }
    fn reset(&mut self, seed: Seed) {
        let mut stream = seed.stream();
        self.state = std::array::from_fn(|_| stream.random_range(-0.05..0.05));
        (self.steps, self.over) = (0, false);
        self.show();
    }
    fn features(&self) -> &[f32] {
        &self.seen
    }
    fn valid_actions(&self) -> ActionMask {
        ActionMask::all(2)
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        if self.over {
            return Err(EpisodeOver);
        }
        let [x, v, angle, turn] = self.state;
        let force = if action.0 == 1 { 10.0 } else { -10.0 };
        let (sin, cos) = angle.sin_cos();
        let pull = (force + 0.05 * turn * turn * sin) / 1.1;
        let turning = (9.8 * sin - cos * pull) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
        let pushing = pull - 0.05 * turning * cos / 1.1;
        self.state = [x + 0.02 * v, v + 0.02 * pushing, angle + 0.02 * turn, turn + 0.02 * turning];
        self.steps += 1;
        self.show();
        let fallen = self.state[0].abs() > 2.4 || self.state[2].abs() > 12.0_f64.to_radians();
        let end = if fallen {
            Some(EpisodeEnd::Terminated)
        } else {
            (self.steps == 500).then_some(EpisodeEnd::Truncated)
        };
        self.over = end.is_some();
        Ok(TaskStep { reward: 1.0, end })
    }
}

fn mean_return(policy: &mut GreedyActor, root: Seed, branch: Branch, episodes: u64) -> f64 {
    let mut task = CartPole::default();
    let mut total = 0.0;
    for k in 0..episodes {
        task.reset(root.episode(branch, k));
        loop {
            let step = task.step(policy.act(task.features(), task.valid_actions())).unwrap();
            total += f64::from(step.reward);
            if step.end.is_some() {
                break;
            }
        }
    }
    total / episodes as f64
}

/// Keeps the model that does best on validation seeds.
struct KeepBest {
    root: Seed,
    best: Option<(f64, GreedyActor)>,
    steps: u64,
}

impl TrainObserver<CartPole, Ppo> for KeepBest {
    type Detail = ();
    fn detail(&mut self, _: &CartPole) {}
    fn episode(&mut self, _: &EpisodeSummary, (): ()) {}
    fn update(&mut self, _: &UpdateStats, steps: u64, learner: &Ppo) {
        self.steps = steps;
        let mut policy = learner.snapshot();
        let score = mean_return(&mut policy, self.root, Branch::Validate, 20);
        if self.best.as_ref().is_none_or(|(best, _)| score > *best) {
            self.best = Some((score, policy));
        }
    }
    fn should_stop(&self) -> Stop {
        let solved = self.best.as_ref().is_some_and(|(best, _)| *best >= 500.0);
        if solved || self.steps + 2048 > MOST_STEPS { Stop::Now } else { Stop::No }
    }
}

fn solve(number: u64) {
    let root = Seed::root(number);
    let config = PpoConfig {
        num_steps: 128,
        minibatch_size: 256,
        gamma: 0.98,
        gae_lambda: 0.9,
        ent_coef: 0.0,
        target_kl: None,
        ..PpoConfig::default()
    };
    let shape = PpoShape { features: 4, initial_logits: vec![0.0; 2], total_steps: MOST_STEPS };
    let mut learner = Ppo::new(config, shape, root, Backend::Flex).unwrap();
    let mut keep = KeepBest { root, best: None, steps: 0 };
    let tasks = (0..8).map(|_| CartPole::default()).collect();
    let report =
        train(&mut learner, tasks, |k| root.episode(Branch::Train, k), 0..1_000_000, &mut keep).unwrap();
    assert!(report.steps <= MOST_STEPS, "{} steps", report.steps);
    let (validated, mut policy) = keep.best.unwrap();
    let score = mean_return(&mut policy, root, Branch::Test, 100);
    assert!(score >= 475.0, "seed {number}: {score} (validation {validated}) after {} steps", report.steps);
}

#[test]
fn seed_1() {
    solve(1);
}

#[test]
fn seed_2() {
    solve(2);
}

#[test]
fn seed_3() {
    solve(3);
}
