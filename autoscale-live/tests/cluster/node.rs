//! A node that exists in name only, and what is said of its pods in its name.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

const NAME: &str = "node";

/// Makes the node; the scheduler binds pods to it from now on.
pub(crate) async fn register(client: &Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    let room = json!({ "cpu": "64", "memory": "64Gi", "pods": "250" });
    let status = json!({
        "capacity": room,
        "allocatable": room,
        "conditions": [{ "type": "Ready", "status": "True", "reason": "Test" }],
    });
    let node = json!({ "metadata": { "name": NAME }, "status": status });
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let status = Patch::Merge(json!({ "status": status }));
    nodes.patch_status(NAME, &PatchParams::default(), &status).await.unwrap();
}

/// Whether the pod is bound to the node.
pub(crate) fn has(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(NAME))
}

/// The pod's containers run; it is not ready yet.
pub(crate) async fn started(pods: &Api<Pod>, name: &str, ip: Option<&str>) {
    let status = json!({ "phase": "Running", "podIP": ip, "startTime": Timestamp::now(), "conditions": readiness(false) });
    report(pods, name, status).await;
}

/// The pod is ready from now on, or is not.
pub(crate) async fn ready(pods: &Api<Pod>, name: &str, ready: bool) {
    report(pods, name, json!({ "conditions": readiness(ready) })).await;
}

/// The pod has ended as it was told to.
pub(crate) async fn let_go(pods: &Api<Pod>, name: &str) {
    let _ = pods.delete(name, &DeleteParams::default().grace_period(0)).await;
}

fn readiness(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    let condition = |kind| json!({ "type": kind, "status": status, "lastTransitionTime": Timestamp::now() });
    json!([condition("Ready"), condition("ContainersReady")])
}

/// It may be gone, and the API server away for a while.
async fn report(pods: &Api<Pod>, name: &str, status: Value) {
    let _ =
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await;
}
