//! All backends of this build compute the same, as far as 32 bits tell: `.ci/backends` builds all and runs this.

#![cfg(any(feature = "ndarray", feature = "wgpu"))]
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]
#![expect(clippy::print_stdout, reason = "how far off is worth knowing, too")]

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::backend::Backend;
use autoscale_agents::dqn::{Dqn, DqnConfig};
use autoscale_agents::learner::{Setup, Trainable};
use autoscale_agents::net::NetConfig;
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::toy::Flip;
use autoscale_agents::trainer::{EpisodeSummary, Progress, Stepping, Stop, TrainObserver, train};
use autoscale_core::agent::{Learner, UpdateStats};
use autoscale_core::seed::Seed;

/// Stops when something was learnt.
struct Once(Stop);

impl<L: Learner> TrainObserver<Flip, L> for Once {
    type Detail = ();
    fn detail(&mut self, _: &Flip) {}
    fn episode(&mut self, _: &EpisodeSummary, (): ()) {}
    fn update(&mut self, _: &UpdateStats, _: u64, _: &L, _: &mut dyn FnMut() -> Progress) {
        self.0 = Stop::Now;
    }
    fn should_stop(&self) -> Stop {
        self.0
    }
}

/// All weights, one after the other.
fn weights(learner: &impl Trainable) -> Vec<f32> {
    let arrays = learner.weights();
    arrays.names().filter_map(|name| arrays.get::<f32>(name).ok()).flatten().copied().collect()
}

/// The step that an update makes from the same weights on the same experience.
fn step<L: Trainable>(make: impl Fn(Backend) -> L, backend: Backend) -> Vec<f32> {
    let mut learner = make(backend);
    let before = weights(&learner);
    let tasks = (0..8).map(|_| Flip::default()).collect();
    let seeds = |k| Seed::root(9).nth(k);
    let mut once = Once(Stop::No);
    train(&mut learner, tasks, seeds, Progress::fresh(17), Stepping::Sequential, &mut once).unwrap();
    assert_eq!(learner.counters().updates, 1);
    weights(&learner).iter().zip(before).map(|(after, before)| after - before).collect()
}

fn norm(numbers: impl Iterator<Item = f32>) -> f64 {
    numbers.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// How far the steps of all backends are from that of the default one, relative to its length.
fn agree<L: Trainable>(name: &str, make: impl Fn(Backend) -> L) {
    let expected = step(&make, Backend::Flex);
    let length = norm(expected.iter().copied());
    assert!(length > 1e-3, "{name}: the update moved nothing");
    for backend in Backend::available() {
        let found = step(&make, backend);
        let off = norm(found.iter().zip(&expected).map(|(a, b)| a - b)) / length;
        println!("{name}, {backend:?}: an update is {off:.1e} of its length from that of Flex");
        assert!(off < 1e-3, "{name}: {backend:?} is {off} off");
    }
}

fn setup() -> Setup {
    Setup { features: 2, privileged: 0, initial_logits: vec![0.0; 3], total_steps: 1000 }
}

fn net() -> NetConfig {
    NetConfig { hidden: vec![64, 64], ..NetConfig::default() }
}

#[test]
fn one_update_of_ppo_is_the_same_step() {
    let config = PpoConfig {
        num_envs: 8,
        num_steps: 16,
        minibatch_size: 128,
        update_epochs: 1,
        net: net(),
        ..PpoConfig::default()
    };
    agree("ppo", |backend| Ppo::new(config.clone(), setup(), Seed::root(1), backend).unwrap());
}

#[test]
fn one_update_of_recurrent_a2c_is_the_same_step() {
    let net = NetConfig { gru: Some(16), ..net() };
    let config = A2cConfig { num_envs: 8, num_steps: 8, net, ..A2cConfig::default() };
    agree("a2c", |backend| A2c::new(config.clone(), setup(), Seed::root(1), backend).unwrap());
}

#[test]
fn one_update_of_dqn_is_the_same_step() {
    // Seventeen episodes are of 266 steps.
    let config =
        DqnConfig { num_envs: 8, learning_starts: 160, train_frequency: 100, ..DqnConfig::default() };
    agree("dqn", |backend| Dqn::new(config.clone(), setup(), Seed::root(1), backend).unwrap());
}
