//! The demo as a process: a service, load on one, or both.

use super::load::{LoadConfig, LoadReport, run as send};
use super::schedule::Rates;
use super::service::{Service, ServiceConfig, serve};
use crate::service::{end, until};
use autoscale_core::validate::ConfigError;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// A service, and where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hosting {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is like.
    pub service: ServiceConfig,
    /// It begins to listen after this, as a service does that has to load something first.
    pub start_up: Duration,
}

/// What is to be shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Demo {
    /// A service, until the process is told to end.
    Service(Hosting),
    /// Load on any service, until its schedule or the process ends.
    Load(LoadConfig, Rates),
    /// A service under load, until the schedule or the process ends.
    Both(Hosting, LoadConfig, Rates),
}

/// Why there is no demo.
#[derive(Debug, Error)]
pub enum DemoError {
    /// Something is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system refuses something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
}

/// Runs until it is over or the process is told to end (SIGTERM, Ctrl-C); gives what became of the load where there was any.
/// `progress` is told about twice a second how much of the schedule's time has gone by.
///
/// # Errors
/// When it cannot begin.
pub fn run(
    demo: Demo,
    progress: impl Fn(Duration) + Send + 'static,
) -> Result<Option<LoadReport>, DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| system("threads", error))?.block_on(async {
        let told = end().map_err(|error| system("signals", error))?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            told.await;
            let _ = stop.send(true);
        });
        show(demo, progress, stopped).await
    })
}

async fn show(
    demo: Demo,
    progress: impl Fn(Duration) + Send + 'static,
    stopped: watch::Receiver<bool>,
) -> Result<Option<LoadReport>, DemoError> {
    match demo {
        Demo::Service(hosting) => {
            host(hosting, until(&stopped)).await?;
            Ok(None)
        }
        Demo::Load(config, rates) => load(&config, &rates, progress, until(&stopped)).await.map(Some),
        Demo::Both(hosting, config, rates) => {
            let (over, ended) = watch::channel(false);
            // After the load nobody is left to be let down gently.
            let service = ServiceConfig { drain_ms: 0, ..hosting.service };
            let (ready, listening) = tokio::sync::oneshot::channel();
            let hosted = tokio::spawn(async move {
                let (listener, service) = open(Hosting { service, ..hosting }).await?;
                let _ = ready.send(());
                answer(listener, service, until(&ended)).await
            });
            let report = match listening.await {
                Ok(()) => Some(load(&config, &rates, progress, until(&stopped)).await?),
                // It could not begin, and says below why.
                Err(_) => None,
            };
            let _ = over.send(true);
            hosted.await.map_err(|error| system("service", std::io::Error::other(error)))??;
            Ok(report)
        }
    }
}

async fn host(hosting: Hosting, end: impl Future<Output = ()> + Send + 'static) -> Result<(), DemoError> {
    let (listener, service) = open(hosting).await?;
    answer(listener, service, end).await
}

async fn open(Hosting { address, service, start_up }: Hosting) -> Result<(TcpListener, Service), DemoError> {
    let service = Service::new(service)?;
    tokio::time::sleep(start_up).await;
    let listener = TcpListener::bind(address).await.map_err(|error| system(&address.to_string(), error))?;
    Ok((listener, service))
}

async fn answer(
    listener: TcpListener,
    service: Service,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DemoError> {
    serve(listener, service, end).await.map_err(|error| system("service", error))
}

async fn load(
    config: &LoadConfig,
    rates: &Rates,
    progress: impl Fn(Duration) + Send + 'static,
    end: impl Future<Output = ()>,
) -> Result<LoadReport, DemoError> {
    let ticking = tokio::spawn(async move {
        let begin = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            progress(begin.elapsed());
        }
    });
    let report = send(config, rates, end).await;
    ticking.abort();
    Ok(report?)
}

fn system(what: &str, error: std::io::Error) -> DemoError {
    DemoError::System { what: what.to_owned(), error }
}
