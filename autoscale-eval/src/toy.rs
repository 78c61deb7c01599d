//! The smallest world and policy, for tests.

use autoscale_core::environment::{Environment, EpisodeEnd, EpisodeOver, Outcome};
use autoscale_core::limits::ScalingLimits;
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, Policy, Reason, WorkloadStatus};
use autoscale_core::record::{EPISODE_RECORD_VERSION, EpisodeRecord};
use autoscale_core::reward::RewardTerms;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, TimeOfWeek, Timestamp};
use std::time::Duration;

/// Episodes of one step, whose record keeps the seed and what was asked for.
#[derive(Clone)]
pub(crate) struct OneStep {
    limits: ScalingLimits,
    record: EpisodeRecord,
}

/// A world of them.
pub(crate) fn one_step() -> OneStep {
    let record = EpisodeRecord {
        version: EPISODE_RECORD_VERSION,
        seed: Seed::root(0),
        interval: Duration::from_secs(15),
        slo: Duration::from_millis(500),
        pod_capacity: RequestRate::new(10.0).unwrap(),
        replica_range: (Replicas::ONE, Replicas::new(50)),
        initial_replicas: Replicas::ONE,
        intervals: Vec::new(),
        scale_events: Vec::new(),
        totals: RewardTerms::default(),
    };
    OneStep { limits: ScalingLimits::between(Replicas::ONE, Replicas::new(50)).unwrap(), record }
}

impl Environment for OneStep {
    fn reset(&mut self, seed: Seed, _: Cadence) {
        self.record.seed = seed;
    }
    fn observe(&self) -> Observation<'_> {
        let spec = self.record.initial_replicas;
        Observation {
            now: Timestamp::ZERO,
            time_of_week: TimeOfWeek::MONDAY,
            workload: WorkloadStatus { spec, status: spec, last_write: LastWrite::Never },
            pods: &[],
            series: &[],
            history: &[],
            limits: &self.limits,
        }
    }
    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        let granted = self.limits.grant(self.record.initial_replicas, decision.target);
        self.record.initial_replicas = granted.replicas;
        Ok(Outcome { granted, reward: RewardTerms::default(), end: Some(EpisodeEnd::Truncated) })
    }
    fn record(&self) -> &EpisodeRecord {
        &self.record
    }
}

/// Asks for so many pods.
#[derive(Clone)]
pub(crate) struct Ask(pub(crate) u32);

impl Policy for Ask {
    fn cadence(&self) -> Cadence {
        Cadence::every(Duration::from_secs(15))
    }
    fn reset(&mut self, _: Seed) {}
    fn decide(&mut self, _: &Observation<'_>) -> Decision {
        Decision::scale_to(Replicas::new(self.0), Reason::rule("ask"))
    }
}
