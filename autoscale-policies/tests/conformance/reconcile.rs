//! Whole reconciles, and sequences through stabilisation, limits and the event log.

use crate::Verdict;
use crate::json::{list, milli, pod_values, pods, readiness, resource, seconds};
use crate::replicas::code;
use autoscale_core::sample::PodSample;
use autoscale_core::units::{Milli, Timestamp};
use autoscale_policies::hpa::{
    BehaviorSpec, Condition, ConditionType, Controller, ControllerConfig, Gate, HpaSpec, Legacy, Limited,
    MetricSource, MetricSpec, NoProposal, Normalizer, PodValues, PolicyType, Range, Reconciled,
    RescaleReason, ResourceTarget, ScalingPolicy, ScalingRulesSpec, SelectPolicy, Shown, Stabilized,
    ValueTarget, Write,
};
use serde_json::{Value, json};
use std::time::Duration;

fn legacy(config: &Value) -> Legacy {
    Legacy {
        downscale_stabilization: Duration::from_secs(
            config["downscale_stabilization_s"].as_u64().unwrap_or(0),
        ),
        scale_up_limit_factor: config["scale_up_limit_factor"].as_f64().unwrap(),
        scale_up_limit_minimum: config["scale_up_limit_minimum"].as_f64().unwrap(),
    }
}

pub(crate) fn rules(value: &Value) -> Option<ScalingRulesSpec> {
    let policy = |policy: &Value| ScalingPolicy {
        kind: match policy["type"].as_str().unwrap() {
            "Pods" => PolicyType::Pods,
            "Percent" => PolicyType::Percent,
            other => panic!("a policy of type {other}"),
        },
        value: policy["value"].as_u64().unwrap() as u32,
        period_seconds: policy["period_s"].as_u64().unwrap() as u32,
    };
    value.is_object().then(|| ScalingRulesSpec {
        stabilization_window_seconds: value["stabilization_window_s"].as_u64().map(|s| s as u32),
        select_policy: value["select_policy"].as_str().map(|name| match name {
            "Max" => SelectPolicy::Max,
            "Min" => SelectPolicy::Min,
            "Disabled" => SelectPolicy::Disabled,
            other => panic!("a policy selection {other}"),
        }),
        policies: value["policies"].as_array().map(|policies| policies.iter().map(policy).collect()),
        tolerance: value["tolerance"].as_str().map(|t| match t.strip_suffix('m') {
            Some(thousandths) => thousandths.parse::<f64>().unwrap() * 1e-3,
            None => t.parse().unwrap(),
        }),
    })
}

fn behavior(case: &Value) -> Option<BehaviorSpec> {
    let value = &case["behavior"];
    value.is_object().then(|| BehaviorSpec {
        scale_up: rules(&value["scale_up"]),
        scale_down: rules(&value["scale_down"]),
    })
}

fn range(case: &Value) -> Range {
    let number = |name: &str, default| case[name].as_i64().unwrap_or(default) as i32;
    Range { min: number("min_replicas", 1), max: number("max_replicas", 0) }
}

fn condition(kind: &str, status: bool, reason: &str) -> Value {
    json!({ "type": kind, "status": if status { "True" } else { "False" }, "reason": reason })
}

/// A sequence of proposals.
pub(crate) fn check_normalize(case: &Value) -> Verdict {
    let legacy = legacy(&case["config"]);
    let behavior = behavior(case).map(|behavior| behavior.defaulted(legacy.downscale_stabilization));
    let mut normalizer = Normalizer::new(behavior, legacy);
    let range = range(case);
    let mut current = case["initial_replicas"].as_i64().unwrap() as i32;
    let mut now = Timestamp::ZERO;
    for (step, expected) in list(&case["steps"]).iter().zip(list(&case["expect"])) {
        now += seconds(&step["advance_s"]);
        current = step["override_current"].as_i64().map_or(current, |n| n as i32);
        normalizer.begin(current, now);
        let mut conditions = Vec::new();
        let desired = if current > range.max {
            range.max
        } else if current < range.min {
            range.min
        } else {
            let proposed = step["metric_desired"].as_i64().unwrap() as i32;
            let normalized = normalizer.normalize(current, proposed, range, now);
            let stabilized = match normalized.stabilized {
                Stabilized::ReadyForNewScale => "ReadyForNewScale",
                Stabilized::ScaleUpStabilized => "ScaleUpStabilized",
                Stabilized::ScaleDownStabilized => "ScaleDownStabilized",
            };
            let limited = normalized.limited != Limited::DesiredWithinRange;
            conditions.push(condition("AbleToScale", true, stabilized));
            conditions.push(condition("ScalingLimited", limited, &format!("{:?}", normalized.limited)));
            normalized.desired
        };
        let found = json!({ "current": current, "desired": desired, "conditions": conditions });
        let same = ["current", "desired"].iter().all(|&key| found[key] == expected[key])
            && list(&found["conditions"]) == list(&expected["conditions"]);
        if !same {
            return Err(format!("at {now:?}: {found}, expected {expected}"));
        }
        if desired != current {
            normalizer.rescaled(current, desired, now);
            current = desired;
        }
    }
    Ok(())
}

fn metric(value: &Value) -> MetricSpec {
    let (name, target) = (value["name"].as_str().unwrap(), milli(&value["target"]));
    let value_target = || match value["target_type"].as_str().unwrap() {
        "Value" => ValueTarget::Value(target),
        _ => ValueTarget::AverageValue(target),
    };
    match value["type"].as_str().unwrap() {
        "Resource" | "ContainerResource" => MetricSpec::Resource {
            resource: resource(&value["name"]),
            container: value["container"].as_str().map(Into::into),
            target: match value["target_type"].as_str().unwrap() {
                "Utilization" => Some(ResourceTarget::Utilization(target.get() as i32)),
                "AverageValue" => Some(ResourceTarget::AverageValue(target)),
                _ => None,
            },
        },
        "Pods" => MetricSpec::Pods { name: name.into(), target },
        "Object" => MetricSpec::Object { name: name.into(), target: value_target() },
        "External" => MetricSpec::External { name: name.into(), target: value_target() },
        _ => MetricSpec::Unknown,
    }
}

/// The metrics APIs of a step.
struct Apis<'a> {
    step: &'a Value,
    pods: &'a [PodSample],
    now_s: f64,
}

impl MetricSource for Apis<'_> {
    fn per_pod(&self, metric: &MetricSpec) -> Result<PodValues, NoProposal> {
        let (items, of) = match metric {
            MetricSpec::Resource { resource, container, .. } => {
                if self.step["resource_metrics_error"].as_bool().unwrap_or(false) {
                    return Err(NoProposal::FetchFailed);
                }
                (&self.step["resource_metrics"], Some((*resource, container.as_deref())))
            }
            MetricSpec::Pods { name, .. } => {
                let answer = &self.step["pods_metrics"][&**name];
                if answer.is_null() || answer["error"].as_bool().unwrap_or(false) {
                    return Err(NoProposal::FetchFailed);
                }
                (&answer["items"], None)
            }
            _ => panic!("no metric of pods"),
        };
        if list(items).is_empty() {
            return Err(NoProposal::NoMetrics);
        }
        Ok(pod_values(items, self.pods, of, self.now_s))
    }

    fn value(&self, metric: &MetricSpec) -> Result<Milli, NoProposal> {
        let answer = match metric {
            MetricSpec::Object { name, .. } => &self.step["object_metrics"][&**name],
            MetricSpec::External { name, .. } => &self.step["external_metrics"][&**name],
            _ => panic!("no value"),
        };
        if answer.is_null() || answer["error"].as_bool().unwrap_or(false) {
            return Err(NoProposal::FetchFailed);
        }
        let values = list(&answer["values_milli"]);
        if values.is_empty() {
            return Err(NoProposal::NoMetrics);
        }
        Ok(Milli::new(values.iter().filter_map(Value::as_i64).fold(0i64, i64::saturating_add)))
    }
}

fn kind(name: &str) -> ConditionType {
    match name {
        "AbleToScale" => ConditionType::AbleToScale,
        "ScalingActive" => ConditionType::ScalingActive,
        "ScalingLimited" => ConditionType::ScalingLimited,
        "ScaledToZero" => ConditionType::ScaledToZero,
        other => panic!("a condition {other}"),
    }
}

fn initial_condition(value: &Value) -> Condition {
    // The emulator's reasons are fixed words; only what it reads matters here.
    let reason = Box::leak(value["reason"].as_str().unwrap_or_default().to_owned().into_boxed_str());
    Condition { kind: kind(value["type"].as_str().unwrap()), status: value["status"] == "True", reason }
}

fn shown(metric: &Value, shown: Option<Shown>) -> Value {
    let (kind, name) = (&metric["type"], &metric["name"]);
    match shown {
        None => json!({ "type": "", "name": "" }),
        Some(Shown::Utilization { percent, average }) => json!({
            "type": kind, "name": name, "average_utilization": percent, "average_value_milli": average.get(),
        }),
        Some(Shown::Value(value)) if metric["target_type"] == "Value" => {
            json!({ "type": kind, "name": name, "value_milli": value.get() })
        }
        Some(Shown::Value(value)) => {
            json!({ "type": kind, "name": name, "average_value_milli": value.get() })
        }
    }
}

/// The part of an event that is not free text: of a rescale the new size and what drove it, of others type and reason.
fn event_of(reconciled: &Reconciled, case: &Value) -> Option<(String, String)> {
    let why = match reconciled.rescale? {
        RescaleReason::AboveMax => "above Spec.MaxReplicas".to_owned(),
        RescaleReason::BelowMin => "below Spec.MinReplicas".to_owned(),
        RescaleReason::AllBelowTarget => "All metrics below target".to_owned(),
        RescaleReason::Earlier => "reason: ".to_owned(),
        RescaleReason::AboveTarget(index) => {
            let name = case["metrics"][index]["name"].as_str().unwrap();
            return Some((format!("New size: {}", reconciled.desired), format!("{name}|above target")));
        }
    };
    Some((format!("New size: {}", reconciled.desired), why))
}

/// Steps of one HPA through the whole controller.
pub(crate) fn check_reconcile(case: &Value) -> Verdict {
    let config = &case["config"];
    let gate = |name: &str| if case["feature_gates"][name] == true { Gate::On } else { Gate::Off };
    let settings = ControllerConfig {
        readiness: readiness(config),
        tolerance: config["tolerance"].as_f64().unwrap(),
        legacy: legacy(config),
        configurable_tolerance: gate("HPAConfigurableTolerance"),
        scale_to_zero: gate("HPAScaleToZero"),
    };
    let spec = HpaSpec {
        range: range(case),
        metrics: list(&case["metrics"]).iter().map(metric).collect(),
        behavior: behavior(case),
    };
    let mut replicas = case["initial_replicas"].as_i64().unwrap() as i32;
    let mut controller = Controller::new(spec, settings, replicas).unwrap();
    controller.set_conditions(list(&case["initial_conditions"]).iter().map(initial_condition).collect());
    if case["initial_recommendations_set"] == true {
        let log = list(&case["initial_recommendations"]).iter();
        let entry = |r: &Value| {
            let at = ["age_s", "at_s", "timestamp_s", "t"].iter().find_map(|k| r[*k].as_f64()).unwrap();
            (
                r["recommendation"].as_i64().or(r["replicas"].as_i64()).unwrap() as i32,
                Timestamp::from_secs_f64(at),
            )
        };
        controller.set_recommendations(log.map(entry).collect());
    }
    let mut now_s = 0.0;
    for (number, (step, expected)) in list(&case["steps"]).iter().zip(list(&case["expect"])).enumerate() {
        now_s += step["advance_s"].as_f64().unwrap();
        let now = Timestamp::from_secs_f64(now_s);
        replicas = step["spec_replicas"].as_i64().map_or(replicas, |n| n as i32);
        let status = step["status_replicas"].as_i64().map_or(replicas, |n| n as i32);
        let mut error = None;
        let mut event = None;
        if step["get_scale_error"].as_bool().unwrap_or(false) {
            controller.scale_unknown();
            error = Some("get_scale");
        } else {
            let pods = pods(&step["pods"], now_s);
            let apis = Apis { step, pods: &pods, now_s };
            let reconciled = controller.reconcile((replicas, status), &pods, now, &apis);
            error = error.or(reconciled.failed.map(|(_, e)| code(e)));
            if reconciled.rescale.is_some() {
                let fails = step["update_scale_error"].as_bool().unwrap_or(false);
                let write = if fails { Write::Failed } else { Write::Succeeded };
                controller.wrote(&reconciled, write, now);
                event = event_of(&reconciled, case);
                if fails {
                    error = Some("update_scale");
                } else {
                    replicas = reconciled.desired;
                }
            }
        }
        let conditions: Vec<Value> = controller
            .conditions()
            .iter()
            .map(|c| condition(&format!("{:?}", c.kind), c.status, c.reason))
            .collect();
        let metrics: Vec<Value> = list(&case["metrics"])
            .iter()
            .zip(controller.current_metrics())
            .map(|(metric, value)| shown(metric, *value))
            .collect();
        let (current, desired) = controller.status_replicas();
        let mut wrong = Vec::new();
        let mut compare = |what: &str, found: &Value, expected: &Value| {
            if found != expected {
                wrong.push(format!("{what} {found}, expected {expected}"));
            }
        };
        compare("spec", &json!(replicas), &expected["spec_replicas_after"]);
        compare("status", &json!(current), &expected["status_current_replicas"]);
        compare("desired", &json!(desired), &expected["status_desired_replicas"]);
        compare("conditions", &json!(conditions), &json!(list(&expected["conditions"])));
        compare("metrics", &json!(metrics), &json!(list(&expected["current_metrics"])));
        compare("error", &json!(error.is_some()), &json!(expected["error"].is_string()));
        let age = controller.last_scale().map(|at| now_s - at.as_secs_f64());
        compare("scale age", &json!(age), &json!(expected["last_scale_age_s"].as_f64()));
        if let Some((size, why)) = event {
            let said = list(&expected["events"]).iter().filter_map(Value::as_str);
            let said: Vec<&str> = said.filter(|e| e.contains("Rescale ")).collect();
            let matches = |e: &&str| e.contains(&size) && why.split('|').all(|part| e.contains(part));
            compare("event", &json!(said.iter().any(matches)), &json!(true));
        }
        if !wrong.is_empty() {
            return Err(format!("step {number}: {}", wrong.join("; ")));
        }
    }
    Ok(())
}
