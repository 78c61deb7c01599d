//! A constant number of replicas.

use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;
use std::time::Duration;

/// Asks for the same count whatever happens.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    replicas: Replicas,
    period: Duration,
}

impl Fixed {
    /// `replicas`, asked for every `period`.
    pub const fn new(replicas: Replicas, period: Duration) -> Self {
        Self { replicas, period }
    }
}

impl Policy for Fixed {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {}

    fn decide(&mut self, _: &Observation<'_>) -> Decision {
        Decision::scale_to(self.replicas, Reason::rule("fixed"))
    }
}
