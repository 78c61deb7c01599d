//! The cluster's `metrics.k8s.io` and `external.metrics.k8s.io`, which keep what they answered, and when.
//!
//! An HPA asks for the metrics of its pods with the workload's selector, and for an external metric with a selector of
//! its own; the value of that selector's only label is the workload's name.

use super::super::plane::Plane;
use super::recorder::Recorder;
use super::tls::Tls;
use autoscale_core::sample::{ContainerUsage, PodSample, ResourceList, UsageSample};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Timestamp};
use autoscale_live::shell::{Clock, SystemClock};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::jiff;
use rand_distr::{Distribution, Uniform};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The total of this metric is what the pods have to do.
pub(crate) const CPU: &str = "cpu";

/// Pods are measured at even seconds, over this window.
const SCRAPE: i64 = 2;
const WINDOW: Duration = Duration::from_secs(4);
/// What a pod uses until it is ready, in millicores.
const STARTING: i64 = 190;
/// How unevenly work is spread over pods.
const UNEVEN: f64 = 0.1;

/// What a metric is at a moment, `None` when it cannot be said.
pub(crate) type Source =
    Box<dyn Fn(Timestamp) -> Pin<Box<dyn Future<Output = Option<Milli>> + Send>> + Send + Sync>;

/// What an HPA was told.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// By pod.
    Usage(BTreeMap<Arc<str>, UsageSample>),
    Value(Milli),
    /// Nothing, but an error.
    Refused,
}

/// One request of an HPA.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Timestamp,
    pub(super) metric: String,
    pub(super) answer: Answer,
}

/// Copies are the same server.
#[derive(Clone)]
pub(crate) struct MetricsApi(Arc<Shared>);

struct Shared {
    recorder: Recorder,
    /// By workload and metric.
    sources: Mutex<BTreeMap<(String, String), Arc<Source>>>,
    /// By workload, oldest first.
    asked: Mutex<BTreeMap<String, Vec<Asked>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    label_selector: String,
}

impl Selection {
    fn workload(&self) -> String {
        self.label_selector.split_once('=').expect("a selector with one label").1.to_owned()
    }
}

type Reply = Result<Json<Value>, StatusCode>;

impl MetricsApi {
    /// Starts to answer; the API server knows where.
    pub(super) async fn start(plane: &Plane, recorder: &Recorder) -> Self {
        let api = Self(Arc::new(Shared {
            recorder: recorder.clone(),
            sources: Mutex::default(),
            asked: Mutex::default(),
        }));
        let (resource, external) = ("/apis/metrics.k8s.io/v1beta1", "/apis/external.metrics.k8s.io/v1beta1");
        let router = Router::new()
            .route(resource, get(async || Json(resource_list("metrics.k8s.io/v1beta1"))))
            .route(external, get(async || Json(resource_list("external.metrics.k8s.io/v1beta1"))))
            .route(&format!("{resource}/namespaces/{{namespace}}/pods"), get(pod_metrics))
            .route(&format!("{external}/namespaces/{{namespace}}/{{metric}}"), get(external_metric))
            .with_state(api.clone());
        let listener = Tls::listen().await;
        let port = listener.port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        for group in ["metrics.k8s.io", "external.metrics.k8s.io"] {
            plane.apply_manifest(&registration(group, port));
        }
        api
    }

    /// This is what that metric of the workload is from now on.
    pub(crate) fn serve(&self, workload: &str, metric: &str, source: Source) {
        let key = (workload.to_owned(), metric.to_owned());
        self.0.sources.lock().unwrap().insert(key, Arc::new(source));
    }

    /// What the workload's HPA asked so far.
    pub(super) fn asked(&self, workload: &str) -> Vec<Asked> {
        self.0.asked.lock().unwrap().get(workload).cloned().unwrap_or_default()
    }

    /// How often the workload's HPA was told a number, and the last one.
    pub(crate) fn told(&self, workload: &str) -> (usize, Option<Milli>) {
        let values: Vec<Milli> = self.asked(workload).iter().filter_map(Asked::value).collect();
        (values.len(), values.last().copied())
    }

    /// Keeps the answer to a request that came at `at`.
    fn keep(&self, workload: String, at: Timestamp, metric: String, answer: Answer) {
        let asked = Asked { at, metric, answer };
        self.0.asked.lock().unwrap().entry(workload).or_default().push(asked);
    }

    async fn value(&self, workload: &str, metric: &str, now: Timestamp) -> Option<Milli> {
        let key = (workload.to_owned(), metric.to_owned());
        let source = self.0.sources.lock().unwrap().get(&key).cloned();
        source?(now).await
    }
}

impl Asked {
    fn value(&self) -> Option<Milli> {
        match self.answer {
            Answer::Value(value) => Some(value),
            Answer::Usage(_) | Answer::Refused => None,
        }
    }
}

async fn pod_metrics(State(api): State<MetricsApi>, Query(selection): Query<Selection>) -> Reply {
    let (now, workload) = (SystemClock.now(), selection.workload());
    let total = api.value(&workload, CPU, now).await;
    let usage = total.map(|total| usage(&api.0.recorder.of(&workload).pods_at(now), total, now));
    let reply = usage.as_ref().map(|usage| {
        json!({ "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
            "items": usage.iter().map(pod_metrics_item).collect::<Value>() })
    });
    api.keep(workload, now, CPU.to_owned(), usage.map_or(Answer::Refused, Answer::Usage));
    reply.map(Json).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn external_metric(
    State(api): State<MetricsApi>,
    Path((_, metric)): Path<(String, String)>,
    Query(selection): Query<Selection>,
) -> Reply {
    let (now, workload) = (SystemClock.now(), selection.workload());
    let value = api.value(&workload, &metric, now).await;
    let item = |value: Milli| json!({ "metricName": metric, "metricLabels": {}, "timestamp": seconds(now), "value": milli(value) });
    let reply = value.map(|value| {
        json!({ "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
            "items": [item(value)] })
    });
    api.keep(workload, now, metric, value.map_or(Answer::Refused, Answer::Value));
    reply.map(Json).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a metrics server would have measured of these pods, which share `total` cores of work.
fn usage(pods: &[PodSample], total: Milli, now: Timestamp) -> BTreeMap<Arc<str>, UsageSample> {
    let seconds = now.since(Timestamp::ZERO).as_secs() as i64;
    let timestamp = Timestamp::from_secs(seconds - seconds % SCRAPE);
    let serving = pods.iter().filter(|pod| pod.is_serving()).count().max(1) as i64;
    let measured = |pod: &&PodSample| {
        pod.deletion.is_none() && pod.started.is_some_and(|started| started + WINDOW <= timestamp)
    };
    let sample = |pod: &PodSample| {
        let share = if pod.is_serving() { total.get() / serving } else { STARTING };
        let mut random = Seed::root(seconds as u64).child(&pod.name).stream();
        let uneven = Uniform::new(1.0 - UNEVEN, 1.0 + UNEVEN).unwrap().sample(&mut random);
        let cpu = Milli::new((share as f64 * uneven) as i64);
        let usage = ResourceList { cpu: Some(cpu), memory: None };
        UsageSample {
            timestamp,
            window: WINDOW,
            containers: vec![ContainerUsage { name: "app".into(), usage }],
        }
    };
    pods.iter().filter(measured).map(|pod| (Arc::clone(&pod.name), sample(pod))).collect()
}

/// In nanocores, as from a kubelet; the controller rounds up to thousandths.
fn pod_metrics_item((name, sample): (&Arc<str>, &UsageSample)) -> Value {
    let cpu = sample.cpu().map_or(0, Milli::get);
    let nanocores = format!("{}n", (cpu * 1_000_000 - 300_000).max(0));
    json!({
        "metadata": { "name": name },
        "timestamp": seconds(sample.timestamp),
        "window": format!("{}s", sample.window.as_secs()),
        "containers": [{ "name": "app", "usage": { "cpu": nanocores } }],
    })
}

fn milli(value: Milli) -> String {
    format!("{}m", value.get())
}

fn seconds(at: Timestamp) -> String {
    let seconds = at.since(Timestamp::ZERO).as_secs() as i64;
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

fn resource_list(version: &str) -> Value {
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
        { "name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"] },
    ] })
}

/// A Service that leads to this machine, and the group of APIs behind it.
fn registration(group: &str, port: u16) -> String {
    let service = group.replace('.', "-");
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": service, "namespace": "kube-system" },
            "spec": { "type": "ExternalName", "externalName": "localhost" },
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": format!("v1beta1.{group}") },
            "spec": {
                "group": group, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": { "name": service, "namespace": "kube-system", "port": port },
                "insecureSkipTLSVerify": true,
            },
        },
    ] })
    .to_string()
}
