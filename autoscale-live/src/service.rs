//! The controller as a process: everything put together, from the configuration to the last write.

mod announce;
mod scaler;
mod sighting;

use crate::controller::{Controller, Deciders, Leadership};
use crate::journal::{JsonLines, Metrics};
use crate::shell::{Fleet, Journal, News, Shell, SystemClock};
use crate::source::{Collector, CollectorError, PrometheusConfig};
use crate::spec::LearnedAutoscaler;
use crate::status;
use crate::target::TargetRef;
use crate::target::events::Announcer;
use crate::target::executor::{Executor, WriteLimit};
use crate::target::kubernetes::{ClusterError, connect_as_usual};
use crate::target::lease::{Candidacy, Elector};
use crate::target::watch::Watch;
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, Validate};
use kube::{Client, ResourceExt};
use scaler::Scaler;
use sighting::Sights;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// News that may wait to be heard.
const UNHEARD: usize = 1024;

/// What a controller process is told.
pub struct ServiceConfig {
    /// What to scale.
    pub autoscalers: Vec<LearnedAutoscaler>,
    /// Whom to ask.
    pub prometheus: PrometheusConfig,
    /// Where probes and people ask; nobody when absent.
    pub listen: Option<SocketAddr>,
    /// Where KEDA asks for replica counts; nobody when absent. Needs the feature `keda`.
    pub keda: Option<SocketAddr>,
    /// The Lease of those who may write; this process is alone when absent.
    pub lease: Option<Candidacy>,
    /// What this process is called in Events.
    pub instance: Arc<str>,
}

/// Why the controller does not run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// There is no cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Prometheus cannot be asked.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// One of the autoscalers cannot be used.
    #[error("{name}: {error}")]
    Autoscaler {
        /// Its name.
        name: String,
        /// Why.
        error: ConfigError,
    },
    /// The system refuses something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
}

/// Runs until the process is told to end (SIGTERM, Ctrl-C). `deciders` has those of each autoscaler, in their order; each
/// decision is a line of JSON in `decisions`.
///
/// # Errors
/// When it cannot begin. Once it runs, whatever fails is tried again.
pub fn run(
    config: ServiceConfig,
    deciders: Vec<Deciders>,
    decisions: Box<dyn Write + Send>,
) -> Result<(), ServiceError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| system("threads", error))?;
    runtime.block_on(async {
        let end = end().map_err(|error| system("signals", error))?;
        serve(connect_as_usual().await?, config, deciders, decisions, end).await
    })
}

/// The same within a runtime, by way of a client from [`connect`](crate::target::kubernetes::connect), until `end`.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    client: Client,
    config: ServiceConfig,
    deciders: Vec<Deciders>,
    decisions: Box<dyn Write + Send>,
    end: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let collector = Collector::new(config.prometheus)?;
    let executor = Executor::new(client.clone(), WriteLimit::default());
    let targets: Vec<TargetRef> = config.autoscalers.iter().map(LearnedAutoscaler::target).collect();
    let mut fleet = Fleet::new();
    let scaler = Scaler::new();
    for ((autoscaler, target), deciders) in config.autoscalers.iter().zip(&targets).zip(deciders) {
        let told = autoscaler.spec.controller();
        let name = || autoscaler.name_any();
        let setup = told.validate().map_err(|error| ServiceError::Autoscaler { name: name(), error })?;
        executor.respect(target, told.ownership);
        scaler.list(autoscaler, &deciders);
        fleet.add(target.clone(), Controller::new(setup, deciders, Seed::root(0)));
    }
    let (stop, stopped) = watch::channel(false);
    let (tell, news) = mpsc::channel(UNHEARD);
    let watch = Arc::new(Watch::start(&client, &targets, &tell));
    let metrics = Metrics::new();
    let announcer = Announcer::new(client.clone(), Arc::clone(&config.instance));
    let (announcements, announcing) = announce::start(announcer, Arc::clone(&watch));
    let journal: Vec<Box<dyn Journal>> = vec![
        Box::new(JsonLines::new(decisions)),
        Box::new(metrics.clone()),
        Box::new(announcements),
        scaler.journal(),
    ];
    scaler.start(config.keda, until(&stopped)).await?;
    let sights = Sights::new(collector, client.clone(), Arc::clone(&watch));
    let (faults, watched) = (sights.faults(), watch);
    let shell = Shell::new(fleet, sights, executor, journal, SystemClock);
    if let Some(address) = config.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| system(&address, error))?;
        let trouble = move || {
            let mut trouble = watched.trouble();
            trouble.extend(faults.lock().unwrap_or_else(PoisonError::into_inner).clone());
            trouble
        };
        let shown = status::Shown { fleet: shell.fleet(), metrics, clock: SystemClock, trouble };
        tokio::spawn(status::serve(listener, shown, until(&stopped)));
    }
    let elector = match config.lease {
        Some(candidacy) => {
            let elector = Elector::new(client, candidacy);
            tokio::spawn(elector.run(SystemClock, tell, until(&stopped)))
        }
        None => tokio::spawn(async move {
            let _ = tell.send(News::Leadership(Leadership::Leading)).await;
        }),
    };
    let running = tokio::spawn(shell.run(news, until(&stopped)));
    end.await;
    let _ = stop.send(true);
    // In this order: what is under way is written, then another one may lead, then people are told the last of it.
    let _ = running.await;
    let _ = elector.await;
    let _ = announcing.await;
    Ok(())
}

/// Ends when the other side says so, or is gone.
fn until(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stopped.clone();
    async move {
        let _ = stopped.wait_for(|&stopped| stopped).await;
    }
}

/// Ends when the process is told to.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn system(what: &(impl ToString + ?Sized), error: std::io::Error) -> ServiceError {
    ServiceError::System { what: what.to_string(), error }
}
