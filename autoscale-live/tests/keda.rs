//! The external scaler as KEDA meets it: a gRPC client over loopback, and a board that is fed by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "keda/client.rs"]
mod client;
#[path = "keda/decision.rs"]
mod decision;
#[path = "keda/process.rs"]
mod process;

use autoscale_core::guard::Rung;
use autoscale_core::units::Timestamp;
use autoscale_live::keda::messages::{GetMetricsRequest, IsActiveResponse, MetricSpec};
use autoscale_live::keda::{AutoscalerRef, Board, serve};
use autoscale_live::shell::{Clock, Journal};
use autoscale_live::target::TargetRef;
use client::{Client, object};
use decision::decision;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

const INTERVAL: Duration = Duration::from_secs(15);

/// Stands still until it is moved.
#[derive(Clone)]
struct Hand(Arc<Mutex<Timestamp>>);

impl Hand {
    fn set(&self, seconds: i64) {
        *self.0.lock().unwrap() = Timestamp::from_secs(seconds);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A scaler at second 1,000 that knows `shop/web`, which scales the Deployment `frontend`, and `shop/api`.
struct Scene {
    board: Board,
    clock: Hand,
    client: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

fn name(name: &str) -> AutoscalerRef {
    AutoscalerRef { namespace: "shop".into(), name: name.into() }
}

fn target(name: &str) -> TargetRef {
    TargetRef::deployment("shop", name)
}

impl Scene {
    async fn begin() -> Self {
        let board = Board::new();
        board.list(name("web"), target("frontend"), INTERVAL);
        board.list(name("api"), target("api"), INTERVAL);
        let other = AutoscalerRef { namespace: "bank".into(), name: "vault".into() };
        board.list(other, TargetRef::deployment("bank", "vault"), INTERVAL);
        let clock = Hand(Arc::new(Mutex::new(Timestamp::from_secs(1000))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::of(listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let end = async { _ = stopped.await };
        let server = tokio::spawn(serve(listener, board.clone(), clock.clone(), end));
        Self { board, clock, client, stop, server }
    }

    /// A decision on `frontend`.
    fn decide(&mut self, at: i64, rung: Rung, granted: u32) {
        self.board.keep(&target("frontend"), &decision(Timestamp::from_secs(at), rung, granted));
    }

    /// A call there and back, in which the streams come to look at what has changed.
    async fn settle(&self) {
        self.client.metric_spec(object("web", &[])).await.unwrap();
    }

    /// Both calls that need a decision refuse alike; says how.
    async fn refusal(&self, object_name: &str) -> Status {
        let asked = object(object_name, &[]);
        let refused = self.client.replicas(asked.clone()).await.unwrap_err();
        let again = self.client.is_active(asked).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (again.code(), again.message()));
        refused
    }
}

fn is(status: &Status, code: Code, message: &str) {
    assert_eq!((status.code(), status.message()), (code, message));
}

#[tokio::test]
async fn the_number_is_what_was_granted_last() {
    let mut scene = Scene::begin().await;
    scene.decide(990, Rung::Policy, 7);
    assert_eq!(
        scene.client.replicas(object("web", &[])).await.unwrap(),
        7,
        "not the 40 that were wished for"
    );
    assert!(scene.client.is_active(object("web", &[])).await.unwrap());
    let trigger = [("scalerAddress", "autoscale:8082"), ("autoscaler", "web"), ("enableTLS", "false")];
    assert_eq!(scene.client.replicas(object("anything", &trigger)).await.unwrap(), 7);
    scene.decide(1000, Rung::Fallback, 9);
    assert_eq!(scene.client.replicas(object("web", &[])).await.unwrap(), 9, "whoever decides");
    scene.decide(1001, Rung::Hold, 8);
    assert_eq!(scene.client.replicas(object("web", &[])).await.unwrap(), 8);
}

#[tokio::test]
async fn the_metric_is_one_per_pod_whatever_is_known() {
    let scene = Scene::begin().await;
    let one = MetricSpec { metric_name: "desired-replicas".into(), target_size: 1, target_size_float: 1.0 };
    for name in ["web", "nobody-of-this-name"] {
        let specs = scene.client.metric_spec(object(name, &[])).await.unwrap().metric_specs;
        assert_eq!(specs, std::slice::from_ref(&one));
    }
}

#[tokio::test]
async fn without_a_good_decision_there_is_no_number() {
    let mut scene = Scene::begin().await;
    let unavailable = Code::Unavailable;
    let refused = scene.refusal("web").await;
    let text = "LearnedAutoscaler shop/web has made no decision on shop/Deployment/frontend yet";
    is(&refused, unavailable, text);
    scene.decide(1000, Rung::HandsOff, 5);
    let text = "LearnedAutoscaler shop/web keeps its hands off: neither Prometheus nor the metrics API says anything of use";
    is(&scene.refusal("web").await, unavailable, text);
    scene.decide(1000, Rung::Policy, 7);
    scene.clock.set(1045);
    assert_eq!(scene.client.replicas(object("web", &[])).await.unwrap(), 7, "three intervals are fine");
    scene.clock.set(1046);
    let text = "the last decision of LearnedAutoscaler shop/web is 46 s old, expected at most 45 s (3 control intervals)";
    is(&scene.refusal("web").await, unavailable, text);
    scene.decide(1046, Rung::Policy, 6);
    assert_eq!(scene.client.replicas(object("web", &[])).await.unwrap(), 6);
    // A clock that was set back makes the decision one of another time, too.
    scene.clock.set(500);
    let text = "the last decision of LearnedAutoscaler shop/web is 546 s ahead of the clock, expected at most 45 s (3 control intervals)";
    is(&scene.refusal("web").await, unavailable, text);
    scene.board.list(name("web"), target("frontend"), INTERVAL);
    assert!(
        scene.refusal("web").await.message().contains("no decision"),
        "a new one of that name starts anew"
    );
}

#[tokio::test]
async fn who_is_not_there_is_told_who_is() {
    let scene = Scene::begin().await;
    let text = "there is no LearnedAutoscaler shop/wob; known in shop: api, web";
    is(&scene.refusal("wob").await, Code::NotFound, text);
    is(&scene.client.stream(object("wob", &[])).await.unwrap_err(), Code::NotFound, text);
    scene.board.strike(&name("api"));
    scene.board.strike(&name("web"));
    // The one of the namespace `bank` is nobody's business.
    let text = "there is no LearnedAutoscaler shop/web; known in shop: none";
    is(&scene.refusal("web").await, Code::NotFound, text);
}

#[tokio::test]
async fn what_is_ill_formed_is_refused_by_field() {
    let mut scene = Scene::begin().await;
    scene.decide(1000, Rung::Policy, 7);
    let client = &scene.client;
    let expected = "expected the name of a LearnedAutoscaler in the ScaledObject's namespace";
    let key = "expected the key `autoscaler`, with the name of a LearnedAutoscaler";
    for (metadata, message) in [
        (("autoscaler", ""), format!(r#"metadata.autoscaler: "", {expected}"#)),
        (("autoscaler", "bank/vault"), format!(r#"metadata.autoscaler: "bank/vault", {expected}"#)),
        (("autoScaler", "web"), format!(r#"metadata: "autoScaler", {key}"#)),
        (("autoscalerFromEnv", "web"), format!(r#"metadata: "autoscalerFromEnv", {key}"#)),
    ] {
        let asked = object("web", &[metadata]);
        is(&client.replicas(asked.clone()).await.unwrap_err(), Code::InvalidArgument, &message);
        is(&client.is_active(asked.clone()).await.unwrap_err(), Code::InvalidArgument, &message);
        is(&client.metric_spec(asked.clone()).await.unwrap_err(), Code::InvalidArgument, &message);
        is(&client.stream(asked).await.unwrap_err(), Code::InvalidArgument, &message);
    }
    let nameless = client.replicas(object("", &[])).await.unwrap_err();
    is(&nameless, Code::InvalidArgument, r#"name: "", expected that of a ScaledObject"#);
    let ask = |scaled_object_ref, metric: &str| {
        client.metrics(GetMetricsRequest { scaled_object_ref, metric_name: metric.to_owned() })
    };
    let refused = ask(None, "desired-replicas").await.unwrap_err();
    is(&refused, Code::InvalidArgument, "scaledObjectRef: missing, expected a ScaledObject");
    let refused = ask(Some(object("web", &[])), "s0-desired-replicas").await.unwrap_err();
    let text = r#"metricName: "s0-desired-replicas", expected desired-replicas"#;
    is(&refused, Code::InvalidArgument, text);
    let refused = client.call::<_, IsActiveResponse>("Nonsense", object("web", &[])).await.unwrap_err();
    let text = "/externalscaler.ExternalScaler/Nonsense: expected a call of externalscaler.ExternalScaler";
    is(&refused, Code::Unimplemented, text);
}

#[tokio::test]
async fn activity_is_streamed_when_it_changes() {
    let mut scene = Scene::begin().await;
    let mut stream = scene.client.stream(object("web", &[])).await.unwrap();
    let mut next = async || stream.message().await.unwrap().map(|response| response.result);
    // Nothing is said before there is a decision, nor of one that is none.
    scene.decide(1000, Rung::HandsOff, 0);
    scene.settle().await;
    scene.decide(1000, Rung::Policy, 7);
    assert_eq!(next().await, Some(true));
    for (rung, granted) in [(Rung::Policy, 8), (Rung::HandsOff, 0), (Rung::Policy, 0)] {
        scene.settle().await;
        scene.decide(1000, rung, granted);
    }
    assert_eq!(next().await, Some(false));
    assert!(!scene.client.is_active(object("web", &[])).await.unwrap());
    // Time alone is no news.
    scene.clock.set(9000);
    scene.decide(9000, Rung::Fallback, 1);
    assert_eq!(next().await, Some(true));
    scene.board.strike(&name("web"));
    let gone = stream.message().await.unwrap_err();
    is(&gone, Code::NotFound, "there is no LearnedAutoscaler shop/web; known in shop: api");
}

#[tokio::test]
async fn a_stream_ends_with_its_client_and_with_the_process() {
    let mut scene = Scene::begin().await;
    scene.decide(1000, Rung::Policy, 7);
    let mut kept = scene.client.stream(object("web", &[])).await.unwrap();
    let mut left = scene.client.stream(object("web", &[])).await.unwrap();
    for stream in [&mut kept, &mut left] {
        assert!(stream.message().await.unwrap().unwrap().result);
    }
    assert_eq!(scene.board.listeners(), 2);
    drop(left);
    // Hangs if it does not end.
    while scene.board.listeners() > 1 {
        tokio::task::yield_now().await;
    }
    scene.stop.send(()).unwrap();
    assert!(kept.message().await.unwrap().is_none(), "the end is no error");
    drop((kept, scene.client));
    scene.server.await.unwrap().unwrap();
}
