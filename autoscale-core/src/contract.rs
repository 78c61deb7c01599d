//! Conformance tests that every policy and every environment must pass; call them from a test.

#![expect(clippy::panic, reason = "these functions are assertions for tests")]

use crate::environment::{Environment, EpisodeOver};
use crate::policy::{Cadence, Decision, Observation, Policy, Reason};
use crate::rollout::{StepSink, run_episode};
use crate::seed::Seed;
use std::time::Duration;

#[derive(Default)]
struct Decisions(Vec<Decision>);

impl StepSink for Decisions {
    fn decided(&mut self, _: &Observation<'_>, decision: &Decision) {
        self.0.push(*decision);
    }
    fn stepped(&mut self, _: &crate::environment::Outcome) {}
}

/// A policy answers the same to the same episode, also after another episode in between, and has a
/// positive period.
///
/// # Panics
/// When it does not.
pub fn policy_is_deterministic<E: Environment, P: Policy>(mut world: E, mut policy: P) {
    assert!(policy.cadence().period > Duration::ZERO, "a policy's period is positive");
    let mut run = |seed| {
        let mut decisions = Decisions::default();
        let totals = run_episode(&mut world, &mut policy, Seed::root(seed), &mut decisions);
        assert_eq!(totals.steps as usize, decisions.0.len());
        assert!(totals.steps > 0, "the episode has steps");
        decisions.0
    };
    let first = run(1);
    run(2);
    assert_eq!(run(1), first, "reset forgets everything, and equal seeds give equal answers");
}

/// An environment repeats itself on equal seeds, ends, refuses steps after its end, keeps its last
/// observation readable, and accounts for every request.
///
/// # Panics
/// When it does not.
pub fn environment_is_sound<E: Environment>(mut world: E, cadence: Cadence) {
    let hold = Decision::hold(Reason::rule("contract"));
    let mut run = |seed| {
        world.reset(Seed::root(seed), cadence);
        let mut steps = Vec::new();
        let end = loop {
            let before = world.observe().now;
            match world.step(hold) {
                Ok(outcome) => {
                    assert!(world.observe().now > before, "time goes on");
                    steps.push(outcome);
                    if let Some(end) = outcome.end {
                        break end;
                    }
                }
                Err(EpisodeOver) => panic!("over without having said so"),
            }
        };
        assert_eq!(world.step(hold), Err(EpisodeOver), "no step after the end");
        let observed = world.observe();
        assert!(observed.history.windows(2).all(|w| w[0].at < w[1].at), "history is in order");
        let record = world.record();
        let sum = record.requests();
        assert_eq!(sum.arrived, sum.in_time + sum.violations(), "every request is in time or a violation");
        assert_eq!(sum.arrived, record.totals.arrivals);
        assert_eq!(sum.violations(), record.totals.violations);
        (steps, end, record.clone())
    };
    let first = run(1);
    assert_ne!(run(2).2, first.2, "different seeds give different episodes");
    assert_eq!(run(1), first, "equal seeds give equal episodes");
}
