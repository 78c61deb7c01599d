//! Two engines, one world: on the same seed, the fluid engine shows, does and costs what the request engine does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how far apart they are")]

use autoscale_core::contract::environment_is_sound;
use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Policy};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::run_episode;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Replicas, Utilization};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::clairvoyant::clairvoyant_schedule;
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::{Engine, Scenario};
use rayon::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

fn both(name: &str) -> [Arc<Scenario>; 2] {
    let scenario = Scenario::builtin(name).unwrap();
    [Engine::Request, Engine::Fluid].map(|engine| Arc::new(scenario.with_engine(engine).unwrap()))
}

fn episode(scenario: &Arc<Scenario>, seed: Seed, mut policy: impl Policy) -> EpisodeRecord {
    let mut world = Simulator::new(Arc::clone(scenario), HOUR).unwrap();
    run_episode(&mut world, &mut policy, seed, &mut ());
    world.record().clone()
}

#[test]
fn the_fluid_world_is_sound() {
    let [_, fluid] = both("match-day");
    for cadence in [Cadence::every(INTERVAL), Cadence::every(Duration::from_secs(2))] {
        environment_is_sound(Simulator::new(Arc::clone(&fluid), Duration::from_secs(600)).unwrap(), cadence);
    }
}

#[test]
fn a_branch_goes_on_as_its_trunk_does() {
    let [_, fluid] = both("match-day");
    let hpa = Hpa::new(HpaConfig::default()).unwrap();
    let mut world = Simulator::new(fluid, HOUR).unwrap();
    world.reset(Seed::root(5), hpa.cadence());
    let mut step = |world: &mut Simulator, policy: &mut Hpa| {
        let decision = policy.decide(&world.observe());
        world.step(decision).unwrap()
    };
    let mut trunk_policy = hpa;
    for _ in 0..100 {
        step(&mut world, &mut trunk_policy);
    }
    let (mut branch, mut branch_policy) = (world.clone(), trunk_policy.clone());
    for _ in 0..100 {
        assert_eq!(step(&mut world, &mut trunk_policy), step(&mut branch, &mut branch_policy));
    }
    assert_eq!(world.observe().history, branch.observe().history);
    assert_eq!(world.record(), branch.record());
}

/// Pods come and go at the same times, whatever requests do.
#[test]
fn pods_live_alike() {
    let [request, fluid] = both("match-day");
    let seed = Seed::root(3);
    let counts: Vec<Replicas> = [12, 20, 20, 14, 9, 30, 18, 5].iter().map(|&n| Replicas::new(n)).collect();
    let plan: Vec<Replicas> = counts.iter().flat_map(|&n| [n; 30]).collect();
    let run = |scenario| episode(scenario, seed, Schedule::new(plan.clone(), INTERVAL));
    let (truth, flow) = (run(&request), run(&fluid));
    assert_eq!(truth.initial_replicas, flow.initial_replicas);
    assert_eq!(truth.scale_events, flow.scale_events);
    for (truth, flow) in truth.intervals.iter().zip(&flow.intervals) {
        assert_eq!(truth.start, flow.start);
        assert_eq!((truth.replicas.ready, truth.replicas.starting), (flow.replicas.ready, flow.replicas.starting));
        assert!((truth.offered.per_second() - flow.offered.per_second()).abs() < 1e-6);
        assert!((truth.mean_ready - flow.mean_ready).abs() < 1e-9);
        // How long a draining pod still works is random.
        assert!((truth.mean_pods - flow.mean_pods).abs() < 1.5, "{} {}", truth.mean_pods, flow.mean_pods);
    }
}

/// What a policy sees: over an hour on average the same, interval by interval close.
#[test]
fn metrics_look_alike() {
    let [request, fluid] = both("match-day");
    let seed = Seed::root(4);
    let mut worlds = [request, fluid].map(|s| Simulator::new(s, HOUR).unwrap());
    let mut apart = [0.0; 6];
    let mut n = 0.0;
    for world in &mut worlds {
        world.reset(seed, Cadence::every(INTERVAL));
    }
    let plan = [14, 14, 20, 16, 12, 18].map(Replicas::new);
    for step in 0..240usize {
        for world in &mut worlds {
            let target = plan[step / 40];
            let reason = autoscale_core::policy::Reason::rule("plan");
            world.step(autoscale_core::policy::Decision::scale_to(target, reason)).unwrap();
        }
        let [truth, flow] = [&worlds[0], &worlds[1]].map(|w| w.observe().history.last().unwrap().clone());
        let p95 = |m: &autoscale_core::measurement::Measurement| m.latency.unwrap().p95.as_secs_f64();
        let cpu = |m: &autoscale_core::measurement::Measurement| m.cpu_utilization.unwrap().fraction();
        let pairs = [
            (truth.arrival_rate.per_second(), flow.arrival_rate.per_second()),
            (cpu(&truth), cpu(&flow)),
            (truth.in_flight, flow.in_flight),
            (p95(&truth), p95(&flow)),
            (truth.memory_bytes as f64, flow.memory_bytes as f64),
            (truth.age.as_secs_f64() + 1.0, flow.age.as_secs_f64() + 1.0),
        ];
        for (sum, (a, b)) in apart.iter_mut().zip(pairs) {
            *sum += (b / a - 1.0).abs();
        }
        n += 1.0;
    }
    let apart = apart.map(|sum| sum / n);
    println!("mean relative difference of rate, CPU, in flight, p95, memory, age: {apart:.3?}");
}

/// Mean cost of an hour over seeds.
fn cost<P: Policy>(scenario: &Arc<Scenario>, make: impl Fn(Seed) -> P + Sync) -> f64 {
    let cost = |k| {
        let seed = Seed::root(1).episode(Branch::Validate, k);
        -scenario.weights().price(&episode(scenario, seed, make(seed)).totals).total()
    };
    (0..10u64).into_par_iter().map(cost).sum::<f64>() / 10.0
}

#[test]
fn costs_are_alike() {
    for name in Scenario::builtin_names() {
        let all = both(name).map(|scenario| {
            let hpa = |target| {
                let config = HpaConfig { target_utilization_percent: target, ..HpaConfig::default() };
                Hpa::new(config).unwrap()
            };
            let (fifty, eighty) = (hpa(50), hpa(80));
            let knowing = |seed| {
                let busy = Utilization::from_fraction(0.65);
                Schedule::new(clairvoyant_schedule(&scenario, seed, HOUR, busy), INTERVAL)
            };
            [
                cost(&scenario, |_| Fixed::new(Replicas::new(14), INTERVAL)),
                cost(&scenario, |_| fifty.clone()),
                cost(&scenario, |_| eighty.clone()),
                cost(&scenario, knowing),
            ]
        });
        println!("{name}: {all:.2?}");
    }
}
