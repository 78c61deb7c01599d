//! A service with workers and a queue.
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/work` | 200 when a worker has done the request's work; 503 at once where the queue is full |
//! | `/cost` | what a request costs, as JSON; `PUT` changes it for requests that come later |
//! | `/metrics` | for Prometheus |
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 until it is told to end, then 503 |

use super::Cost;
use super::cost::{Spread, Work};
use super::meters::{Ending, Inside, Meters};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, count_in_range};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A demo service as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceConfig {
    /// Requests that are served at the same time: 1 to 256.
    pub workers: u32,
    /// Requests that may wait besides: 0 to 100,000.
    pub queue: u32,
    /// What a request costs at first.
    pub cost: Cost,
    /// From when it is not ready any more to when it takes no more connections, so that whoever sends requests has time to
    /// notice: 0 to 600,000 ms.
    pub drain_ms: u32,
    /// Of the costs.
    pub seed: Seed,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        let cost = Cost { work: Work::Busy, mean_ms: 20.0, spread: Spread::Exponential };
        Self { workers: 2, queue: 100, cost, drain_ms: 5000, seed: Seed::root(0) }
    }
}

/// A demo service. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ServiceConfig,
    cost: Mutex<Cost>,
    meters: Meters,
    /// One for each request that may be in the service.
    places: Arc<Semaphore>,
    /// First come, first served.
    workers: Arc<Semaphore>,
    /// Requests that were let in so far.
    entered: AtomicU64,
    ready: AtomicBool,
}

impl Service {
    /// A service that nobody can reach yet.
    ///
    /// # Errors
    /// Names what of the configuration is out of range.
    pub fn new(config: ServiceConfig) -> Result<Self, ConfigError> {
        count_in_range("workers", u64::from(config.workers), 1, 256)?;
        count_in_range("queue", u64::from(config.queue), 0, 100_000)?;
        count_in_range("drain_ms", u64::from(config.drain_ms), 0, 600_000)?;
        config.cost.check().map_err(|error| error.within("cost"))?;
        Ok(Self(Arc::new(Inner {
            config,
            cost: Mutex::new(config.cost),
            meters: Meters::new(),
            places: Arc::new(Semaphore::new((config.workers + config.queue) as usize)),
            workers: Arc::new(Semaphore::new(config.workers as usize)),
            entered: AtomicU64::new(0),
            ready: AtomicBool::new(true),
        })))
    }

    /// What Prometheus scrapes.
    pub fn page(&self) -> String {
        let Inner { config, meters, places, workers, .. } = &*self.0;
        let in_flight = (config.workers + config.queue) as usize - places.available_permits();
        let busy = config.workers as usize - workers.available_permits();
        // Requests move while they are counted.
        meters.page(Inside { in_flight, queued: in_flight.saturating_sub(busy) })
    }

    fn cost(&self) -> MutexGuard<'_, Cost> {
        self.0.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers until some time after `end`: first it says that it is not ready, then it takes no more connections, and
/// what it has it finishes.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(work))
        .route("/work", get(work))
        .route("/cost", get(cost).put(set_cost))
        .route("/metrics", get(page))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(service.clone());
    let closing = async move {
        end.await;
        service.0.ready.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(u64::from(service.0.config.drain_ms))).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(closing).await
}

/// Counts a request as abandoned when it is dropped before its answer: the server does so when the client is gone.
struct Awaited<'a>(Option<&'a Meters>);

impl Awaited<'_> {
    fn answered(mut self, after: Duration) {
        if let Some(meters) = self.0.take() {
            meters.answered(after);
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(meters) = self.0 {
            meters.ended(Ending::Abandoned);
        }
    }
}

async fn work(State(service): State<Service>) -> Response {
    let Inner { config, meters, places, workers, entered, .. } = &*service.0;
    let came = Instant::now();
    meters.received();
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        meters.ended(Ending::Refused);
        return (StatusCode::SERVICE_UNAVAILABLE, "the queue is full\n").into_response();
    };
    let awaited = Awaited(Some(meters));
    let cost = *service.cost();
    let demand = cost.of(config.seed, entered.fetch_add(1, Ordering::Relaxed));
    // Nobody closes the semaphore, so this is a worker.
    let worker = Arc::clone(workers).acquire_owned().await;
    // Work that has begun is done to its end, whether or not somebody still waits for it.
    let done = tokio::spawn(async move {
        cost.work.last(demand).await;
        drop((worker, place));
    });
    // It has no way to fail.
    let _ = done.await;
    awaited.answered(came.elapsed());
    "done\n".into_response()
}

async fn cost(State(service): State<Service>) -> Json<Cost> {
    Json(*service.cost())
}

async fn set_cost(State(service): State<Service>, asked: Result<Json<Cost>, JsonRejection>) -> Response {
    let refused = |reason: String| (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response();
    match asked {
        Err(rejection) => refused(rejection.body_text()),
        Ok(Json(asked)) => {
            if let Err(error) = asked.check() {
                return refused(error.to_string());
            }
            *service.cost() = asked;
            Json(asked).into_response()
        }
    }
}

async fn page(State(service): State<Service>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], service.page()).into_response()
}

async fn ready(State(service): State<Service>) -> Response {
    if service.0.ready.load(Ordering::Relaxed) {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "ending\n").into_response()
    }
}
