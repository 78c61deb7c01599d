//! What the guards' tests look at.

use crate::limits::ScalingLimits;
use crate::measurement::{Measurement, ReplicaCounts};
use crate::policy::{LastWrite, Observation, WorkloadStatus};
use crate::sample::{
    ContainerKind, ContainerSpec, ContainerUsage, PodPhase, PodSample, ReadyCondition, ReadyStatus,
    ResourceList, UsageSample,
};
use crate::units::{Milli, Replicas, RequestRate, TimeOfWeek, Timestamp};
use std::sync::LazyLock;
use std::time::Duration;

/// One to forty pods.
pub(super) static LIMITS: LazyLock<ScalingLimits> =
    LazyLock::new(|| ScalingLimits::between(Replicas::ONE, Replicas::new(40)).unwrap());

/// `count` pods at this CPU use, in percent of their request.
pub(super) fn pods(count: u32, percent: i64, now: Timestamp) -> Vec<PodSample> {
    let resources = |milli| ResourceList { cpu: Some(Milli::new(milli)), memory: None };
    let container = ContainerSpec { name: "c".into(), kind: ContainerKind::Main, requests: resources(1000) };
    let long_ago = now - Duration::from_hours(10);
    let pod = |_| PodSample {
        name: "p".into(),
        phase: PodPhase::Running,
        created: long_ago,
        started: Some(long_ago),
        ready: Some(ReadyCondition { status: ReadyStatus::True, last_transition: long_ago }),
        deletion: None,
        containers: [container.clone()].into(),
        pod_level_requests: None,
        usage: Some(UsageSample {
            timestamp: now,
            window: Duration::from_secs(15),
            containers: vec![ContainerUsage { name: "c".into(), usage: resources(percent * 10) }],
        }),
    };
    (0..count).map(pod).collect()
}

/// An idle service, measured at `at` with series of this age in seconds.
pub(super) fn measurement(at: Timestamp, age: u64) -> Measurement {
    Measurement {
        at,
        age: Duration::from_secs(age),
        arrival_rate: RequestRate::ZERO,
        cpu_utilization: None,
        memory_bytes: 0,
        in_flight: 0.0,
        queued: 0.0,
        latency: None,
        error_rate: RequestRate::ZERO,
        timeout_rate: RequestRate::ZERO,
        replicas: ReplicaCounts::default(),
    }
}

/// What a guard is shown.
pub(super) fn seen<'a>(
    now: Timestamp,
    spec: Replicas,
    pods: &'a [PodSample],
    history: &'a [Measurement],
) -> Observation<'a> {
    Observation {
        now,
        time_of_week: TimeOfWeek::MONDAY,
        workload: WorkloadStatus { spec, status: spec, last_write: LastWrite::Succeeded },
        pods,
        series: &[],
        history,
        limits: &LIMITS,
    }
}
