//! Writing `spec.replicas`.

use super::plane::{Plane, object, pods_spec, shared, spec_with, target};
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_live::controller::{Ownership, WriteFailure};
use autoscale_live::target::TargetRef;
use autoscale_live::target::events::{Announcer, Severity};
use autoscale_live::target::executor::{Executor, WriteLimit};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

async fn executor(plane: &Plane) -> Executor {
    Executor::new(plane.client().await, WriteLimit::default())
}

async fn replicas(plane: &Plane, target: &TargetRef) -> Value {
    plane.objects(target).await.get(&target.name).await.unwrap().data["spec"]["replicas"].clone()
}

#[tokio::test]
async fn replicas_are_applied_through_the_scale_and_belong_to_us() {
    let plane = shared();
    let namespace = plane.namespace("scale").await;
    for kind in ["Deployment", "StatefulSet"] {
        let target = target(&namespace, kind);
        plane.apply("team", &target, &pods_spec()).await;
        executor(plane).await.scale(&target, Replicas::ONE, Replicas::new(5)).await.unwrap();
        assert_eq!(replicas(plane, &target).await, 5, "{kind}");
        let object = plane.objects(&target).await.get("web").await.unwrap();
        let entries = object.metadata.managed_fields.unwrap();
        let ours: Vec<_> = entries.iter().filter(|e| e.manager.as_deref() == Some("autoscale")).collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].operation.as_deref(), Some("Apply"));
        assert_eq!(ours[0].subresource.as_deref(), Some("scale"));
        let fields = ours[0].fields_v1.as_ref().unwrap();
        assert_eq!(fields.0, json!({ "f:spec": { "f:replicas": {} } }), "nothing but the number");
    }
}

#[tokio::test]
async fn what_another_manager_applies_is_left_alone_unless_it_is_taken_over() {
    let plane = shared();
    let target = target(&plane.namespace("conflict").await, "Deployment");
    plane.apply("helm", &target, &spec_with(2)).await;
    let executor = executor(plane).await;
    assert_eq!(executor.scale(&target, Replicas::ONE, Replicas::new(4)).await, Err(WriteFailure::Conflict));
    assert_eq!(replicas(plane, &target).await, 2);
    executor.respect(&target, Ownership::TakeOver);
    executor.scale(&target, Replicas::ONE, Replicas::new(4)).await.unwrap();
    assert_eq!(replicas(plane, &target).await, 4);
    executor.respect(&target, Ownership::Respect);
    executor.scale(&target, Replicas::ONE, Replicas::new(6)).await.unwrap();
    assert_eq!(replicas(plane, &target).await, 6, "what was taken over is ours");
    let name = "deployment/web";
    plane.kubectl(&["--namespace", &target.namespace, "scale", name, "--replicas=3"]);
    executor.scale(&target, Replicas::new(3), Replicas::new(6)).await.unwrap();
    assert_eq!(replicas(plane, &target).await, 6, "a hand's number is no claim");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_servers_words() {
    let plane = shared();
    let namespace = plane.namespace("absent").await;
    let executor = executor(plane).await;
    let missing = executor.scale(&target(&namespace, "Deployment"), Replicas::ONE, Replicas::ONE).await;
    assert_eq!(missing, Err(WriteFailure::Failed("deployments.apps \"web\" not found (404)".into())));
    let unknown = executor.scale(&target(&namespace, "Sandcastle"), Replicas::ONE, Replicas::ONE).await;
    let words = "apps/v1 has no kind \"Sandcastle\" that lives in a namespace";
    assert_eq!(unknown, Err(WriteFailure::Failed(words.into())));
}

/// A kind that keeps its count where no Deployment does.
#[tokio::test]
async fn any_kind_with_a_scale_is_scaled() {
    let plane = shared();
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client().await);
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = serde_json::from_value(json!({
        "metadata": { "name": "arenas.games.example" },
        "spec": {
            "group": "games.example", "scope": "Namespaced",
            "names": { "kind": "Arena", "plural": "arenas" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": open, "status": open } } },
                "subresources": {
                    "status": {},
                    "scale": { "specReplicasPath": ".spec.seats", "statusReplicasPath": ".status.seats", "labelSelectorPath": ".status.who" },
                },
            }],
        },
    }));
    definitions.create(&PostParams::default(), &definition.unwrap()).await.unwrap();
    let namespace = plane.namespace("arena").await;
    let arena = object("games.example/v1", "Arena", &namespace);
    let made = super::plane::until("the kind is served", async || {
        let objects = plane.objects(&arena).await;
        let object = json!({ "apiVersion": "games.example/v1", "kind": "Arena", "metadata": { "name": "web" }, "spec": { "seats": 2 } });
        objects.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.ok()
    });
    made.await;
    let executor = executor(plane).await;
    let stale = executor.scale(&arena, Replicas::new(3), Replicas::new(7)).await;
    assert_eq!(stale, Err(WriteFailure::Conflict), "it has changed meanwhile");
    executor.scale(&arena, Replicas::new(2), Replicas::new(7)).await.unwrap();
    let object = plane.objects(&arena).await.get("web").await.unwrap();
    assert_eq!(object.data["spec"]["seats"], 7);
    let (tell, mut news) = tokio::sync::mpsc::channel(64);
    let _watch = autoscale_live::target::watch::Watch::start(&plane.client().await, &[arena], &tell);
    let seven =
        |w: Option<&autoscale_live::controller::Workload>| w.is_some_and(|w| w.spec == Replicas::new(7));
    super::plane::hear(&mut news, "seven seats", seven).await;
}

#[tokio::test]
async fn an_event_is_shown_with_the_object() {
    let plane = shared();
    let target = target(&plane.namespace("event").await, "Deployment");
    plane.apply("team", &target, &pods_spec()).await;
    let uid = plane.objects(&target).await.get("web").await.unwrap().metadata.uid.unwrap();
    let announcer = Announcer::new(plane.client().await, "autoscale-0".into());
    let at = Timestamp::from_secs(1_800_000_000);
    for note in ["3 -> 5 replicas", "5 -> 7 replicas"] {
        announcer.say((&target, Some(&uid)), at, (Severity::Normal, "Scaled"), note).await.unwrap();
    }
    let events: Api<Event> = Api::namespaced(plane.client().await, &target.namespace);
    let all = events.list(&kube::api::ListParams::default()).await.unwrap();
    let mut notes: Vec<_> = all
        .items
        .iter()
        .filter(|event| event.reason.as_deref() == Some("Scaled"))
        .map(|event| (event.note.clone().unwrap(), event.reporting_instance.clone().unwrap()))
        .collect();
    notes.sort();
    let by = |note: &str| (note.to_owned(), "autoscale-0".to_owned());
    assert_eq!(notes, [by("3 -> 5 replicas"), by("5 -> 7 replicas")]);
    let shown = plane.kubectl(&["--namespace", &target.namespace, "describe", "deployment/web"]);
    assert!(shown.contains("5 -> 7 replicas"), "{shown}");
}
