//! The default world leaves something to be won: one that knows the load ahead is clearly cheaper than the
//! best constant count and than the default HPA.

use autoscale_core::environment::Environment;
use autoscale_core::policy::Policy;
use autoscale_core::rollout::run_episode;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Replicas, Utilization};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::clairvoyant::clairvoyant_schedule;
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use rayon::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const EPISODES: u64 = 30;

/// Costs of each episode of a branch under the policy that `make` makes for its seed.
fn costs<P: Policy>(
    scenario: &Arc<Scenario>,
    length: Duration,
    branch: Branch,
    make: impl Fn(Seed) -> P + Sync,
) -> Vec<f64> {
    (0..EPISODES)
        .into_par_iter()
        .map(|k| {
            let seed = Seed::root(1).episode(branch, k);
            let mut world = World::new(Arc::clone(scenario), length);
            run_episode(&mut world, &mut make(seed), seed, &mut ());
            -scenario.weights().price(&world.record().totals).total()
        })
        .collect()
}

/// Upper end of the two-sided 95 % interval of mean(a − share × b), by Student's t with 29 degrees of freedom.
fn upper(a: &[f64], b: &[f64], share: f64) -> f64 {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - share * b).collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0);
    mean + 2.045 * (variance / n).sqrt()
}

#[test]
fn the_default_world_is_worth_scaling_for() {
    let scenario = Arc::new(Scenario::builtin("match-day").unwrap());
    let (short, long) = (scenario.training_episode(), scenario.evaluation_episode());
    let interval = scenario.control_interval();

    let constant = |n| move |_| Fixed::new(Replicas::new(n), interval);
    let total = |n| costs(&scenario, short, Branch::Train, constant(n)).iter().sum::<f64>();
    let best = [14, 18, 22, 26, 30, 36].into_iter().min_by(|&a, &b| total(a).total_cmp(&total(b))).unwrap();
    let constant = costs(&scenario, long, Branch::Test, constant(best));

    let hpa = Hpa::new(HpaConfig::default()).unwrap();
    let hpa = costs(&scenario, long, Branch::Test, |_| hpa.clone());

    let busy = Utilization::from_fraction(0.65);
    let knowing = |seed| Schedule::new(clairvoyant_schedule(&scenario, seed, long, busy), interval);
    let clairvoyant = costs(&scenario, long, Branch::Test, knowing);

    // At most nine tenths of either, and surely less than all of it.
    let sum = |costs: &[f64]| costs.iter().sum::<f64>();
    for (name, rival) in [(format!("{best} pods"), &constant), ("the HPA".to_owned(), &hpa)] {
        let ratio = sum(&clairvoyant) / sum(rival);
        assert!(ratio <= 0.9, "{ratio:.3} of {name}");
        assert!(upper(&clairvoyant, rival, 1.0) < 0.0, "the interval of the ratio to {name} contains 1");
    }
}
