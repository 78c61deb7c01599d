//! Scenarios leave something to be won: one that knows the load ahead is clearly cheaper than the best constant
//! count and than the default HPA. On a constant load there is nothing to know.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much there is to be won")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::Policy;
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

/// Costs of each episode of a branch under the policy that `make` makes for its seed.
fn costs<P: Policy>(
    scenario: &Arc<Scenario>,
    (episodes, length): (u64, Duration),
    branch: Branch,
    make: impl Fn(Seed) -> P + Sync,
) -> Vec<f64> {
    (0..episodes)
        .into_par_iter()
        .map(|k| {
            let seed = Seed::root(1).episode(branch, k);
            let mut world = Simulator::new(Arc::clone(scenario), length).unwrap();
            run_episode(&mut world, &mut make(seed), seed, &mut ());
            -scenario.weights().price(&world.record().totals).total()
        })
        .collect()
}

/// Upper end of the two-sided 95 % interval of the ratio a / b of paired episodes, which are of very different
/// sizes, by Student's t on its logarithm, at least ten episodes.
fn upper(a: &[f64], b: &[f64]) -> f64 {
    let logs: Vec<f64> = a.iter().zip(b).map(|(a, b)| libm::log(a / b)).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0);
    // The quantile of 9 degrees of freedom; with more it would be smaller.
    libm::exp(mean + 2.262 * (variance / n).sqrt())
}

/// Costs of the best constant count, of the default HPA and of the best clairvoyant schedule, each chosen on
/// training episodes, which may be flows, and judged on others, by requests.
struct Costs {
    constant: Vec<f64>,
    hpa: Vec<f64>,
    clairvoyant: Vec<f64>,
}

fn judge(scenario: &Arc<Scenario>, training: (u64, Duration), test: (u64, Duration)) -> Costs {
    let interval = scenario.control_interval();
    let sum = |costs: Vec<f64>| costs.iter().sum::<f64>();
    let flow = Arc::new(scenario.with_engine(Engine::Fluid).unwrap());
    let constant = |n| move |_| Fixed::new(Replicas::new(n), interval);
    let total = |n: &u32| sum(costs(&flow, training, Branch::Train, constant(*n)));
    let counts = [8, 10, 12, 15, 18, 22, 28];
    let best = counts.iter().min_by(|a, b| total(a).total_cmp(&total(b))).copied().unwrap_or(1);

    let hpa = Hpa::new(HpaConfig::default()).unwrap();

    let knowing = |busy: f64, length| {
        let busy = Utilization::from_fraction(busy);
        move |seed| Schedule::new(clairvoyant_schedule(scenario, seed, length, busy), interval)
    };
    let total = |busy: &f64| sum(costs(&flow, training, Branch::Train, knowing(*busy, training.1)));
    let levels = [0.5, 0.65, 0.8];
    let busy = levels.iter().min_by(|a, b| total(a).total_cmp(&total(b))).copied().unwrap_or(0.65);
    Costs {
        constant: costs(scenario, test, Branch::Test, constant(best)),
        hpa: costs(scenario, test, Branch::Test, |_| hpa.clone()),
        clairvoyant: costs(scenario, test, Branch::Test, knowing(busy, test.1)),
    }
}

fn ratio(a: &[f64], b: &[f64]) -> f64 {
    a.iter().sum::<f64>() / b.iter().sum::<f64>()
}

/// At most nine tenths of either, and surely less than all of it.
fn is_worth_it(name: &str, costs: &Costs) {
    for (rival, theirs) in [("best constant count", &costs.constant), ("HPA", &costs.hpa)] {
        let ratio = ratio(&costs.clairvoyant, theirs);
        println!("{name}: clairvoyant over {rival} {ratio:.3}");
        assert!(ratio <= 0.9, "{name}: {ratio:.3} of the {rival}");
        let end = upper(&costs.clairvoyant, theirs);
        assert!(end < 1.0, "{name}: the interval of the ratio to the {rival} contains 1");
    }
}

#[test]
fn the_default_world_is_worth_scaling_for() {
    let scenario = Arc::new(Scenario::builtin("match-day").unwrap());
    let (short, long) = (scenario.training_episode(), scenario.evaluation_episode());
    is_worth_it("match-day", &judge(&scenario, (10, short), (30, long)));
}

#[test]
fn so_are_the_other_scenarios() {
    for name in Scenario::builtin_names().filter(|&name| name != "match-day") {
        let scenario = Arc::new(Scenario::builtin(name).unwrap());
        let length = scenario.training_episode();
        let costs = judge(&scenario, (4, length), (20, length));
        if name == "constant" {
            let ratio = ratio(&costs.constant, &costs.clairvoyant);
            println!("{name}: best constant count over clairvoyant {ratio:.3}");
            assert!(ratio <= 1.03, "{name}: {ratio:.3}");
        } else {
            is_worth_it(name, &costs);
        }
    }
}
