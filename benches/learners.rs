//! How fast learners learn and act: environment steps a second on one core, in a world that costs nothing
//! ([`autoscale_agents::toy::Trivial`]: 32 features, 7 actions). Networks have two hidden layers of 64 with `ReLU`; actor
//! and critic share them.

mod limit;

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::backend::Backend;
use autoscale_agents::dqn::{Dqn, DqnConfig};
use autoscale_agents::learner::Setup;
use autoscale_agents::net::{NetConfig, Trunk};
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::toy::Trivial;
use autoscale_agents::trainer::{EpisodeSummary, Progress, Stepping, Stop, TrainObserver, train};
use autoscale_core::agent::{GreedyPolicy, Learner, Task, UpdateStats};
use autoscale_core::seed::Seed;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// As the command line tool has it: tensors come and go, and its blocks are aligned as they need to be.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENVS: usize = 8;

fn setup() -> Setup {
    Setup { features: 32, privileged: 0, initial_logits: vec![0.0; 7], total_steps: u64::MAX }
}

fn net() -> NetConfig {
    NetConfig { hidden: vec![64, 64], trunk: Trunk::Shared, gru: None }
}

/// Stops when so many steps have been learnt from.
struct Until(u64, u64);

impl<L: Learner> TrainObserver<Trivial, L> for Until {
    type Detail = ();
    fn detail(&mut self, _: &Trivial) {}
    fn episode(&mut self, _: &EpisodeSummary, (): ()) {}
    fn update(&mut self, _: &UpdateStats, steps: u64, _: &L, _: &mut dyn FnMut() -> Progress) {
        self.0 = steps;
    }
    fn should_stop(&self) -> Stop {
        if self.0 >= self.1 { Stop::Now } else { Stop::No }
    }
}

fn run<L: Learner>(learner: &mut L, steps: u64) {
    let tasks = (0..ENVS).map(|_| Trivial::default()).collect();
    let progress = Progress::fresh(u64::MAX);
    let mut until = Until(0, steps);
    let report = train(learner, tasks, Seed::root, progress, Stepping::Sequential, &mut until);
    assert!(report.expect("tasks say when they end").steps >= steps);
}

fn ppo() -> Ppo {
    let config = PpoConfig {
        num_envs: ENVS,
        num_steps: 128,
        update_epochs: 4,
        minibatch_size: 256,
        target_kl: None,
        net: net(),
        ..PpoConfig::default()
    };
    Ppo::new(config, setup(), Seed::root(1), Backend::Flex).expect("in range")
}

fn a2c(num_steps: usize) -> A2c {
    let config = A2cConfig { num_envs: ENVS, num_steps, net: net(), ..A2cConfig::default() };
    A2c::new(config, setup(), Seed::root(1), Backend::Flex).expect("in range")
}

fn dqn() -> Dqn {
    let config = DqnConfig {
        num_envs: ENVS,
        batch_size: 32,
        train_frequency: 4,
        learning_starts: 1000,
        dueling: false,
        n_step: 1,
        ..DqnConfig::default()
    };
    Dqn::new(config, setup(), Seed::root(1), Backend::Flex).expect("in range")
}

fn learning(c: &mut Criterion) {
    let mut group = c.benchmark_group("learn");
    group.sample_size(20);
    let rollout = 8 * 1024;
    group.throughput(Throughput::Elements(rollout));
    let mut learner = ppo();
    group.bench_function("ppo", |b| b.iter(|| run(&mut learner, rollout)));
    for steps in [16, 5] {
        let mut learner = a2c(steps);
        let rollouts = (4096 / (8 * steps as u64)) * 8 * steps as u64;
        group.throughput(Throughput::Elements(rollouts));
        let id =
            if steps == 16 { BenchmarkId::from_parameter("a2c") } else { BenchmarkId::new("a2c", "8x5") };
        group.bench_function(id, |b| b.iter(|| run(&mut learner, rollouts)));
    }
    let mut learner = dqn();
    run(&mut learner, 2000);
    group.throughput(Throughput::Elements(4000));
    group.bench_function("dqn", |b| b.iter(|| run(&mut learner, 4000)));
    group.finish();
}

/// Plain loops with the same arithmetic.
fn limits(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    group.sample_size(10);
    let steps = 65_536;
    group.throughput(Throughput::Elements(steps));
    group.bench_function("ppo", |b| b.iter(|| limit::ppo(steps, Seed::root(1))));
    group.bench_function("dqn", |b| b.iter(|| limit::dqn(steps, Seed::root(1))));
    group.finish();
}

fn acting(c: &mut Criterion) {
    let mut group = c.benchmark_group("act");
    let mut world = Trivial::default();
    world.reset(Seed::root(1));
    let mut policy = ppo().snapshot();
    let (features, mask) = (world.features().to_vec(), world.valid_actions());
    group.bench_function("one", |b| b.iter(|| policy.act(black_box(&features), black_box(mask))));
    group.finish();
}

criterion_group!(benches, acting, learning, limits);
criterion_main!(benches);
