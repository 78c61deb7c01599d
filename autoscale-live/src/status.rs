//! What people and probes can ask the controller over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 once it does its work ([`Readiness`]), else 503 with what is waited for, and what is in the way |
//! | `/metrics` | [`Metrics`] for Prometheus |
//! | `/state` | all that is known, as JSON |

use crate::journal::Metrics;
use crate::shell::{Clock, Fleet};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// When a controller is ready.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// Once each target has been decided on.
    AllDecided,
    /// Once it is known what there is to scale. One target that cannot be decided on makes the controller of all others no
    /// less ready.
    Informed(Arc<AtomicBool>),
}

/// What is shown.
#[derive(Clone)]
pub struct Shown<C, T> {
    /// The controllers.
    pub fleet: Arc<Mutex<Fleet>>,
    /// Their decisions as numbers.
    pub metrics: Metrics,
    /// When it is ready.
    pub readiness: Readiness,
    /// The time.
    pub clock: C,
    /// What does not work at the moment, and why, by what it is.
    pub trouble: T,
}

/// Tells of trouble.
pub trait Trouble: Fn() -> BTreeMap<String, Arc<str>> + Clone + Send + Sync + 'static {}

impl<T: Fn() -> BTreeMap<String, Arc<str>> + Clone + Send + Sync + 'static> Trouble for T {}

/// Answers until `end`.
///
/// # Errors
/// When the listener fails.
pub async fn serve<C: Clock + Clone + Sync, T: Trouble>(
    listener: TcpListener,
    shown: Shown<C, T>,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::<C, T>))
        .route("/metrics", get(page::<C, T>))
        .route("/state", get(state::<C, T>))
        .with_state(shown);
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

async fn ready<C: Clock, T: Trouble>(State(shown): State<Shown<C, T>>) -> Response {
    let waiting: Vec<String> = match &shown.readiness {
        Readiness::AllDecided => {
            let fleet = shown.fleet.lock().unwrap_or_else(PoisonError::into_inner);
            fleet.undecided().into_iter().map(|target| format!("no decision yet on {target}")).collect()
        }
        Readiness::Informed(informed) if informed.load(Ordering::Relaxed) => Vec::new(),
        Readiness::Informed(_) => vec!["not known yet what to scale".to_owned()],
    };
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let trouble = (shown.trouble)().into_iter().map(|(what, why)| format!("{what}: {why}"));
    let lines: Vec<String> = waiting.into_iter().chain(trouble).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.join("\n") + "\n").into_response()
}

async fn page<C: Clock, T: Trouble>(State(shown): State<Shown<C, T>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let parts = shown.metrics.parts().map(Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream::iter(parts))).into_response()
}

async fn state<C: Clock, T: Trouble>(State(shown): State<Shown<C, T>>) -> Response {
    let trouble = (shown.trouble)();
    let fleet = shown.fleet.lock().unwrap_or_else(PoisonError::into_inner);
    let state = json!({ "targets": fleet.state(shown.clock.now()), "trouble": trouble });
    format!("{state:#}\n").into_response()
}
