//! Every policy keeps the contract, in a simulated world.

use autoscale_core::contract::policy_is_deterministic;
use autoscale_core::environment::Environment;
use autoscale_core::guard::{EnvelopeConfig, FreshnessConfig, LadderConfig};
use autoscale_core::policy::Policy;
use autoscale_core::record::ScaleEvent;
use autoscale_core::reward::RewardWeights;
use autoscale_core::rollout::run_episode;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, Utilization};
use autoscale_core::validate::Validate;
use autoscale_policies::cron::{CronFit, CronPolicy};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::guarded::{with_envelope, with_fallback};
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::keda::{Keda, KedaConfig, KedaPolicy};
use autoscale_policies::kpa::{KpaConfig, KpaPolicy};
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
fn cron() {
    let capacity = PodCapacity::new(RequestRate::new(20.0).expect("a rate"), 2).expect("a pod");
    let range = (Replicas::ONE, Replicas::new(100));
    let scenario = Scenario::builtin("batches").expect("built in");
    let record = scenario.recorded_load(Seed::root(1), Duration::from_secs(86_400));
    let schedule = CronFit { slot_minutes: 5, ..CronFit::default() }.fit(&record, capacity, range);
    keeps_the_contract(CronPolicy::new(schedule.expect("in range")).expect("in range"));
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
    let freshness = FreshnessConfig { max_age_s: 25, recover_after: 2, ..FreshnessConfig::default() };
    let ladder = LadderConfig { freshness, hold_s: 30, ..LadderConfig::default() }.validate().expect("valid");
    keeps_the_contract(with_fallback(RandomPolicy::new(PERIOD), predictive(), ladder));
}

#[test]
fn keda() {
    keeps_the_contract(KedaPolicy::new(Keda::new(KedaConfig::default()).expect("the default is valid")));
}

#[test]
fn predictive_hpa() {
    keeps_the_contract(Phpa::new(PhpaConfig::default()).expect("the default is valid"));
}

#[test]
fn knative() {
    let config = KpaConfig { target: 1.4, total: 2.0, ..KpaConfig::default() };
    keeps_the_contract(KpaPolicy::new(config).expect("valid"));
}

/// A revision whose load doubles at once: the panic window sees it within seconds, and in panic nothing goes down.
#[test]
fn knative_panics_at_a_sudden_load() {
    let text = Scenario::builtin_source("step").expect("built in").replace("at_s = 1200", "at_s = 60");
    let text = text.replace("after_rps = 300", "after_rps = 450");
    let scenario = Arc::new(Scenario::from_toml(&text, "step").expect("valid"));
    let mut world = World::new(scenario, Duration::from_secs(600));
    let config = KpaConfig { target: 1.4, total: 2.0, ..KpaConfig::default() };
    let mut kpa = KpaPolicy::new(config).expect("valid");
    run_episode(&mut world, &mut kpa, Seed::root(1), &mut ());
    let counts = |from: i64, to: i64| {
        let within = |e: &&ScaleEvent| (from..to).contains(&(e.at.as_secs_f64() as i64));
        world.record().scale_events.iter().filter(within).map(|e| e.to.get()).collect::<Vec<u32>>()
    };
    let (before, surge) = (counts(0, 60), counts(60, 75));
    let most_before = before.iter().copied().max().unwrap_or(0).max(world.record().initial_replicas.get());
    assert!(surge.iter().any(|&n| n > most_before), "{before:?}, then {surge:?}");
    assert!(counts(60, 120).is_sorted(), "never down in panic: {:?}", counts(60, 120));
}
