//! Measurements from Prometheus' HTTP API.

use super::answer;
use super::auth::AuthError;
use super::queries::{Absence, Filling, Metric};
use super::usage;
use crate::target::TargetRef;
use crate::target::usage::Samples;
use autoscale_core::measurement::LatencySummary;
use autoscale_core::units::{RequestRate, Timestamp};
use autoscale_core::validate::ConfigError;
use futures_util::{StreamExt, stream};
use prometheus_http_query::{Client, InstantQueryBuilder};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;

mod config;

use config::ADDRESS;
pub use config::{PrometheusConfig, UsageSource};

/// Queries that are asked at the same time. An answer on ten thousand services is a megabyte.
const AT_ONCE: usize = 4;
/// Room that is made for an answer of a stated length before any of it has come.
const MOST_AT_FIRST: u64 = 1 << 20;

/// A Prometheus that cannot be asked at all.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// A value is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificates cannot be used.
    #[error("caFile: {file}: {reason}")]
    Certificates {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No client can be made for it.
    #[error("url: {0}")]
    Client(String),
}

/// What Prometheus shows of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceMetrics {
    /// The moment that all of it is about.
    pub at: Timestamp,
    /// How old the newest scraped sample was then.
    pub age: Duration,
    /// Requests that arrived.
    pub arrival_rate: RequestRate,
    /// Requests answered with an error.
    pub error_rate: RequestRate,
    /// Requests whose client gave up.
    pub timeout_rate: RequestRate,
    /// Requests in service or waiting, at the last scrape.
    pub in_flight: f64,
    /// Requests waiting, at the last scrape.
    pub queued: f64,
    /// Response times in the rate window; `None` without answers in it.
    pub latency: Option<LatencySummary>,
}

/// Why nothing can be said of a service.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetricsFault {
    /// The credentials cannot be used.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// A query failed, for all services.
    #[error("{metric}: {reason}")]
    Query {
        /// What it was for.
        metric: Metric,
        /// What came instead of an answer.
        reason: String,
    },
    /// There is no series for the service.
    #[error("{0}: no series of this workload")]
    Missing(Metric),
    /// The value is none that the metric can have.
    #[error("{metric}: {value} is not allowed; expected a finite number, at least 0")]
    Value {
        /// What it is for.
        metric: Metric,
        /// As Prometheus has it.
        value: String,
    },
}

/// Where a workload's value stands in a column, by namespace and name.
type Places<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// The values of a metric.
type Column = Vec<Option<f64>>;

fn places(targets: &[TargetRef]) -> Places<'_> {
    let mut places = Places::new();
    for (k, target) in targets.iter().enumerate() {
        places.entry(&*target.namespace).or_default().entry(&*target.name).or_insert(k);
    }
    places
}

/// What Prometheus said of all that it was asked for, metric by metric.
pub struct Answers {
    columns: Result<BTreeMap<Metric, Result<Column, MetricsFault>>, MetricsFault>,
    places: Vec<usize>,
    at: Timestamp,
}

impl Answers {
    /// What it said of the `k`-th target.
    ///
    /// # Errors
    /// Why nothing can be said of it.
    pub fn of(&self, k: usize) -> Result<ServiceMetrics, MetricsFault> {
        row(self.columns.as_ref().map_err(Clone::clone)?, self.places[k], self.at)
    }
}

/// Asks one Prometheus.
pub struct Collector {
    client: Client,
    config: PrometheusConfig,
    timeout: Duration,
}

impl Collector {
    /// A collector; nothing is asked yet.
    ///
    /// # Errors
    /// Names what of the configuration cannot be used.
    pub fn new(config: PrometheusConfig) -> Result<Self, CollectorError> {
        let url = config.check()?;
        let mut http = crate::tls::client_for(&url).connect_timeout(Duration::from_secs(2));
        if let Some(file) = &config.ca_file {
            let told =
                |reason: String| CollectorError::Certificates { file: file.display().to_string(), reason };
            let pem = std::fs::read(file).map_err(|error| told(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| told(error.to_string()))?;
            if certificates.is_empty() {
                return Err(told("holds no certificate; expected PEM".to_owned()));
            }
            http = http.tls_certs_only(certificates);
        }
        let http = http.build().map_err(|error| {
            let cure = "`caFile` names certificates where the system has none";
            CollectorError::Client(format!("{}: {}; {cure}", config.url, with_causes(&error)))
        })?;
        let client = Client::from(http, config.url.trim_end_matches('/')).map_err(|error| {
            CollectorError::Client(format!("{}: {error}; expected {ADDRESS}", config.url))
        })?;
        let timeout = Duration::from_millis(u64::from(config.timeout_ms));
        Ok(Self { client, config, timeout })
    }

    /// What is known of each of them at the last whole second before `at`: one query a metric, all for the same moment.
    pub async fn collect(&self, targets: &[TargetRef], at: Timestamp) -> Answers {
        let places = places(targets);
        let columns = self.columns(&places, targets.len(), at).await;
        let places = targets.iter().map(|target| places[&*target.namespace][&*target.name]).collect();
        Answers { columns, places, at: Timestamp::from_secs(whole_seconds(at)) }
    }

    /// What rates are taken over.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.window_seconds))
    }

    /// Whom to ask what pods use.
    pub const fn usage_source(&self) -> UsageSource {
        self.config.usage
    }

    /// Whether credentials can be read, where there are any.
    ///
    /// # Errors
    /// Names the file that cannot be.
    pub fn can_be_asked(&self) -> Result<(), AuthError> {
        self.config.auth.header().map(drop)
    }

    /// What the pods of these namespaces use at the last whole second before `at`, by namespace: two queries in all.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn usage(
        &self,
        namespaces: &[Arc<str>],
        at: Timestamp,
    ) -> Result<BTreeMap<Arc<str>, Arc<Samples>>, MetricsFault> {
        let names: Vec<&str> = namespaces.iter().map(|namespace| &**namespace).collect();
        let (asking, label) = (self.asking(&names, at)?, &self.config.namespace_label);
        let read = |body: &[u8]| usage::read(body, label, namespaces);
        let (cpu, memory) = (asking.ask(Metric::CpuUsage, read), asking.ask(Metric::MemoryUsage, read));
        let used = tokio::try_join!(cpu, memory)?;
        let at = Timestamp::from_secs(whole_seconds(at));
        Ok(usage::samples(namespaces, used, (at, self.window())))
    }

    /// How to ask for what is in these namespaces.
    fn asking(&self, namespaces: &[&str], at: Timestamp) -> Result<Asking<'_>, MetricsFault> {
        let PrometheusConfig { namespace_label, workload_label, window_seconds, .. } = &self.config;
        // Names of namespaces are made of letters, digits and dashes, none of which means anything to a regular expression.
        let selector = format!("{namespace_label}=~\"{}\"", namespaces.join("|"));
        let window = format!("{window_seconds}s");
        Ok(Asking {
            collector: self,
            filling: Filling { selector, namespace: namespace_label, workload: workload_label, window },
            header: self.config.auth.header()?,
            at,
            deadline: Instant::now() + self.timeout,
        })
    }

    /// Each metric's values, or why there are none.
    async fn columns(
        &self,
        places: &Places<'_>,
        length: usize,
        at: Timestamp,
    ) -> Result<BTreeMap<Metric, Result<Column, MetricsFault>>, MetricsFault> {
        let namespaces: Vec<&str> = places.keys().copied().collect();
        let asking = &self.asking(&namespaces, at)?;
        let asked = Metric::OF_SERVICES.map(async |metric| {
            (metric, asking.ask(metric, |body: &[u8]| self.column(body, places, length)).await)
        });
        // On the heap, since all of them wait in there.
        Ok(Box::pin(stream::iter(asked).buffer_unordered(AT_ONCE).collect()).await)
    }

    /// The values of an answer, each in its workload's place; series of others are nobody's.
    fn column(&self, body: &[u8], places: &Places<'_>, length: usize) -> serde_json::Result<Answer<Column>> {
        let PrometheusConfig { namespace_label, workload_label, .. } = &self.config;
        let (mut column, mut twice) = (vec![None; length], None);
        let said = answer::read(body, |series| {
            let (Some(namespace), Some(name)) = (series.label(namespace_label), series.label(workload_label))
            else {
                return;
            };
            let place = places.get(namespace).and_then(|places| places.get(name));
            if let Some(&place) = place
                && column[place].replace(series.value().unwrap_or(f64::NAN)).is_some()
            {
                twice =
                    Some(format!("two series for {namespace}/{name}; expected one, as by sum by ({{by}})"));
            }
        })?;
        Ok(Answer { said, read: column, twice })
    }
}

/// Questions about one moment, with one deadline.
struct Asking<'a> {
    collector: &'a Collector,
    filling: Filling<'a>,
    header: Option<(HeaderName, HeaderValue)>,
    at: Timestamp,
    deadline: Instant,
}

impl Asking<'_> {
    /// One of them; what may be better a second time is asked again.
    async fn ask<T>(
        &self,
        metric: Metric,
        read: impl Fn(&[u8]) -> serde_json::Result<Answer<T>>,
    ) -> Result<T, MetricsFault> {
        let Collector { client, config, timeout } = self.collector;
        let query = config.queries.query(metric, &self.filling);
        let mut request =
            client.query(query).at(whole_seconds(self.at)).timeout(i64::from(config.timeout_ms));
        if let Some((name, value)) = self.header.clone() {
            request = request.header(name, value);
        }
        let answer = tokio::time::timeout_at(self.deadline, async {
            match ask(request.clone(), &read).await {
                Err(Refusal { again: Again::Perhaps, .. }) => {
                    tokio::time::sleep(pause(self.at, metric)).await;
                    ask(request, &read).await
                }
                answer => answer,
            }
        });
        let answer = match answer.await {
            Err(_) => Err(format!("no answer in time: all queries together have {timeout:?}")),
            Ok(answer) => answer.map_err(|refusal| refusal.reason),
        };
        answer.map_err(|reason| MetricsFault::Query { metric, reason })
    }
}

/// An answer that has been read.
pub(super) struct Answer<T> {
    pub(super) said: answer::Said,
    pub(super) read: T,
    /// What there are two series for, and what to do about it.
    pub(super) twice: Option<String>,
}

/// Whether it is worth asking once more.
#[derive(Clone, Copy)]
enum Again {
    Perhaps,
    No,
}

struct Refusal {
    reason: String,
    again: Again,
}

/// One question. A query that is wrong is wrong the second time, too; a server that is busy or not there may be better then.
/// An answer with a warning leaves something out (a store that did not answer, say) or means something else.
async fn ask<T>(
    request: InstantQueryBuilder,
    read: impl FnOnce(&[u8]) -> serde_json::Result<Answer<T>>,
) -> Result<T, Refusal> {
    let refused = |again, reason: String| Refusal { reason, again };
    let response = request.post_raw().await.map_err(|error| refused(Again::Perhaps, with_causes(&error)))?;
    let status = response.status();
    let bytes = whole(response).await.map_err(|error| refused(Again::Perhaps, with_causes(&error)))?;
    let busy = status == StatusCode::TOO_MANY_REQUESTS;
    let again = if status.is_client_error() && !busy { Again::No } else { Again::Perhaps };
    let Answer { said, read, twice } = read(&bytes).map_err(|error| {
        let what = if status.is_success() {
            format!("no answer of Prometheus: {error}")
        } else {
            format!("HTTP status {status}")
        };
        refused(again, what)
    })?;
    if let Some(error) = said.error {
        Err(refused(again, error))
    } else if !said.warnings.is_empty() {
        Err(refused(Again::Perhaps, format!("warning: {}", said.warnings.join("; "))))
    } else if !status.is_success() {
        Err(refused(again, format!("HTTP status {status}")))
    } else if said.result_type.as_deref() != Some("vector") {
        Err(refused(Again::No, "the answer is no instant vector".to_owned()))
    } else {
        twice.map_or(Ok(read), |twice| Err(refused(Again::No, twice)))
    }
}

/// The body, of which no part is kept twice.
async fn whole(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(response.content_length().unwrap_or(0).min(MOST_AT_FIRST) as usize);
    while let Some(part) = response.chunk().await? {
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// An error with what it came from: the outermost alone tells little.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn whole_seconds(at: Timestamp) -> i64 {
    at.as_secs_f64().floor() as i64
}

/// Some 50 to 150 ms before a second try, different for each metric and moment.
fn pause(at: Timestamp, metric: Metric) -> Duration {
    let mut all = Metric::OF_SERVICES.into_iter().chain(Metric::OF_CONTAINERS);
    let place = all.position(|other| other == metric).unwrap_or_default() as u64;
    let micros = at.since(Timestamp::ZERO).as_micros() as u64;
    Duration::from_millis(50 + (micros / 7 + place * 37) % 101)
}

/// What the columns say of the workload in that place.
fn row(
    columns: &BTreeMap<Metric, Result<Column, MetricsFault>>,
    place: usize,
    at: Timestamp,
) -> Result<ServiceMetrics, MetricsFault> {
    let value = |metric: Metric| -> Result<Option<f64>, MetricsFault> {
        let gone = || MetricsFault::Query { metric, reason: "it was given up".to_owned() };
        let column = columns.get(&metric).ok_or_else(gone)?.as_ref().map_err(Clone::clone)?;
        match (column[place], metric.absence()) {
            // A quantile of nothing is NaN, and so is a mean.
            (Some(value), Absence::Unknown) if value.is_nan() => Ok(None),
            (Some(value), _) if value.is_finite() && value >= 0.0 => Ok(Some(value)),
            (Some(value), _) => Err(MetricsFault::Value { metric, value: value.to_string() }),
            (None, Absence::Fault) => Err(MetricsFault::Missing(metric)),
            (None, Absence::Zero) => Ok(Some(0.0)),
            (None, Absence::Unknown) => Ok(None),
        }
    };
    let number = |metric| value(metric).map(Option::unwrap_or_default);
    let rate = |metric| number(metric).map(|v| RequestRate::new(v).unwrap_or_default());
    let seconds = |metric| value(metric).map(|v| v.and_then(|s| Duration::try_from_secs_f64(s).ok()));
    let latency = match (
        seconds(Metric::LatencyMean)?,
        seconds(Metric::Latency(50))?,
        seconds(Metric::Latency(90))?,
        seconds(Metric::Latency(95))?,
        seconds(Metric::Latency(99))?,
    ) {
        (Some(mean), Some(p50), Some(p90), Some(p95), Some(p99)) => {
            Some(LatencySummary { mean, p50, p90, p95, p99 })
        }
        _ => None,
    };
    Ok(ServiceMetrics {
        at,
        age: Duration::try_from_secs_f64(number(Metric::Age)?).unwrap_or(Duration::MAX),
        arrival_rate: rate(Metric::ArrivalRate)?,
        error_rate: rate(Metric::ErrorRate)?,
        timeout_rate: rate(Metric::TimeoutRate)?,
        in_flight: number(Metric::InFlight)?,
        queued: number(Metric::Queued)?,
        latency,
    })
}

#[cfg(test)]
mod tests;
