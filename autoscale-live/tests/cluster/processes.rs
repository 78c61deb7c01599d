//! Two controllers as processes, of which one leads, until it is killed.

use super::plane::{Plane, autoscale, pods_spec, shared, target, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends when it is dropped.
struct Process {
    child: Child,
    decisions: PathBuf,
}

impl Process {
    fn start(plane: &Plane, folder: &Path, namespace: &str, name: &str) -> Self {
        let decisions = folder.join(name);
        let child = Command::new(autoscale())
            .args(["controller", "--config", "web.yaml", "--prometheus", "http://127.0.0.1:1"])
            .args(["--listen", "127.0.0.1:0", "--instance", name, "--lease"])
            .arg(format!("{namespace}/autoscale"))
            .arg("--decisions")
            .arg(&decisions)
            .current_dir(folder)
            .env("KUBECONFIG", plane.kubeconfig())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, decisions }
    }

    /// All that it has decided. Of what it is writing just now, half a line may be there.
    fn decided(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.decisions).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn another_process_takes_over_from_a_killed_leader_and_not_before() {
    let plane = shared();
    let namespace = plane.namespace("processes").await;
    let folder = tempfile::tempdir().unwrap();
    // Nobody answers for Prometheus. While nothing is known, replicas are kept within their limits all the same.
    let yaml = format!(
        "
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {{name: web, namespace: {namespace}}}
spec:
  scaleTargetRef: {{name: web}}
  minReplicas: 3
  maxReplicas: 9
  mode: active
  freshness: {{holdSeconds: 3600}}
  policy: {{horizontalPodAutoscaler: {{}}}}
"
    );
    std::fs::write(folder.path().join("web.yaml"), yaml).unwrap();
    let web = target(&namespace, "Deployment");
    plane.apply("team", &web, &pods_spec()).await;
    let objects = plane.objects(&web).await;
    let three = async || (objects.get("web").await.ok()?.data["spec"]["replicas"] == 3).then_some(());
    let leases: Api<Lease> = Api::namespaced(plane.client().await, &namespace);
    let lease = async || leases.get("autoscale").await.unwrap().spec.unwrap();

    let mut first = Process::start(plane, folder.path(), &namespace, "first");
    until("the leader writes", three).await;
    let second = Process::start(plane, folder.path(), &namespace, "second");
    plane.kubectl(&["-n", &namespace, "scale", "deployment", "web", "--replicas=1"]);
    until("the leader writes again", three).await;
    until("the other one decides, too", async || (!second.decided().is_empty()).then_some(())).await;
    assert_eq!(lease().await.holder_identity.as_deref(), Some("first"));

    first.child.kill().unwrap();
    let silent_since = lease().await.renew_time.unwrap();
    plane.kubectl(&["-n", &namespace, "scale", "deployment", "web", "--replicas=1"]);
    until("the other one writes", three).await;
    let taken = lease().await;
    assert_eq!(taken.holder_identity.as_deref(), Some("second"));
    assert_eq!(taken.lease_transitions, Some(1));
    let leads_since = taken.acquire_time.unwrap().0;
    let waited = leads_since.duration_since(silent_since.0);
    assert!(waited.as_secs() >= 14, "the Lease had not run out, but was {waited} old");
    // Whether it wished for anything before is chance: its decisions come every 15 s, as the Lease runs out.
    let decided = second.decided();
    let written: Vec<&Value> = decided.iter().filter(|decision| decision["effect"] == "written").collect();
    let leads = |decision: &&Value| decision["at"].as_i64().unwrap() >= leads_since.as_microsecond();
    assert!(!written.is_empty() && written.iter().all(leads), "it writes once it leads: {decided:?}");
}

#[tokio::test]
async fn a_dry_run_on_the_cluster_tells_what_is_there_and_what_is_not() {
    let plane = shared();
    let namespace = plane.namespace("rehearsal").await;
    let folder = tempfile::tempdir().unwrap();
    let autoscaler = |name: &str, target: &str, policy: &str| {
        format!(
            "---
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{scaleTargetRef: {target}, maxReplicas: 9, policy: {{horizontalPodAutoscaler: {policy}}}}}
"
        )
    };
    let external =
        "{metrics: [{type: External, external: {metric: {name: rps}, target: {type: Value, value: 9}}}]}";
    let yaml = [
        autoscaler("one", "{name: web}", "{}"),
        autoscaler("two", "{name: gone}", "{}"),
        autoscaler("three", "{kind: StatefulSet, name: web}", external),
        autoscaler("four", "{apiVersion: acme.dev/v1, kind: Fleet, name: web}", "{}"),
    ];
    std::fs::write(folder.path().join("web.yaml"), yaml.concat()).unwrap();
    for kind in ["Deployment", "StatefulSet"] {
        plane.apply("team", &target(&namespace, kind), &pods_spec()).await;
    }
    let dry_run = |config: &Path| {
        let mut command = Command::new(autoscale());
        command
            .args([
                "controller",
                "--config",
                "web.yaml",
                "--prometheus",
                "http://127.0.0.1:1",
                "--dry-run=server",
            ])
            .current_dir(folder.path())
            .env("KUBECONFIG", config);
        let done = command.output().unwrap();
        assert_eq!((done.status.code(), &*done.stdout), (Some(1), &b""[..]));
        String::from_utf8(done.stderr).unwrap()
    };
    let said = dry_run(&plane.kubeconfig());
    let parts = [
        "usage in rehearsal",
        "/Deployment/web is watched (shadow) by hpa: spec.replicas 1; it goes by what pods use, and not by Prometheus: ",
        "/Deployment/gone is watched (shadow) by hpa: deployments.apps \"gone\" not found (404); it goes by ",
        "/StatefulSet/web is watched (shadow) by hpa: spec.replicas 1; Prometheus: ",
        "/Fleet/web is watched (shadow) by hpa: acme.dev/v1 has no kind \"Fleet\" that lives in a namespace; ",
        "error: 4 of 4 targets would not be decided on by their policy",
    ];
    assert_eq!(said.lines().count(), parts.len(), "{said}");
    assert!(said.lines().zip(parts).all(|(line, part)| line.contains(part)), "{said}");
    assert!(dry_run(Path::new("nowhere")).contains("no connection to a cluster"));
}
