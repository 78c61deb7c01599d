//! The ratio rule without memory: what a residual action multiplies.

use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::rule::reactive;
use autoscale_core::seed::Seed;
use autoscale_core::units::Utilization;
use std::time::Duration;

/// Asks for as many pods as would bring CPU use to the target, without tolerance or stabilisation
/// ([`reactive`]).
#[derive(Clone, Copy, Debug)]
pub struct RatioRule {
    target: Utilization,
    period: Duration,
}

impl RatioRule {
    /// The rule towards `target`, asked every `period`.
    pub const fn new(target: Utilization, period: Duration) -> Self {
        Self { target, period }
    }
}

impl Policy for RatioRule {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {}

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let Some(raw) = reactive(observation, self.target) else {
            return Decision::hold(Reason::rule("no-samples"));
        };
        let reason = Reason { rule: "ratio", metric: Some("cpu"), raw: Some(raw), bound: Bound::None };
        Decision::scale_to(raw, reason)
    }
}
