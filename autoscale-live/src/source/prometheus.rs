//! Measurements from Prometheus' HTTP API.

use super::auth::{Auth, AuthError};
use super::queries::{Absence, Metric, Queries};
use crate::target::TargetRef;
use autoscale_core::measurement::LatencySummary;
use autoscale_core::units::{RequestRate, Timestamp};
use autoscale_core::validate::{ConfigError, count_in_range};
use prometheus_http_query::response::{Data, InstantVector, PromqlResult};
use prometheus_http_query::{Client, InstantQueryBuilder};
use reqwest::{StatusCode, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Which Prometheus, and how to ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Its address: `http://prometheus.monitoring:9090`.
    pub url: String,
    /// How to show who asks.
    #[serde(default)]
    pub auth: Auth,
    /// A file with the certificates (PEM) of those that may vouch for it; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// An answer must come within this, a second try included: 100 to 60,000 ms.
    #[serde(default = "five_seconds")]
    pub timeout_ms: u32,
    /// What rates are taken over: 5 to 3,600 s.
    #[serde(default = "a_minute")]
    pub window_seconds: u32,
    /// The label that has a pod's namespace.
    #[serde(default = "namespace")]
    pub namespace_label: String,
    /// The label that has the workload's name.
    #[serde(default = "app")]
    pub workload_label: String,
    /// What is asked for each metric.
    #[serde(default)]
    pub queries: Queries,
}

fn five_seconds() -> u32 {
    5000
}

fn a_minute() -> u32 {
    60
}

fn namespace() -> String {
    "namespace".to_owned()
}

fn app() -> String {
    "app".to_owned()
}

impl PrometheusConfig {
    /// As it comes, at this address.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            auth: Auth::None,
            ca_file: None,
            timeout_ms: five_seconds(),
            window_seconds: a_minute(),
            namespace_label: namespace(),
            workload_label: app(),
            queries: Queries::default(),
        }
    }
}

impl PrometheusConfig {
    /// As it is written in a file.
    ///
    /// # Errors
    /// With line and column.
    pub fn from_yaml(yaml: &str) -> Result<Self, CollectorError> {
        serde_saphyr::from_str(yaml).map_err(|error| CollectorError::Yaml(error.to_string()))
    }
}

/// A Prometheus that cannot be asked at all.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// The file is not one of a [`PrometheusConfig`].
    #[error("{0}")]
    Yaml(String),
    /// A value is out of range.
    #[error("prometheus.{0}")]
    Config(#[from] ConfigError),
    /// The certificates cannot be used.
    #[error("prometheus.ca_file: {file}: {reason}")]
    Certificates {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No client can be made for it.
    #[error("prometheus.url: {0}")]
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

/// Values by namespace and name.
type Column = BTreeMap<(String, String), f64>;

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
        count_in_range("timeout_ms", u64::from(config.timeout_ms), 100, 60_000)?;
        count_in_range("window_seconds", u64::from(config.window_seconds), 5, 3600)?;
        let address = |told: String| {
            CollectorError::Client(format!("{}: {told}; expected http://HOST:PORT", config.url))
        };
        let url = Url::parse(&config.url).map_err(|error| address(error.to_string()))?;
        if url.password().is_some() || !url.username().is_empty() {
            let told = "holds a name or a password; expected http://HOST:PORT, and those in `auth`";
            return Err(CollectorError::Client(told.to_owned()));
        }
        let mut http = crate::tls::client_for(&url).connect_timeout(Duration::from_secs(2));
        if let Some(file) = &config.ca_file {
            let told =
                |reason: String| CollectorError::Certificates { file: file.display().to_string(), reason };
            let pem = std::fs::read(file).map_err(|error| told(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| told(error.to_string()))?;
            http = http.tls_certs_only(certificates);
        }
        let http = http.build().map_err(|error| {
            let cure = "`caFile` names certificates where the system has none";
            CollectorError::Client(format!("{}: {}; {cure}", config.url, with_causes(&error)))
        })?;
        let client = Client::from(http, &config.url).map_err(|error| address(error.to_string()))?;
        let timeout = Duration::from_millis(u64::from(config.timeout_ms));
        Ok(Self { client, config, timeout })
    }

    /// What is known of each of them at the last whole second before `at`: one query a metric, all at the same time and for
    /// the same moment.
    pub async fn collect(
        &self,
        targets: &[TargetRef],
        at: Timestamp,
    ) -> BTreeMap<TargetRef, Result<ServiceMetrics, MetricsFault>> {
        let columns = self.columns(targets, at).await;
        let of = |target: &TargetRef| {
            let columns = columns.as_ref().map_err(Clone::clone)?;
            row(columns, target, Timestamp::from_secs(whole_seconds(at)))
        };
        targets.iter().map(|target| (target.clone(), of(target))).collect()
    }

    /// Each metric's values, or why there are none.
    async fn columns(
        &self,
        targets: &[TargetRef],
        at: Timestamp,
    ) -> Result<BTreeMap<Metric, Result<Column, MetricsFault>>, MetricsFault> {
        let PrometheusConfig { namespace_label, workload_label, window_seconds, .. } = &self.config;
        let namespaces: BTreeSet<&str> = targets.iter().map(|target| &*target.namespace).collect();
        // Names of namespaces are made of letters, digits and dashes, none of which means anything to a regular expression.
        let namespaces: Vec<&str> = namespaces.into_iter().collect();
        let selector = format!("{namespace_label}=~\"{}\"", namespaces.join("|"));
        let by = format!("{namespace_label}, {workload_label}");
        let window = format!("{window_seconds}s");
        let header = self.config.auth.header()?;
        let mut asked = tokio::task::JoinSet::new();
        for metric in Metric::ALL {
            let query = self.config.queries.query(metric, &selector, &by, &window);
            let mut request =
                self.client.query(query).at(whole_seconds(at)).timeout(i64::from(self.config.timeout_ms));
            if let Some((name, value)) = header.clone() {
                request = request.header(name, value);
            }
            let labels = (namespace_label.clone(), workload_label.clone());
            let (timeout, pause) = (self.timeout, pause(at, metric));
            asked.spawn(async move {
                let answer = tokio::time::timeout(timeout, async {
                    match ask(request.clone()).await {
                        Err(Refusal { again: Again::Perhaps, .. }) => {
                            tokio::time::sleep(pause).await;
                            ask(request).await
                        }
                        answer => answer,
                    }
                });
                let failed = |reason| MetricsFault::Query { metric, reason };
                let column = match answer.await {
                    Err(_) => Err(failed(format!("no answer within {timeout:?}"))),
                    Ok(Err(refusal)) => Err(failed(refusal.reason)),
                    Ok(Ok(series)) => by_label(&series, &labels).map_err(failed),
                };
                (metric, column)
            });
        }
        let mut columns = BTreeMap::new();
        while let Some(done) = asked.join_next().await {
            if let Ok((metric, column)) = done {
                columns.insert(metric, column);
            }
        }
        Ok(columns)
    }
}

/// Whether it is worth asking once more.
enum Again {
    Perhaps,
    No,
}

struct Refusal {
    reason: String,
    again: Again,
}

/// The body of an answer, good or bad.
#[derive(Deserialize)]
struct Body {
    data: Option<PromqlResult>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// One question. A query that is wrong is wrong the second time, too; a server that is busy or not there may be better then.
/// An answer with a warning leaves something out (a store that did not answer, say) or means something else.
async fn ask(request: InstantQueryBuilder) -> Result<Vec<InstantVector>, Refusal> {
    let refused = |again, reason: String| Refusal { reason, again };
    let response = request.post_raw().await.map_err(|error| refused(Again::Perhaps, with_causes(&error)))?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(|error| refused(Again::Perhaps, with_causes(&error)))?;
    let busy = status == StatusCode::TOO_MANY_REQUESTS;
    let again = if status.is_client_error() && !busy { Again::No } else { Again::Perhaps };
    match serde_json::from_slice::<Body>(&bytes) {
        Ok(Body { error: Some(error), .. }) => Err(refused(again, error)),
        Ok(Body { warnings, .. }) if !warnings.is_empty() => {
            Err(refused(Again::Perhaps, format!("warning: {}", warnings.join("; "))))
        }
        Ok(Body { data: Some(answer), .. }) if status.is_success() => match answer.into_inner().0 {
            Data::Vector(series) => Ok(series),
            _ => Err(refused(Again::No, "the answer is no instant vector".to_owned())),
        },
        Err(error) if status.is_success() => Err(refused(again, format!("no answer of Prometheus: {error}"))),
        _ => Err(refused(again, format!("HTTP status {status}"))),
    }
}

/// An error with what it came from: the outermost alone tells little.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Values by the labels of namespace and workload; series without them are nobody's.
fn by_label(series: &[InstantVector], labels: &(String, String)) -> Result<Column, String> {
    let mut column = Column::new();
    for series in series {
        let label = |name: &String| series.metric().get(name).cloned();
        let (Some(namespace), Some(name)) = (label(&labels.0), label(&labels.1)) else { continue };
        let twice = format!("two series for {namespace}/{name}; expected one, as by sum by ({{by}})");
        if column.insert((namespace, name), series.sample().value()).is_some() {
            return Err(twice);
        }
    }
    Ok(column)
}

fn whole_seconds(at: Timestamp) -> i64 {
    at.as_secs_f64().floor() as i64
}

/// Some 50 to 150 ms before a second try, different for each metric and moment.
fn pause(at: Timestamp, metric: Metric) -> Duration {
    let place = Metric::ALL.iter().position(|&other| other == metric).unwrap_or_default() as u64;
    let micros = at.since(Timestamp::ZERO).as_micros() as u64;
    Duration::from_millis(50 + (micros / 7 + place * 37) % 101)
}

/// What the columns say of one target.
fn row(
    columns: &BTreeMap<Metric, Result<Column, MetricsFault>>,
    target: &TargetRef,
    at: Timestamp,
) -> Result<ServiceMetrics, MetricsFault> {
    let key = (target.namespace.to_string(), target.name.to_string());
    let value = |metric: Metric| -> Result<Option<f64>, MetricsFault> {
        let gone = || MetricsFault::Query { metric, reason: "it was given up".to_owned() };
        let column = columns.get(&metric).ok_or_else(gone)?.as_ref().map_err(Clone::clone)?;
        match (column.get(&key).copied(), metric.absence()) {
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
