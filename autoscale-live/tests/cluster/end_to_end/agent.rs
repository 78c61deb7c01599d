//! A node that runs each pod as a process, on a loopback address of its own.

use super::super::node;
use super::super::plane::Plane;
use axum::Json;
use axum::routing::get;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PORT: u16 = 8080;
const LOOK: Duration = Duration::from_millis(250);

/// A process that is a pod.
struct Running {
    child: Child,
    address: String,
    ready: bool,
}

pub(crate) struct Agent {
    /// Where Prometheus asks whom to scrape.
    pub(crate) discovery: String,
    /// Base URLs of the pods that are ready.
    pub(crate) backends: watch::Receiver<Vec<String>>,
    _task: JoinHandle<()>,
}

impl Agent {
    pub(crate) async fn start(plane: &Plane, namespace: &str) -> Self {
        let client = plane.client().await;
        node::register(&client).await;
        let (tell, backends) = watch::channel(Vec::new());
        let (found, scraped) = watch::channel(json!([]));
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let space = namespace.to_owned();
        let task = tokio::spawn(async move {
            let (mut running, mut count) = (BTreeMap::new(), 0);
            loop {
                // The API server may be away for a while.
                if let Ok(list) = pods.list(&ListParams::default()).await {
                    let (ending, living): (Vec<Pod>, Vec<Pod>) =
                        list.into_iter().partition(|pod| pod.metadata.deletion_timestamp.is_some());
                    let ended: Vec<(String, Running)> =
                        ending.iter().filter_map(|pod| running.remove_entry(&pod.name_any())).collect();
                    // A pod takes requests for only half a second once it is told to end, and to tell many of them and
                    // the API server takes longer: nobody may be sent to them meanwhile.
                    tell.send_replace(ready(&running));
                    for (name, pod) in ended {
                        end(&pods, name, pod).await;
                    }
                    for pod in living {
                        look_after(&pods, &pod, &mut running, &mut count).await;
                    }
                    tell.send_replace(ready(&running));
                    let target = |(name, pod): (&String, &Running)| json!({ "targets": [pod.address], "labels": { "namespace": space, "app": "web", "pod": name } });
                    found.send_replace(running.iter().map(target).collect::<Vec<Value>>().into());
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        let answer = move || {
            let scraped = scraped.borrow().clone();
            async move { Json(scraped) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let discovery = format!("http://{}/targets", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/targets", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { discovery, backends, _task: task }
    }
}

fn ready(running: &BTreeMap<String, Running>) -> Vec<String> {
    running.values().filter(|pod| pod.ready).map(|pod| format!("http://{}", pod.address)).collect()
}

/// Tells a pod to end, and lets go of it when it has.
async fn end(pods: &Api<Pod>, name: String, Running { mut child, .. }: Running) {
    let process = child.id().unwrap_or_default().to_string();
    let _ = Command::new("kill").args(["-TERM", &process]).status().await;
    let gone = pods.clone();
    tokio::spawn(async move {
        let _ = child.wait().await;
        node::let_go(&gone, &name).await;
    });
}

/// Starts and watches what belongs to a pod.
async fn look_after(pods: &Api<Pod>, pod: &Pod, running: &mut BTreeMap<String, Running>, count: &mut u32) {
    let name = pod.name_any();
    if node::has(pod) && !running.contains_key(&name) {
        *count += 1;
        // Of several test processes at a time, each has addresses of its own.
        let address =
            format!("127.{}.{}.{}:{PORT}", 10 + std::process::id() % 200, *count / 250, 1 + *count % 250);
        // Lags between one and three seconds, the same in every run.
        let start_ms = (1000 + (*count * 733) % 2000).to_string();
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../debug/examples/demo_service");
        let child = Command::new(program)
            .args([&address, "2", "50", &start_ms])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("cargo has built the example");
        let (ip, _) = address.split_once(':').unwrap();
        node::started(pods, &name, Some(ip)).await;
        running.insert(name.clone(), Running { child, address, ready: false });
    }
    if let Some(pod) = running.get_mut(&name).filter(|pod| !pod.ready) {
        pod.ready = tokio::net::TcpStream::connect(&pod.address).await.is_ok();
        if pod.ready {
            node::ready(pods, &name, true).await;
        }
    }
}
