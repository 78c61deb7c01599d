//! Square-root staffing on the measured rate.

use crate::service::PodCapacity;
use crate::window::Highest;
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What can be set on square-root staffing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SquareRootConfig {
    /// Workers beyond the offered load, in its square roots, 0 to 100.
    pub beta: f64,
    /// Scales down to the highest wish of so many seconds, 0 to 3,600.
    pub stabilization_s: f64,
}

impl Default for SquareRootConfig {
    fn default() -> Self {
        Self { beta: 2.0, stabilization_s: 120.0 }
    }
}

/// R + β √R workers for the measured rate, the highest answer of a down-scale window.
#[derive(Clone, Debug)]
pub struct SquareRoot {
    capacity: PodCapacity,
    beta: f64,
    period: Duration,
    highest: Highest,
}

impl SquareRoot {
    /// The rule for pods of this capacity, asked every `period`.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(
        capacity: PodCapacity,
        config: SquareRootConfig,
        period: Duration,
    ) -> Result<Self, ConfigError> {
        let beta = in_range("beta", config.beta, 0.0, 100.0)?;
        let window = in_range("stabilization_s", config.stabilization_s, 0.0, 3600.0)?;
        Ok(Self { capacity, beta, period, highest: Highest::new(Duration::from_secs_f64(window)) })
    }
}

impl Policy for SquareRoot {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {
        self.highest.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let Some(last) = observation.history.last() else {
            return Decision::hold(Reason::rule("no-measurement"));
        };
        let raw = self.capacity.square_root(last.arrival_rate, self.beta);
        let wish = self.highest.of(observation.now, raw);
        let bound = if wish == raw { Bound::None } else { Bound::Stabilization };
        let reason = Reason { rule: "square-root", metric: Some("arrival_rate"), raw: Some(raw), bound };
        Decision::scale_to(wish, reason)
    }
}
