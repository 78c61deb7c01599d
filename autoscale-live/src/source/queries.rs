//! What is asked of Prometheus: a named query a metric, for all workloads at once.
//!
//! The defaults fit a service that exports the counter `http_requests_total` with a label `code`, the histogram
//! `http_request_duration_seconds`, and the gauges `http_requests_in_flight` and `http_requests_queued`, scraped with labels
//! that name namespace and workload. Those of what containers use fit the kubelet's cAdvisor.
//!
//! In a template `{selector}` stands for a matcher of all namespaces in question, `{namespace}` for the label that has a
//! namespace, `{by}` for those that a workload is known by, `{window}` for the rate window and `{q}` for a quantile.

use autoscale_core::validate::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Requests that arrive, per second.
    ArrivalRate,
    /// Seconds since the newest sample of any pod.
    Age,
    /// Requests answered with an error, per second.
    ErrorRate,
    /// Requests whose client gave up, per second.
    TimeoutRate,
    /// Requests in service or waiting.
    InFlight,
    /// Requests waiting.
    Queued,
    /// Mean response time in seconds.
    LatencyMean,
    /// A quantile of it in seconds, in percent.
    Latency(u8),
    /// Cores that a container uses.
    CpuUsage,
    /// Bytes that it uses.
    MemoryUsage,
}

/// What it means that a workload has no series for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The measurement is of no use.
    Fault,
    /// There was nothing to count.
    Zero,
    /// There was nothing to average.
    Unknown,
}

impl Metric {
    /// What is asked of services.
    pub const OF_SERVICES: [Self; 11] = [
        Self::ArrivalRate,
        Self::Age,
        Self::ErrorRate,
        Self::TimeoutRate,
        Self::InFlight,
        Self::Queued,
        Self::LatencyMean,
        Self::Latency(50),
        Self::Latency(90),
        Self::Latency(95),
        Self::Latency(99),
    ];

    /// What is asked of containers where the metrics API is not to say it.
    pub const OF_CONTAINERS: [Self; 2] = [Self::CpuUsage, Self::MemoryUsage];

    pub(super) const fn absence(self) -> Absence {
        match self {
            Self::ArrivalRate | Self::Age => Absence::Fault,
            Self::ErrorRate | Self::TimeoutRate | Self::InFlight | Self::Queued => Absence::Zero,
            Self::LatencyMean | Self::Latency(_) | Self::CpuUsage | Self::MemoryUsage => Absence::Unknown,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArrivalRate => f.write_str("arrivalRate"),
            Self::Age => f.write_str("age"),
            Self::ErrorRate => f.write_str("errorRate"),
            Self::TimeoutRate => f.write_str("timeoutRate"),
            Self::InFlight => f.write_str("inFlight"),
            Self::Queued => f.write_str("queued"),
            Self::LatencyMean => f.write_str("latencyMean"),
            Self::Latency(percent) => write!(f, "latency (p{percent})"),
            Self::CpuUsage => f.write_str("cpuUsage"),
            Self::MemoryUsage => f.write_str("memoryUsage"),
        }
    }
}

/// A template a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Queries {
    /// Requests that arrive, per second: those received where a service counts them, else those that ended, which are
    /// fewer while a queue grows.
    pub arrival_rate: String,
    /// Seconds since the newest sample of any pod.
    pub age: String,
    /// Requests answered with an error, per second; none where there is no series.
    pub error_rate: String,
    /// Requests whose client gave up, per second; none where there is no series.
    pub timeout_rate: String,
    /// Requests in service or waiting; none where there is no series.
    pub in_flight: String,
    /// Requests waiting; none where there is no series.
    pub queued: String,
    /// Mean response time in seconds; unknown without answers.
    pub latency_mean: String,
    /// A quantile of the response time in seconds; unknown without answers.
    pub latency: String,
    /// Cores that each container uses, with the labels `pod` and `container`.
    pub cpu_usage: String,
    /// Bytes that each container uses, with the same labels.
    pub memory_usage: String,
}

/// Of each container. A pod's own series and its pause container would count it twice; one that was restarted, or is scraped
/// twice, has two series for a while.
fn of_containers(series: &str) -> String {
    format!("max by ({{namespace}}, pod, container) ({series})")
}

impl Default for Queries {
    fn default() -> Self {
        let text = |query: &str| query.to_owned();
        Self {
            arrival_rate: text(
                "sum by ({by}) (rate(http_requests_received_total{{selector}}[{window}])) \
                 or sum by ({by}) (rate(http_requests_total{{selector}}[{window}]))",
            ),
            age: text("time() - max by ({by}) (timestamp(http_requests_total{{selector}}))"),
            error_rate: text(
                "sum by ({by}) (rate(http_requests_total{{selector}, code=~\"5..\"}[{window}]))",
            ),
            timeout_rate: text(
                "sum by ({by}) (rate(http_requests_total{{selector}, code=\"499\"}[{window}]))",
            ),
            in_flight: text("sum by ({by}) (http_requests_in_flight{{selector}})"),
            queued: text("sum by ({by}) (http_requests_queued{{selector}})"),
            latency_mean: text(
                "sum by ({by}) (rate(http_request_duration_seconds_sum{{selector}}[{window}])) \
                 / sum by ({by}) (rate(http_request_duration_seconds_count{{selector}}[{window}]))",
            ),
            latency: text(
                "histogram_quantile({q}, \
                 sum by ({by}, le) (rate(http_request_duration_seconds_bucket{{selector}}[{window}])))",
            ),
            cpu_usage: of_containers(
                "rate(container_cpu_usage_seconds_total{{selector}, container!~\"|POD\"}[{window}])",
            ),
            memory_usage: of_containers(
                "container_memory_working_set_bytes{{selector}, container!~\"|POD\"}",
            ),
        }
    }
}

/// What can stand in a template; the last one in that of quantiles alone.
const PLACEHOLDERS: [&str; 5] = ["selector", "namespace", "by", "window", "q"];

/// A query without what is quoted or commented in it, where braces mean other things.
fn without_texts(query: &str) -> String {
    let (mut bare, mut letters) = (String::new(), query.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '#' => {
                letters.by_ref().find(|&letter| letter == '\n');
            }
            '"' | '\'' | '`' => {
                while let Some(inner) = letters.next().filter(|&inner| inner != letter) {
                    if inner == '\\' && letter != '`' {
                        letters.next();
                    }
                }
            }
            other => bare.push(other),
        }
    }
    bare
}

/// What placeholders stand for.
pub(super) struct Filling<'a> {
    pub(super) selector: String,
    pub(super) namespace: &'a str,
    pub(super) workload: &'a str,
    pub(super) window: String,
}

impl Queries {
    /// Refuses what stands for nothing: `{word}` means something in a template only where it is a placeholder.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for metric in Metric::OF_SERVICES.into_iter().chain(Metric::OF_CONTAINERS) {
            let (field, template) = self.template(metric);
            if template.trim().is_empty() {
                return Err(ConfigError::new(field, format!("{template:?}"), "a query"));
            }
            let of_quantiles = matches!(metric, Metric::Latency(_));
            let known = &PLACEHOLDERS[..PLACEHOLDERS.len() - usize::from(!of_quantiles)];
            let bare = without_texts(template);
            let words = bare.match_indices('{').filter_map(|(at, _)| bare[at + 1..].split_once('}'));
            let letters = |word: &str| {
                word.starts_with(|c: char| c.is_ascii_alphabetic())
                    && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            let unknown = words.map(|(word, _)| word).find(|word| letters(word) && !known.contains(word));
            if let Some(word) = unknown {
                let expected =
                    known.iter().map(|known| format!("{{{known}}}")).collect::<Vec<_>>().join(", ");
                return Err(ConfigError::new(field, format!("{{{word}}}"), expected));
            }
        }
        Ok(())
    }

    /// What is asked for a metric, and the field that has it.
    fn template(&self, metric: Metric) -> (&'static str, &str) {
        match metric {
            Metric::ArrivalRate => ("arrivalRate", &self.arrival_rate),
            Metric::Age => ("age", &self.age),
            Metric::ErrorRate => ("errorRate", &self.error_rate),
            Metric::TimeoutRate => ("timeoutRate", &self.timeout_rate),
            Metric::InFlight => ("inFlight", &self.in_flight),
            Metric::Queued => ("queued", &self.queued),
            Metric::LatencyMean => ("latencyMean", &self.latency_mean),
            Metric::Latency(_) => ("latency", &self.latency),
            Metric::CpuUsage => ("cpuUsage", &self.cpu_usage),
            Metric::MemoryUsage => ("memoryUsage", &self.memory_usage),
        }
    }

    /// The query for a metric.
    pub(super) fn query(&self, metric: Metric, filling: &Filling<'_>) -> String {
        let (_, template) = self.template(metric);
        let Filling { selector, namespace, workload, window } = filling;
        let filled = template
            .replace("{by}", &format!("{namespace}, {workload}"))
            .replace("{selector}", selector)
            .replace("{namespace}", namespace)
            .replace("{window}", window);
        match metric {
            Metric::Latency(percent) => filled.replace("{q}", &format!("0.{percent:02}")),
            _ => filled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled() {
        let filling = Filling {
            selector: "namespace=~\"a|b\"".to_owned(),
            namespace: "namespace",
            workload: "app",
            window: "60s".to_owned(),
        };
        let query = |metric| Queries::default().query(metric, &filling);
        assert_eq!(
            query(Metric::ErrorRate),
            "sum by (namespace, app) (rate(http_requests_total{namespace=~\"a|b\", code=~\"5..\"}[60s]))"
        );
        assert!(
            query(Metric::Latency(95)).starts_with("histogram_quantile(0.95, sum by (namespace, app, le)")
        );
        for metric in Metric::OF_SERVICES.into_iter().chain(Metric::OF_CONTAINERS) {
            let asked = query(metric);
            for placeholder in PLACEHOLDERS {
                assert!(!asked.contains(&format!("{{{placeholder}}}")), "{asked}");
            }
        }
        assert_eq!(Queries::default().check(), Ok(()));
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        let refused = |queries: Queries| queries.check().unwrap_err().to_string();
        let age = |age: &str| Queries { age: age.to_owned(), ..Queries::default() };
        assert_eq!(
            refused(age("rate(x{{selector}}[{windo}])")),
            "age: {windo} is not allowed; expected {selector}, {namespace}, {by}, {window}"
        );
        assert!(refused(age("max(x{{selector}}) > {q}")).starts_with("age: {q}"));
        assert!(refused(age(" ")).starts_with("age: \" \""));
        assert_eq!(age("max(x{job=~\"a.{3}\", code!=\"\"}) > {window}").check(), Ok(()));
        let regular = "label_replace(x{{selector}}, \"app\", \"${svc}\", 'job', '(?P<svc>\\\\p{Greek}\\'{x}*)') # {why}\n > 1";
        assert_eq!(age(regular).check(), Ok(()));
        assert!(refused(age(&format!("{regular} + {{windo}}"))).starts_with("age: {windo}"));
    }
}
