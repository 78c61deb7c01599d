//! What the watches show.

use super::plane::{Plane, hear, object, pods_spec, shared, spec_with, target, until};
use autoscale_core::sample::{PodPhase, PodSample};
use autoscale_core::units::{Milli, Replicas};
use autoscale_live::controller::Workload;
use autoscale_live::target::usage::{UsageError, usage};
use autoscale_live::target::watch::Watch;
use http::Request;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

fn spec(workload: Option<&Workload>) -> Option<u32> {
    workload.map(|w| w.spec.get())
}

fn rival(workload: Option<&Workload>) -> Option<&str> {
    workload.and_then(|w| w.rival.as_deref())
}

fn owner(workload: Option<&Workload>) -> Option<&str> {
    workload.and_then(|w| w.owner.as_deref())
}

#[tokio::test]
async fn other_autoscalers_and_owners_come_and_go() {
    let plane = shared();
    let client = plane.client().await;
    let namespace = plane.namespace("rivals").await;
    let web = target(&namespace, "Deployment");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::from_value(json!({
        "metadata": { "name": "scaledobjects.keda.sh" },
        "spec": {
            "group": "keda.sh", "scope": "Namespaced", "names": { "kind": "ScaledObject", "plural": "scaledobjects" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    }));
    definitions.create(&PostParams::default(), &definition.unwrap()).await.unwrap();
    let keda = object("keda.sh/v1alpha1", "ScaledObject", &namespace);
    until("ScaledObjects are served", async || {
        plane.objects(&keda).await.list(&ListParams::default()).await.ok()
    })
    .await;

    plane.apply("helm", &web, &spec_with(2)).await;
    let (tell, mut news) = mpsc::channel(64);
    let watch = Watch::start(&client, std::slice::from_ref(&web), &tell);
    hear(&mut news, "helm owns it", |w| spec(w) == Some(2) && owner(w) == Some("helm") && rival(w).is_none())
        .await;
    let autoscale =
        ["--namespace", &namespace, "autoscale", "deployment/web", "--name=h", "--max=3", "--cpu=50%"];
    plane.kubectl(&autoscale);
    hear(&mut news, "an HPA", |w| rival(w) == Some("HorizontalPodAutoscaler/h")).await;
    plane.apply("team", &keda, &json!({ "scaleTargetRef": { "name": "web" } })).await;
    hear(&mut news, "a ScaledObject", |w| rival(w) == Some("ScaledObject/web")).await;
    plane.objects(&keda).await.delete("web", &DeleteParams::default()).await.unwrap();
    hear(&mut news, "the HPA again", |w| rival(w) == Some("HorizontalPodAutoscaler/h")).await;
    plane.kubectl(&["--namespace", &namespace, "delete", "hpa", "h"]);
    hear(&mut news, "no rival", |w| w.is_some() && rival(w).is_none()).await;
    plane.apply("helm", &web, &pods_spec()).await;
    hear(&mut news, "no owner", |w| w.is_some() && owner(w).is_none()).await;
    until("all watches work", async || watch.trouble().is_empty().then_some(())).await;
}

#[tokio::test]
async fn pods_appear_as_a_policy_sees_them() {
    let plane = shared();
    let client = plane.client().await;
    let web = target(&plane.namespace("pods").await, "StatefulSet");
    let mut both = spec_with(2);
    both["podManagementPolicy"] = "Parallel".into();
    plane.apply("team", &web, &both).await;
    let (tell, mut news) = mpsc::channel(64);
    let watch = Watch::start(&client, std::slice::from_ref(&web), &tell);
    let two = Replicas::new(2);
    hear(&mut news, "two pods", |w| w.is_some_and(|w| w.status == two)).await;
    let pods = until("two pods", async || watch.pods(&web).filter(|pods| pods.len() == 2)).await;
    assert!(pods.iter().all(|pod| pod.phase == PodPhase::Pending && !pod.is_serving()));
    assert_eq!(pods[0].cpu_request(), Some(Milli::new(250)));
    let api: Api<Pod> = Api::namespaced(client.clone(), &web.namespace);
    let status = json!({ "status": {
        "phase": "Running", "startTime": "2026-03-01T10:00:00Z",
        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T10:00:30Z" }],
    } });
    api.patch_status("web-1", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let serving = until("web-1 serves", async || {
        let pods = watch.pods(&web)?;
        pods.into_iter().find(PodSample::is_serving)
    })
    .await;
    assert_eq!(&*serving.name, "web-1");
    assert_eq!(serving.phase, PodPhase::Running);
    assert_eq!(usage(&client, &web.namespace).await, Err(UsageError::Absent), "no metrics-server runs here");
}

/// Its own API server, since it is killed.
#[tokio::test]
async fn a_broken_watch_is_begun_anew_and_misses_nothing() {
    let plane = Plane::start("restarted", &[]);
    let client = plane.client().await;
    let web = target(&plane.namespace("relist").await, "Deployment");
    plane.apply("team", &web, &spec_with(2)).await;
    let (tell, mut news) = mpsc::channel(64);
    let watch = Watch::start(&client, std::slice::from_ref(&web), &tell);
    hear(&mut news, "two replicas", |w| spec(w) == Some(2)).await;
    let uid = watch.uid(&web).unwrap();
    // The controller manager makes it, and does not always catch up after such a start; no pod is made without it.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &web.namespace);
    until("the default account", async || accounts.get_opt("default").await.unwrap()).await;
    plane.stop_api_server();
    plane.start_api_server();
    // Another one takes its place, perhaps before the watches are back.
    let ready = || Request::get("/readyz").body(Vec::new()).unwrap();
    until("the API server is back", async || {
        client.request_text(ready()).await.is_ok_and(|answer| answer == "ok").then_some(())
    })
    .await;
    let objects = plane.objects(&web).await;
    until("it is gone", async || match objects.delete("web", &DeleteParams::background()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Some(()),
        _ => None,
    })
    .await;
    plane.apply("team", &web, &spec_with(4)).await;
    hear(&mut news, "it is lost", |w| w.is_none()).await;
    hear(&mut news, "another one with four replicas", |w| spec(w) == Some(4)).await;
    assert_ne!(watch.uid(&web).unwrap(), uid);
    let api: Api<Pod> = Api::namespaced(client, &web.namespace);
    let pod = json!({
        "metadata": { "name": "late", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "app" }], "automountServiceAccountToken": false },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    until("it is made", async || api.create(&PostParams::default(), &pod).await.ok()).await;
    let is_late = |pods: &Vec<PodSample>| pods.iter().any(|pod| &*pod.name == "late");
    until("a pod made later", async || watch.pods(&web).filter(is_late)).await;
    plane.kubectl(&[
        "--namespace",
        &web.namespace,
        "autoscale",
        "deployment/web",
        "--name=h",
        "--max=9",
        "--cpu=50%",
    ]);
    hear(&mut news, "an HPA made later", |w| rival(w) == Some("HorizontalPodAutoscaler/h")).await;
    until("all watches work", async || watch.trouble().is_empty().then_some(())).await;
}
