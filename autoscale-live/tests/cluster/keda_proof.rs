//! What KEDA's HPA makes of the number that the external scaler says, by the HPA in the cluster: with the tolerances of the
//! shipped `ScaledObject` it follows each replica, without them it passes over what `docs/keda.md` says.

use super::hpa_in_vivo::{Source, Stage};
use super::plane::{pods_spec_of, until};
use crate::decision::decision;
use crate::keda_client::Client;
use autoscale_core::guard::Rung;
use autoscale_core::units::{Milli, Replicas};
use autoscale_live::keda::messages::{MetricSpec, ScaledObjectRef};
use autoscale_live::keda::{AUTOSCALER, AutoscalerRef, Board, serve};
use autoscale_live::shell::{Clock, Journal, SystemClock};
use autoscale_live::target::TargetRef;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;

/// The walk, there and back, one replica at a time.
const FROM: u32 = 8;
const TO: u32 = 24;

fn shipped() -> Value {
    serde_saphyr::from_str(include_str!("../../../deploy/keda/scaledobject.yaml")).unwrap()
}

/// For a cluster that does not know the field `tolerance`.
fn without_tolerance() -> Value {
    let mut object = shipped();
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &mut object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"][direction];
        assert_eq!(rules.as_object_mut().unwrap().remove("tolerance"), Some(json!("0")));
    }
    object
}

/// A Deployment that KEDA scales by what a `LearnedAutoscaler` of the same name is granted.
struct Scaled {
    name: &'static str,
    target: TargetRef,
    board: Board,
}

impl Scaled {
    /// KEDA's part: the HPA that it makes of a ScaledObject (kedacore/keda, `controllers/keda/hpa.go`), and the metrics
    /// API that asks the scaler.
    async fn begin(
        stage: &Stage,
        namespace: &str,
        name: &'static str,
        object: &Value,
        board: &Board,
        keda: &Client,
    ) -> Self {
        let target = TargetRef::deployment(namespace, name);
        let mut spec = pods_spec_of(name);
        spec["replicas"] = FROM.into();
        stage.plane.apply("tests", &target, &spec).await;
        let autoscaler = AutoscalerRef { namespace: namespace.into(), name: name.into() };
        board.list(autoscaler, target.clone(), Duration::from_secs(15));
        let mut scaled = Self { name, target, board: board.clone() };
        scaled.wish(FROM);

        let asks = ScaledObjectRef {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            scaler_metadata: [(AUTOSCALER.to_owned(), name.to_owned())].into(),
        };
        let specs = keda.metric_spec(asks.clone()).await.unwrap().metric_specs;
        let [MetricSpec { metric_name, target_size_float, .. }] = specs.as_slice() else {
            panic!("{specs:?}")
        };
        let metric = format!("s0-{metric_name}");
        let keda = keda.clone();
        let source: Source = Box::new(move |_| {
            let (keda, asks) = (keda.clone(), asks.clone());
            Box::pin(async move { Some(Milli::new(keda.replicas(asks).await.ok()? * 1000)) })
        });
        stage.metrics.serve(name, &metric, source);
        let spec = &object["spec"];
        let hpa = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": format!("keda-hpa-{name}"), "namespace": namespace },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                "minReplicas": spec["minReplicaCount"],
                "maxReplicas": spec["maxReplicaCount"],
                "metrics": [{ "type": "External", "external": {
                    "metric": { "name": metric, "selector": { "matchLabels": { "scaledobject.keda.sh/name": name } } },
                    "target": { "type": "AverageValue", "averageValue": target_size_float.to_string() },
                } }],
                "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
            },
        });
        stage.plane.apply_manifest(&hpa.to_string());
        scaled
    }

    /// The policy is granted this many.
    fn wish(&mut self, replicas: u32) {
        self.board.keep(&self.target, &decision(SystemClock.now(), Rung::Policy, replicas));
    }

    /// Wishes for one more or one fewer at a time, and sees each time where that leads; gives how many wishes led nowhere.
    async fn walk(mut self, stage: &Stage, follows: fn(u32, u32) -> u32) -> usize {
        let (mut replicas, mut path) = (FROM, vec![Replicas::new(FROM)]);
        let mut swallowed = 0;
        for wish in (FROM + 1..=TO).chain((FROM..TO).rev()) {
            self.wish(wish);
            let looks = until("a look at the wish", async || {
                let (looks, value) = stage.metrics.told(self.name);
                (value == Some(Milli::new(i64::from(wish) * 1000))).then_some(looks)
            })
            .await;
            let expected = follows(replicas, wish);
            if expected == replicas {
                swallowed += 1;
                // The next look comes after all that this one leads to.
                until("the next look", async || (stage.metrics.told(self.name).0 > looks).then_some(()))
                    .await;
            } else {
                path.push(Replicas::new(expected));
                until("as many pods as are wished for", async || {
                    let counts = stage.recorder.counts(self.name);
                    let settled = counts.spec == counts.status && counts.spec.get() != replicas;
                    settled.then_some(())
                })
                .await;
            }
            let spec = stage.recorder.counts(self.name).spec;
            assert_eq!(spec.get(), expected, "{}: {wish} wished for with {replicas}", self.name);
            replicas = expected;
        }
        assert_eq!(
            stage.recorder.of(self.name).asked_for(),
            path,
            "{}: nothing else was ever asked for",
            self.name
        );
        swallowed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_scaled_object_follows_each_replica_and_its_tolerance_is_why() {
    let stage = Stage::shared();
    let namespace = stage.plane.namespace("shop").await;
    let board = Board::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::of(listener.local_addr().unwrap());
    tokio::spawn(serve(listener, board.clone(), SystemClock, std::future::pending()));
    let web = Scaled::begin(stage, &namespace, "web", &shipped(), &board, &client).await;
    let older = Scaled::begin(stage, &namespace, "older", &without_tolerance(), &board, &client).await;
    let (web, older) = tokio::join!(
        web.walk(stage, |_, wish| wish),
        older.walk(stage, |replicas, wish| if 10 * wish.abs_diff(replicas) <= replicas {
            replicas
        } else {
            wish
        }),
    );
    let wishes = 2 * (TO - FROM);
    eprintln!("of {wishes} wishes, {web} led nowhere; without tolerances {older}");
    assert_eq!(web, 0);
    assert!(older > 10, "{older}");
}
