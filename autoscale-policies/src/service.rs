//! What rules on the measured rate know of the service: how much one pod can do.

use autoscale_core::units::{Replicas, RequestRate, Utilization};
use autoscale_core::validate::{ConfigError, count_in_range, in_range};

/// A pod's capacity, from a load test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PodCapacity {
    rate: f64,
    workers: f64,
}

impl PodCapacity {
    /// A pod that serves `rate` when its `workers` are always busy.
    ///
    /// # Errors
    /// When the rate is zero, or there is no worker.
    pub fn new(rate: RequestRate, workers: u32) -> Result<Self, ConfigError> {
        Ok(Self {
            rate: in_range("pod_capacity", rate.per_second(), 1e-6, 1e9)?,
            workers: count_in_range("workers", u64::from(workers), 1, 100_000)? as f64,
        })
    }

    /// Requests per second that a pod serves at most.
    pub fn rate(self) -> RequestRate {
        RequestRate::new(self.rate).unwrap_or_default()
    }

    /// Pods that a rate keeps this busy.
    pub fn pods(self, rate: RequestRate, busy: Utilization) -> Replicas {
        Replicas::from_ceil(rate.per_second() / (self.rate * busy.fraction()))
    }

    /// Square-root staffing (Halfin and Whitt 1981): the offered load of R Erlangs needs R + β √R workers.
    pub fn square_root(self, rate: RequestRate, beta: f64) -> Replicas {
        let erlangs = rate.per_second() / self.rate * self.workers;
        Replicas::from_ceil((erlangs + beta * erlangs.sqrt()) / self.workers)
    }
}
