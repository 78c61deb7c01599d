//! Stabilisation, rate limits and the event log against decisions of the real controller, where the folder
//! with them is at hand. Cases with a minimum of 0 are left out: scaling to zero is not emulated.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use super::*;
use serde_json::Value;
use std::path::Path;

/// The cases of a file; `None`, after saying so, where the folder is absent.
fn cases(file: &str) -> Option<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/hpa-cases");
    if !folder.is_dir() {
        println!("skipped: no decisions of the real controller at {}", folder.display());
        return None;
    }
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    Some(std::mem::take(file["cases"].as_array_mut().unwrap()))
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().map(|v| u32::try_from(v).unwrap())
}

fn pods(value: &Value) -> Replicas {
    Replicas::new(count(value).unwrap())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Fills in `given` where it says something; what it leaves open stays as the API server would set it.
fn defaulted(mut rules: ScalingRules, given: &Value) -> ScalingRules {
    if let Some(window) = count(&given["stabilization_window_s"]) {
        rules.stabilization_window_seconds = window;
    }
    if let Some(policy) = given["select_policy"].as_str() {
        rules.select_policy = match policy {
            "Min" => SelectPolicy::Min,
            "Disabled" => SelectPolicy::Disabled,
            _ => SelectPolicy::Max,
        };
    }
    if let Some(policies) = given["policies"].as_array() {
        let policy = |p: &Value| ScalingPolicy {
            kind: if p["type"] == "Pods" { PolicyType::Pods } else { PolicyType::Percent },
            value: count(&p["value"]).unwrap(),
            period_seconds: count(&p["period_s"]).unwrap(),
        };
        rules.policies = policies.iter().map(policy).collect();
    }
    rules
}

fn behavior(up: &Value, down: &Value) -> Behavior {
    let Behavior { scale_up, scale_down } = Behavior::default();
    Behavior { scale_up: defaulted(scale_up, up), scale_down: defaulted(scale_down, down) }
}

fn limits(case: &Value) -> Option<ScalingLimits> {
    ScalingLimits::between(pods(&case["min_replicas"]), pods(&case["max_replicas"])).ok()
}

fn changes(events: &Value) -> Vec<Change> {
    let change = |e: &Value| Change {
        at: Timestamp::from_secs_f64(e["at_s"].as_f64().unwrap()),
        pods: e["change"].as_i64().unwrap(),
    };
    list(events).iter().map(change).collect()
}

#[test]
fn stabilisation_is_that_of_the_real_controller() {
    let Some(cases) = cases("k8s_stabilize_behavior.json") else { return };
    for case in &cases {
        let mut behavior = Behavior::default();
        behavior.scale_up.stabilization_window_seconds = count(&case["scale_up_stabilization_s"]).unwrap();
        behavior.scale_down.stabilization_window_seconds =
            count(&case["scale_down_stabilization_s"]).unwrap();
        let mut normalizer = Normalizer::new(behavior);
        let logged =
            |r: &Value| (pods(&r["replicas"]), Timestamp::from_secs_f64(r["at_s"].as_f64().unwrap()));
        normalizer.recommendations = Some(list(&case["recommendations"]).iter().map(logged).collect());
        let found = normalizer.stabilize(
            pods(&case["current_replicas"]),
            pods(&case["desired_replicas"]),
            Timestamp::ZERO,
        );
        assert_eq!(found, pods(&case["expect"]["replicas"]), "{}", case["name"]);
        // Two cases say nothing of the log.
        if let Some(expected) = case["expect"]["recommendations_after"].as_array() {
            let log: Vec<Replicas> = normalizer.recommendations.unwrap().iter().map(|r| r.0).collect();
            let expected: Vec<Replicas> = expected.iter().map(pods).collect();
            assert_eq!(log, expected, "{}", case["name"]);
        }
    }
    println!("{} cases agree", cases.len());
    assert_eq!(cases.len(), 11);
}

#[test]
fn rate_limits_are_those_of_the_real_controller() {
    let Some(cases) = cases("k8s_behavior_rate.json") else { return };
    let mut agreed = 0;
    for case in &cases {
        let Some(limits) = limits(case) else { continue };
        let mut normalizer = Normalizer::new(behavior(&case["scale_up_rules"], &case["scale_down_rules"]));
        normalizer.ups = changes(&case["scale_up_events"]);
        normalizer.downs = changes(&case["scale_down_events"]);
        let wish = pods(&case["desired_replicas"]);
        let found = normalizer.limit(pods(&case["current_replicas"]), wish, &limits, Timestamp::ZERO);
        let bound = match case["expect"]["reason"].as_str().unwrap() {
            "ScaleUpLimit" => Bound::StepUp,
            "ScaleDownLimit" => Bound::StepDown,
            "TooManyReplicas" => Bound::Max,
            "TooFewReplicas" => Bound::Min,
            _ => Bound::None,
        };
        assert_eq!(found, (pods(&case["expect"]["replicas"]), bound), "{}", case["name"]);
        agreed += 1;
    }
    println!("{agreed} of {} cases agree, the others have a minimum of 0", cases.len());
    assert!(agreed >= 30, "only {agreed} cases were looked at");
}

#[test]
fn the_event_log_is_that_of_the_real_controller() {
    let Some(cases) = cases("k8s_store_scale_event.json") else { return };
    let mut agreed = 0;
    for case in cases.iter().filter(|case| case["rules"].is_object()) {
        let longest = defaulted(Behavior::default().scale_up, &case["rules"]).longest_period();
        let mut log = changes(&case["events_before"]);
        let period = Duration::from_secs(case["query_period_s"].as_u64().unwrap());
        let recent = log.iter().filter(|c| within(c.at, Timestamp::ZERO, period)).map(|c| c.pods);
        assert_eq!(recent.sum::<i64>(), case["expect"]["change_in_period_before"], "{}", case["name"]);
        let pods = case["replica_change"].as_i64().unwrap();
        store(&mut log, Change { at: Timestamp::ZERO, pods }, longest);
        // Times of the log are not compared: the recording gives them to a millisecond after the call.
        let found: Vec<i64> = log.iter().map(|c| c.pods).collect();
        let expected: Vec<i64> = changes(&case["expect"]["events_after"]).iter().map(|c| c.pods).collect();
        assert_eq!(found, expected, "{}", case["name"]);
        agreed += 1;
    }
    println!("{agreed} of {} cases agree, the others have no behavior", cases.len());
    assert!(agreed >= 4, "only {agreed} cases were looked at");
}

#[test]
fn sequences_are_normalised_as_by_the_real_controller() {
    let Some(cases) = cases("oracle_normalize.json") else { return };
    let (mut agreed, mut steps) = (0, 0);
    for case in cases.iter().filter(|case| case["behavior"].is_object()) {
        let Some(limits) = limits(case) else { continue };
        let (up, down) = (&case["behavior"]["scale_up"], &case["behavior"]["scale_down"]);
        let mut behavior = behavior(up, down);
        if down["stabilization_window_s"].is_null() {
            // The controller's own flag then holds, which the recordings vary; absent means 0 s.
            let flag = count(&case["config"]["downscale_stabilization_s"]).unwrap_or(0);
            behavior.scale_down.stabilization_window_seconds = flag;
        }
        let mut normalizer = Normalizer::new(behavior);
        let (mut now, mut current) = (Timestamp::ZERO, pods(&case["initial_replicas"]));
        for (k, (step, expected)) in list(&case["steps"]).iter().zip(list(&case["expect"])).enumerate() {
            now += Duration::from_secs(step["advance_s"].as_u64().unwrap());
            current = count(&step["override_current"]).map_or(current, Replicas::new);
            assert_eq!(current, pods(&expected["current"]), "{} step {k}", case["name"]);
            normalizer.begin(current, now);
            let desired = if current > limits.max() || current < limits.min() {
                current.clamp(limits.min(), limits.max())
            } else {
                normalizer.normalize(current, pods(&step["metric_desired"]), &limits, now).0
            };
            assert_eq!(desired, pods(&expected["desired"]), "{} step {k}", case["name"]);
            normalizer.rescaled(current, desired, now);
            current = desired;
            steps += 1;
        }
        agreed += 1;
    }
    println!("{agreed} of {} sequences agree ({steps} steps)", cases.len());
    assert!(agreed >= 100, "only {agreed} sequences were looked at");
}
