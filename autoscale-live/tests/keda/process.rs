//! The scaler within the process that `autoscale controller` is.

use crate::client::{Client, object};
use autoscale_core::units::Replicas;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, serve};
use autoscale_live::source::PrometheusConfig;
use autoscale_live::spec::read;
use autoscale_live::target::kubernetes::connect;
use autoscale_policies::fixed::Fixed;
use kube::Config;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Code;

const WEB: &str = "
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {name: frontend}
  maxReplicas: 12
  policy:
    horizontalPodAutoscaler: {}
";

/// An address where nobody is.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_controller_answers_by_the_names_of_its_autoscalers() {
    let (nobody, keda) = (format!("http://{}", free().await), free().await);
    let config = ServiceConfig {
        autoscalers: Autoscalers::Given(
            read(WEB).unwrap().into_iter().map(|document| document.autoscaler).collect(),
        ),
        deciders: Box::new(|_| {
            let fixed = || Box::new(Fixed::new(Replicas::ONE, Duration::from_secs(15)));
            Ok(Deciders { name: "fixed".into(), policy: fixed(), fallback: None })
        }),
        prometheus: PrometheusConfig::at(&nobody),
        listen: None,
        keda: Some(keda),
        lease: None,
        instance: "test".into(),
    };
    let cluster = connect(Config::new(nobody.parse().unwrap())).unwrap();
    let (stop, stopped) = oneshot::channel();
    let end = async { _ = stopped.await };
    let running = tokio::spawn(serve(cluster, config, Box::new(std::io::sink()), end));
    let client = Client::of(keda);
    // The first tries may come before it listens; that is an answer of the client's own.
    let refused = loop {
        match client.replicas(object("web", &[])).await.unwrap_err() {
            early if early.code() == Code::Unknown => tokio::task::yield_now().await,
            refused => break refused,
        }
    };
    // Without a cluster it never sees its target, so that there is no decision.
    let text = "LearnedAutoscaler shop/web has made no decision on shop/Deployment/frontend yet";
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, text));
    let unknown = client.replicas(object("frontend", &[])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "a target's name is not an autoscaler's");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
