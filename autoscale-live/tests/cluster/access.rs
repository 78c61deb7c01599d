//! `deploy/rbac.yaml` gives what the code needs, and no more: asked with a token of the service account itself.

use super::plane::{Plane, hear_of, pods_spec, shared, target, until};
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_live::controller::{Leadership, WriteFailure};
use autoscale_live::shell::{News, SystemClock};
use autoscale_live::target::TargetRef;
use autoscale_live::target::events::{Announcer, Severity};
use autoscale_live::target::executor::{Executor, WriteLimit};
use autoscale_live::target::lease::{Candidacy, Elector, Term};
use autoscale_live::target::usage::{UsageError, usage};
use autoscale_live::target::watch::Watch;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;

/// The shipped file, for these namespaces instead of its own.
async fn install(plane: &Plane, home: &str, targets: &str) -> (String, Client) {
    let shipped = include_str!("../../../deploy/rbac.yaml");
    let moved = shipped
        .replace("namespace: autoscale\n", &format!("namespace: {home}\n"))
        .replace("namespace: default\n", &format!("namespace: {targets}\n"));
    plane.apply_manifest(&moved);
    let token = plane.token(home, "autoscale").await;
    let client = plane.client_with(&token).await;
    (token, client)
}

/// Whether the API server lets the client do it.
async fn may(client: &Client, namespace: &str, attributes: Value) -> bool {
    let mut attributes = attributes;
    attributes["namespace"] = namespace.into();
    let review =
        serde_json::from_value(json!({ "metadata": {}, "spec": { "resourceAttributes": attributes } }));
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &review.unwrap()).await.unwrap();
    review.status.unwrap().allowed
}

#[tokio::test]
async fn the_shipped_role_is_enough_for_all_that_is_done() {
    let plane = shared();
    let (home, shop) = (plane.namespace("home").await, plane.namespace("shop").await);
    let (_, client) = install(plane, &home, &shop).await;
    let (tell, mut news) = mpsc::channel(64);
    let targets: [TargetRef; 2] = ["Deployment", "StatefulSet"].map(|kind| target(&shop, kind));
    for target in &targets {
        plane.apply("team", target, &pods_spec()).await;
    }
    let watch = Watch::start(&client, &targets, &tell);
    let executor = Executor::new(client.clone(), WriteLimit::default());
    for target in &targets {
        until("it is allowed", async || executor.scale(target, Replicas::ONE, Replicas::new(3)).await.ok())
            .await;
    }
    let mut left: Vec<&TargetRef> = targets.iter().collect();
    hear_of(&mut news, "three replicas of both", |target, workload| {
        left.retain(|other| *other != target || workload.is_none_or(|w| w.spec != Replicas::new(3)));
        left.is_empty()
    })
    .await;
    until("the pods", async || watch.pods(&targets[0]).filter(|pods| !pods.is_empty())).await;
    // Those that began before the role was known to the API server have tried again by now or do so soon.
    until("all watches are allowed", async || watch.trouble().is_empty().then_some(())).await;
    let announcer = Announcer::new(client.clone(), "autoscale-0".into());
    let at = Timestamp::from_secs(1_800_000_000);
    announcer.say((&targets[0], None), at, (Severity::Warning, "Blocked"), "helm owns it").await.unwrap();
    assert_eq!(usage(&client, &shop).await, Err(UsageError::Absent));

    let candidacy = Candidacy {
        namespace: home.as_str().into(),
        lease: "autoscale".into(),
        identity: "autoscale-0".into(),
        duration: Duration::from_secs(15),
    };
    let (tell, mut news) = mpsc::channel(8);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let elector = Elector::new(client, candidacy, Term::not_yet());
    let running = tokio::spawn(elector.run(SystemClock, tell, async move {
        let _ = stopped.await;
    }));
    assert!(matches!(news.recv().await, Some(News::Leadership(Leadership::Leading))));
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn the_shipped_role_is_for_nothing_else() {
    let plane = shared();
    let (home, shop) = (plane.namespace("home").await, plane.namespace("shop").await);
    let other = plane.namespace("other").await;
    let (token, client) = install(plane, &home, &shop).await;
    let (web, elsewhere) = (target(&shop, "Deployment"), target(&other, "Deployment"));
    for target in [&web, &elsewhere] {
        plane.apply("team", target, &pods_spec()).await;
    }
    let executor = Executor::new(client.clone(), WriteLimit::default());
    until("it is allowed", async || executor.scale(&web, Replicas::ONE, Replicas::new(3)).await.ok()).await;

    let Err(WriteFailure::Failed(words)) = executor.scale(&elsewhere, Replicas::ONE, Replicas::new(3)).await
    else {
        panic!("it scaled in a namespace that it is not for");
    };
    assert!(words.contains("forbidden") && words.ends_with("(403)"), "{words}");
    assert!(!words.contains(&token));
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(client.clone(), &shop);
    let count = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
    let refused = deployments.patch("web", &PatchParams::default(), &count).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &home);
    let refused = secrets.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    let scale =
        |verb| json!({ "group": "apps", "resource": "deployments", "subresource": "scale", "verb": verb });
    assert!(may(&client, &shop, scale("patch")).await, "the question is asked well");
    let own = |subresource, verb| {
        let (group, resource) = ("autoscaleai.dev", "learnedautoscalers");
        json!({ "group": group, "resource": resource, "subresource": subresource, "verb": verb })
    };
    assert!(may(&client, &shop, own("status", "patch")).await && may(&client, &shop, own("", "watch")).await);
    for denied in [
        own("", "patch"),
        own("", "create"),
        scale("update"),
        json!({ "group": "apps", "resource": "deployments", "verb": "create" }),
        json!({ "group": "apps", "resource": "deployments", "verb": "update" }),
        json!({ "group": "apps", "resource": "deployments", "verb": "delete" }),
        json!({ "group": "apps", "resource": "daemonsets", "verb": "list" }),
        json!({ "group": "", "resource": "pods", "verb": "delete" }),
        json!({ "group": "", "resource": "pods", "verb": "create" }),
        json!({ "group": "", "resource": "pods", "subresource": "exec", "verb": "create" }),
        json!({ "group": "", "resource": "pods", "subresource": "log", "verb": "get" }),
        json!({ "group": "", "resource": "secrets", "verb": "get" }),
        json!({ "group": "", "resource": "configmaps", "verb": "list" }),
        json!({ "group": "", "resource": "nodes", "verb": "list" }),
        json!({ "group": "autoscaling", "resource": "horizontalpodautoscalers", "verb": "patch" }),
        json!({ "group": "coordination.k8s.io", "resource": "leases", "verb": "create" }),
        json!({ "group": "rbac.authorization.k8s.io", "resource": "rolebindings", "verb": "create" }),
        json!({ "group": "*", "resource": "*", "verb": "*" }),
    ] {
        assert!(!may(&client, &shop, denied.clone()).await, "{denied}");
    }
    let lease = |name| json!({ "group": "coordination.k8s.io", "resource": "leases", "verb": "update", "name": name });
    assert!(may(&client, &home, lease("autoscale")).await);
    assert!(!may(&client, &home, lease("another")).await);
}
