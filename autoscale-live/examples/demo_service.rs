//! A demo service as a process of its own: `demo_service ADDRESS WORKERS COST_MS START_MS`.
//!
//! It begins to listen after `START_MS`, as a service does that has to load something first, and ends when it is told to.

use autoscale_live::demo::service::{Service, ServiceConfig, serve};
use autoscale_live::demo::{Cost, Spread, Work};
use std::error::Error;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, workers, cost_ms, start_ms] = words.as_slice() else {
        return Err("expected ADDRESS WORKERS COST_MS START_MS".into());
    };
    let cost = Cost { work: Work::Sleep, mean_ms: cost_ms.parse()?, spread: Spread::Exponential };
    let config = ServiceConfig { workers: workers.parse()?, cost, drain_ms: 500, ..ServiceConfig::default() };
    let service = Service::new(config)?;
    tokio::time::sleep(Duration::from_millis(start_ms.parse()?)).await;
    let mut told = signal(SignalKind::terminate())?;
    serve(TcpListener::bind(address).await?, service, async move { _ = told.recv().await }).await?;
    Ok(())
}
