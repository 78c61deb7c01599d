//! The one decision seam: the simulator's loop and the live controller both call [`Policy::decide`].

use crate::limits::{Bound, ScalingLimits};
use crate::measurement::Measurement;
use crate::sample::{PodSample, Reading};
use crate::seed::Seed;
use crate::units::{Replicas, TimeOfWeek, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the last write of the `scale` subresource went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastWrite {
    /// Nothing was written yet.
    Never,
    /// It succeeded.
    Succeeded,
    /// It failed: `spec.replicas` is what it was.
    Failed,
}

/// The scaled object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// `scale.spec.replicas`: what was asked for last.
    pub spec: Replicas,
    /// `scale.status.replicas`: pods that exist and are not being deleted.
    pub status: Replicas,
    /// Whether the last write got through.
    pub last_write: LastWrite,
}

/// Everything that a policy may look at.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The moment of the decision.
    pub now: Timestamp,
    /// The same moment on the service's clock.
    pub time_of_week: TimeOfWeek,
    /// The scaled object.
    pub workload: WorkloadStatus,
    /// Its pods, oldest first, those being deleted included.
    pub pods: &'a [PodSample],
    /// Object, external and custom metrics, each with its age.
    pub series: &'a [Reading],
    /// Aggregates per control interval, oldest first; may be empty just after a start.
    pub history: &'a [Measurement],
    /// What the driver will clamp any answer to.
    pub limits: &'a ScalingLimits,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Ask for this many pods.
    ScaleTo(Replicas),
    /// Leave `spec.replicas` as it is.
    Hold,
}

impl Target {
    /// The wished count, `current` where the answer is to hold.
    pub fn or(self, current: Replicas) -> Replicas {
        match self {
            Self::ScaleTo(replicas) => replicas,
            Self::Hold => current,
        }
    }
}

/// Why a policy answered as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The rule that decided, as a short fixed word: `ratio`, `within-tolerance`, `stabilized`, …
    pub rule: &'static str,
    /// The metric that drove it.
    pub metric: Option<&'static str>,
    /// The recommendation before stabilisation, rate limits and bounds.
    pub raw: Option<Replicas>,
    /// What of the policy's own rules held the recommendation back.
    pub bound: Bound,
}

impl Reason {
    /// A reason that is just a rule's name.
    pub const fn rule(rule: &'static str) -> Self {
        Self { rule, metric: None, raw: None, bound: Bound::None }
    }
}

/// An answer: what to do and why. `Copy`, so that deciding allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What to do.
    pub target: Target,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// Ask for `replicas` because of `reason`.
    pub const fn scale_to(replicas: Replicas, reason: Reason) -> Self {
        Self { target: Target::ScaleTo(replicas), reason }
    }

    /// Leave things as they are because of `reason`.
    pub const fn hold(reason: Reason) -> Self {
        Self { target: Target::Hold, reason }
    }
}

/// When a driver asks a policy: at `phase`, `phase + period`, `phase + 2 period`, … after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cadence {
    /// Time between two decisions: HPA 15 s, KPA 2 s, KEDA 30 s.
    pub period: Duration,
    /// Time of the first decision after the start of an episode.
    pub phase: Duration,
}

impl Cadence {
    /// A decision every `period`, the first at once.
    pub const fn every(period: Duration) -> Self {
        Self { period, phase: Duration::ZERO }
    }
}

/// Decides how many pods a workload should have.
pub trait Policy {
    /// When the driver should ask.
    fn cadence(&self) -> Cadence;

    /// Forget everything and start an episode; whatever randomness is needed comes from `seed`.
    fn reset(&mut self, seed: Seed);

    /// Answer. Total, non-blocking and deterministic: same calls since `reset`, same answer.
    fn decide(&mut self, observation: &Observation<'_>) -> Decision;
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn cadence(&self) -> Cadence {
        (**self).cadence()
    }
    fn reset(&mut self, seed: Seed) {
        (**self).reset(seed);
    }
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        (**self).decide(observation)
    }
}
