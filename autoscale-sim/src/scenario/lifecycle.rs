//! How pods and nodes come and go. Times are in seconds.

use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};

/// Start-up, in parts: scheduling and creation of the containers (lognormal), pulling the image, start of the
/// application (lognormal), and the first readiness probe after it. Sigma is the standard deviation of the
/// logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartupConfig {
    /// Median time from creation (or from when a node has room) to the start of the containers, pull apart.
    pub scheduling_median_s: f64,
    /// Its sigma.
    pub scheduling_sigma: f64,
    /// Chance that the node has the image already, 0 to 1.
    pub image_cached: f64,
    /// Size of the image in MiB, otherwise pulled and extracted.
    pub image_mib: f64,
    /// Speed of the pull, in MiB/s.
    pub pull_mib_per_s: f64,
    /// Speed of extraction, in MiB/s.
    pub extract_mib_per_s: f64,
    /// Median time from the start of the containers until the application can serve.
    pub ready_median_s: f64,
    /// Its sigma.
    pub ready_sigma: f64,
    /// CPU in use while the application starts, as a multiple of the pod's request; at most its limit.
    pub cpu_factor: f64,
    /// The readiness probe looks this often, from a phase of its own on; 0: ready when able.
    pub probe_period_s: f64,
    /// Probes in a row that must succeed. 1 to 100.
    pub probe_successes: u32,
    /// Time from ready until requests arrive, for the news must reach every proxy.
    pub endpoint_delay_s: f64,
}

impl Default for StartupConfig {
    fn default() -> Self {
        Self {
            // Median 1.5 s and 99th percentile 5 s: the pod start-up objective of Kubernetes sig-scalability.
            scheduling_median_s: 1.5,
            scheduling_sigma: 0.5,
            // A small image takes 3 to 8 s (Slacker, FAST 2016).
            image_cached: 0.8,
            image_mib: 100.0,
            pull_mib_per_s: 25.0,
            extract_mib_per_s: 100.0,
            ready_median_s: 33.0,
            ready_sigma: 0.3,
            cpu_factor: 0.0,
            probe_period_s: 0.0,
            probe_successes: 1,
            endpoint_delay_s: 1.5,
        }
    }
}

/// The end of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TerminationConfig {
    /// Requests still arrive for this long, for the news must reach every proxy; the pod serves them.
    pub endpoint_delay_s: f64,
    /// After this long the pod is killed, and what it works on is lost. At least `endpoint_delay_s`.
    pub grace_s: f64,
}

impl Default for TerminationConfig {
    fn default() -> Self {
        Self { endpoint_delay_s: 5.0, grace_s: 30.0 }
    }
}

/// What goes wrong by itself; nothing by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailuresConfig {
    /// Crashes of a pod's container per hour of readiness: requests in it are lost, counters begin anew, and
    /// it restarts in place after a back-off.
    pub crashes_per_hour: f64,
    /// Back-off before the first restart; doubles with each further one of the pod.
    pub restart_backoff_s: f64,
    /// Longest back-off.
    pub restart_backoff_most_s: f64,
    /// Evictions of a pod per hour: it terminates in grace and is replaced.
    pub evictions_per_hour: f64,
}

impl Default for FailuresConfig {
    fn default() -> Self {
        // The kubelet's back-off: 10 s, doubling, at most 5 min.
        Self {
            crashes_per_hour: 0.0,
            restart_backoff_s: 10.0,
            restart_backoff_most_s: 300.0,
            evictions_per_hour: 0.0,
        }
    }
}

/// The nodes that pods run on. Pods that fit on none are pending until one is provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodesConfig {
    /// Allocatable CPU of a node, in millicores; at least one pod's request.
    pub cpu_milli: u32,
    /// Fewest nodes, there from the start.
    pub min_nodes: u32,
    /// Most nodes, those being provisioned included.
    pub max_nodes: u32,
    /// Median time to provision a node.
    pub provisioning_median_s: f64,
    /// Its sigma.
    pub provisioning_sigma: f64,
    /// A node without pods goes after this long.
    pub empty_s: f64,
    /// Interruptions of a node per hour, as of spot machines: its pods terminate and it goes.
    pub interruptions_per_hour: f64,
    /// Time between the notice of an interruption and the node's end; bounds the grace of its pods.
    pub notice_s: f64,
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self {
            cpu_milli: 4000,
            min_nodes: 1,
            max_nodes: 100,
            provisioning_median_s: 60.0,
            provisioning_sigma: 0.4,
            empty_s: 600.0,
            interruptions_per_hour: 0.0,
            notice_s: 120.0,
        }
    }
}

impl StartupConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("scheduling_median_s", self.scheduling_median_s, 0.001, 3600.0)?;
        in_range("scheduling_sigma", self.scheduling_sigma, 0.0, 3.0)?;
        in_range("image_cached", self.image_cached, 0.0, 1.0)?;
        in_range("image_mib", self.image_mib, 0.0, 1e6)?;
        in_range("pull_mib_per_s", self.pull_mib_per_s, 0.1, 1e6)?;
        in_range("extract_mib_per_s", self.extract_mib_per_s, 0.1, 1e6)?;
        in_range("ready_median_s", self.ready_median_s, 0.001, 3600.0)?;
        in_range("ready_sigma", self.ready_sigma, 0.0, 3.0)?;
        in_range("cpu_factor", self.cpu_factor, 0.0, 100.0)?;
        in_range("probe_period_s", self.probe_period_s, 0.0, 300.0)?;
        count_in_range("probe_successes", u64::from(self.probe_successes), 1, 100)?;
        in_range("endpoint_delay_s", self.endpoint_delay_s, 0.0, 60.0)?;
        Ok(())
    }

    /// Seconds to pull and extract the image.
    pub(crate) fn pull_s(&self) -> f64 {
        self.image_mib / self.pull_mib_per_s + self.image_mib / self.extract_mib_per_s
    }

    /// Seconds from a pod's creation until it serves, when the random parts last as long as they do in the median.
    pub fn typical_s(&self) -> f64 {
        self.lag_s(0.0)
    }

    /// Seconds from creation until a pod gets requests, at the quantile of both lognormal parts that lies
    /// `deviations` standard deviations above the median, with a pull if one is likely at all.
    pub(crate) fn lag_s(&self, deviations: f64) -> f64 {
        let part = |median: f64, sigma: f64| median * libm::exp(deviations * sigma);
        let pull = if self.image_cached < 1.0 { self.pull_s() } else { 0.0 };
        let probes = self.probe_period_s * f64::from(self.probe_successes);
        part(self.scheduling_median_s, self.scheduling_sigma)
            + part(self.ready_median_s, self.ready_sigma)
            + pull
            + probes
            + self.endpoint_delay_s
    }
}

impl TerminationConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("endpoint_delay_s", self.endpoint_delay_s, 0.0, 60.0)?;
        in_range("grace_s", self.grace_s, self.endpoint_delay_s, 3600.0)?;
        Ok(())
    }
}

impl FailuresConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("crashes_per_hour", self.crashes_per_hour, 0.0, 3600.0)?;
        in_range("restart_backoff_s", self.restart_backoff_s, 0.0, 3600.0)?;
        in_range("restart_backoff_most_s", self.restart_backoff_most_s, self.restart_backoff_s, 3600.0)?;
        in_range("evictions_per_hour", self.evictions_per_hour, 0.0, 3600.0)?;
        Ok(())
    }
}

impl NodesConfig {
    pub(super) fn check(&self, cpu_request_milli: u32) -> Result<(), ConfigError> {
        count_in_range("cpu_milli", u64::from(self.cpu_milli), u64::from(cpu_request_milli), 10_000_000)?;
        count_in_range("min_nodes", u64::from(self.min_nodes), 0, 10_000)?;
        count_in_range("max_nodes", u64::from(self.max_nodes), u64::from(self.min_nodes).max(1), 10_000)?;
        in_range("provisioning_median_s", self.provisioning_median_s, 0.001, 7200.0)?;
        in_range("provisioning_sigma", self.provisioning_sigma, 0.0, 3.0)?;
        in_range("empty_s", self.empty_s, 0.0, 86_400.0)?;
        in_range("interruptions_per_hour", self.interruptions_per_hour, 0.0, 3600.0)?;
        in_range("notice_s", self.notice_s, 0.0, 3600.0)?;
        Ok(())
    }

    /// Pods that a node has room for.
    pub(crate) fn room(&self, cpu_request_milli: u32) -> usize {
        (self.cpu_milli / cpu_request_milli) as usize
    }
}
