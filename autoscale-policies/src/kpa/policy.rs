//! The decision as a policy, on what the queue proxies report.

use super::{Kpa, KpaConfig, Reachability, TICK_S};
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::sample::{CONCURRENCY, PodSample};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_core::validate::ConfigError;
use std::time::Duration;

/// Knative's autoscaler for a revision that routes lead to. It reads the series [`CONCURRENCY`]; its scales are the
/// workload's limits.
#[derive(Clone, Debug)]
pub struct KpaPolicy {
    config: KpaConfig,
    /// Made at the first decision, as it depends on the pods that are there.
    kpa: Option<Kpa>,
}

impl KpaPolicy {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(config: KpaConfig) -> Result<Self, ConfigError> {
        Kpa::new(config, 0, 0)?;
        Ok(Self { config, kpa: None })
    }
}

/// Whole seconds.
fn unix(at: Timestamp) -> i64 {
    at.as_secs_f64().floor() as i64
}

impl Policy for KpaPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::every(Duration::from_secs(TICK_S as u64))
    }

    fn reset(&mut self, _: Seed) {
        self.kpa = None;
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let now = unix(observation.now);
        let ready = observation.pods.iter().filter(|pod| PodSample::is_serving(pod)).count() as u32;
        if self.kpa.is_none() {
            self.kpa = Kpa::new(self.config, now, ready).ok();
        }
        let Some(kpa) = &mut self.kpa else { return Decision::hold(Reason::rule("misconfigured")) };
        for reading in observation.series.iter().filter(|reading| *reading.metric == *CONCURRENCY) {
            kpa.observe(unix(reading.timestamp), reading.value.units());
        }
        let Some(decision) = kpa.scale(now, ready, Reachability::Reachable) else {
            return Decision::hold(Reason::rule("no-reports"));
        };
        let wish = Replicas::new(decision.desired.clamp(0, i64::from(u32::MAX)) as u32);
        let rule = if decision.panicking { "panic" } else { "stable" };
        let reason = Reason { rule, metric: Some("concurrency"), raw: Some(wish), bound: Bound::None };
        Decision::scale_to(wish, reason)
    }
}
