//! Custom resources: what the API server takes for one, and what the controller makes of them.

use super::plane::{Plane, pods_spec, shared, target, until};
use autoscale_core::units::Replicas;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, serve};
use autoscale_live::source::PrometheusConfig;
use autoscale_live::spec::{LearnedAutoscaler, LearnedAutoscalerStatus, PolicyRef, definition};
use autoscale_policies::fixed::Fixed;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The definition, served.
async fn define(plane: &Plane) {
    let client = plane.client().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("test").force();
    let definition = definition();
    let name = definition.metadata.name.clone().unwrap();
    definitions.patch(&name, &params, &Patch::Apply(definition)).await.unwrap();
    let all: Api<LearnedAutoscaler> = Api::all(client);
    until("it is served", async || all.list(&ListParams::default()).await.ok()).await;
}

fn autoscaler(name: &str, target: &str, policy: &Value) -> Value {
    json!({
        "apiVersion": "autoscaleai.dev/v1alpha1",
        "kind": "LearnedAutoscaler",
        "metadata": { "name": name },
        "spec": { "scaleTargetRef": { "name": target }, "maxReplicas": 9, "policy": policy },
    })
}

async fn create(api: &Api<LearnedAutoscaler>, autoscaler: Value) -> kube::Result<LearnedAutoscaler> {
    // As it is, with all mistakes.
    let request = kube::core::Request::new(api.resource_url());
    let request = request.create(&PostParams::default(), serde_json::to_vec(&autoscaler).unwrap()).unwrap();
    api.clone().into_client().request(request).await
}

#[tokio::test]
async fn the_schema_refuses_what_the_controller_could_not_use() {
    let plane = shared();
    define(plane).await;
    let namespace = plane.namespace("schema").await;
    let api: Api<LearnedAutoscaler> = Api::namespaced(plane.client().await, &namespace);
    let hpa = json!({ "horizontalPodAutoscaler": {} });
    for (field, value, words) in [
        ("maxReplicas", json!(0), "greater than or equal to 1"),
        ("maxReplicas", Value::Null, "Required value"),
        ("minReplicas", json!(20_000), "less than or equal to 10000"),
        ("minReplicas", json!(10), "must be at most maxReplicas"),
        ("slo", json!({ "percentile": "p80", "latencySeconds": 0.5 }), "Unsupported value"),
        ("mode", json!("alive"), "Unsupported value"),
        ("policy", json!({}), "policy"),
        ("policy", json!({ "model": { "path": "a" }, "horizontalPodAutoscaler": {} }), "policy"),
        ("envelope", json!({ "floor": 1.5 }), "less than or equal to 1"),
        ("freshness", json!({ "maxAgeSeconds": 0 }), "greater than or equal to 1"),
        ("scaleTargetRef", json!({ "name": "" }), "at least 1"),
        ("utcOffsetHours", json!(15), "less than or equal to 14"),
    ] {
        let mut bad = autoscaler("bad", "web", &hpa);
        bad["spec"][field] = value.clone();
        let said = match create(&api, bad).await {
            Err(kube::Error::Api(status)) => status.message.clone(),
            other => panic!("{field}: {value} is taken: {other:?}"),
        };
        assert!(said.contains(&format!("spec.{field}")) && said.contains(words), "{field}: {value}: {said}");
    }
    let good = create(&api, autoscaler("good", "web", &hpa)).await.unwrap();
    assert!(matches!(good.spec.policy, PolicyRef::HorizontalPodAutoscaler(_)));
    assert_eq!(good.spec.min_replicas, 1, "defaults are filled in");
}

struct Running {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// A controller of the namespace's resources. Nobody answers for Prometheus; models are usable by name.
fn start(client: Client, namespace: &str) -> Running {
    let fixed = |count| Box::new(Fixed::new(Replicas::new(count), Duration::from_secs(1)));
    let config = ServiceConfig {
        autoscalers: Autoscalers::Watched(vec![namespace.into()]),
        deciders: Box::new(move |autoscaler| match &autoscaler.spec.policy {
            PolicyRef::Model(model) => Err(format!("{}: no such folder", model.path.display())),
            PolicyRef::HorizontalPodAutoscaler(_) => {
                Ok(Deciders { name: "fixed".into(), policy: fixed(5), fallback: None })
            }
        }),
        prometheus: PrometheusConfig::at("http://127.0.0.1:1"),
        listen: None,
        keda: None,
        lease: None,
        instance: "resources".into(),
    };
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let end = async { _ = stopped.await };
        serve(client, config, Box::new(std::io::sink()), end).await.unwrap();
    });
    Running { task, stop }
}

/// Status and reason of a condition.
fn condition<'a>(status: &'a LearnedAutoscalerStatus, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, &found.reason))
}

#[tokio::test]
async fn resources_are_taken_on_reported_on_and_let_go() {
    let plane = shared();
    define(plane).await;
    let namespace = plane.namespace("resources").await;
    let client = plane.client().await;
    let api: Api<LearnedAutoscaler> = Api::namespaced(client.clone(), &namespace);
    let status = async |name: &str, fits: &dyn Fn(&LearnedAutoscalerStatus) -> bool| {
        until("a status", async || api.get(name).await.unwrap().status.filter(|status| fits(status))).await
    };
    plane.apply("team", &target(&namespace, "Deployment"), &pods_spec()).await;
    let hpa = json!({ "horizontalPodAutoscaler": {} });
    create(&api, autoscaler("web", "web", &hpa)).await.unwrap();
    let running = start(client, &namespace);

    let shadow = |s: &LearnedAutoscalerStatus| condition(s, "AbleToScale") == Some(("False", "Shadow"));
    let first = status("web", &shadow).await;
    assert_eq!(condition(&first, "Accepted"), Some(("True", "Used")));
    assert_eq!(condition(&first, "Contested"), Some(("False", "Undisputed")));
    assert_eq!(first.observed_generation, Some(1));
    // Nobody answers for metrics, so that after a while nobody decides.
    let dark = status("web", &|s| condition(s, "MetricsFresh") != Some(("True", "Fresh"))).await;
    assert_eq!(dark.last_decision.as_ref().map(|d| (d.spec, d.granted)), Some((1, 1)));

    let active = Patch::Merge(json!({ "spec": { "mode": "active" } }));
    api.patch("web", &PatchParams::default(), &active).await.unwrap();
    let ready = |s: &LearnedAutoscalerStatus| condition(s, "AbleToScale") == Some(("True", "Ready"));
    let second = status("web", &ready).await;
    assert_eq!(second.observed_generation, Some(2));
    let since = |s: &LearnedAutoscalerStatus, kind: &str| {
        s.conditions.iter().find(|c| c.type_ == kind).unwrap().last_transition_time.clone()
    };
    assert_eq!(since(&second, "Contested"), since(&first, "Contested"), "it has not changed since");
    assert!(since(&second, "AbleToScale") >= since(&first, "AbleToScale"));

    // A second one for the same target, and one whose model is missing.
    create(&api, autoscaler("twin", "web", &hpa)).await.unwrap();
    create(&api, autoscaler("lost", "cache", &json!({ "model": { "path": "/models/none" } }))).await.unwrap();
    let twin = status("twin", &|s| condition(s, "Accepted").is_some()).await;
    assert_eq!(condition(&twin, "Accepted"), Some(("False", "TargetTaken")));
    let lost = status("lost", &|s| condition(s, "Accepted").is_some()).await;
    assert_eq!(condition(&lost, "Accepted"), Some(("False", "PolicyUnusable")));
    assert!(lost.conditions[0].message.contains("/models/none"), "{:?}", lost.conditions);
    // What the status says changes nothing of who scales what.
    assert!(status("web", &ready).await.last_decision.is_some());

    // The target goes to the twin when its holder goes.
    api.delete("web", &DeleteParams::default()).await.unwrap();
    let twin = status("twin", &shadow).await;
    assert_eq!(condition(&twin, "Accepted"), Some(("True", "Used")));

    // What is repaired is used.
    let repaired =
        Patch::Merge(json!({ "spec": { "policy": { "model": null, "horizontalPodAutoscaler": {} } } }));
    api.patch("lost", &PatchParams::default(), &repaired).await.unwrap();
    plane.apply("team", &target(&namespace, "Deployment").sibling("cache"), &pods_spec()).await;
    status("lost", &shadow).await;
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
}
