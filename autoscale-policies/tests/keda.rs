//! What KEDA's documentation says of polling, cool-down, idling and fallback, as timelines.
//!
//! Sources: the `ScaledObject` specification (<https://keda.sh/docs/2.18/reference/scaledobject-spec/>: pollingInterval,
//! cooldownPeriod, initialCooldownPeriod, idleReplicaCount, minReplicaCount, fallback) and "Scaling Deployments"
//! (<https://keda.sh/docs/2.18/concepts/scaling-deployments/>: activation and scaling phases).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use autoscale_core::limits::ScalingLimits;
use autoscale_core::policy::{LastWrite, Observation, Policy, WorkloadStatus};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, TimeOfWeek, Timestamp};
use autoscale_policies::cron::{CronConfig, CronPolicy};
use autoscale_policies::keda::{Fallback, Keda, KedaConfig};
use std::time::Duration;

/// From this second on the trigger has this value, or fails.
type Load = (i64, Option<f64>);

/// Lives through the load with the HPA's sync every 15 s, and gives the counts as they change.
fn changes(config: KedaConfig, start: i32, load: &[Load], until: i64) -> Vec<(i64, i32)> {
    let mut keda = Keda::new(config).unwrap();
    let (mut replicas, mut seen) = (start, Vec::new());
    for now in (0..=until).step_by(15) {
        let value = load.iter().rev().find(|(from, _)| *from <= now).and_then(|&(_, value)| value);
        let next = keda.sync(Timestamp::from_secs(now), (replicas, replicas), value);
        if next != replicas {
            seen.push((now, next));
            replicas = next;
        }
    }
    seen
}

/// 20 a pod, polls every 30 s, cools down for 300 s.
fn standard() -> KedaConfig {
    KedaConfig { threshold: 20.0, ..KedaConfig::default() }
}

/// cooldownPeriod: "the period to wait after the last trigger reported active before scaling the resource back to 0".
#[test]
fn back_to_zero_after_the_cool_down_and_up_again_at_the_next_poll() {
    let load = [(0, Some(15.0)), (100, Some(0.0)), (700, Some(15.0))];
    // Polls are at 0, 30, 60, …: last active at 90, so the first poll later than 390 is at 420. Active again from 700:
    // the next poll is at 720.
    assert_eq!(changes(standard(), 0, &load, 900), [(0, 1), (420, 0), (720, 1)]);
}

/// "KEDA ... activates; the HPA then scales 1 to N": KEDA's step is to one pod, the HPA's the rest.
#[test]
fn from_zero_it_goes_by_one_and_the_rest_is_the_hpa() {
    let load = [(0, Some(0.0)), (50, Some(200.0))];
    // The poll at 60 makes it one, and the HPA syncs in the same moment with ten times the target, of which its
    // default policies allow four pods more in 15 s, then twice as many.
    assert_eq!(changes(standard(), 0, &load, 200), [(60, 5), (75, 10)]);
}

/// The activation threshold decides on 0 ↔ 1, the threshold on 1 ↔ N; activation has priority.
#[test]
fn a_value_below_the_activation_threshold_does_not_wake_it() {
    let config = KedaConfig { activation_threshold: 50.0, ..standard() };
    let load = [(0, Some(45.0)), (100, Some(51.0))];
    assert_eq!(changes(config, 0, &load, 130), [(120, 3)]);
    // 45 would be three pods for the HPA, but KEDA takes the last one away all the same once it has cooled down.
    let load = [(0, Some(60.0)), (100, Some(45.0))];
    assert_eq!(changes(config, 3, &load, 500), [(420, 0)]);
}

/// initialCooldownPeriod: "the delay before starting the cooldownPeriod after the initial creation".
#[test]
fn an_object_that_never_was_active_waits_for_the_initial_cool_down() {
    let idle = [(0, Some(0.0))];
    assert_eq!(changes(standard(), 1, &idle, 200), [(30, 0)]);
    let config = KedaConfig { initial_cooldown_period_s: 120, ..standard() };
    assert_eq!(changes(config, 1, &idle, 200), [(150, 0)]);
}

/// minReplicaCount above 0: KEDA never goes below, and the cool-down does not apply ("the cooldownPeriod only applies
/// when scaling to 0; scaling from 1 to N replicas is handled by the Kubernetes Horizontal Pod Autoscaler").
#[test]
fn with_a_minimum_the_way_down_is_the_hpas() {
    let config = KedaConfig { min_replica_count: 2, ..standard() };
    let load = [(0, Some(100.0)), (60, Some(0.0))];
    // Five pods until the HPA's own 300 s after its last sync with the higher value, at 45, are over.
    assert_eq!(changes(config, 5, &load, 600), [(345, 2)]);
    assert_eq!(changes(config, 0, &[(0, Some(0.0))], 60), [(0, 2)]);
}

/// idleReplicaCount: "if there is no activity on the triggers, the target resource is scaled down immediately to this
/// count [after the cool-down]; when there is, it is scaled immediately to minReplicaCount".
#[test]
fn idling_is_below_the_minimum() {
    let config = KedaConfig { min_replica_count: 3, idle_replica_count: Some(0), ..standard() };
    let load = [(0, Some(40.0)), (60, Some(0.0)), (500, Some(10.0))];
    assert_eq!(changes(config, 3, &load, 600), [(360, 0), (510, 3)]);
}

/// fallback: "a number of replicas to fall back to if a scaler is in an error state", after failureThreshold
/// consecutive failures.
#[test]
fn a_failing_trigger_holds_and_then_falls_back() {
    let load = [(0, Some(60.0)), (60, None), (300, Some(60.0))];
    assert_eq!(changes(standard(), 3, &load, 290), [], "an error alone neither scales down nor to zero");
    let config = KedaConfig { fallback: Some(Fallback { failure_threshold: 3, replicas: 6 }), ..standard() };
    // A poll and a sync count at 60, a sync at 75; the poll at 90 is the fourth failure. Back in order at 300, the HPA
    // waits for 300 s from the last higher recommendation, at 285.
    assert_eq!(changes(config, 3, &load, 700), [(90, 6), (585, 3)]);
}

/// The cron scaler (<https://keda.sh/docs/2.18/scalers/cron/>): from `start` to `end` the workload is scaled to
/// `desiredReplicas`, outside it goes back to the minimum; where triggers overlap the HPA takes the
/// higher.
#[test]
fn cron_triggers_hold_their_count_between_start_and_end() {
    let text = r#"{ "min_replica_count": 2, "max_replica_count": 30, "triggers": [
        { "days": "weekdays", "start": "08:00", "end": "08:30", "desired_replicas": 16 },
        { "days": "daily", "start": "08:20", "end": "09:00", "desired_replicas": 6 } ] }"#;
    let config: CronConfig = serde_json::from_str(text).unwrap();
    let changes = |day: u32| {
        let mut cron = CronPolicy::new(config.clone()).unwrap();
        cron.reset(Seed::root(1));
        let limits = ScalingLimits::between(Replicas::ONE, Replicas::new(100)).unwrap();
        let begins = TimeOfWeek::from_secs_f64(f64::from(day * 86_400 + 7 * 3600 + 3540));
        let (mut spec, mut seen) = (Replicas::new(2), Vec::new());
        for second in (0..7200).step_by(15) {
            let decision = cron.decide(&Observation {
                now: Timestamp::from_secs(second),
                time_of_week: begins + Duration::from_secs(second as u64),
                workload: WorkloadStatus { spec, status: spec, last_write: LastWrite::Succeeded },
                pods: &[],
                series: &[],
                history: &[],
                limits: &limits,
            });
            let next = decision.target.or(spec);
            if next != spec {
                seen.push((second - 60, next.get()));
                spec = next;
            }
        }
        seen
    };
    // From 08:00 on by the HPA's default rate: four pods or twice as many in 15 s. Down 300 s after the last sync with
    // the higher count, which is the one at 08:29:45.
    assert_eq!(changes(1), [(0, 6), (15, 12), (30, 16), (2085, 6), (3885, 2)]);
    assert_eq!(changes(6), [(1200, 6), (3885, 2)]);
}
