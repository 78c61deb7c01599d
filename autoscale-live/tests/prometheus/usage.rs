//! What pods use, as the kubelet and kube-state-metrics tell Prometheus.

use super::server::{Prometheus, Scraped};
use autoscale_core::units::Timestamp;
use autoscale_live::shell::{Clock, SystemClock};
use autoscale_live::source::{Collector, PrometheusConfig, UsageSource};
use autoscale_live::target::TargetRef;
use axum::Router;
use axum::routing::get;
use std::fmt::Write;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A pod of one container: name, kind and name of its owner, cores used and asked for.
struct Pod {
    name: &'static str,
    owner: (&'static str, &'static str),
    used: Option<f64>,
    requested: f64,
}

const PODS: [Pod; 4] = [
    Pod { name: "web-7d9f-a", owner: ("ReplicaSet", "web-7d9f"), used: Some(0.3), requested: 0.5 },
    // Of a roll-out that is under way.
    Pod { name: "web-55c8-b", owner: ("ReplicaSet", "web-55c8"), used: Some(0.1), requested: 0.5 },
    // It has just come, and counts on neither side.
    Pod { name: "web-55c8-c", owner: ("ReplicaSet", "web-55c8"), used: None, requested: 0.5 },
    Pod { name: "store-0", owner: ("StatefulSet", "store"), used: Some(0.9), requested: 1.0 },
];
const MIB: f64 = 1024.0 * 1024.0;

/// The page of both exporters.
fn page(start: Timestamp) -> String {
    let (mut page, seconds) = (String::new(), SystemClock.now().since(start).as_secs_f64());
    for Pod { name, owner: (kind, owner), used, requested } in PODS {
        let pod = format!("namespace=\"shop\",pod=\"{name}\"");
        writeln!(page, "kube_pod_owner{{{pod},owner_kind=\"{kind}\",owner_name=\"{owner}\"}} 1").unwrap();
        let requests = "kube_pod_container_resource_requests";
        writeln!(page, "{requests}{{{pod},container=\"app\",resource=\"cpu\"}} {requested}").unwrap();
        writeln!(page, "{requests}{{{pod},container=\"app\",resource=\"memory\"}} 1e9").unwrap();
        let Some(used) = used else { continue };
        // The pod itself, its pause container and its container: the last alone is to be counted.
        for (container, share) in [("", 1.1), ("POD", 0.1), ("app", 1.0)] {
            let labels = format!("{pod},container=\"{container}\"");
            let spent = used * seconds * share;
            writeln!(page, "container_cpu_usage_seconds_total{{{labels}}} {spent}").unwrap();
            writeln!(page, "container_memory_working_set_bytes{{{labels}}} {}", 64.0 * MIB * share).unwrap();
        }
    }
    for app in ["web", "store", "bare"] {
        writeln!(page, "http_requests_total{{namespace=\"shop\",app=\"{app}\",code=\"200\"}} 1").unwrap();
    }
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn use_and_requests_of_pods_are_those_of_their_workloads() {
    let (start, mut tasks) = (SystemClock.now(), JoinSet::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/metrics", get(async move || page(start)));
    tasks.spawn(async { axum::serve(listener, router).await.unwrap() });
    // Whatever the exporter itself is labelled with is not what its series are about.
    let exporter = Scraped { address, namespace: "monitoring", app: "exporter", pod: "exporter-0" };
    let prometheus = Prometheus::start(&[exporter]).await;
    let config = PrometheusConfig {
        usage: UsageSource::Prometheus,
        window_seconds: 5,
        ..PrometheusConfig::at(&prometheus.url)
    };
    let collector = Collector::new(config).unwrap();
    let targets = ["web", "store", "bare"].map(|name| TargetRef::deployment("shop", name));
    let deadline = SystemClock.now() + Duration::from_secs(60);
    let found = loop {
        let found = collector.collect(&targets, SystemClock.now()).await;
        let seen = |k| found.of(k).ok().and_then(|shown| shown.usage?.cpu_utilization).is_some();
        if seen(0) && seen(1) {
            break found;
        }
        assert!(SystemClock.now() < deadline, "nothing is seen: {:?}", found.of(0));
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let usage = |k| found.of(k).unwrap().usage.unwrap();
    let cpu = |k| usage(k).cpu_utilization.unwrap().fraction();
    // Half a core spent of one that was asked for by those that have been seen; scrapes are some milliseconds early or late.
    assert!((cpu(0) - 0.4).abs() < 0.02, "{}", cpu(0));
    assert!((cpu(1) - 0.9).abs() < 0.05, "{}", cpu(1));
    assert_eq!((usage(0).memory_bytes, usage(1).memory_bytes), (128 << 20, 64 << 20));
    assert_eq!((usage(2).cpu_utilization, usage(2).memory_bytes), (None, 0), "nothing is known of its pods");
}
