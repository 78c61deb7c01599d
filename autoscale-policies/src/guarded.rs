//! Policies that are held to something: thin shells over [`autoscale_core::guard`].

use autoscale_core::guard::{Envelope, Ladder, Rung};
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;

/// `policy`, held within `envelope`.
pub fn with_envelope<P: Policy>(policy: P, envelope: Envelope) -> WithEnvelope<P> {
    WithEnvelope { policy, envelope }
}

/// `policy` while measurements are fresh, else what `ladder` says: hold, `fallback`, or hands off. The fallback watches
/// all the time, so that it has its memory when it is needed; it is asked as often as the policy.
pub fn with_fallback<P: Policy, F: Policy>(policy: P, fallback: F, ladder: Ladder) -> WithFallback<P, F> {
    WithFallback { policy, fallback, ladder }
}

/// See [`with_envelope`].
#[derive(Clone, Debug)]
pub struct WithEnvelope<P> {
    policy: P,
    envelope: Envelope,
}

impl<P: Policy> Policy for WithEnvelope<P> {
    fn cadence(&self) -> Cadence {
        self.policy.cadence()
    }

    fn reset(&mut self, seed: Seed) {
        self.policy.reset(seed);
        self.envelope.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let decision = self.policy.decide(observation);
        self.envelope.hold(observation, decision)
    }
}

/// See [`with_fallback`].
#[derive(Clone, Debug)]
pub struct WithFallback<P, F> {
    policy: P,
    fallback: F,
    ladder: Ladder,
}

impl<P: Policy, F: Policy> Policy for WithFallback<P, F> {
    fn cadence(&self) -> Cadence {
        self.policy.cadence()
    }

    fn reset(&mut self, seed: Seed) {
        self.policy.reset(seed);
        self.fallback.reset(seed.child("fallback"));
        self.ladder.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let (own, other) = (self.policy.decide(observation), self.fallback.decide(observation));
        match self.ladder.look(observation) {
            Rung::Policy => own,
            Rung::Fallback => other,
            Rung::Hold | Rung::HandsOff => Decision::hold(Reason::rule("stale")),
        }
    }
}
