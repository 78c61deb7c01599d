//! The Horizontal Pod Autoscaler, v2, for a CPU utilisation target.
//!
//! Follows the controller of Kubernetes v1.36 (`replica_calculator.go`, `horizontal.go`): integers where it
//! has integers, the same order of rules, the same boundary cases. Several metrics, other metric kinds and
//! HPAs without `behavior` are not emulated.

mod behavior;
mod controller;
mod normalizer;
mod replica_calculator;

pub use behavior::{
    Behavior, BehaviorSpec, PolicyType, ScalingPolicy, ScalingRules, ScalingRulesSpec, SelectPolicy,
};
pub use controller::{
    Condition, ConditionType, Controller, ControllerConfig, Gate, HpaSpec, MetricSource, MetricSpec,
    Reconciled, RescaleReason, ResourceTarget, ValueTarget, Write,
};
pub use normalizer::{Change, Legacy, Limited, Normalized, Normalizer, Range, Stabilized};
pub use replica_calculator::{
    NoProposal, PodClass, PodValue, PodValues, Proposal, Readiness, ReplicaCalculator, Resource, Shown,
    pod_request, resource_value,
};

use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::rule::Tolerance;
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;
use autoscale_core::validate::{ConfigError, count_in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What can be set on an HPA and on its controller, with the defaults of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HpaConfig {
    /// `averageUtilization` of the CPU target, in percent of the request.
    pub target_utilization_percent: u32,
    /// The controller's tolerance, as a fraction.
    pub tolerance: f64,
    /// `horizontal-pod-autoscaler-sync-period`.
    pub sync_period_s: u32,
    /// `horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period_s: u32,
    /// `horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay_s: u32,
    /// `behavior`, both directions.
    pub behavior: Behavior,
}

impl Default for HpaConfig {
    fn default() -> Self {
        Self {
            target_utilization_percent: 80,
            tolerance: 0.1,
            sync_period_s: 15,
            cpu_initialization_period_s: 300,
            initial_readiness_delay_s: 30,
            behavior: Behavior::default(),
        }
    }
}

/// The emulated controller with its memory of recommendations and scale events.
#[derive(Clone, Debug)]
pub struct Hpa {
    target_percent: i32,
    tolerance: Tolerance,
    readiness: Readiness,
    sync_period: Duration,
    normalizer: Normalizer,
}

impl Hpa {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Names the first field out of the range that the API server accepts.
    pub fn new(config: HpaConfig) -> Result<Self, ConfigError> {
        let percent = u64::from(config.target_utilization_percent);
        count_in_range("target_utilization_percent", percent, 1, 10_000)?;
        count_in_range("sync_period_s", u64::from(config.sync_period_s), 1, 3600)?;
        config.behavior.check()?;
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        Ok(Self {
            target_percent: config.target_utilization_percent as i32,
            tolerance: Tolerance::new(config.tolerance, config.tolerance)?,
            readiness: Readiness {
                cpu_initialization_period: seconds(config.cpu_initialization_period_s),
                initial_readiness_delay: seconds(config.initial_readiness_delay_s),
            },
            sync_period: seconds(config.sync_period_s),
            normalizer: Normalizer::new(Some(config.behavior), Legacy::default()),
        })
    }
}

impl Policy for Hpa {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.sync_period)
    }

    fn reset(&mut self, _: Seed) {
        self.normalizer.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let (now, limits) = (observation.now, observation.limits);
        let spec = observation.workload.spec.get() as i32;
        let range = Range { min: limits.min().get() as i32, max: limits.max().get() as i32 };
        self.normalizer.begin(spec, now);
        // The gates come before any metric: no stabilisation, no rate limit, no entry in the log.
        if spec == 0 {
            return Decision::hold(Reason::rule("scaling-disabled"));
        }
        for (outside, bound, at) in
            [(spec > range.max, Bound::Max, range.max), (spec < range.min, Bound::Min, range.min)]
        {
            if outside {
                self.normalizer.rescaled(spec, at, now);
                return Decision::scale_to(count(at), Reason { bound, ..Reason::rule("outside-limits") });
            }
        }
        let calculator = ReplicaCalculator {
            pods: observation.pods,
            now,
            readiness: self.readiness,
            tolerance: self.tolerance,
        };
        let proposed = PodValues::of_resource(observation.pods, Resource::Cpu, None).and_then(|values| {
            calculator.utilization(spec, self.target_percent, (Resource::Cpu, None), &values)
        });
        let proposal = match proposed {
            Ok(proposal) => proposal,
            // A failed reconcile changes nothing and leaves no trace.
            Err(error) => {
                return Decision::hold(Reason { metric: Some("cpu"), ..Reason::rule(error.rule()) });
            }
        };
        let raw = proposal.replicas.max(0);
        let normalized = self.normalizer.normalize(spec, raw, range, now);
        self.normalizer.rescaled(spec, normalized.desired, now);
        let reason = Reason {
            rule: proposal.rule,
            metric: Some("cpu"),
            raw: Some(count(raw)),
            bound: normalized.bound(),
        };
        if normalized.desired == spec {
            Decision::hold(reason)
        } else {
            Decision::scale_to(count(normalized.desired), reason)
        }
    }
}

fn count(replicas: i32) -> Replicas {
    Replicas::new(replicas.max(0) as u32)
}

impl Normalized {
    fn bound(self) -> Bound {
        match (self.limited, self.stabilized) {
            (Limited::ScaleUpLimit, _) => Bound::StepUp,
            (Limited::ScaleDownLimit, _) => Bound::StepDown,
            (Limited::TooManyReplicas, _) => Bound::Max,
            (Limited::TooFewReplicas, _) => Bound::Min,
            (Limited::DesiredWithinRange, Stabilized::ReadyForNewScale) => Bound::None,
            (Limited::DesiredWithinRange, _) => Bound::Stabilization,
        }
    }
}
