//! The one episode loop.

use crate::environment::{Environment, EpisodeEnd, Outcome};
use crate::policy::{Decision, Observation, Policy};
use crate::reward::RewardTerms;
use crate::seed::Seed;

/// Looks on while an episode runs.
pub trait StepSink {
    /// Called once a step with what was seen, what was decided, and what came of it. The observation is
    /// the one that the decision was made on.
    fn decided(&mut self, observation: &Observation<'_>, decision: &Decision);

    /// Called after the environment moved on.
    fn stepped(&mut self, outcome: &Outcome);
}

/// Looks at nothing.
impl StepSink for () {
    fn decided(&mut self, _: &Observation<'_>, _: &Decision) {}
    fn stepped(&mut self, _: &Outcome) {}
}

/// Totals of one episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpisodeTotals {
    /// Decisions made.
    pub steps: u64,
    /// Sum of the raw reward terms.
    pub reward: RewardTerms,
    /// How it ended.
    pub end: EpisodeEnd,
}

/// Runs one episode of `policy` in `environment`. What truly happened is in [`Environment::record`] after.
pub fn run_episode<E: Environment + ?Sized, P: Policy + ?Sized>(
    environment: &mut E,
    policy: &mut P,
    seed: Seed,
    sink: &mut impl StepSink,
) -> EpisodeTotals {
    policy.reset(seed.child("policy"));
    environment.reset(seed, policy.cadence());
    run_from_start(environment, policy, sink)
}

/// The same in an environment that was reset for the policy's cadence, with a policy that was reset.
pub fn run_from_start<E: Environment + ?Sized, P: Policy + ?Sized>(
    environment: &mut E,
    policy: &mut P,
    sink: &mut impl StepSink,
) -> EpisodeTotals {
    let mut totals = EpisodeTotals { steps: 0, reward: RewardTerms::default(), end: EpisodeEnd::Truncated };
    loop {
        let observation = environment.observe();
        let decision = policy.decide(&observation);
        sink.decided(&observation, &decision);
        // An environment that is over before its first step leaves the totals empty.
        let Ok(outcome) = environment.step(decision) else { return totals };
        sink.stepped(&outcome);
        totals.steps += 1;
        totals.reward += outcome.reward;
        if let Some(end) = outcome.end {
            totals.end = end;
            return totals;
        }
    }
}
