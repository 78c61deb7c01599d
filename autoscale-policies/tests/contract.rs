//! Every policy keeps the contract, in a simulated world.

use autoscale_core::contract::policy_is_deterministic;
use autoscale_core::guard::{EnvelopeConfig, FreshnessConfig};
use autoscale_core::policy::Policy;
use autoscale_core::reward::RewardWeights;
use autoscale_core::units::{Replicas, RequestRate, Utilization};
use autoscale_core::validate::Validate;
use autoscale_policies::fixed::Fixed;
use autoscale_policies::guarded::{with_envelope, with_fallback};
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::keda::{Keda, KedaConfig, KedaPolicy};
use autoscale_policies::lcp::{Lcp, LcpConfig};
use autoscale_policies::phpa::{Phpa, PhpaConfig};
use autoscale_policies::predictive::{Predictive, PredictiveConfig};
use autoscale_policies::random::RandomPolicy;
use autoscale_policies::ratio::RatioRule;
use autoscale_policies::schedule::Schedule;
use autoscale_policies::service::PodCapacity;
use autoscale_policies::staffing::{SquareRoot, SquareRootConfig};
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

fn capacity() -> PodCapacity {
    PodCapacity::new(RequestRate::new(35.0).expect("finite"), 2).expect("valid")
}

fn predictive() -> Predictive {
    Predictive::new(capacity(), PredictiveConfig::default(), PERIOD).expect("the default is valid")
}

#[test]
fn predictive_rule() {
    keeps_the_contract(predictive());
}

#[test]
fn square_root_staffing() {
    keeps_the_contract(SquareRoot::new(capacity(), SquareRootConfig::default(), PERIOD).expect("valid"));
}

#[test]
fn lazy_capacity_provisioning() {
    keeps_the_contract(
        Lcp::new(capacity(), LcpConfig::default(), RewardWeights::default(), PERIOD).expect("valid"),
    );
}

#[test]
fn decorators() {
    let envelope = EnvelopeConfig::default().validate().expect("valid");
    keeps_the_contract(with_envelope(predictive(), envelope));
    let gate = FreshnessConfig { max_age_s: 25, recover_after: 2 }.validate().expect("valid");
    keeps_the_contract(with_fallback(RandomPolicy::new(PERIOD), predictive(), gate));
}

#[test]
fn keda() {
    keeps_the_contract(KedaPolicy::new(Keda::new(KedaConfig::default()).expect("the default is valid")));
}

#[test]
fn predictive_hpa() {
    keeps_the_contract(Phpa::new(PhpaConfig::default()).expect("the default is valid"));
}
