//! The two drivers, the simulator's episode loop and the controller, grant the same on the same measurements.

use autoscale_core::environment::{Environment, Outcome};
use autoscale_core::guard::{EnvelopeConfig, FreshnessConfig, LadderConfig, Rung};
use autoscale_core::limits::LimitsConfig;
use autoscale_core::policy::{Decision, Observation, Policy};
use autoscale_core::rollout::{StepSink, run_episode};
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Replicas, RequestRate, Timestamp};
use autoscale_core::validate::Validate;
use autoscale_live::controller::{
    Collected, Command, Controller, ControllerConfig, Deciders, DecisionRecord, Generation, Input,
    Leadership, Mode, Ticket, Workload,
};
use autoscale_policies::guarded::{with_envelope, with_fallback};
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::predictive::{Predictive, PredictiveConfig};
use autoscale_policies::random::RandomPolicy;
use autoscale_policies::service::PodCapacity;
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Shows a controller what the episode loop sees.
struct Shadowing {
    controller: Controller,
    generation: i64,
    spec: Option<Replicas>,
    measured: usize,
    decided: Option<DecisionRecord>,
    rungs: BTreeSet<Rung>,
    writes: u32,
    ticket: Option<Ticket>,
}

impl StepSink for Shadowing {
    fn decided(&mut self, seen: &Observation<'_>, _: &Decision) {
        let now = seen.now;
        if self.spec.replace(seen.workload.spec) != Some(seen.workload.spec) {
            self.generation += 1;
        }
        let workload = Workload {
            generation: Generation::new(self.generation),
            spec: seen.workload.spec,
            status: seen.workload.status,
            rival: None,
            owner: None,
        };
        self.controller.handle(now, Input::Workload(workload));
        let commands = self.controller.handle(now, Input::Wake);
        let round = commands.iter().find_map(|command| match command {
            Command::Collect(round) => Some(*round),
            _ => None,
        });
        let new = seen.history.len() > self.measured;
        self.measured = seen.history.len();
        let collected = Collected {
            round: round.expect("each decision of the loop is a moment to collect"),
            measurement: seen.history.last().filter(|_| new).cloned(),
            pods: Some(seen.pods.to_vec()),
            series: seen.series.to_vec(),
        };
        for command in self.controller.handle(now, Input::Collected(collected)) {
            match command {
                Command::Record(record) => {
                    self.rungs.insert(record.rung);
                    self.decided = Some(std::sync::Arc::unwrap_or_clone(record));
                }
                Command::Scale { ticket, .. } => {
                    self.writes += 1;
                    self.ticket = Some(ticket);
                }
                Command::Collect(_) | Command::WakeAt(_) => {}
            }
        }
    }

    fn stepped(&mut self, outcome: &Outcome) {
        let record = self.decided.take().expect("a decision is recorded");
        assert_eq!(record.granted.replicas, outcome.granted.replicas, "{record:?}");
        if outcome.granted.replicas != record.spec {
            let ticket = self.ticket.take().expect("a change is written");
            self.controller.handle(record.at, Input::Written(ticket, Ok(())));
        }
    }
}

fn agree<P: Policy + Clone + Send + 'static>(policy: &P) {
    // Most scrapes are lost, so that the ladder is climbed both ways.
    let mut config = Scenario::builtin("bursts").expect("built in").config().clone();
    config.metrics.scrape_loss = 0.9;
    let scenario = Arc::new(config.check("bursts", Path::new("")).expect("valid"));
    let freshness = FreshnessConfig { max_age_s: 10, recover_after: 1, ..FreshnessConfig::default() };
    let ladder = LadderConfig { freshness, hold_s: 30, ..LadderConfig::default() };
    let envelope = EnvelopeConfig { reversals_per_hour: 6, ..EnvelopeConfig::default() };
    let fallback = Hpa::new(HpaConfig::default()).expect("valid");
    let limits = scenario.limits();
    let setup = ControllerConfig {
        mode: Mode::Active,
        envelope,
        ladder,
        settle_after: 0,
        history: 10_000,
        ..ControllerConfig::within(LimitsConfig {
            min_replicas: limits.min().get(),
            max_replicas: limits.max().get(),
            max_step_up: None,
            max_step_down: None,
        })
    };
    let mut rungs = BTreeSet::new();
    for k in 0..3 {
        let seed = Seed::root(7).episode(Branch::Test, k);
        let deciders = Deciders {
            name: "under test".into(),
            policy: Box::new(policy.clone()),
            fallback: Some(Box::new(fallback.clone())),
        };
        let mut beside = Shadowing {
            controller: Controller::new(setup.validate().expect("valid"), deciders, seed.child("policy")),
            generation: 0,
            spec: None,
            measured: 0,
            decided: None,
            rungs: BTreeSet::new(),
            writes: 0,
            ticket: None,
        };
        let guarded = with_fallback(policy.clone(), fallback.clone(), ladder.validate().expect("valid"));
        let mut guarded = with_envelope(guarded, envelope.validate().expect("valid"));
        let mut world = World::new(Arc::clone(&scenario), Duration::from_secs(1800));
        beside.controller.handle(Timestamp::ZERO, Input::Leadership(Leadership::Leading));
        run_episode(&mut world, &mut guarded, seed, &mut beside);
        assert_eq!(beside.writes as usize, world.record().scale_events.len());
        assert!(beside.writes > 0, "an episode without a write says little");
        rungs.extend(beside.rungs);
    }
    assert!(rungs.is_superset(&BTreeSet::from([Rung::Policy, Rung::Hold, Rung::Fallback])), "{rungs:?}");
}

#[test]
fn the_hpa_is_granted_the_same_in_both() {
    agree(&Hpa::new(HpaConfig::default()).expect("valid"));
}

#[test]
fn a_forecast_is_granted_the_same_in_both() {
    let capacity = PodCapacity::new(RequestRate::new(35.0).expect("finite"), 2).expect("valid");
    let predictive = Predictive::new(capacity, PredictiveConfig::default(), Duration::from_secs(15));
    agree(&predictive.expect("valid"));
}

#[test]
fn a_random_policy_is_granted_the_same_in_both() {
    agree(&RandomPolicy::new(Duration::from_secs(15)));
}
