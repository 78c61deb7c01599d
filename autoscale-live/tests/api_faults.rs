//! The executor against an API server that misbehaves in ways that a real one cannot be told to.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use autoscale_core::units::Replicas;
use autoscale_live::controller::WriteFailure;
use autoscale_live::target::TargetRef;
use autoscale_live::target::executor::{Executor, WriteLimit};
use autoscale_live::target::kubernetes::{ANSWER_WITHIN, connect};
use autoscale_live::target::lease::Term;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use kube::Config;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Serves the group `apps`, and answers each write as it is told; gives an executor, and the number of writes so far.
async fn stub<F, R>(answer: F) -> (Executor, Arc<AtomicU32>)
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response> + Send,
{
    let resources = axum::Json(json!({
        "kind": "APIResourceList", "groupVersion": "apps/v1",
        "resources": [{ "name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment", "verbs": ["get"] }],
    }));
    let writes = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&writes);
    let write = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        answer()
    };
    let app = Router::new()
        .route("/apis/apps/v1", get(move || async move { resources }))
        .route("/apis/apps/v1/namespaces/shop/deployments/web/scale", patch(write));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let client = connect(Config::new(address.parse().unwrap())).unwrap();
    (Executor::new(client, WriteLimit::default()), writes)
}

fn web() -> TargetRef {
    TargetRef::deployment("shop", "web")
}

#[tokio::test]
async fn a_conflict_and_a_busy_server_are_told_apart_and_nothing_is_sent_twice() {
    let (executor, writes) = stub(async || StatusCode::CONFLICT.into_response()).await;
    assert_eq!(executor.scale(&web(), Replicas::ONE, Replicas::ONE).await, Err(WriteFailure::Conflict));
    assert_eq!(writes.load(Ordering::SeqCst), 1);
    // The server's own flow control answers in plain text, with a header.
    let busy =
        async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "Too many requests").into_response();
    let (executor, writes) = stub(busy).await;
    let seven = Duration::from_secs(7);
    assert_eq!(executor.scale(&web(), Replicas::ONE, Replicas::ONE).await, Err(WriteFailure::Busy(seven)));
    assert_eq!(writes.load(Ordering::SeqCst), 1, "the controller decides when to come again, not the client");
    let (executor, writes) = stub(async || StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    assert_eq!(
        executor.scale(&web(), Replicas::ONE, Replicas::ONE).await,
        Err(WriteFailure::Failed("(503)".into()))
    );
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}

/// Waits for the write to arrive, then lets the time that it may take pass at once.
async fn gives_up(executor: Executor, arrived: Arc<Notify>) {
    let writing = tokio::spawn(async move { executor.scale(&web(), Replicas::ONE, Replicas::ONE).await });
    arrived.notified().await;
    tokio::time::pause();
    tokio::time::advance(ANSWER_WITHIN).await;
    tokio::time::resume();
    assert_eq!(writing.await.unwrap(), Err(WriteFailure::Failed("no answer within 10 s".into())));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let silent = move || {
        told.notify_one();
        std::future::pending::<Response>()
    };
    let (executor, _) = stub(silent).await;
    gives_up(executor, arrived).await;
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_given_up() {
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let half = move || {
        let told = Arc::clone(&told);
        async move {
            let begun = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"kind\":"))]);
            let body =
                Body::from_stream(futures_util::StreamExt::chain(begun, futures_util::stream::pending()));
            told.notify_one();
            (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
        }
    };
    let (executor, _) = stub(half).await;
    gives_up(executor, arrived).await;
}

#[tokio::test]
async fn nothing_is_written_once_another_one_may_lead() {
    let (executor, writes) = stub(async || StatusCode::OK.into_response()).await;
    let executor = executor.during(Term::not_yet());
    let Err(WriteFailure::Failed(words)) = executor.scale(&web(), Replicas::ONE, Replicas::ONE).await else {
        panic!()
    };
    assert!(words.contains("Lease"), "{words}");
    assert_eq!(writes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = connect(Config::new(address.parse().unwrap())).unwrap();
    let executor = Executor::new(client, WriteLimit::default());
    let Err(WriteFailure::Failed(words)) = executor.scale(&web(), Replicas::ONE, Replicas::ONE).await else {
        panic!()
    };
    assert!(words.contains("onnect"), "{words}");
}
