//! What `kubectl apply -f` makes of the shipped manifests, on a cluster of their own: each object is taken, each pod is let in,
//! and the service account has just the rights that it is said to have.

use super::plane::{Plane, until};
use autoscale_core::units::Replicas;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, serve};
use autoscale_live::source::PrometheusConfig;
use autoscale_live::spec::LearnedAutoscaler;
use autoscale_live::target::lease::Candidacy;
use autoscale_policies::fixed::Fixed;
use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;

/// The path of a shipped file.
fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name).to_str().unwrap().to_owned()
}

/// First with nothing to be kept, then in earnest; the same objects both times, and all there is in the end. Gives their number.
fn apply(plane: &Plane, name: &str) -> usize {
    let file = shipped(name);
    let tried = plane.kubectl(&["apply", "--dry-run=server", "-f", &file]);
    assert!(tried.lines().all(|line| line.ends_with("(server dry run)")), "{name}: {tried}");
    let applied = plane.kubectl(&["apply", "-f", &file]);
    assert_eq!(tried.lines().count(), applied.lines().count(), "{name}: {tried}{applied}");
    // It fails where anything differs.
    plane.kubectl(&["diff", "-f", &file]);
    applied.lines().count()
}

/// Who is let in by the admission of pods.
async fn pods(plane: &Plane, namespace: &str, expected: usize) {
    let pods: Api<Pod> = Api::namespaced(plane.client().await, namespace);
    until("the pods", async || {
        let all = pods.list(&ListParams::default()).await.ok()?;
        (all.items.len() == expected).then_some(())
    })
    .await;
}

/// All that the client may do in a namespace, as `VERB GROUP/RESOURCE` and `VERB GROUP/RESOURCE NAME`, but for asking about itself.
async fn rights(client: &Client, namespace: &str) -> BTreeSet<String> {
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let review = serde_json::from_value(json!({ "metadata": {}, "spec": { "namespace": namespace } }));
    let review = reviews.create(&PostParams::default(), &review.unwrap()).await.unwrap();
    let status = review.status.unwrap();
    assert!(!status.incomplete, "{status:?}");
    let mut rights = BTreeSet::new();
    for rule in status.resource_rules {
        let names = rule.resource_names.unwrap_or_default();
        let names: Vec<String> = if names.is_empty() {
            vec![String::new()]
        } else {
            names.iter().map(|n| format!(" {n}")).collect()
        };
        for group in rule.api_groups.unwrap_or_default() {
            if ["authentication.k8s.io", "authorization.k8s.io"].contains(&group.as_str()) {
                continue;
            }
            for resource in rule.resources.iter().flatten() {
                for (verb, name) in
                    rule.verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name)))
                {
                    rights.insert(format!("{verb} {group}/{resource}{name}"));
                }
            }
        }
    }
    rights
}

fn expected(writes: &[&str], reads: &[(&str, &[&str])]) -> BTreeSet<String> {
    let reads = reads.iter().flat_map(|(what, verbs)| verbs.iter().map(move |verb| format!("{verb} {what}")));
    writes.iter().map(|&right| right.to_owned()).chain(reads).collect()
}

#[tokio::test]
async fn the_shipped_manifests_are_taken_and_give_just_the_rights_that_are_needed() {
    let plane = Plane::start("manifests", &[]);
    // A dry run does not make the namespace that the rest of the file lies in.
    plane.kubectl(&["create", "namespace", "autoscale"]);
    assert_eq!(apply(&plane, "autoscale.yaml"), 11);
    let definition = "crd/learnedautoscalers.autoscaleai.dev";
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=120s", definition]);
    assert_eq!(apply(&plane, "demo-service.yaml"), 5);
    // The Pod Security Standard `restricted` is enforced in the controller's namespace.
    let labels = plane.kubectl(&["get", "namespace", "autoscale", "-o", "jsonpath={.metadata.labels}"]);
    assert!(labels.contains(r#""pod-security.kubernetes.io/enforce":"restricted""#), "{labels}");
    pods(&plane, "autoscale", 2).await;
    pods(&plane, "default", 1).await;

    let token = plane.token("autoscale", "autoscale").await;
    let client = plane.client_with(&token).await;
    let watched: &[&str] = &["get", "list", "watch"];
    let at_targets = expected(
        &[
            "patch apps/deployments/scale",
            "patch apps/statefulsets/scale",
            "patch autoscaleai.dev/learnedautoscalers/status",
            "create events.k8s.io/events",
        ],
        &[
            ("autoscaleai.dev/learnedautoscalers", watched),
            ("apps/deployments", watched),
            ("apps/statefulsets", watched),
            ("/pods", watched),
            ("autoscaling/horizontalpodautoscalers", watched),
            ("keda.sh/scaledobjects", watched),
            ("metrics.k8s.io/pods", &["get", "list"]),
        ],
    );
    let known = async |namespace| {
        until("the rights are known", async || {
            Some(rights(&client, namespace).await).filter(|r| !r.is_empty())
        })
        .await
    };
    assert_eq!(known("default").await, at_targets);
    let at_home = expected(
        &[
            "create coordination.k8s.io/leases",
            "get coordination.k8s.io/leases autoscale",
            "update coordination.k8s.io/leases autoscale",
        ],
        &[],
    );
    assert_eq!(known("autoscale").await, at_home);
    assert_eq!(rights(&client, "kube-system").await, BTreeSet::new());

    works(&plane, client).await;
}

/// With these rights the whole controller takes the demo's resource on, and leads.
async fn works(plane: &Plane, client: Client) {
    let fixed = |count| Box::new(Fixed::new(Replicas::new(count), Duration::from_secs(1)));
    let config = ServiceConfig {
        autoscalers: Autoscalers::Watched(vec!["default".into()]),
        deciders: Box::new(move |_| Ok(Deciders { name: "fixed".into(), policy: fixed(3), fallback: None })),
        prometheus: PrometheusConfig::at("http://127.0.0.1:1"),
        listen: None,
        keda: None,
        lease: Some(Candidacy {
            namespace: "autoscale".into(),
            lease: "autoscale".into(),
            identity: "manifests".into(),
            duration: Duration::from_secs(15),
        }),
        instance: "manifests".into(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let end = async { _ = stopped.await };
        serve(client, config, Box::new(std::io::sink()), end).await
    });
    let admin = plane.client().await;
    let autoscalers: Api<LearnedAutoscaler> = Api::namespaced(admin.clone(), "default");
    until("a decision", async || autoscalers.get("demo").await.ok()?.status?.last_decision).await;
    let leases: Api<Lease> = Api::namespaced(admin, "autoscale");
    until("a leader", async || {
        let lease = leases.get("autoscale").await.ok()?;
        (lease.spec?.holder_identity? == "manifests").then_some(())
    })
    .await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
