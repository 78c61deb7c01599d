//! Which Prometheus, and how it is asked.

use crate::source::auth::Auth;
use crate::source::queries::Queries;
use crate::yaml::{self, YamlError};
use autoscale_core::validate::{ConfigError, count_in_range};
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What an address looks like.
pub(super) const ADDRESS: &str = "http://HOST:PORT";

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
    /// All answers must come within this, second tries included.
    #[serde(default = "five_seconds")]
    #[schemars(range(min = 100, max = 60000))]
    pub timeout_ms: u32,
    /// What rates are taken over.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 5, max = 3600))]
    pub window_seconds: u32,
    /// The label that has a pod's namespace.
    #[serde(default = "namespace")]
    pub namespace_label: String,
    /// The label that has the workload's name.
    #[serde(default = "app")]
    pub workload_label: String,
    /// Who says what pods use.
    #[serde(default)]
    pub usage: UsageSource,
    /// What is asked for each metric.
    #[serde(default)]
    pub queries: Queries,
}

/// Who says what pods use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UsageSource {
    /// `metrics.k8s.io`, as the HPA does.
    #[default]
    MetricsApi,
    /// Prometheus, by [`Queries::cpu_usage`] and [`Queries::memory_usage`]: for clusters without metrics-server.
    Prometheus,
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
            usage: UsageSource::default(),
            queries: Queries::default(),
        }
    }

    /// As it is written in a file.
    ///
    /// # Errors
    /// With the line, and what would be allowed.
    pub fn from_yaml(text: &str) -> Result<Self, YamlError> {
        let documents = yaml::documents(text)?;
        let [document] = documents.as_slice() else {
            let reason = format!("{} YAML documents; expected one", documents.len());
            return Err(YamlError { line: 1, field: String::new(), reason });
        };
        let config: Self = document.read(&yaml::schema_of::<Self>()).map_err(without_secrets)?;
        config.check().map_err(|ConfigError { field, value, expected }| {
            document.error(&field, format!("{value} is not allowed; expected {expected}"))
        })?;
        Ok(config)
    }

    /// What can be seen of it without asking anybody; the address, if it is fine.
    pub(super) fn check(&self) -> Result<Url, ConfigError> {
        // Before anything else, since it is not to be shown.
        if self.url.contains('@') {
            let told = format!("{ADDRESS}, without a name or a password: `auth` is for those");
            return Err(ConfigError::new("url", "an address with an @", told));
        }
        let wrong = |told: &str| ConfigError::new("url", format!("{:?}", self.url), told);
        let url = Url::parse(&self.url).map_err(|error| wrong(&format!("{ADDRESS} ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong(ADDRESS));
        }
        count_in_range("timeoutMs", u64::from(self.timeout_ms), 100, 60_000)?;
        count_in_range("windowSeconds", u64::from(self.window_seconds), 5, 3600)?;
        for (field, label) in
            [("namespaceLabel", &self.namespace_label), ("workloadLabel", &self.workload_label)]
        {
            let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
            if !label.starts_with(letter) || !label.chars().all(|c| letter(c) || c.is_ascii_digit()) {
                let told = "a label's name: letters, digits and _, no digit at first";
                return Err(ConfigError::new(field, format!("{label:?}"), told));
            }
        }
        self.queries.check().map_err(|error| error.within("queries"))?;
        Ok(url)
    }
}

/// Where credentials are expected there may be some, in the wrong place: what is there is not repeated.
fn without_secrets(error: YamlError) -> YamlError {
    let told = error.reason.find(" is not allowed").filter(|_| error.field.starts_with("auth"));
    let reason = told.map(|at| format!("what is there{}", &error.reason[at..]));
    YamlError { reason: reason.unwrap_or(error.reason), ..error }
}
