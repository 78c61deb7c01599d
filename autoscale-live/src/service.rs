//! The controller as a process: everything put together, from the configuration to the last write.

mod announce;
mod rehearsal;
mod report;
mod resources;
mod roster;
mod scaler;
mod sheet;
mod sighting;
mod staffing;

use crate::controller::{Deciders, Leadership};
use crate::journal::{JsonLines, Metrics};
use crate::keda::Board;
use crate::shell::{Clock, Fleet, Journal, News, Shell, SystemClock};
use crate::source::{Collector, CollectorError, PrometheusConfig};
use crate::spec::LearnedAutoscaler;
use crate::status::{self, Readiness};
use crate::target::events::Announcer;
use crate::target::executor::{Executor, WriteLimit};
use crate::target::kubernetes::{ClusterError, connect_as_usual};
use crate::target::lease::{Candidacy, Elector, Term};
use crate::target::watch::Watch;
use kube::Client;
pub use rehearsal::{Sighted, rehearse};
use roster::Roster;
use sheet::Sheet;
use sighting::Sights;
use staffing::{Outlets, Staffing, Troubles};
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// News that may wait to be heard.
const UNHEARD: usize = 1024;

/// What to scale.
pub enum Autoscalers {
    /// These.
    Given(Vec<LearnedAutoscaler>),
    /// The custom resources of these namespaces, of the whole cluster where none is named, as they come and go. Their status
    /// is kept up to date.
    Watched(Vec<Arc<str>>),
}

/// Makes those who decide for an autoscaler, or says what is wrong with what it names.
pub type MakeDeciders = dyn Fn(&LearnedAutoscaler) -> Result<Deciders, String> + Send + Sync;

/// What a controller process is told.
pub struct ServiceConfig {
    /// What to scale.
    pub autoscalers: Autoscalers,
    /// Who decides.
    pub deciders: Box<MakeDeciders>,
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
        error: String,
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

/// Runs until the process is told to end (SIGTERM, Ctrl-C). Each decision is a line of JSON in `decisions`.
///
/// # Errors
/// When it cannot begin. Once it runs, whatever fails is tried again.
pub fn run(config: ServiceConfig, decisions: Box<dyn Write + Send>) -> Result<(), ServiceError> {
    runtime().map_err(|error| system("timers", error))?.block_on(async {
        let end = end().map_err(|error| system("signals", error))?;
        serve(connect_as_usual().await?, config, decisions, end).await
    })
}

/// What a controller runs on: one thread, of which ten thousand emulated HPAs take a few percent. A second one would take memory
/// of its own, and would keep the Lease and the probes alive when the first is stuck.
///
/// # Errors
/// When the system has no more timers or sockets.
pub fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The same within a runtime, by way of a client from [`connect`](crate::target::kubernetes::connect), until `end`.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    client: Client,
    config: ServiceConfig,
    decisions: Box<dyn Write + Send>,
    end: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let collector = Collector::new(config.prometheus)?;
    let (stop, stopped) = watch::channel(false);
    let (leave, written) = watch::channel(false);
    let (tell, news) = mpsc::channel(UNHEARD);
    let watch = Arc::new(Watch::new(&client, &tell));
    let term = if config.lease.is_some() { Term::not_yet() } else { Term::for_ever() };
    let executor = Arc::new(Executor::new(client.clone(), WriteLimit::default()).during(term.clone()));
    let metrics = Metrics::new();
    let announcer = Announcer::new(client.clone(), Arc::clone(&config.instance));
    let (announcements, announcing) = announce::start(announcer, Arc::clone(&watch));
    let mut journal: Vec<Box<dyn Journal>> =
        vec![Box::new(JsonLines::new(decisions)), Box::new(metrics.clone()), Box::new(announcements)];
    let board = config.keda.map(|_| Board::new());
    if let (Some(address), Some(board)) = (config.keda, &board) {
        journal.push(Box::new(board.clone()));
        scaler::start(address, board.clone(), until(&stopped)).await?;
    }
    let sights = Sights::new(collector, client.clone(), Arc::clone(&watch));
    let faults = sights.faults();
    let roster = Arc::<Mutex<Roster>>::default();
    let staffing = Staffing {
        roster: Arc::clone(&roster),
        deciders: config.deciders,
        executor: Arc::clone(&executor),
        board,
    };
    let (mut fleet, troubles) = (Fleet::new(), Troubles::default());
    let (readiness, reporting) = match config.autoscalers {
        Autoscalers::Given(given) => {
            let sheets = given.iter().map(|autoscaler| Arc::new(Sheet::of(autoscaler)));
            let changes = staffing.settle(sheets.collect());
            drop(given);
            if let Some((resource, finding)) = changes.refused.into_iter().next() {
                let name = resource.name.to_string();
                return Err(ServiceError::Autoscaler { name, error: finding.message });
            }
            for (target, controller) in changes.taken_on {
                fleet.add(SystemClock.now(), target, *controller);
            }
            watch.set(&roster.lock().unwrap_or_else(PoisonError::into_inner).targets());
            (Readiness::AllDecided, None)
        }
        Autoscalers::Watched(namespaces) => {
            let (reports, refusals, reporting) = report::start(client.clone(), roster);
            journal.push(Box::new(reports));
            let informed = Arc::<AtomicBool>::default();
            let outlets = Outlets {
                watch: Arc::clone(&watch),
                tell: tell.clone(),
                refusals,
                troubles: Arc::clone(&troubles),
                informed: Arc::clone(&informed),
            };
            let (keep_up, stopped) = (staffing.keep_up(client.clone(), namespaces, outlets), until(&stopped));
            tokio::spawn(async move {
                tokio::select! {
                    () = keep_up => {}
                    () = stopped => {}
                }
            });
            (Readiness::Informed(informed), Some(reporting))
        }
    };
    let shell = Shell::new(fleet, sights, executor, journal, SystemClock);
    if let Some(address) = config.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| system(&address, error))?;
        let trouble = move || {
            let mut trouble = watch.trouble();
            for more in [&faults, &troubles] {
                trouble.extend(more.lock().unwrap_or_else(PoisonError::into_inner).clone());
            }
            trouble
        };
        let shown = status::Shown { fleet: shell.fleet(), metrics, readiness, clock: SystemClock, trouble };
        tokio::spawn(status::serve(listener, shown, until(&stopped)));
    }
    let elector = match config.lease {
        Some(candidacy) => {
            let elector = Elector::new(client, candidacy, term);
            tokio::spawn(elector.run(SystemClock, tell, until(&written)))
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
    let _ = leave.send(true);
    let _ = elector.await;
    let _ = announcing.await;
    if let Some(reporting) = reporting {
        let _ = reporting.await;
    }
    Ok(())
}

/// Ends when the other side says so, or is gone.
pub(crate) fn until(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stopped.clone();
    async move {
        let _ = stopped.wait_for(|&stopped| stopped).await;
    }
}

/// Ends when the process is told to.
pub(crate) fn end() -> std::io::Result<impl Future<Output = ()>> {
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
