//! What truly happened in an episode, and what a run was made of. Versioned, plain data.

use crate::histogram::LogHistogram;
use crate::limits::Bound;
use crate::measurement::{LatencySummary, ReplicaCounts};
use crate::reward::RewardTerms;
use crate::seed::Seed;
use crate::units::{Replicas, RequestRate, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the layout of [`EpisodeRecord`].
pub const EPISODE_RECORD_VERSION: u32 = 2;
/// Version of the layout of [`RunManifest`].
pub const RUN_MANIFEST_VERSION: u32 = 1;

/// Requests of an interval: those that arrived in it, and those that **left** in it, by how. What is in the system
/// at the end of the episode is drained and counted in the last interval, so over an episode all that arrived
/// have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// All that arrived.
    pub arrived: u64,
    /// Answered within the SLO.
    pub in_time: u64,
    /// Answered, but later than the SLO.
    pub late: u64,
    /// The client gave up.
    pub timed_out: u64,
    /// Refused: no ready pod, or its queue was full.
    pub refused: u64,
    /// Lost with their pod: killed at the end of its grace, or crashed.
    pub lost: u64,
    /// Still in the system when the drain after the episode ended.
    pub unfinished: u64,
}

impl RequestCounts {
    /// Requests that missed the SLO in whatever way.
    pub const fn violations(&self) -> u64 {
        self.late + self.timed_out + self.refused + self.lost + self.unfinished
    }
}

/// One control interval, as it truly was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalRecord {
    /// Its start.
    pub start: Timestamp,
    /// The rate that arrivals were drawn from, averaged over the interval.
    pub offered: RequestRate,
    /// Arrivals, and what became of those that left.
    pub requests: RequestCounts,
    /// Exact mean and quantiles of the response times of those answered in it; `None` without any.
    pub latency: Option<LatencySummary>,
    /// The same response times, to be merged.
    pub histogram: LogHistogram,
    /// Replica counts at the interval's end.
    pub replicas: ReplicaCounts,
    /// Pods paid for, averaged over the interval (starting and draining ones included).
    pub mean_pods: f64,
    /// Ready pods, averaged over the interval.
    pub mean_ready: f64,
}

/// One decision that changed `spec.replicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// When.
    pub at: Timestamp,
    /// `spec.replicas` before.
    pub from: Replicas,
    /// `spec.replicas` after.
    pub to: Replicas,
    /// What bound the wish, if anything did.
    pub bound: Bound,
}

/// A finished episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeRecord {
    /// [`EPISODE_RECORD_VERSION`].
    pub version: u32,
    /// The episode's seed.
    pub seed: Seed,
    /// Length of a control interval.
    pub interval: Duration,
    /// The latency objective.
    pub slo: Duration,
    /// Requests that one ready pod can serve per second when always busy.
    pub pod_capacity: RequestRate,
    /// The bounds of the workload: fewest and most replicas.
    pub replica_range: (Replicas, Replicas),
    /// Replicas at the start.
    pub initial_replicas: Replicas,
    /// One entry a control interval, in order.
    pub intervals: Vec<IntervalRecord>,
    /// Every change of `spec.replicas`, in order.
    pub scale_events: Vec<ScaleEvent>,
    /// Sum of the raw reward terms.
    pub totals: RewardTerms,
}

impl EpisodeRecord {
    /// Simulated time covered.
    pub fn duration(&self) -> Duration {
        self.interval * u32::try_from(self.intervals.len()).unwrap_or(u32::MAX)
    }

    /// All response times of the episode.
    pub fn latency_histogram(&self) -> LogHistogram {
        let mut all = LogHistogram::new();
        for interval in &self.intervals {
            all.merge(&interval.histogram);
        }
        all
    }

    /// What became of all requests of the episode.
    pub fn requests(&self) -> RequestCounts {
        self.intervals.iter().fold(RequestCounts::default(), |sum, i| RequestCounts {
            arrived: sum.arrived + i.requests.arrived,
            in_time: sum.in_time + i.requests.in_time,
            late: sum.late + i.requests.late,
            timed_out: sum.timed_out + i.requests.timed_out,
            refused: sum.refused + i.requests.refused,
            lost: sum.lost + i.requests.lost,
            unfinished: sum.unfinished + i.requests.unfinished,
        })
    }
}

/// What a run was made of: enough to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest<C> {
    /// [`RUN_MANIFEST_VERSION`].
    pub version: u32,
    /// The command line.
    pub command: String,
    /// Version of the program.
    pub program: String,
    /// Commit that it was built from, `unknown` outside a checkout, `+` behind it for local changes.
    pub commit: String,
    /// Machine: operating system, architecture, number of cores.
    pub host: String,
    /// When the run began, RFC 3339 in UTC; the caller's clock, core has none.
    pub started: String,
    /// The root of the seed tree.
    pub seed: Seed,
    /// The resolved configuration.
    pub config: C,
}
