//! One call of the replica calculator.

use crate::Verdict;
use crate::json::{list, milli, pod_values, pods, readiness, resource, tolerance};
use autoscale_core::units::{Milli, Timestamp};
use autoscale_policies::hpa::{NoProposal, Proposal, ReplicaCalculator, Shown};
use serde_json::Value;

pub(crate) fn code(error: NoProposal) -> &'static str {
    match error {
        NoProposal::FetchFailed => "metric_fetch_failed",
        NoProposal::NoMetrics => "no_metrics_returned",
        NoProposal::NoPods => "no_pods",
        NoProposal::NoUsablePods => "no_usable_pod_metrics",
        NoProposal::MissingRequest => "missing_request",
        NoProposal::ContainerNotFound => "container_not_found",
        NoProposal::Disjoint => "metrics_disjoint_from_pods",
        NoProposal::InvalidMetric => "invalid_metric_source_type",
    }
}

fn calculate(case: &Value) -> Result<Proposal, NoProposal> {
    let pods = pods(&case["pods"], 0.0);
    let calculator = ReplicaCalculator {
        pods: &pods,
        now: Timestamp::ZERO,
        readiness: readiness(&case["config"]),
        tolerance: tolerance(&case["tolerance"]),
    };
    let current = case["current_replicas"].as_i64().unwrap() as i32;
    let target = milli(&case["target"]);
    let kind = case["kind"].as_str().unwrap();
    let of_pods = kind.starts_with("resource") || kind.starts_with("pods");
    let source = if of_pods { &case["pod_metrics"] } else { &case["values_milli"] };
    if case["expect"]["error_code"] == "metric_fetch_failed" {
        return Err(NoProposal::FetchFailed);
    }
    if list(source).is_empty() {
        return Err(NoProposal::NoMetrics);
    }
    let sum = list(source).iter().filter_map(Value::as_i64).fold(0i64, i64::saturating_add);
    let container = case["container"].as_str();
    match kind {
        "resource_utilization" => {
            let of = (resource(&case["resource"]), container);
            let values = pod_values(source, &pods, Some(of), 0.0);
            calculator.utilization(current, target.get() as i32, of, &values)
        }
        "resource_average_value" => {
            let resource = resource(&case["resource"]);
            let values = pod_values(source, &pods, Some((resource, container)), 0.0);
            calculator.average_of_pods(current, target, Some(resource), &values)
        }
        "pods_average_value" => {
            calculator.average_of_pods(current, target, None, &pod_values(source, &pods, None, 0.0))
        }
        "object_value" | "external_value" => calculator.value(current, target, Milli::new(sum)),
        "object_average_value" => Ok(calculator.object_average_value(current, target, Milli::new(sum))),
        "external_average_value" => Ok(calculator.external_average_value(current, target, Milli::new(sum))),
        other => panic!("a metric of kind {other}"),
    }
}

pub(crate) fn check(case: &Value) -> Verdict {
    let (found, expected) = (calculate(case), &case["expect"]);
    let same = match found {
        Err(error) => expected["error_code"] == code(error),
        Ok(Proposal { replicas, shown, .. }) => {
            let shown = match shown {
                Shown::Utilization { percent, average } => {
                    expected["utilization"] == percent && expected["raw_average_milli"] == average.get()
                }
                Shown::Value(value) => expected["usage_milli"] == value.get(),
            };
            expected["replicas"] == replicas && shown
        }
    };
    if same { Ok(()) } else { Err(format!("{found:?}, expected {expected}")) }
}
