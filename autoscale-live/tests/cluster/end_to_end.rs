//! From a request to a replica: a real service under real load, scraped by a real Prometheus, scaled by the controller
//! through a real API server.

mod agent;
mod gateway;
mod prometheus;

use super::plane::{PATIENCE, Plane, pods_spec, target, until};
use agent::Agent;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_live::controller::Deciders;
use autoscale_live::demo::load::{LoadConfig, LoadReport, run as load};
use autoscale_live::demo::schedule::Rates;
use autoscale_live::service::{Autoscalers, ServiceConfig, serve};
use autoscale_live::source::PrometheusConfig;
use autoscale_live::spec::read;
use prometheus::Prometheus;
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const PERIOD: Duration = Duration::from_secs(3);
/// Two workers at 50 ms a request.
const CAPACITY: f64 = 40.0;
const CALM: f64 = 15.0;
const BUSY: f64 = 90.0;

/// As many pods as keep each 60 % busy.
struct Staffing;

impl Policy for Staffing {
    fn cadence(&self) -> Cadence {
        Cadence::every(PERIOD)
    }

    fn reset(&mut self, _: Seed) {}

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let reason = Reason::rule("staffing");
        observation.history.last().map_or(Decision::hold(reason), |last| {
            Decision::scale_to(Replicas::from_ceil(last.arrival_rate.per_second() / (0.6 * CAPACITY)), reason)
        })
    }
}

/// The controller as a process would run it, and what it has decided.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    decisions: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn all(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Running {
    async fn start(plane: &Plane, namespace: &str, prometheus: &Prometheus) -> Self {
        let yaml = format!(
            "
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {{name: web, namespace: {namespace}}}
spec:
  scaleTargetRef: {{name: web}}
  maxReplicas: 12
  mode: active
  freshness: {{maxAgeSeconds: 6, recoverAfter: 2, holdSeconds: 6}}
  policy:
    horizontalPodAutoscaler: {{}}
"
        );
        let config = ServiceConfig {
            autoscalers: Autoscalers::Given(
                read(&yaml).unwrap().into_iter().map(|document| document.autoscaler).collect(),
            ),
            deciders: Box::new(|_| {
                let (policy, fallback) = (Box::new(Staffing), Box::new(Staffing));
                Ok(Deciders { name: "staffing".into(), policy, fallback: Some(fallback) })
            }),
            prometheus: PrometheusConfig { window_seconds: 5, ..PrometheusConfig::at(&prometheus.url()) },
            listen: None,
            keda: None,
            lease: None,
            instance: "end-to-end".into(),
        };
        let (decisions, client) = (Lines::default(), plane.client().await);
        let (stop, stopped) = oneshot::channel();
        let out = Box::new(decisions.clone());
        let task = tokio::spawn(async move {
            let end = async { _ = stopped.await };
            serve(client, config, out, end).await.unwrap();
        });
        Self { stop, task, decisions }
    }

    async fn end(self) -> Vec<Value> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        self.decisions.all()
    }
}

async fn under(rate: f64, time: Duration, url: &str) -> LoadReport {
    until_then(rate, time, url, std::future::pending()).await
}

/// Less long, if this ends before.
async fn until_then(rate: f64, time: Duration, url: &str, end: impl Future<Output = ()>) -> LoadReport {
    let rates = Rates::constant(RequestRate::new(rate).unwrap(), time).unwrap();
    load(&LoadConfig::to(url), &rates, end).await.unwrap()
}

fn p95(report: &LoadReport) -> Duration {
    report.latency.expect("requests were answered").p95
}

/// All is answered in time again. On a slow machine pods and decisions take longer, and so it is seen more than once.
async fn recovers(gateway: &str) {
    for look in 1.. {
        let after = under(BUSY, Duration::from_secs(12), gateway).await;
        let well = p95(&after) < Duration::from_millis(500) && after.answered == after.due;
        assert!(well || look < 4, "it does not recover: {after}");
        if well {
            return;
        }
        eprintln!("not yet, at look {look}: {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_under_load_is_scaled_whatever_fails() {
    let plane = Plane::start("end-to-end", &[]);
    let namespace = plane.namespace("shop").await;
    let target = target(&namespace, "Deployment");
    let agent = Agent::start(&plane, &namespace).await;
    plane.apply("tests", &target, &pods_spec()).await;
    let mut prometheus = Prometheus::start(&agent.discovery);
    let gateway = gateway::start(agent.backends.clone()).await;
    let controller = Running::start(&plane, &namespace, &prometheus).await;
    let replicas = async || {
        let object = plane.objects(&target).await.get("web").await.ok()?;
        object.data["spec"]["replicas"].as_u64()
    };
    until("a pod", async || (!agent.backends.borrow().is_empty()).then_some(())).await;

    // All is well, and then there is six times as much to do.
    let calm = under(CALM, Duration::from_secs(12), &gateway).await;
    assert_eq!(calm.answered, calm.due, "{calm}");
    let surge = under(BUSY, 10 * PERIOD, &gateway).await;
    assert!(p95(&surge) > Duration::from_secs(1), "one pod cannot do this: {surge}");
    let so_far = controller.decisions.all();
    let enough = |decision: &serde_json::Value| decision["granted"]["replicas"].as_u64() >= Some(4);
    assert!(so_far.iter().any(enough), "enough pods are wished for within ten control intervals: {so_far:?}");
    recovers(&gateway).await;

    // Without Prometheus nothing changes, for better or worse, and nobody notices.
    let before = controller.decisions.all().len();
    prometheus.stop();
    let blind = under(BUSY, Duration::from_secs(20), &gateway).await;
    assert_eq!(blind.answered, blind.due, "{blind}");
    let decisions = controller.decisions.all().split_off(before);
    let last = decisions.last().unwrap();
    assert_eq!(last["rung"], "hands-off", "{last}");
    let kept = decisions.iter().skip_while(|decision| decision["rung"] == "policy");
    let mut kept = kept.map(|decision| decision["spec"].as_u64()).chain([replicas().await]);
    assert!(kept.all(|spec| spec == last["spec"].as_u64()), "{decisions:?}");

    // The API server goes for half a minute; what was to be written while it was away is written after.
    prometheus.start_again();
    let trust = async {
        until("trust in Prometheus, and nothing to write", async || {
            let last = controller.decisions.all().pop()?;
            let enough = last["effect"] == "unchanged" && last["spec"].as_u64() > Some(2);
            (last["rung"] == "policy" && enough).then_some(())
        })
        .await;
        plane.stop_api_server();
    };
    until_then(BUSY, 2 * PATIENCE, &gateway, trust).await;
    let before = controller.decisions.all().len();
    let alone = under(CALM, Duration::from_secs(30), &gateway).await;
    assert_eq!(alone.answered, alone.due, "nobody misses it: {alone}");
    let decisions = controller.decisions.all().split_off(before);
    let tried = decisions.iter().find(|decision| decision["effect"] == "written").expect("fewer will do");
    assert_eq!(decisions.last().unwrap()["spec"], tried["spec"], "{decisions:?}");
    plane.start_api_server();
    let relief = under(CALM, Duration::from_secs(12), &gateway).await;
    assert_eq!(relief.answered, relief.due, "pods finish what they have: {relief}");
    until("fewer pods", async || (replicas().await? <= 2).then_some(())).await;

    // A controller that has just been started knows too little to scale down.
    let decisions = controller.end().await;
    let missing = |decision: &Value| decision["rung"] != "policy" && decision["effect"] == "written";
    assert!(!decisions.iter().any(missing), "{decisions:?}");
    plane.kubectl(&["-n", &namespace, "scale", "deployment", "web", "--replicas=5"]);
    let again = Running::start(&plane, &namespace, &prometheus).await;
    until("fewer pods again", async || (replicas().await? <= 2).then_some(())).await;
    let decisions = again.end().await;
    let by_policy: Vec<&Value> = decisions.iter().filter(|decision| decision["rung"] == "policy").collect();
    assert!(
        by_policy[..4].iter().all(|decision| decision["granted"]["bound"] == "start-up"),
        "{by_policy:?}"
    );
    let events = plane.kubectl(&[
        "-n",
        &namespace,
        "get",
        "events",
        "--field-selector=reason=ScaledDown",
        "-o",
        "name",
    ]);
    assert!(events.contains("event"), "people are told");
}
