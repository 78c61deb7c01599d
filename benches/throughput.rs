//! How much work gets done per second: requests, environment steps, decisions, PPO steps.
//!
//! Machines are noisy: compare figures of one run with each other, not with those of another machine.

use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::{Checkpoint, CheckpointInfo};
use autoscale_agents::encoded::EncodedTask;
use autoscale_agents::features::feature_names;
use autoscale_agents::learned::LearnedPolicy;
use autoscale_agents::learner::Setup;
use autoscale_agents::net::NetConfig;
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::trainer::{Progress, Stepping, train};
use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(15);
const EPISODE: Duration = Duration::from_secs(3600);

fn world(episode: Duration) -> World {
    World::new(Arc::new(Scenario::builtin("constant").expect("built in")), episode)
}

/// A world of 200 requests/s some way into an episode.
fn running() -> World {
    let mut world = world(EPISODE);
    world.reset(Seed::root(1), Cadence::every(INTERVAL));
    for _ in 0..20 {
        step(&mut world);
    }
    world
}

/// Steps the world, starting over whenever an episode ends.
fn step(world: &mut World) {
    let hold = Decision::hold(Reason::rule("bench"));
    if world.step(hold).expect("reset after each end").end.is_some() {
        world.reset(Seed::root(1), Cadence::every(INTERVAL));
    }
}

fn hpa() -> Hpa {
    Hpa::new(HpaConfig::default()).expect("the default is valid")
}

fn simulator(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulator");
    let mut world = running();
    // 200 requests/s for 15 s.
    group.throughput(Throughput::Elements(3000));
    group.bench_function("requests", |b| b.iter(|| step(&mut world)));
    group.throughput(Throughput::Elements(1));
    group.bench_function("environment steps", |b| b.iter(|| step(&mut world)));
    group.finish();
}

/// Decisions in a row: as many as the HPA's stabilisation window remembers, whose log grows until it is reset.
const WINDOW: u64 = 20;

fn decisions(c: &mut Criterion) {
    let mut group = c.benchmark_group("decisions");
    group.throughput(Throughput::Elements(WINDOW));
    let mut many = running();
    for _ in 0..20 {
        let hundred = Decision::scale_to(Replicas::new(100), Reason::rule("bench"));
        many.step(hundred).expect("the episode is not over");
    }
    let mut policy = hpa();
    group.bench_function("hpa, 100 pods", |b| {
        b.iter(|| {
            policy.reset(Seed::root(1));
            for _ in 0..WINDOW {
                black_box(policy.decide(black_box(&many.observe())));
            }
        });
    });
    let world = running();
    let mut policies: [(&str, Box<dyn Policy>); 2] =
        [("hpa", Box::new(hpa())), ("learned over hpa", Box::new(learned()))];
    for (name, policy) in &mut policies {
        group.bench_function(*name, |b| {
            b.iter(|| {
                policy.reset(Seed::root(1));
                for _ in 0..WINDOW {
                    black_box(policy.decide(black_box(&world.observe())));
                }
            });
        });
    }
    group.finish();
}

/// A network of the usual size with fresh weights.
fn learned() -> LearnedPolicy {
    let info = CheckpointInfo {
        scenario: "constant".to_owned(),
        interval: INTERVAL,
        action_space: ActionSpace::residual(),
        net: NetConfig::default(),
        privileged: 0,
        seed: Seed::root(1),
        commit: String::new(),
        episodes_done: 0,
    };
    let checkpoint = Checkpoint::of(&learner(1), info);
    LearnedPolicy::new(&checkpoint, Box::new(hpa())).expect("written by this program")
}

fn learner(total_steps: u64) -> Ppo {
    let initial_logits = ActionSpace::residual().initial_logits();
    let setup = Setup { features: feature_names().len(), privileged: 0, initial_logits, total_steps };
    Ppo::new(PpoConfig::default(), setup, Seed::root(1), Backend::Flex).expect("flex is always there")
}

fn learning(c: &mut Criterion) {
    let mut group = c.benchmark_group("learning");
    group.sample_size(10);
    let (episodes, episode) = (8, Duration::from_secs(1800));
    let steps = episodes * episode.as_secs() / INTERVAL.as_secs();
    group.throughput(Throughput::Elements(steps));
    group.bench_function("ppo steps, simulator included", |b| {
        b.iter(|| {
            let task = || {
                let world = world(episode);
                let weights = world.scenario().weights();
                EncodedTask::new(world, Box::new(hpa()), ActionSpace::residual(), weights, INTERVAL, 0.1)
            };
            let tasks = (0..PpoConfig::default().num_envs).map(|_| task()).collect();
            let mut learner = learner(steps);
            let progress = Progress::fresh(episodes);
            train(&mut learner, tasks, Seed::root, progress, Stepping::Parallel, &mut ())
                .expect("episodes end by themselves")
        });
    });
    group.finish();
}

criterion_group!(benches, simulator, decisions, learning);
criterion_main!(benches);
