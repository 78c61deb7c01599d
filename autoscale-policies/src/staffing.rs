//! Square-root staffing on the measured rate.

use crate::service::PodCapacity;
use crate::window::Highest;
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, in_range};
use std::time::Duration;

/// R + β √R workers for the measured rate, the highest answer of a down-scale window.
#[derive(Clone, Debug)]
pub struct SquareRoot {
    capacity: PodCapacity,
    beta: f64,
    period: Duration,
    highest: Highest,
}

impl SquareRoot {
    /// The rule with `beta` (0 to 100), asked every `period`.
    ///
    /// # Errors
    /// When `beta` is out of range.
    pub fn new(
        capacity: PodCapacity,
        beta: f64,
        stabilization: Duration,
        period: Duration,
    ) -> Result<Self, ConfigError> {
        let beta = in_range("beta", beta, 0.0, 100.0)?;
        Ok(Self { capacity, beta, period, highest: Highest::new(stabilization) })
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
