//! What people and probes can ask the controller over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 once each target has been decided on, else 503 with those that have not |
//! | `/metrics` | [`Metrics`] for Prometheus |
//! | `/state` | all that is known, as JSON |

use crate::journal::Metrics;
use crate::shell::{Clock, Fleet};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

#[derive(Clone)]
struct Shown<C> {
    fleet: Arc<Mutex<Fleet>>,
    metrics: Metrics,
    clock: C,
}

/// Answers until `end`.
///
/// # Errors
/// When the listener fails.
pub async fn serve<C: Clock + Clone + Sync>(
    listener: TcpListener,
    fleet: Arc<Mutex<Fleet>>,
    metrics: Metrics,
    clock: C,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::<C>))
        .route("/metrics", get(page::<C>))
        .route("/state", get(state::<C>))
        .with_state(Shown { fleet, metrics, clock });
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

async fn ready<C: Clock>(State(shown): State<Shown<C>>) -> Response {
    let fleet = shown.fleet.lock().unwrap_or_else(PoisonError::into_inner);
    let waiting = fleet.undecided();
    if waiting.is_empty() {
        "ok\n".into_response()
    } else {
        let names: Vec<String> = waiting.iter().map(ToString::to_string).collect();
        (StatusCode::SERVICE_UNAVAILABLE, format!("no decision yet on {}\n", names.join(", ")))
            .into_response()
    }
}

async fn page<C: Clock>(State(shown): State<Shown<C>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shown.metrics.page()).into_response()
}

async fn state<C: Clock>(State(shown): State<Shown<C>>) -> Response {
    let fleet = shown.fleet.lock().unwrap_or_else(PoisonError::into_inner);
    match serde_json::to_vec_pretty(&fleet.state(shown.clock.now())) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
