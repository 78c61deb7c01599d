//! The emulated HPA against decisions of the real controller, where the folder with them is at hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what was compared, and what could not be")]

use autoscale_core::rule::Tolerance;
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, ContainerUsage, PodPhase, PodSample, ReadyCondition, ReadyStatus,
    ResourceList, UsageSample,
};
use autoscale_core::units::{Milli, Replicas, Timestamp};
use autoscale_policies::hpa::{CpuTarget, NoProposal};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

fn time(value: &Value) -> Timestamp {
    Timestamp::from_secs_f64(value.as_f64().unwrap())
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn cpu(value: &Value) -> ResourceList {
    ResourceList { cpu: value["cpu"].as_i64().map(Milli::new), memory: None }
}

fn container(value: &Value, kind: ContainerKind) -> ContainerSpec {
    ContainerSpec {
        name: value["name"].as_str().unwrap().into(),
        kind,
        requests: cpu(&value["requests_milli"]),
    }
}

fn sidecar_or_init(value: &Value) -> ContainerSpec {
    let sidecar = value["restart_policy_always"].as_bool().unwrap_or(false);
    container(value, if sidecar { ContainerKind::Sidecar } else { ContainerKind::Init })
}

fn pod(value: &Value, metrics: &[Value]) -> PodSample {
    let containers = list(&value["containers"]).iter().map(|c| container(c, ContainerKind::Main));
    let usage = metrics.iter().find(|m| m["pod"] == value["name"]).map(|m| UsageSample {
        timestamp: time(&m["timestamp_s"]),
        window: seconds(&m["window_s"]),
        containers: list(&m["containers"])
            .iter()
            .map(|c| ContainerUsage {
                name: c["name"].as_str().unwrap().into(),
                usage: cpu(&c["usage_milli"]),
            })
            .collect(),
    });
    PodSample {
        name: value["name"].as_str().unwrap().into(),
        phase: match value["phase"].as_str().unwrap() {
            "Pending" => PodPhase::Pending,
            "Running" => PodPhase::Running,
            "Succeeded" => PodPhase::Succeeded,
            "Failed" => PodPhase::Failed,
            _ => PodPhase::Unknown,
        },
        created: Timestamp::ZERO,
        started: value["start_time_s"].as_f64().map(Timestamp::from_secs_f64),
        ready: value["ready"].is_object().then(|| ReadyCondition {
            status: match value["ready"]["status"].as_str().unwrap() {
                "True" => ReadyStatus::True,
                "False" => ReadyStatus::False,
                _ => ReadyStatus::Unknown,
            },
            last_transition: time(&value["ready"]["last_transition_s"]),
        }),
        deletion: value["deleted"].as_bool().unwrap_or(false).then_some(Timestamp::ZERO),
        containers: containers.chain(list(&value["init_containers"]).iter().map(sidecar_or_init)).collect(),
        pod_level_requests: value["pod_level_requests_milli"]
            .is_object()
            .then(|| cpu(&value["pod_level_requests_milli"])),
        usage,
    }
}

/// A metric of a pod that was not listed cannot be seen through an observation.
fn has_ghost(case: &Value) -> bool {
    let listed = |name: &Value| list(&case["pods"]).iter().any(|p| p["name"] == *name);
    list(&case["pod_metrics"]).iter().any(|m| !listed(&m["pod"]))
}

#[test]
fn proposals_are_those_of_the_real_replica_calculator() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/hpa-cases");
    if !folder.is_dir() {
        println!("skipped: no decisions of the real controller at {}", folder.display());
        return;
    }
    let (mut agreed, mut left_out) = (0, 0);
    for file in ["k8s_replica_calculator.json", "oracle_replicas.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let cases: Value = serde_json::from_str(&text).unwrap();
        for case in list(&cases["cases"]) {
            let whole_pod_cpu = case["kind"] == "resource_utilization"
                && case["resource"] == "cpu"
                && case["container"].is_null()
                && case["expect"]["error_code"] != "metric_fetch_failed";
            if !whole_pod_cpu || has_ghost(case) {
                left_out += 1;
                continue;
            }
            let name = case["name"].as_str().unwrap();
            let tolerance = |side: &str| case["tolerance"][side].as_f64().unwrap();
            let target = CpuTarget {
                percent: case["target"].as_u64().unwrap() as u32,
                tolerance: Tolerance::new(tolerance("down"), tolerance("up")).unwrap(),
                cpu_initialization_period: seconds(&case["config"]["cpu_initialization_period_s"]),
                initial_readiness_delay: seconds(&case["config"]["initial_readiness_delay_s"]),
            };
            let metrics = list(&case["pod_metrics"]);
            let pods: Vec<_> = list(&case["pods"]).iter().map(|p| pod(p, metrics)).collect();
            let current = Replicas::new(case["current_replicas"].as_u64().unwrap() as u32);
            let proposed = target.propose(current, &pods, Timestamp::ZERO);
            let expected = &case["expect"];
            if let Some(replicas) = expected["replicas"].as_u64() {
                assert_eq!(proposed.map(|p| u64::from(p.replicas.get())), Ok(replicas), "{name}");
            } else {
                let code = expected["error_code"].as_str().unwrap();
                let error = match code {
                    "no_metrics_returned" => NoProposal::NoMetrics,
                    "no_usable_pod_metrics" => NoProposal::NoUsablePods,
                    _ => NoProposal::MissingRequest,
                };
                assert_eq!(proposed, Err(error), "{name}: {code}");
            }
            agreed += 1;
        }
    }
    println!("{agreed} cases agree; {left_out} are about other metrics or cannot be observed");
    assert!(agreed >= 80, "only {agreed} cases were looked at");
}
