//! The HPA as a policy: what an observation says of the last write decides what its limits count.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use autoscale_core::limits::{Bound, ScalingLimits};
use autoscale_core::policy::{Decision, LastWrite, Observation, Policy, Target, WorkloadStatus};
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, ContainerUsage, PodPhase, PodSample, ReadyCondition, ReadyStatus,
    ResourceList, UsageSample,
};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Replicas, TimeOfWeek, Timestamp};
use autoscale_policies::hpa::{Hpa, HpaConfig};
use std::time::Duration;

/// A pod that has long been ready and uses four times its request.
fn busy_pod(index: u32) -> PodSample {
    let cpu = |milli| ResourceList { cpu: Some(Milli::new(milli)), memory: None };
    let long_ago = Timestamp::from_secs(-10_000);
    PodSample {
        name: format!("p{index}").into(),
        phase: PodPhase::Running,
        created: long_ago,
        started: Some(long_ago),
        ready: Some(ReadyCondition { status: ReadyStatus::True, last_transition: long_ago }),
        deletion: None,
        containers: [ContainerSpec { name: "c".into(), kind: ContainerKind::Main, requests: cpu(100) }]
            .into(),
        pod_level_requests: None,
        usage: Some(UsageSample {
            timestamp: Timestamp::ZERO,
            window: Duration::from_secs(15),
            containers: vec![ContainerUsage { name: "c".into(), usage: cpu(400) }],
        }),
    }
}

fn decide(hpa: &mut Hpa, at: i64, spec: u32, last_write: LastWrite) -> Decision {
    let pods: Vec<PodSample> = (0..spec).map(busy_pod).collect();
    let limits = ScalingLimits::between(Replicas::ONE, Replicas::new(100)).unwrap();
    let replicas = Replicas::new(spec);
    hpa.decide(&Observation {
        now: Timestamp::from_secs(at),
        time_of_week: TimeOfWeek::MONDAY,
        workload: WorkloadStatus { spec: replicas, status: replicas, last_write },
        pods: &pods,
        series: &[],
        history: &[],
        limits: &limits,
    })
}

#[test]
fn only_a_write_that_got_through_counts_against_the_rate() {
    let six = Target::ScaleTo(Replicas::new(6));
    let mut hpa = Hpa::new(HpaConfig::default()).unwrap();
    hpa.reset(Seed::root(1));
    assert_eq!(decide(&mut hpa, 0, 2, LastWrite::Never).target, six);
    // It failed: five seconds later four pods may be added still.
    assert_eq!(decide(&mut hpa, 5, 2, LastWrite::Failed).target, six);
    // It got through: within 15 s no more than those four.
    let held = decide(&mut hpa, 10, 6, LastWrite::Succeeded);
    assert_eq!((held.target, held.reason.bound), (Target::Hold, Bound::StepUp));
    assert_eq!(decide(&mut hpa, 21, 6, LastWrite::Succeeded).target, Target::ScaleTo(Replicas::new(12)));
    // Nothing of this is remembered in another episode.
    hpa.reset(Seed::root(2));
    assert_eq!(decide(&mut hpa, 22, 2, LastWrite::Never).target, six);
}
