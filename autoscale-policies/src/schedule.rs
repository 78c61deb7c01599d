//! Replays a list of replica counts.

use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;
use std::time::Duration;

/// Gives the k-th count at the k-th decision, and the last one from then on.
#[derive(Clone, Debug)]
pub struct Schedule {
    counts: Vec<Replicas>,
    period: Duration,
    next: usize,
}

impl Schedule {
    /// Replays `counts`, one every `period`; an empty list always holds.
    pub const fn new(counts: Vec<Replicas>, period: Duration) -> Self {
        Self { counts, period, next: 0 }
    }
}

impl Policy for Schedule {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {
        self.next = 0;
    }

    fn decide(&mut self, _: &Observation<'_>) -> Decision {
        let reason = Reason::rule("schedule");
        let count = self.counts.get(self.next).or(self.counts.last()).copied();
        self.next += 1;
        count.map_or(Decision::hold(reason), |count| Decision::scale_to(count, reason))
    }
}
