//! A world without requests: one pod serves ten of them a second, and the load is a slow wave.

use autoscale_agents::actions::ActionSpace;
use autoscale_agents::encoded::EncodedTask;
use autoscale_core::environment::{Environment, EpisodeEnd, EpisodeOver, Outcome};
use autoscale_core::limits::ScalingLimits;
use autoscale_core::measurement::{Measurement, ReplicaCounts};
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, Policy, Reason, WorkloadStatus};
use autoscale_core::record::{EPISODE_RECORD_VERSION, EpisodeRecord};
use autoscale_core::reward::{RewardTerms, RewardWeights};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, TimeOfWeek, Timestamp, Utilization};
use std::time::Duration;

/// One pod serves 10 requests per second at full use; the load is a slow wave.
pub(crate) struct Wave {
    record: EpisodeRecord,
    limits: ScalingLimits,
    history: Vec<Measurement>,
    spec: Replicas,
    now: Timestamp,
    phase: f64,
}

pub(crate) const INTERVAL: Duration = Duration::from_secs(15);

impl Wave {
    pub(crate) fn new() -> Self {
        let (min, max) = (Replicas::ONE, Replicas::new(40));
        let record = EpisodeRecord {
            version: EPISODE_RECORD_VERSION,
            seed: Seed::root(0),
            interval: INTERVAL,
            slo: Duration::from_millis(500),
            pod_capacity: RequestRate::new(10.0).expect("in range"),
            replica_range: (min, max),
            initial_replicas: Replicas::new(5),
            intervals: Vec::new(),
            scale_events: Vec::new(),
            totals: RewardTerms::default(),
        };
        let limits = ScalingLimits::between(min, max).expect("in range");
        Self { record, limits, history: Vec::new(), spec: min, now: Timestamp::ZERO, phase: 0.0 }
    }

    fn load(&self) -> f64 {
        100.0 + 80.0 * (self.phase + self.history.len() as f64 / 7.0).sin()
    }
}

impl Environment for Wave {
    fn reset(&mut self, seed: Seed, _: Cadence) {
        let phase = (seed.number() % 628) as f64 / 100.0;
        *self = Self { spec: Replicas::new(5), phase, ..Self::new() };
        self.record.seed = seed;
    }
    fn observe(&self) -> Observation<'_> {
        Observation {
            now: self.now,
            time_of_week: TimeOfWeek::MONDAY,
            workload: WorkloadStatus { spec: self.spec, status: self.spec, last_write: LastWrite::Never },
            pods: &[],
            series: &[],
            history: &self.history,
            limits: &self.limits,
        }
    }
    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        if self.history.len() == 40 {
            return Err(EpisodeOver);
        }
        let granted = self.limits.grant(self.spec, decision.target);
        let churn = granted.replicas.abs_diff(self.spec);
        self.spec = granted.replicas;
        self.now += INTERVAL;
        let (load, capacity) = (self.load(), 10.0 * f64::from(self.spec.get()));
        let arrivals = (load * 15.0) as u64;
        let violations = ((load - capacity).max(0.0) * 15.0) as u64;
        self.history.push(Measurement {
            at: self.now,
            age: Duration::ZERO,
            arrival_rate: RequestRate::new(load).expect("in range"),
            cpu_utilization: Some(Utilization::from_fraction(load / capacity)),
            memory_bytes: 0,
            in_flight: 0.0,
            queued: 0.0,
            latency: None,
            error_rate: RequestRate::from_count(violations, INTERVAL),
            timeout_rate: RequestRate::ZERO,
            replicas: ReplicaCounts { desired: self.spec, ready: self.spec, ..ReplicaCounts::default() },
        });
        let pod_hours = f64::from(self.spec.get()) / 240.0;
        let end = (self.history.len() == 40).then_some(EpisodeEnd::Truncated);
        Ok(Outcome { granted, reward: RewardTerms { pod_hours, violations, arrivals, churn }, end })
    }
    fn record(&self) -> &EpisodeRecord {
        &self.record
    }
}

/// Asks for the pods that the last measured load keeps 80 % busy.
pub(crate) struct Ratio;

impl Policy for Ratio {
    fn cadence(&self) -> Cadence {
        Cadence::every(INTERVAL)
    }
    fn reset(&mut self, _: Seed) {}
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let reason = Reason::rule("ratio");
        observation.history.last().map_or(Decision::hold(reason), |m| {
            Decision::scale_to(Replicas::from_ceil(m.arrival_rate.per_second() / 8.0), reason)
        })
    }
}

pub(crate) fn wave_task(space: &ActionSpace) -> EncodedTask<Wave> {
    EncodedTask::new(Wave::new(), Box::new(Ratio), space.clone(), RewardWeights::default(), INTERVAL, 0.1)
}
