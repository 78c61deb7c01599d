//! From the cases' JSON to what policies observe.

use autoscale_core::rule::Tolerance;
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, ContainerUsage, PodPhase, PodSample, ReadyCondition, ReadyStatus,
    ResourceList,
};
use autoscale_core::units::{Milli, Timestamp};
use autoscale_policies::hpa::{PodValue, PodValues, Readiness, Resource, resource_value};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Times are seconds after the case's own zero.
pub(crate) fn time(value: &Value, zero_s: f64) -> Timestamp {
    Timestamp::from_secs_f64(zero_s + value.as_f64().unwrap())
}

pub(crate) fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap())
}

pub(crate) fn milli(value: &Value) -> Milli {
    Milli::new(value.as_i64().unwrap())
}

pub(crate) fn readiness(config: &Value) -> Readiness {
    Readiness {
        cpu_initialization_period: seconds(&config["cpu_initialization_period_s"]),
        initial_readiness_delay: seconds(&config["initial_readiness_delay_s"]),
    }
}

pub(crate) fn tolerance(value: &Value) -> Tolerance {
    let side = |side: &str| value[side].as_f64().unwrap();
    Tolerance::new(side("down"), side("up")).unwrap()
}

pub(crate) fn resource(name: &Value) -> Resource {
    match name.as_str().unwrap() {
        "cpu" => Resource::Cpu,
        "memory" => Resource::Memory,
        other => panic!("a resource {other}"),
    }
}

fn resources(value: &Value) -> ResourceList {
    let of = |name: &str| value[name].as_i64().map(Milli::new);
    ResourceList { cpu: of("cpu"), memory: of("memory") }
}

fn container(value: &Value, kind: ContainerKind) -> ContainerSpec {
    ContainerSpec {
        name: value["name"].as_str().unwrap().into(),
        kind,
        requests: resources(&value["requests_milli"]),
    }
}

fn sidecar_or_init(value: &Value) -> ContainerSpec {
    let sidecar = value["restart_policy_always"].as_bool().unwrap_or(false);
    container(value, if sidecar { ContainerKind::Sidecar } else { ContainerKind::Init })
}

fn usages(sample: &Value) -> Vec<ContainerUsage> {
    let usage = |c: &Value| ContainerUsage {
        name: c["name"].as_str().unwrap().into(),
        usage: resources(&c["usage_milli"]),
    };
    list(&sample["containers"]).iter().map(usage).collect()
}

pub(crate) fn pods(values: &Value, zero_s: f64) -> Vec<PodSample> {
    let pod = |value: &Value| PodSample {
        name: value["name"].as_str().unwrap().into(),
        phase: match value["phase"].as_str().unwrap() {
            "Pending" => PodPhase::Pending,
            "Running" => PodPhase::Running,
            "Succeeded" => PodPhase::Succeeded,
            "Failed" => PodPhase::Failed,
            _ => PodPhase::Unknown,
        },
        created: Timestamp::ZERO,
        started: value["start_time_s"].as_f64().map(|s| Timestamp::from_secs_f64(zero_s + s)),
        ready: value["ready"].is_object().then(|| ReadyCondition {
            status: match value["ready"]["status"].as_str().unwrap() {
                "True" => ReadyStatus::True,
                "False" => ReadyStatus::False,
                _ => ReadyStatus::Unknown,
            },
            last_transition: time(&value["ready"]["last_transition_s"], zero_s),
        }),
        deletion: value["deleted"].as_bool().unwrap_or(false).then_some(Timestamp::ZERO),
        containers: list(&value["containers"])
            .iter()
            .map(|c| container(c, ContainerKind::Main))
            .chain(list(&value["init_containers"]).iter().map(sidecar_or_init))
            .collect(),
        pod_level_requests: value["pod_level_requests_milli"]
            .is_object()
            .then(|| resources(&value["pod_level_requests_milli"])),
        usage: None,
    };
    list(values).iter().map(pod).collect()
}

/// Values per pod, of a custom metric or (`resource`) of a resource.
pub(crate) fn pod_values(
    metrics: &Value,
    pods: &[PodSample],
    resource: Option<(Resource, Option<&str>)>,
    zero_s: f64,
) -> PodValues {
    let mut values = PodValues { listed: vec![None; pods.len()], others: Vec::new() };
    for metric in list(metrics) {
        let value = match resource {
            None => Some(milli(&metric["value_milli"])),
            Some((resource, container)) => resource_value(&usages(metric), resource, container),
        };
        let Some(value) = value else { continue };
        match pods.iter().position(|pod| *pod.name == *metric["pod"].as_str().unwrap()) {
            None => values.others.push(value),
            Some(index) => {
                let (timestamp, window) =
                    (time(&metric["timestamp_s"], zero_s), seconds(&metric["window_s"]));
                values.listed[index] = Some(PodValue { value, timestamp, window });
            }
        }
    }
    values
}
