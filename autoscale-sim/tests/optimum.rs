//! The optimum against the truth where all schedules can be tried, and against policies where they cannot.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how near the bounds are")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Policy, Reason};
use autoscale_core::reward::RewardTerms;
use autoscale_core::rollout::run_episode;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::lcp::{Lcp, LcpConfig};
use autoscale_policies::predictive::{Predictive, PredictiveConfig};
use autoscale_policies::random::RandomPolicy;
use autoscale_policies::schedule::Schedule;
use autoscale_policies::service::PodCapacity;
use autoscale_policies::staffing::{SquareRoot, SquareRootConfig};
use autoscale_sim::optimum::{Optimum, bound, cost, optimum};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use rand::RngExt;
use rayon::prelude::*;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// A service with at most four pods, for at most six intervals, drawn at random.
fn tiny(k: u64) -> (Arc<Scenario>, Duration) {
    let mut draw = Seed::root(k).child("tiny").stream();
    let intervals: u32 = draw.random_range(3..=6);
    let most: u32 = if intervals == 6 { 3 } else { draw.random_range(2..=4) };
    let [low, high] = [0; 2].map(|_| draw.random_range(4.0..f64::from(most) * 16.0));
    let (at, price) = (draw.random_range(0..intervals) * 15, draw.random_range(0.002..0.02));
    let dispatch = ["random", "least-outstanding", "power-of-two-choices"][draw.random_range(0..3)];
    let ready = draw.random_range(1.0..25.0);
    let text = format!(
        "name = \"tiny\"\nlimits = {{ min_replicas = 1, max_replicas = {most} }}\n\
         load = {{ kind = \"step\", before_rps = {low}, after_rps = {high}, at_s = {at} }}\n\
         prices = {{ pod_hour = 1.0, violation = {price}, churn = 0.0 }}\n\
         [episode]\ncontrol_interval_s = 15\ntraining_s = {0}\nevaluation_s = {0}\nwarmup_s = 30\n\
         [service]\nworkers = 2\ndispatch = \"{dispatch}\"\nqueue_capacity = 50\ntimeout_ms = 2000\n\
         cpu_request_milli = 500\nio_share = 0.6\ndemand = {{ distribution = \"exponential\", mean_ms = 80 }}\n\
         [startup]\nscheduling_median_s = 1.0\nready_median_s = {ready}\nready_sigma = 0.2\nimage_cached = 1.0\n",
        intervals * 15
    );
    let scenario = Scenario::from_toml(&text, "tiny").unwrap_or_else(|e| panic!("{e}"));
    (Arc::new(scenario), Duration::from_secs(u64::from(intervals) * 15))
}

/// The least cost of all schedules, each run by requests; what several have in common is run once.
fn least(world: &World, spent: RewardTerms) -> f64 {
    let limits = *world.scenario().limits();
    let branch = |count: u32| {
        let (mut world, mut spent) = (world.clone(), spent);
        let outcome = world.step(Decision::scale_to(Replicas::new(count), Reason::rule("all"))).unwrap();
        spent += outcome.reward;
        match outcome.end {
            Some(_) => cost(&spent, &world.scenario().weights()),
            None => least(&world, spent),
        }
    };
    (limits.min().get()..=limits.max().get()).map(branch).fold(f64::INFINITY, f64::min)
}

#[test]
fn bound_optimum_and_schedule_are_in_order_where_all_can_be_tried() {
    let instances: Vec<(f64, Optimum)> = (0..200)
        .into_par_iter()
        .map(|k| {
            let (scenario, length) = tiny(k);
            let seed = Seed::root(k);
            let mut world = World::new(Arc::clone(&scenario), length);
            world.reset(seed, Cadence::every(scenario.control_interval()));
            (least(&world, RewardTerms::default()), optimum(&scenario, seed, length, 60).unwrap())
        })
        .collect();
    let mut close = 0;
    for (k, (least, found)) in instances.iter().enumerate() {
        assert!(found.bound <= least + 1e-9, "instance {k}: bound {} above {least}", found.bound);
        assert!(*least <= found.feasible + 1e-9, "instance {k}: {} below {least}", found.feasible);
        close += u32::from(found.feasible <= 1.05 * least);
    }
    let mean = |value: &dyn Fn(&(f64, Optimum)) -> f64| instances.iter().map(value).sum::<f64>() / 200.0;
    let below = mean(&|(least, found)| found.bound / least);
    println!("within 5 % of the optimum in {close} of 200; the bound is {below:.3} of it on average");
    assert!(close >= 160, "the schedule is within 5 % in {close} of 200");
}

#[test]
fn no_policy_is_below_the_bound() {
    let length = Duration::from_secs(1800);
    let interval = Duration::from_secs(15);
    for name in Scenario::builtin_names() {
        let scenario = Arc::new(Scenario::builtin(name).unwrap());
        let capacity = PodCapacity::new(scenario.pod_capacity(), scenario.config().service.workers).unwrap();
        let seed = Seed::root(3).episode(Branch::Validate, 1);
        let found = optimum(&scenario, seed, length, 12).unwrap();
        let prices = scenario.weights();
        let policies: Vec<(&str, Box<dyn Policy>)> = vec![
            ("hpa", Box::new(Hpa::new(HpaConfig::default()).unwrap())),
            ("constant", Box::new(Fixed::new(Replicas::new(14), interval))),
            ("none", Box::new(Fixed::new(Replicas::ONE, interval))),
            ("random", Box::new(RandomPolicy::new(interval))),
            (
                "predictive",
                Box::new(Predictive::new(capacity, PredictiveConfig::default(), interval).unwrap()),
            ),
            (
                "square-root",
                Box::new(SquareRoot::new(capacity, SquareRootConfig::default(), interval).unwrap()),
            ),
            ("lcp", Box::new(Lcp::new(capacity, LcpConfig::default(), prices, interval).unwrap())),
            ("optimum", Box::new(Schedule::new(found.schedule.clone(), interval))),
        ];
        let mut said = format!("{name}: bound {:.2}, gap {:.0} %", found.bound, 100.0 * found.gap());
        for (policy, mut decides) in policies {
            let mut world = World::new(Arc::clone(&scenario), length);
            run_episode(&mut world, &mut decides, seed, &mut ());
            let cost = cost(&world.record().totals, &prices);
            write!(said, ", {policy} {cost:.2}").unwrap();
            assert!(cost >= found.bound, "{name}: {policy} at {cost} is below {}", found.bound);
            if policy == "optimum" {
                assert!((cost - found.feasible).abs() < 1e-9, "the schedule costs what was said");
            }
        }
        println!("{said}");
        assert!(found.bound > 0.0 && bound(&scenario, seed, length) <= found.feasible);
    }
}
