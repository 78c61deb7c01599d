//! What a pod does with requests, and what clients do.

use super::SloConfig;
use crate::service::DemandConfig;
use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};

/// How requests are spread over the pods behind the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// Uniformly at random, as kube-proxy does.
    Random,
    /// In turn.
    RoundRobin,
    /// To the pod with the fewest requests in service and waiting.
    LeastOutstanding,
    /// To the less busy of two pods drawn at random (Mitzenmacher 2001).
    PowerOfTwoChoices,
}

impl std::fmt::Display for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::LeastOutstanding => "least-outstanding",
            Self::PowerOfTwoChoices => "power-of-two-choices",
        })
    }
}

/// In which order a pod works on its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discipline {
    /// First come, first served: each worker has one request, the others wait.
    #[default]
    Fifo,
    /// All at once, at equal shares of the workers, but none faster than one worker: threads on few cores.
    ProcessorSharing,
}

/// A pod of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Requests that a pod works on at once at full speed. 1 to 1,024.
    pub workers: u32,
    /// In which order.
    #[serde(default)]
    pub discipline: Discipline,
    /// Requests that a pod takes beyond one a worker; one more is refused. No bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_capacity: Option<u32>,
    /// How requests are spread over pods.
    pub dispatch: Dispatch,
    /// The client gives up on an attempt after this long, in milliseconds; a request in service is worked on
    /// to its end. Never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<f64>,
    /// Clients try again; they do not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetriesConfig>,
    /// CPU request of a pod in millicores: what utilisation is relative to.
    pub cpu_request_milli: u32,
    /// CPU limit of a pod in millicores; twice the request when absent. Workers share it evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_milli: Option<u32>,
    /// Share of a request's time that waits for others and needs no CPU, 0 to 0.99.
    #[serde(default)]
    pub io_share: f64,
    /// Memory of an idle pod, in MiB.
    #[serde(default = "default_memory_mib")]
    pub memory_mib: f64,
    /// Memory of a request in the pod, in MiB.
    #[serde(default)]
    pub memory_per_request_mib: f64,
    /// A pod's first requests take longer; they do not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStartConfig>,
    /// Time of a request on an idle worker.
    pub demand: DemandConfig,
}

fn default_memory_mib() -> f64 {
    128.0
}

/// Clients that try again when an attempt was refused, timed out or lost its pod. The wait before attempt
/// k + 1 is a uniform draw from 0 to `backoff_ms` × 2^(k − 1) ("full jitter").
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetriesConfig {
    /// Attempts in all, the first included. 2 to 20.
    pub attempts: u32,
    /// Longest wait before the second attempt, in milliseconds; doubles with each further one.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: f64,
    /// Retries per first attempt that all clients together may make, kept as a bucket of tokens that starts
    /// with and holds at most 100. No bound when absent, which makes retry storms possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
}

fn default_backoff_ms() -> f64 {
    100.0
}

/// Cold caches and code not yet compiled: the k-th request of a pod (from 0) demands
/// 1 + (`factor` − 1) × (1 − k / `requests`) times as much, as long as k is below `requests`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowStartConfig {
    /// Requests until the pod is warm. 1 to 1,000,000.
    pub requests: u32,
    /// How many times the demand of the first one is elevated. 1 to 100.
    pub factor: f64,
}

impl ServiceConfig {
    pub(super) fn check(&self, slo: SloConfig) -> Result<(), ConfigError> {
        count_in_range("workers", u64::from(self.workers), 1, 1024)?;
        if let Some(capacity) = self.queue_capacity {
            count_in_range("queue_capacity", u64::from(capacity), 0, 1_000_000)?;
        }
        if let Some(timeout) = self.timeout_ms {
            // A shorter timeout would make the SLO meaningless.
            in_range("timeout_ms", timeout, slo.latency_ms, 3_600_000.0)?;
        }
        if let Some(retries) = self.retries {
            count_in_range("retries.attempts", u64::from(retries.attempts), 2, 20)?;
            in_range("retries.backoff_ms", retries.backoff_ms, 1.0, 600_000.0)?;
            in_range("retries.budget", retries.budget.unwrap_or(0.0), 0.0, 20.0)?;
        }
        let request = u64::from(self.cpu_request_milli);
        count_in_range("cpu_request_milli", request, 1, 1_000_000)?;
        if let Some(limit) = self.cpu_limit_milli {
            count_in_range("cpu_limit_milli", u64::from(limit), request, 1_000_000)?;
        }
        in_range("io_share", self.io_share, 0.0, 0.99)?;
        in_range("memory_mib", self.memory_mib, 0.0, 1e7)?;
        in_range("memory_per_request_mib", self.memory_per_request_mib, 0.0, 1e6)?;
        if let Some(slow) = self.slow_start {
            count_in_range("slow_start.requests", u64::from(slow.requests), 1, 1_000_000)?;
            in_range("slow_start.factor", slow.factor, 1.0, 100.0)?;
        }
        Ok(())
    }

    /// CPU limit in cores.
    pub(crate) fn cpu_limit(&self) -> f64 {
        f64::from(self.cpu_limit_milli.unwrap_or(2 * self.cpu_request_milli)) / 1000.0
    }

    /// How much longer a request takes than on a worker with a whole core, because all busy workers
    /// together may not use more than the limit. A static share: workers get the same whether or not the
    /// others are busy.
    pub(crate) fn stretch(&self) -> f64 {
        let cpu = 1.0 - self.io_share;
        let throttle = (f64::from(self.workers) * cpu / self.cpu_limit()).max(1.0);
        self.io_share + cpu * throttle
    }
}
