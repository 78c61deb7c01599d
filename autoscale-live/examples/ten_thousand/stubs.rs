//! A Prometheus and an API server with as many Deployments as are asked for, in namespaces of a thousand.

use super::{PERIOD, now};
use autoscale_core::units::Timestamp;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Targets of a namespace.
const OF_ONE: usize = 1000;
/// One of so many changes in each cycle,
const SHARE: usize = 100;
/// except in the first ones, in which lists are read.
const QUIET: usize = 6;

/// Namespace and name of the `k`-th target.
pub(crate) fn name(k: usize) -> (String, String) {
    (format!("ns{:02}", k / OF_ONE), format!("app{k:05}"))
}

struct World {
    replicas: Vec<u32>,
    /// Watch events by namespace and kind, in order; the version of the last is their number.
    events: HashMap<(String, &'static str), Vec<String>>,
    /// As it was written last.
    lease: Option<Value>,
}

/// The custom resources, which are watched in all namespaces at once.
const AUTOSCALERS: &str = "learnedautoscalers";

struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<()>,
    start: Timestamp,
    patches: AtomicU64,
    requests: AtomicU64,
    statuses: AtomicU64,
    pages: AtomicU64,
    bytes_of_a_page: AtomicU64,
}

type Stub = State<Arc<Shared>>;

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cycles since the start. In each one some more targets are busy, and stay so.
    fn cycle(&self) -> usize {
        (now().since(self.start).as_secs() / PERIOD.as_secs()) as usize
    }

    fn is_busy(&self, k: usize, targets: usize) -> bool {
        let each = targets / SHARE;
        k < each * self.cycle().saturating_sub(QUIET)
    }
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix("app")?.get(..5)?.parse().ok()
}

fn deployment(k: usize, replicas: u32) -> Value {
    let (namespace, name) = name(k);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("d{k}"), "generation": replicas,
            "resourceVersion": "1", "labels": { "app": name },
            "managedFields": [{
                "manager": "autoscale", "operation": "Apply", "apiVersion": "apps/v1", "subresource": "scale",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } },
            }],
        },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "app", "resources": { "requests": { "cpu": "500m" } } }] },
            },
        },
        "status": { "replicas": replicas, "readyReplicas": replicas, "observedGeneration": replicas },
    })
}

/// The autoscaler of the `k`-th target.
pub(crate) fn autoscaler(k: usize, status: Option<&Value>) -> Value {
    let (namespace, name) = name(k);
    let mut object = json!({
        "apiVersion": "autoscaleai.dev/v1alpha1", "kind": "LearnedAutoscaler",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "scaleTargetRef": { "name": name }, "minReplicas": 1, "maxReplicas": 10, "mode": "active",
            "policy": { "horizontalPodAutoscaler": {} },
        },
    });
    if let Some(status) = status {
        let fields = json!({ "f:spec": { "f:maxReplicas": {}, "f:minReplicas": {}, "f:mode": {}, "f:policy": {}, "f:scaleTargetRef": {} } });
        let metadata = &mut object["metadata"];
        metadata["uid"] = format!("a{k}").into();
        metadata["generation"] = 1.into();
        metadata["resourceVersion"] = "1".into();
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        metadata["managedFields"] = json!([{
            "manager": "kubectl", "operation": "Apply", "apiVersion": "autoscaleai.dev/v1alpha1",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        }]);
        object["status"] = status.clone();
    }
    object
}

fn pod(k: usize, replica: u32) -> Value {
    let (namespace, name) = name(k);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-{replica}"), "namespace": namespace, "uid": format!("p{k}-{replica}"),
            "resourceVersion": "1", "labels": { "app": name }, "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": { "containers": [{ "name": "app", "image": "app", "resources": { "requests": { "cpu": "500m" } } }] },
        "status": {
            "phase": "Running", "startTime": "2026-01-01T00:00:00Z", "podIP": "10.0.0.1",
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z" }],
        },
    })
}

async fn query(State(shared): Stub) -> Response {
    let (targets, cycle) = (shared.world.lock().map_or(0, |world| world.replicas.len()), shared.cycle());
    let at = now().as_secs_f64();
    let mut body = String::with_capacity(targets * 110)
        + r#"{"status":"success","data":{"resultType":"vector","result":["#;
    for k in 0..targets {
        let (namespace, name) = name(k);
        let comma = if k == 0 { "" } else { "," };
        let value = (k % 7) as f64 + 1.0 + (cycle % 100) as f64 / 100.0;
        let _ = write!(
            body,
            r#"{comma}{{"metric":{{"namespace":"{namespace}","app":"{name}"}},"value":[{at:.3},"{value:.2}"]}}"#
        );
    }
    body.push_str("]}}");
    ([("content-type", "application/json")], body).into_response()
}

async fn pod_metrics(State(shared): Stub, Path(namespace): Path<String>) -> Response {
    let world = shared.world();
    let at = now().as_secs_f64();
    let stamp = chrono::DateTime::from_timestamp(at as i64, 0).map(|t| t.to_rfc3339()).unwrap_or_default();
    let mut body =
        r#"{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":["#
            .to_owned();
    let mut comma = "";
    for (k, &replicas) in world.replicas.iter().enumerate().filter(|&(k, _)| name(k).0 == namespace) {
        // A target is aimed at 80 % of 500m; busy ones use twice of it in all.
        let used = if shared.is_busy(k, world.replicas.len()) { 800 / replicas } else { 400 / replicas };
        for replica in 0..replicas {
            let _ = write!(
                body,
                r#"{comma}{{"metadata":{{"name":"{}-{replica}"}},"timestamp":"{stamp}","window":"15s","containers":[{{"name":"app","usage":{{"cpu":"{used}m","memory":"64Mi"}}}}]}}"#,
                name(k).1
            );
            comma = ",";
        }
    }
    body.push_str("]}");
    ([("content-type", "application/json")], body).into_response()
}

async fn objects(
    State(shared): Stub,
    Path((namespace, kind)): Path<(String, String)>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let kind = match kind.as_str() {
        "deployments" => "deployments",
        "pods" => "pods",
        "horizontalpodautoscalers" => "horizontalpodautoscalers",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    if asked.contains_key("watch") {
        let seconds = asked.get("timeoutSeconds").and_then(|s| s.parse().ok()).unwrap_or(60);
        let from = asked.get("resourceVersion").and_then(|version| version.parse::<usize>().ok());
        return follow(shared, (namespace, kind), from.unwrap_or(1) - 1, seconds);
    }
    let world = shared.world();
    let all: Vec<Value> = world
        .replicas
        .iter()
        .enumerate()
        .filter(|&(k, _)| name(k).0 == namespace)
        .flat_map(|(k, &replicas)| match kind {
            "deployments" => vec![deployment(k, replicas)],
            "pods" => (0..replicas).map(|replica| pod(k, replica)).collect(),
            _ => Vec::new(),
        })
        .collect();
    let version = world.events.get(&(namespace, kind)).map_or(0, Vec::len) + 1;
    drop(world);
    list(&all, version, &asked)
}

/// A page of a list.
fn list(all: &[Value], version: usize, asked: &HashMap<String, String>) -> Response {
    let number = |key: &str, usual: usize| asked.get(key).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (from, limit) = (number("continue", 0), number("limit", usize::MAX));
    let page: Vec<&Value> = all.iter().skip(from).take(limit).collect();
    let more = (from + page.len() < all.len()).then(|| (from + page.len()).to_string());
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": more });
    Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page })).into_response()
}

async fn autoscalers(State(shared): Stub, Query(asked): Query<HashMap<String, String>>) -> Response {
    if asked.contains_key("watch") {
        let number = |key: &str, usual| asked.get(key).and_then(|s| s.parse().ok()).unwrap_or(usual);
        let from = number("resourceVersion", 1) as usize - 1;
        return follow(shared, (String::new(), AUTOSCALERS), from, number("timeoutSeconds", 60));
    }
    // They are listed once, before any status is written.
    let targets = shared.world().replicas.len();
    let all: Vec<Value> = (0..targets).map(|k| autoscaler(k, Some(&json!({})))).collect();
    list(&all, 1, &asked)
}

async fn status(State(shared): Stub, Path((_, name)): Path<(String, String)>, asked: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&asked).unwrap_or_default();
    let Some(k) = number(&name) else { return StatusCode::NOT_FOUND.into_response() };
    shared.statuses.fetch_add(1, Ordering::Relaxed);
    let mut object = autoscaler(k, Some(&asked["status"]));
    {
        let mut world = shared.world();
        let events = world.events.entry((String::new(), AUTOSCALERS)).or_default();
        object["metadata"]["resourceVersion"] = (events.len() + 2).to_string().into();
        events.push(json!({ "type": "MODIFIED", "object": object }).to_string() + "\n");
    }
    shared.changed.send_replace(());
    Json(object).into_response()
}

async fn lease(State(shared): Stub) -> Response {
    shared.world().lease.clone().map_or_else(
        || {
            let gone = json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 });
            (StatusCode::NOT_FOUND, Json(gone)).into_response()
        },
        |lease| Json(lease).into_response(),
    )
}

async fn write_lease(State(shared): Stub, Json(lease): Json<Value>) -> Json<Value> {
    shared.world().lease = Some(lease.clone());
    Json(lease)
}

/// Reads a page once a cycle, as Prometheus does.
async fn scrape(shared: Arc<Shared>, page: String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let Ok(answer) = reqwest::get(&page).await else { continue };
        if let Ok(body) = answer.bytes().await {
            shared.pages.fetch_add(1, Ordering::Relaxed);
            shared.bytes_of_a_page.store(body.len() as u64, Ordering::Relaxed);
        }
    }
}

/// What happens after the `from`-th event, until the watch is over.
fn follow(shared: Arc<Shared>, key: (String, &'static str), from: usize, seconds: u64) -> Response {
    let changed = shared.changed.subscribe();
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let lines =
        stream::unfold((shared, key, from, changed), move |(shared, key, from, mut changed)| async move {
            loop {
                let new: String = {
                    let world = shared.world.lock().unwrap_or_else(PoisonError::into_inner);
                    world.events.get(&key).map(|events| events[from..].concat()).unwrap_or_default()
                };
                if !new.is_empty() {
                    let from = from + new.lines().count();
                    return Some((Ok::<_, Infallible>(Bytes::from(new)), (shared, key, from, changed)));
                }
                tokio::select! {
                    () = tokio::time::sleep_until(end) => return None,
                    _ = changed.changed() => {}
                }
            }
        });
    Body::from_stream(lines).into_response()
}

async fn scale(
    State(shared): Stub,
    Path((namespace, name)): Path<(String, String)>,
    asked: Bytes,
) -> Response {
    // An apply says that it is YAML, of which JSON is a part.
    let asked: Value = serde_json::from_slice(&asked).unwrap_or_default();
    let (Some(k), Some(replicas)) = (number(&name), asked["spec"]["replicas"].as_u64()) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    shared.patches.fetch_add(1, Ordering::Relaxed);
    {
        let mut world = shared.world();
        let before = std::mem::replace(&mut world.replicas[k], replicas as u32);
        let mut tell = |kind, what: &str, mut object: Value| {
            let events = world.events.entry((namespace.clone(), kind)).or_default();
            object["metadata"]["resourceVersion"] = (events.len() + 2).to_string().into();
            events.push(json!({ "type": what, "object": object }).to_string() + "\n");
        };
        tell("deployments", "MODIFIED", deployment(k, replicas as u32));
        for replica in before..replicas as u32 {
            tell("pods", "ADDED", pod(k, replica));
        }
        for replica in replicas as u32..before {
            tell("pods", "DELETED", pod(k, replica));
        }
    }
    shared.changed.send_replace(());
    Json(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": { "name": name, "namespace": namespace },
        "spec": { "replicas": replicas }, "status": { "replicas": replicas },
    }))
    .into_response()
}

async fn apps() -> Json<Value> {
    Json(json!({
        "kind": "APIResourceList", "groupVersion": "apps/v1",
        "resources": [{ "name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment", "verbs": ["get"] }],
    }))
}

/// Serves until its input ends, says on each line of it what it has counted, and scrapes what a line names.
#[tokio::main(worker_threads = 1)]
pub(crate) async fn serve(targets: usize) -> Result<(), Box<dyn Error>> {
    let shared = Arc::new(Shared {
        world: Mutex::new(World { replicas: vec![1; targets], events: HashMap::new(), lease: None }),
        changed: watch::Sender::new(()),
        start: now(),
        patches: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        statuses: AtomicU64::new(0),
        pages: AtomicU64::new(0),
        bytes_of_a_page: AtomicU64::new(0),
    });
    let counted = Arc::clone(&shared);
    let router = Router::new()
        .route("/api/v1/query", post(query))
        .route("/apis/apps/v1", get(apps))
        .route("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", get(pod_metrics))
        .route("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", patch(scale))
        .route(
            "/apis/events.k8s.io/v1/namespaces/{namespace}/events",
            post(async |Json(event): Json<Value>| Json(event)),
        )
        .route("/apis/autoscaleai.dev/v1alpha1/learnedautoscalers", get(autoscalers))
        .route(
            "/apis/autoscaleai.dev/v1alpha1/namespaces/{namespace}/learnedautoscalers/{name}/status",
            patch(status),
        )
        .route(
            "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}",
            get(lease).put(write_lease),
        )
        .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", post(write_lease))
        .route("/apis/apps/v1/namespaces/{namespace}/{kind}", get(objects))
        .route("/api/v1/namespaces/{namespace}/{kind}", get(objects))
        .route("/apis/autoscaling/v2/namespaces/{namespace}/{kind}", get(objects))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    std::io::Write::write_all(&mut out, format!("http://{}\n", listener.local_addr()?).as_bytes())?;
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line.starts_with("http") {
                runtime.spawn(scrape(Arc::clone(&counted), line));
                continue;
            }
            let targets = counted.world.lock().map_or(0, |world| world.replicas.len());
            let busy = (0..targets).filter(|&k| counted.is_busy(k, targets)).count();
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let line = json!({
                "changes": busy, "patches": read(&counted.patches), "requests": read(&counted.requests),
                "statuses": read(&counted.statuses), "pages": read(&counted.pages),
                "bytes_of_a_page": read(&counted.bytes_of_a_page),
            });
            let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes());
        }
        std::process::exit(0);
    });
    axum::serve(listener, router).await?;
    Ok(())
}
