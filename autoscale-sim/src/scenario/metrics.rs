//! The metrics pipeline: what an autoscaler sees, and how late.

use crate::prometheus::DEFAULT_BUCKETS;
use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};

/// Metrics-server for CPU and memory, Prometheus for everything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Prometheus scrapes each pod this often, at a phase of its own; whole seconds, 1 to 300.
    pub scrape_interval_s: u32,
    /// Chance that a scrape fails, 0 to 0.9: the pod's series are then marked stale until the next one.
    pub scrape_loss: f64,
    /// Window of rates and latency quantiles; at least two scrape intervals, up to 3,600.
    pub rate_window_s: u32,
    /// Upper bounds of the latency histogram's buckets in milliseconds, rising; 1 to 100 of them.
    pub latency_buckets_ms: Vec<f64>,
    /// The kubelet samples a container's CPU after this many seconds plus a uniform draw of as much.
    pub kubelet_period_s: f64,
    /// metrics-server reads the kubelets this often, at a phase drawn per episode; whole seconds, 10 to 300.
    pub resolution_s: u32,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            scrape_interval_s: 15,
            scrape_loss: 0.0,
            rate_window_s: 60,
            // What Prometheus' client libraries do when nothing else is said.
            latency_buckets_ms: DEFAULT_BUCKETS.iter().map(|bound| bound * 1000.0).collect(),
            kubelet_period_s: 10.0,
            resolution_s: 15,
        }
    }
}

impl MetricsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let scrape = u64::from(self.scrape_interval_s);
        count_in_range("scrape_interval_s", scrape, 1, 300)?;
        in_range("scrape_loss", self.scrape_loss, 0.0, 0.9)?;
        count_in_range("rate_window_s", u64::from(self.rate_window_s), 2 * scrape, 3600)?;
        count_in_range("latency_buckets_ms", self.latency_buckets_ms.len() as u64, 1, 100)?;
        let mut last = 0.0;
        for &bound in &self.latency_buckets_ms {
            if !(bound > last && bound <= 3.6e6) {
                let expected = format!("above {last} and at most 3600000");
                return Err(ConfigError::new("latency_buckets_ms", bound, expected));
            }
            last = bound;
        }
        in_range("kubelet_period_s", self.kubelet_period_s, 1.0, 60.0)?;
        count_in_range("resolution_s", u64::from(self.resolution_s), 10, 300)?;
        Ok(())
    }
}
