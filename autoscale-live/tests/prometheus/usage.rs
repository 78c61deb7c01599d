//! What pods use, as the kubelet tells Prometheus.

use super::collecting::settled;
use super::server::{Prometheus, Scraped};
use autoscale_core::sample::UsageSample;
use autoscale_core::units::{Milli, Timestamp};
use autoscale_live::shell::{Clock, SystemClock};
use autoscale_live::source::{Collector, PrometheusConfig, UsageSource};
use axum::Router;
use axum::routing::get;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Of the rates, in seconds.
const WINDOW: u32 = 5;
const MIB: f64 = 1024.0 * 1024.0;
/// Containers: namespace, pod, name, cores.
const CONTAINERS: [(&str, &str, &str, f64); 4] = [
    ("shop", "web-7d9f-a", "app", 0.3),
    ("shop", "web-7d9f-a", "proxy", 0.1),
    ("shop", "store-0", "app", 0.9),
    ("elsewhere", "web-7d9f-a", "app", 5.0),
];

/// What is to be seen in `shop`: pod, containers, cores.
const PODS: [(&str, &[&str], f64); 2] = [("store-0", &["app"], 0.9), ("web-7d9f-a", &["app", "proxy"], 0.4)];
/// Of which one is enough, with scrapes that are no more than some milliseconds early or late.
const LOOKS: u32 = 20;

/// The page of a kubelet.
fn page(start: Timestamp) -> String {
    let (mut page, seconds) = (String::new(), SystemClock.now().since(start).as_secs_f64());
    let mut line = |(namespace, pod, container): (&str, &str, &str), id: &str, cores: f64, mib: f64| {
        let labels = format!("namespace=\"{namespace}\",pod=\"{pod}\",container=\"{container}\",id=\"{id}\"");
        writeln!(page, "container_cpu_usage_seconds_total{{{labels}}} {}", cores * seconds).unwrap();
        writeln!(page, "container_memory_working_set_bytes{{{labels}}} {}", mib * MIB).unwrap();
    };
    for (namespace, pod, name, cores) in CONTAINERS {
        line((namespace, pod, name), "/now", cores, 64.0);
        // The pod itself and its pause container, and the container as it was before it was restarted.
        line((namespace, pod, ""), "/pod", 1.1 * cores, 80.0);
        line((namespace, pod, "POD"), "/pause", 0.1, 1.0);
        line((namespace, pod, name), "/before", 0.0, 32.0);
    }
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_container_has_what_it_uses_once() {
    let (start, mut tasks) = (SystemClock.now(), JoinSet::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/metrics", get(async move || page(start)));
    tasks.spawn(async { axum::serve(listener, router).await.unwrap() });
    let kubelet = Scraped { address, namespace: "kube-system", app: "kubelet", pod: "none" };
    let prometheus = Prometheus::start(&[kubelet]).await;
    let config = PrometheusConfig {
        usage: UsageSource::Prometheus,
        window_seconds: WINDOW,
        ..PrometheusConfig::at(&prometheus.url)
    };
    let collector = Collector::new(config).unwrap();
    let namespaces: [Arc<str>; 2] = ["shop".into(), "empty".into()];
    let deadline = start + Duration::from_secs(180);
    while collector.usage(&namespaces, SystemClock.now()).await.unwrap()["shop"].is_empty() {
        assert!(SystemClock.now() < deadline, "nothing is seen");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Until the window is full.
    tokio::time::sleep(Duration::from_secs(u64::from(WINDOW) + 3)).await;
    for look in 0..LOOKS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let at = settled();
        if !prometheus.on_time(1, at, WINDOW).await {
            println!("look {look} is spoilt: scrapes were early or late");
            continue;
        }
        let found = collector.usage(&namespaces, at).await.unwrap();
        assert!(found["empty"].is_empty());
        assert_eq!(found["shop"].keys().map(|pod| &**pod).collect::<Vec<_>>(), PODS.map(|pod| pod.0));
        for pod in PODS {
            check(pod, &found["shop"][pod.0]);
        }
        return;
    }
    panic!("all {LOOKS} looks were spoilt: this machine is too busy");
}

/// It uses what it should.
fn check((pod, containers, cores): (&str, &[&str], f64), sample: &UsageSample) {
    assert_eq!(sample.containers.iter().map(|c| &*c.name).collect::<Vec<_>>(), containers);
    assert_eq!(sample.window, Duration::from_secs(u64::from(WINDOW)));
    let bytes = (containers.len() as i64 * 64) << 20;
    assert_eq!(sample.memory().unwrap(), Milli::new(1000 * bytes));
    let used = sample.cpu().unwrap().units();
    assert!((used / cores - 1.0).abs() < 0.05, "{pod}: {used} cores instead of {cores}");
}
