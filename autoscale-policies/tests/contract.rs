//! Every policy keeps the contract, in a simulated world.

use autoscale_core::contract::policy_is_deterministic;
use autoscale_core::policy::Policy;
use autoscale_core::units::{Replicas, Utilization};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::random::RandomPolicy;
use autoscale_policies::ratio::RatioRule;
use autoscale_policies::schedule::Schedule;
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use std::sync::Arc;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(15);

fn keeps_the_contract(policy: impl Policy) {
    let scenario = Arc::new(Scenario::builtin("bursts").expect("built in"));
    policy_is_deterministic(World::new(scenario, Duration::from_secs(900)), policy);
}

#[test]
fn fixed() {
    keeps_the_contract(Fixed::new(Replicas::new(7), PERIOD));
}

#[test]
fn random() {
    keeps_the_contract(RandomPolicy::new(PERIOD));
}

#[test]
fn schedule() {
    keeps_the_contract(Schedule::new(vec![Replicas::new(3), Replicas::new(9)], PERIOD));
}

#[test]
fn ratio_rule() {
    keeps_the_contract(RatioRule::new(Utilization::from_fraction(0.8), PERIOD));
}

#[test]
fn hpa() {
    keeps_the_contract(Hpa::new(HpaConfig::default()).expect("the default is valid"));
}
