//! What happened in an episode, moment by moment: plain data.

use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::learned::{Deliberation, LearnedPolicy};
use autoscale_core::environment::{Environment, Outcome};
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::reward::{RewardTerms, RewardWeights};
use autoscale_core::rollout::{StepSink, run_episode};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// An episode under one policy.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    /// The policy's name.
    pub(crate) policy: String,
    /// Length of a control interval.
    pub(crate) interval: Duration,
    /// The latency objective.
    pub(crate) slo: Duration,
    /// The ends of its control intervals, in order.
    pub(crate) moments: Vec<Moment>,
    /// All decisions, in order.
    pub(crate) steps: Vec<Step>,
    /// The actions of a learned policy.
    pub(crate) actions: Option<Actions>,
}

/// The end of a control interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) offered: RequestRate,
    /// `None` where nothing was answered.
    pub(crate) p95: Option<Duration>,
    pub(crate) desired: Replicas,
    pub(crate) ready: Replicas,
    /// From the episode's start to here.
    pub(crate) totals: Totals,
}

/// Sums since the episode's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Totals {
    /// Requests that arrived.
    pub(crate) requests: u64,
    /// Those that missed the SLO.
    pub(crate) violations: u64,
    /// Pod-hours paid for.
    pub(crate) pod_hours: f64,
    /// Changes of the wished count.
    pub(crate) scale_events: usize,
    /// What all this costs, negative, at the scenario's prices.
    #[serde(rename = "return")]
    pub(crate) earned: f64,
}

impl Totals {
    /// Requests that missed the SLO, in percent of those that arrived.
    pub(crate) fn violations_percent(&self) -> f64 {
        100.0 * self.violations as f64 / self.requests.max(1) as f64
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    /// `spec.replicas` before and after.
    pub(crate) from: Replicas,
    pub(crate) to: Replicas,
    pub(crate) reason: Reason,
    /// What held it back: the limits of the workload or, if they did not, the policy's own rules.
    pub(crate) bound: Bound,
    /// What a learned policy weighed.
    pub(crate) weighed: Option<Weighed>,
}

/// What a learned policy weighed for a decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighed {
    /// The action taken.
    pub(crate) action: usize,
    /// What speaks for each action, [`Measure`]; `None` for those that were not allowed.
    pub(crate) weights: Vec<Option<f64>>,
}

/// The actions of a learned policy.
#[derive(Clone, Debug)]
pub(crate) struct Actions {
    /// A name each.
    pub(crate) names: Vec<String>,
    pub(crate) measure: Measure,
}

/// What is known of each action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Its probability in training; the likeliest is taken.
    Probability,
    /// Its value, less that of the best.
    Value,
}

/// A policy whose weighing can be seen, if it is a learned one.
pub(crate) enum Minds {
    Open(Box<LearnedPolicy>, Actions),
    Closed(Box<dyn Policy>),
}

impl Minds {
    /// The policy of this checkpoint.
    pub(crate) fn open(policy: LearnedPolicy, checkpoint: &Checkpoint) -> Self {
        let manifest = &checkpoint.manifest;
        let measure = if manifest.algorithm == "dqn" { Measure::Value } else { Measure::Probability };
        Self::Open(Box::new(policy), Actions { names: manifest.action_table.clone(), measure })
    }
}

/// Keeps what was weighed at each decision.
struct Watched {
    mind: Minds,
    weighed: Vec<Option<Weighed>>,
}

impl Policy for Watched {
    fn cadence(&self) -> Cadence {
        match &self.mind {
            Minds::Open(policy, _) => policy.cadence(),
            Minds::Closed(policy) => policy.cadence(),
        }
    }

    fn reset(&mut self, seed: Seed) {
        match &mut self.mind {
            Minds::Open(policy, _) => policy.reset(seed),
            Minds::Closed(policy) => policy.reset(seed),
        }
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        match &mut self.mind {
            Minds::Open(policy, actions) => {
                let (decision, deliberation) = policy.deliberate(observation);
                self.weighed.push(Some(Weighed::of(&deliberation, actions.measure)));
                decision
            }
            Minds::Closed(policy) => {
                self.weighed.push(None);
                policy.decide(observation)
            }
        }
    }
}

impl Weighed {
    pub(super) fn of(deliberation: &Deliberation<'_>, measure: Measure) -> Self {
        let action = usize::from(deliberation.action.0);
        // Of logits and of values only differences mean something.
        let best = f64::from(deliberation.preferences[action]);
        let less = |(k, &p): (usize, &f32)| deliberation.mask.allows(k).then(|| f64::from(p) - best);
        let differences = deliberation.preferences.iter().enumerate().map(less);
        let weights = match measure {
            Measure::Value => differences.collect(),
            Measure::Probability => {
                let odds: Vec<Option<f64>> = differences.map(|d| d.map(f64::exp)).collect();
                let sum: f64 = odds.iter().flatten().sum();
                odds.into_iter().map(|o| o.map(|o| o / sum)).collect()
            }
        };
        Self { action, weights }
    }

    /// The best of the other actions that were allowed, and its weight.
    pub(crate) fn runner_up(&self) -> Option<(usize, f64)> {
        let others = self.weights.iter().enumerate().filter(|&(k, _)| k != self.action);
        others
            .filter_map(|(k, w)| Some((k, (*w)?)))
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

/// Notes each decision and what it became.
struct Notes<'a, F> {
    steps: Vec<Step>,
    progress: &'a F,
}

impl<F: Fn(Duration)> StepSink for Notes<'_, F> {
    fn decided(&mut self, seen: &Observation<'_>, decision: &Decision) {
        (self.progress)(seen.now.since(Timestamp::default()));
        let spec = seen.workload.spec;
        let Reason { bound, .. } = decision.reason;
        self.steps.push(Step {
            at: seen.now,
            from: spec,
            to: spec,
            reason: decision.reason,
            bound,
            weighed: None,
        });
    }

    fn stepped(&mut self, outcome: &Outcome) {
        if let Some(step) = self.steps.last_mut() {
            step.to = outcome.granted.replicas;
            if outcome.granted.bound != Bound::None {
                step.bound = outcome.granted.bound;
            }
        }
    }
}

/// Plays one episode of a policy to its end; `progress` is told the simulated time.
pub(crate) fn play(
    name: String,
    mind: Minds,
    world: &mut impl Environment,
    seed: Seed,
    prices: &RewardWeights,
    progress: &impl Fn(Duration),
) -> Episode {
    let mut policy = Watched { mind, weighed: Vec::new() };
    let mut notes = Notes { steps: Vec::new(), progress };
    run_episode(world, &mut policy, seed, &mut notes);
    for (step, weighed) in notes.steps.iter_mut().zip(policy.weighed) {
        step.weighed = weighed;
    }
    let actions = match policy.mind {
        Minds::Open(_, actions) => Some(actions),
        Minds::Closed(_) => None,
    };
    let record = world.record();
    Episode {
        policy: name,
        interval: record.interval,
        slo: record.slo,
        moments: moments(record, prices),
        steps: notes.steps,
        actions,
    }
}

/// The record, summed up to the end of each interval.
fn moments(record: &EpisodeRecord, prices: &RewardWeights) -> Vec<Moment> {
    let mut sum = RewardTerms::default();
    let mut events = record.scale_events.iter().peekable();
    let mut count = 0;
    let hours = record.interval.as_secs_f64() / 3600.0;
    let mut at = |k: usize| {
        let interval = &record.intervals[k];
        sum.pod_hours += interval.mean_pods * hours;
        sum.violations += interval.requests.violations();
        sum.arrivals += interval.requests.arrived;
        let end = interval.start + record.interval;
        while let Some(event) = events.next_if(|event| event.at < end) {
            sum.churn += event.from.abs_diff(event.to);
            count += 1;
        }
        Moment {
            offered: interval.offered,
            p95: interval.latency.map(|l| l.p95),
            desired: interval.replicas.desired,
            ready: interval.replicas.ready,
            totals: Totals {
                requests: sum.arrivals,
                violations: sum.violations,
                pod_hours: sum.pod_hours,
                scale_events: count,
                earned: prices.price(&sum).total(),
            },
        }
    };
    (0..record.intervals.len()).map(&mut at).collect()
}

impl Episode {
    /// Simulated time covered.
    pub(crate) fn length(&self) -> Duration {
        self.interval * self.moments.len() as u32
    }

    /// The moments that have been at `time` after the start.
    pub(crate) fn past(&self, time: Duration) -> &[Moment] {
        let count = (time.as_secs_f64() / self.interval.as_secs_f64()) as usize;
        &self.moments[..count.min(self.moments.len())]
    }

    /// The decisions that have been made at `time` after the start.
    pub(crate) fn decided(&self, time: Duration) -> &[Step] {
        let begin = Timestamp::default();
        &self.steps[..self.steps.partition_point(|step| step.at <= begin + time)]
    }

    /// The wished count at `time` after the start.
    pub(crate) fn desired(&self, time: Duration) -> Option<Replicas> {
        self.decided(time).last().map(|step| step.to)
    }
}
