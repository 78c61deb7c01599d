//! A random number of replicas: the floor that any policy should clear.

use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::Replicas;
use rand::RngExt;
use std::time::Duration;

/// Draws uniformly between the limits at every decision.
#[derive(Clone, Debug)]
pub struct RandomPolicy {
    period: Duration,
    stream: Stream,
}

impl RandomPolicy {
    /// A draw every `period`.
    pub fn new(period: Duration) -> Self {
        Self { period, stream: Seed::root(0).stream() }
    }
}

impl Policy for RandomPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, seed: Seed) {
        self.stream = seed.stream();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let (min, max) = (observation.limits.min().get(), observation.limits.max().get());
        Decision::scale_to(Replicas::new(self.stream.random_range(min..=max)), Reason::rule("random"))
    }
}
