//! An HPA that is told how many pods there should be: an external metric with a target of one per pod, as KEDA makes it
//! for an external scaler. With the default tolerance it passes over small wishes; with a tolerance of 0 it follows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use autoscale_core::limits::ScalingLimits;
use autoscale_core::policy::{LastWrite, Observation, Policy, WorkloadStatus};
use autoscale_core::sample::Reading;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Replicas, TimeOfWeek, Timestamp};
use autoscale_policies::hpa::{Hpa, HpaSpec};
use serde_json::{Value, json};

/// What the example of a `ScaledObject` says of the HPA.
fn example() -> Value {
    let text = include_str!("../../deploy/keda/scaledobject.yaml");
    let object: Value = serde_saphyr::from_str(text).unwrap();
    object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].clone()
}

/// The example where the cluster does not know the field `tolerance`.
fn without_tolerance() -> Value {
    let mut behavior = example();
    for direction in ["scaleUp", "scaleDown"] {
        let was = behavior[direction].as_object_mut().unwrap().remove("tolerance");
        assert_eq!(was, Some(json!("0")));
    }
    behavior
}

/// Where the HPA takes `from` pods in one look when it is told that there should be `wish`.
fn follow(behavior: &Value, from: u32, wish: u32) -> u32 {
    let manifest = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "minReplicas": 1,
            "maxReplicas": 1000,
            "metrics": [{
                "type": "External",
                "external": {
                    "metric": { "name": "s0-desired-replicas" },
                    "target": { "type": "AverageValue", "averageValue": "1" },
                },
            }],
            "behavior": behavior,
        },
    });
    let mut hpa = Hpa::from_spec(HpaSpec::from_yaml(&manifest.to_string()).unwrap()).unwrap();
    hpa.reset(Seed::root(1));
    let now = Timestamp::from_secs(1000);
    let value = Reading {
        metric: "s0-desired-replicas".into(),
        pod: None,
        value: Milli::new(i64::from(wish) * 1000),
        timestamp: now,
        window: None,
    };
    let replicas = Replicas::new(from);
    let decision = hpa.decide(&Observation {
        now,
        time_of_week: TimeOfWeek::MONDAY,
        workload: WorkloadStatus { spec: replicas, status: replicas, last_write: LastWrite::Never },
        pods: &[],
        series: &[value],
        history: &[],
        limits: &ScalingLimits::between(Replicas::ONE, Replicas::new(1000)).unwrap(),
    });
    decision.target.or(replicas).get()
}

#[test]
fn the_default_tolerance_swallows_one_replica_from_ten_on() {
    let default = without_tolerance();
    assert_eq!(follow(&default, 9, 10), 10);
    assert_eq!(follow(&default, 9, 8), 8);
    assert_eq!(follow(&default, 10, 11), 10);
    assert_eq!(follow(&default, 10, 9), 10);
    let none = example();
    assert_eq!(follow(&none, 9, 10), 10);
    assert_eq!(follow(&none, 10, 11), 11);
    assert_eq!(follow(&none, 10, 9), 9);
}

/// A wish is swallowed if and only if it is no further away than a tenth of what there is.
#[test]
fn a_tenth_of_what_there_is_gets_lost() {
    let (default, none) = (without_tolerance(), example());
    for from in 1..=200_u32 {
        for by in 0..=from / 10 + 2 {
            // 40 more at once is what the example lets the HPA add.
            let up = from + by;
            let down = (from > by).then(|| from - by);
            for wish in down.into_iter().chain([up]) {
                let swallowed = 10 * by <= from;
                let expected = if swallowed { from } else { wish };
                assert_eq!(follow(&default, from, wish), expected, "{wish} from {from}");
                assert_eq!(follow(&none, from, wish), wish, "{wish} from {from}, without a tolerance");
            }
        }
    }
}
