//! Single functions of the controller.

use crate::Verdict;
use crate::json::{list, milli, pod_values, pods, readiness, resource, time};
use crate::reconcile::rules;
use crate::replicas::code;
use autoscale_core::rule::Tolerance;
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, PodPhase, PodSample, ReadyCondition, ReadyStatus, ResourceList,
};
use autoscale_core::units::{Milli, Timestamp};
use autoscale_policies::hpa::{
    Behavior, BehaviorSpec, Change, Legacy, Normalizer, PodClass, PodValue, PodValues, Range, Readiness,
    ReplicaCalculator, Resource, Shown, pod_request,
};
use serde_json::{Value, json};
use std::time::Duration;

fn compare(found: &Value, expected: &Value) -> Verdict {
    if found == expected { Ok(()) } else { Err(format!("{found}, expected {expected}")) }
}

/// Which pods count, and as what.
pub(crate) fn check_groups(case: &Value) -> Verdict {
    let pods = pods(&case["pods"], 0.0);
    let calculator = ReplicaCalculator {
        pods: &pods,
        now: Timestamp::ZERO,
        readiness: readiness(&case["config"]),
        tolerance: Tolerance::DEFAULT,
    };
    let resource =
        case["resource"].as_str().filter(|name| !name.is_empty()).map(|_| resource(&case["resource"]));
    let values = pod_values(&case["pod_metrics"], &pods, None, 0.0);
    let names = |class: PodClass| -> Vec<&str> {
        let of = |(pod, value): &(&PodSample, &Option<PodValue>)| {
            calculator.classify(pod, value.as_ref(), resource) == class
        };
        let mut names: Vec<&str> =
            pods.iter().zip(&values.listed).filter(of).map(|(pod, _)| &*pod.name).collect();
        names.sort_unstable();
        names
    };
    let found = json!({
        "ignored": names(PodClass::Ignored),
        "missing": names(PodClass::Missing),
        "ready": names(PodClass::Ready).len(),
        "unready": names(PodClass::Unready),
    });
    compare(&found, &case["expect"])
}

/// What pods request.
pub(crate) fn check_requests(case: &Value) -> Verdict {
    let container = case["container"].as_str().filter(|name| !name.is_empty());
    let mut requests = serde_json::Map::new();
    for mut pod in pods(&case["pods"], 0.0) {
        if case["pod_level_resources_gate"] != true {
            pod.pod_level_requests = None;
        }
        match pod_request(&pod, resource(&case["resource"]), container) {
            Ok(request) => {
                requests.insert(pod.name.to_string(), request.into());
            }
            Err(error) if case["expect"]["error_code"].is_string() => {
                return compare(&json!(code(error)), &case["expect"]["error_code"]);
            }
            Err(_) => return compare(&json!(true), &json!(case["expect"]["error"].is_string())),
        }
    }
    compare(&json!({ "requests_milli": requests }), &case["expect"])
}

/// A pod that has long been ready.
fn old_pod(name: &str, request: Option<i64>) -> PodSample {
    let long_ago = Timestamp::from_secs(-1_000_000);
    PodSample {
        name: name.into(),
        phase: PodPhase::Running,
        created: long_ago,
        started: Some(long_ago),
        ready: Some(ReadyCondition { status: ReadyStatus::True, last_transition: long_ago }),
        deletion: None,
        containers: [ContainerSpec {
            name: "c".into(),
            kind: ContainerKind::Main,
            requests: ResourceList { cpu: request.map(Milli::new), memory: None },
        }]
        .into(),
        pod_level_requests: None,
        usage: None,
    }
}

/// Use over target, seen through what the status shows.
pub(crate) fn check_ratio(case: &Value) -> Verdict {
    let metrics = case["metrics_milli"].as_object().unwrap();
    let requests = &case["requests_milli"];
    let value =
        |v: &Value| PodValue { value: milli(v), timestamp: Timestamp::ZERO, window: Duration::from_secs(60) };
    let utilization = case["op"] == "utilization_ratio";
    // Whoever requests nothing known is not a listed pod.
    let (known, unknown): (Vec<_>, Vec<_>) =
        metrics.iter().partition(|(name, _)| !utilization || requests[name.as_str()].is_i64());
    let pods: Vec<PodSample> =
        known.iter().map(|(name, _)| old_pod(name, requests[name.as_str()].as_i64().or(Some(0)))).collect();
    let values = PodValues {
        listed: known.iter().map(|(_, v)| Some(value(v))).collect(),
        others: unknown.iter().map(|(_, v)| milli(v)).collect(),
    };
    // One more that has no sample, so that pods are never none.
    let pods: Vec<PodSample> = if pods.is_empty() {
        vec![PodSample { phase: PodPhase::Pending, ..old_pod("p", Some(1)) }]
    } else {
        pods
    };
    let zero = Duration::ZERO;
    let calculator = ReplicaCalculator {
        pods: &pods,
        now: Timestamp::ZERO,
        readiness: Readiness { cpu_initialization_period: zero, initial_readiness_delay: zero },
        tolerance: Tolerance::DEFAULT,
    };
    let target = milli(&case["target"]);
    let proposal = if utilization {
        calculator.utilization(1, target.get() as i32, (Resource::Cpu, None), &values)
    } else {
        calculator.average_of_pods(1, target, None, &values)
    };
    let expected = &case["expect"];
    let found = match proposal {
        Err(_) => return compare(&json!(true), &json!(expected["error"].is_string())),
        Ok(proposal) => match proposal.shown {
            Shown::Utilization { percent, average } => json!({
                "ratio": f64::from(percent) / target.get() as f64,
                "utilization": percent,
                "raw_average_milli": average.get(),
            }),
            Shown::Value(value) => {
                json!({ "ratio": value.get() as f64 / target.get() as f64, "usage_milli": value.get() })
            }
        },
    };
    compare(&found, expected)
}

fn changes(values: &Value) -> Vec<Change> {
    let change = |v: &Value| Change { at: time(&v["at_s"], 0.0), pods: v["change"].as_i64().unwrap() };
    list(values).iter().map(change).collect()
}

fn both(up: &Value, down: &Value) -> Behavior {
    let spec = BehaviorSpec { scale_up: rules(up), scale_down: rules(down) };
    spec.defaulted(Duration::from_secs(300))
}

/// Rules without effect but for the stabilisation window.
fn window_only(seconds: &Value) -> Value {
    let anything = json!([{ "type": "Pods", "value": 1_000_000, "period_s": 15 }]);
    json!({ "stabilization_window_s": seconds, "policies": anything })
}

/// Stabilisation, rate limits and bounds, each alone.
pub(crate) fn check_normalizer(case: &Value) -> Verdict {
    let number = |name: &str| case[name].as_i64().map(|n| n as i32);
    let unlimited = Range { min: i32::MIN, max: i32::MAX };
    let range = match (number("min_replicas"), number("max_replicas")) {
        (Some(min), Some(max)) => Range { min, max },
        _ => unlimited,
    };
    let legacy = Legacy {
        downscale_stabilization: Duration::from_secs(case["downscale_stabilization_s"].as_u64().unwrap_or(0)),
        scale_up_limit_factor: case["scale_up_limit_factor"].as_f64().unwrap_or(0.0),
        scale_up_limit_minimum: case["scale_up_limit_minimum"].as_f64().unwrap_or(1e9),
    };
    let behavior = match case["op"].as_str().unwrap() {
        "convert_with_rules" | "stabilize_default" => None,
        "stabilize_behavior" => Some(both(
            &window_only(&case["scale_up_stabilization_s"]),
            &window_only(&case["scale_down_stabilization_s"]),
        )),
        "behavior_rate" => Some(both(&case["scale_up_rules"], &case["scale_down_rules"])),
        _ => Some(both(&case["rules"], &case["rules"])),
    };
    let mut normalizer = Normalizer::new(behavior, legacy);
    let log = list(&case["recommendations"]).iter();
    let entry = |r: &Value| (r["replicas"].as_i64().unwrap() as i32, time(&r["at_s"], 0.0));
    normalizer.set_recommendations(log.map(entry).collect());
    normalizer.set_changes(changes(&case["scale_up_events"]), changes(&case["scale_down_events"]));
    let spec = number("current_replicas").unwrap_or(0);
    let wish = number("desired_replicas").unwrap_or(match case["direction"].as_str() {
        Some("up") => i32::MAX,
        _ => i32::MIN,
    });
    let normalized = normalizer.normalize(spec, wish, range, Timestamp::ZERO);
    let expected = &case["expect"];
    let replicas = if expected["limit"].is_null() { &expected["replicas"] } else { &expected["limit"] };
    compare(&json!(normalized.desired), replicas)?;
    if expected["reason"].is_string() {
        compare(&json!(format!("{:?}", normalized.limited)), &expected["reason"])?;
    }
    if expected["log_length"].is_i64() {
        compare(&json!(normalizer.recommendations().len()), &expected["log_length"])?;
    }
    Ok(())
}

/// The log of scale events, once upwards and once downwards.
pub(crate) fn check_events(case: &Value) -> Verdict {
    let before = changes(&case["events_before"]);
    let expected = &case["expect"];
    let replicas = case["prev_replicas"].as_i64().unwrap() as i32;
    let change = case["replica_change"].as_i64().unwrap() as i32;
    for up in [true, false] {
        let behavior = case["rules"].is_object().then(|| both(&case["rules"], &case["rules"]));
        let mut normalizer = Normalizer::new(behavior, Legacy::default());
        let (ups, downs) = if up { (before.clone(), Vec::new()) } else { (Vec::new(), before.clone()) };
        normalizer.set_changes(ups, downs);
        let cutoff = Timestamp::ZERO - Duration::from_secs(case["query_period_s"].as_u64().unwrap());
        let (added, removed) = normalizer.changed_after(cutoff);
        compare(&json!(added + removed), &expected["change_in_period_before"])?;
        normalizer.rescaled(
            replicas,
            if up { replicas + change } else { replicas - change },
            Timestamp::ZERO,
        );
        let (ups, downs) = normalizer.changes();
        let after: Vec<i64> = if up { ups } else { downs }.iter().map(|c| c.pods).collect();
        let wanted: Vec<i64> =
            list(&expected["events_after"]).iter().map(|e| e["change"].as_i64().unwrap()).collect();
        compare(&json!(after), &json!(wanted))?;
    }
    Ok(())
}
