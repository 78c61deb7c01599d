//! One control interval as seen through metrics.

use crate::sample::PodSample;
use crate::units::{Replicas, RequestRate, Timestamp, Utilization};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Mean and quantiles of response time, end to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Mean.
    pub mean: Duration,
    /// Median.
    pub p50: Duration,
    /// 90th percentile.
    pub p90: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

/// Pods by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaCounts {
    /// `spec.replicas`: what was asked for.
    pub desired: Replicas,
    /// Pods that receive traffic.
    pub ready: Replicas,
    /// Pods on their way: pending or starting.
    pub starting: Replicas,
    /// Pods that finish what they have and receive nothing new.
    pub draining: Replicas,
}

impl ReplicaCounts {
    /// All pods that occupy resources.
    pub fn total(self) -> Replicas {
        Replicas::new(self.ready.get() + self.starting.get() + self.draining.get())
    }
}

/// What a scrape pipeline shows of one control interval: late, sampled, and averaged over its own windows.
/// True values are the business of [`crate::record::EpisodeRecord`], which no policy sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// When the measurement was taken: the end of the control interval.
    pub at: Timestamp,
    /// How old the newest scraped series is at that moment.
    pub age: Duration,
    /// Requests that arrived at the service.
    pub arrival_rate: RequestRate,
    /// CPU use over the pods with a usage sample, as a share of their requests.
    pub cpu_utilization: Option<Utilization>,
    /// Memory over the pods with a usage sample, in bytes.
    pub memory_bytes: u64,
    /// Requests in service or waiting, at the last scrape.
    pub in_flight: f64,
    /// Requests waiting for a worker, at the last scrape.
    pub queued: f64,
    /// Response times of the requests that completed in the rate window; `None` without completions.
    pub latency: Option<LatencySummary>,
    /// Requests answered with an error (refused), per second.
    pub error_rate: RequestRate,
    /// Requests whose client gave up, per second.
    pub timeout_rate: RequestRate,
    /// Replica counts at the end of the interval (from the API server, so without lag).
    pub replicas: ReplicaCounts,
}

/// CPU use over all pods that have both a sample and a request, as a share of those requests.
/// `None` when there is no such pod.
pub fn cpu_utilization(pods: &[PodSample]) -> Option<Utilization> {
    let (used, requested) = pods
        .iter()
        .filter_map(|pod| Some((pod.usage.as_ref()?.cpu()?, pod.cpu_request()?)))
        .fold((0, 0), |(u, r), (used, request)| (u + used.get(), r + request.get()));
    (requested > 0).then(|| Utilization::from_fraction(used as f64 / requested as f64))
}

/// Memory over all pods that have a sample, in bytes.
pub fn memory_bytes(pods: &[PodSample]) -> u64 {
    pods.iter().filter_map(|pod| pod.usage.as_ref()?.memory()).map(|m| m.units().max(0.0) as u64).sum()
}
