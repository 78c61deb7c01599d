//! The Horizontal Pod Autoscaler, v2.
//!
//! Follows the controller of Kubernetes v1.36 (`replica_calculator.go`, `horizontal.go`): integers where it has
//! integers, the same order of rules, the same boundary cases. [`ReplicaCalculator`] proposes counts from metrics of all
//! kinds, [`Normalizer`] stabilises and limits them, [`Controller`] is a whole reconcile with its conditions;
//! `tests/conformance` repeats decisions of the real ones. [`Hpa`] is the controller as a policy, for one CPU target.

mod behavior;
mod controller;
mod manifest;
mod normalizer;
mod quantity;
mod replica_calculator;

pub use behavior::{
    Behavior, BehaviorSpec, PolicyType, ScalingPolicy, ScalingRules, ScalingRulesSpec, SelectPolicy,
};
pub use controller::{
    Condition, ConditionType, Controller, ControllerConfig, Gate, HpaSpec, MetricSource, MetricSpec,
    Reconciled, RescaleReason, ResourceTarget, ValueTarget, Write,
};
pub use manifest::ManifestError;
pub use normalizer::{Change, Legacy, Limited, Normalized, Normalizer, Range, Stabilized};
pub use replica_calculator::{
    NoProposal, PodClass, PodValue, PodValues, Proposal, Readiness, ReplicaCalculator, Resource, Shown,
    pod_request, resource_value,
};

use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Replicas, Timestamp};
use autoscale_core::validate::{ConfigError, count_in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `horizontal-pod-autoscaler-sync-period`, unless it is set.
const SYNC_PERIOD: Duration = Duration::from_secs(15);

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
            sync_period_s: SYNC_PERIOD.as_secs() as u32,
            cpu_initialization_period_s: 300,
            initial_readiness_delay_s: 30,
            behavior: Behavior::default(),
        }
    }
}

/// The emulated controller as a policy.
///
/// The HPA is a new one at the start of each episode. Unless a manifest says otherwise, `minReplicas` and `maxReplicas` are the
/// workload's limits. A change counts in the log of scale events once the next observation says that it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Hpa {
    controller: Controller,
    /// Its own `minReplicas` and `maxReplicas`; the workload's limits when absent.
    range: Option<Range>,
    sync_period: Duration,
    /// A reconcile whose write is not yet known to have got through, and when it was.
    pending: Option<(Reconciled, Timestamp)>,
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
        let cpu = MetricSpec::Resource {
            resource: Resource::Cpu,
            container: None,
            target: Some(ResourceTarget::Utilization(config.target_utilization_percent as i32)),
        };
        let spec = HpaSpec {
            range: Range { min: 1, max: i32::MAX },
            metrics: vec![cpu],
            behavior: Some(config.behavior.into()),
        };
        let settings = ControllerConfig {
            readiness: Readiness {
                cpu_initialization_period: seconds(config.cpu_initialization_period_s),
                initial_readiness_delay: seconds(config.initial_readiness_delay_s),
            },
            tolerance: config.tolerance,
            ..ControllerConfig::default()
        };
        let own = Self::with_settings(spec, settings, seconds(config.sync_period_s))?;
        Ok(Self { range: None, ..own })
    }

    /// A user's own HPA, by a controller with default settings.
    ///
    /// # Errors
    /// When a tolerance is out of range.
    pub fn from_spec(spec: HpaSpec) -> Result<Self, ConfigError> {
        Self::with_settings(spec, ControllerConfig::default(), SYNC_PERIOD)
    }

    /// A user's own HPA, by a controller with these settings that looks every `sync_period`.
    ///
    /// # Errors
    /// When a tolerance is out of range.
    pub fn with_settings(
        spec: HpaSpec,
        settings: ControllerConfig,
        sync_period: Duration,
    ) -> Result<Self, ConfigError> {
        let range = Some(spec.range);
        let controller = Controller::new(spec, settings, 0)?;
        Ok(Self { controller, range, sync_period, pending: None })
    }

    /// The controller behind it: conditions and status as a cluster would show them.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }
}

/// What an observation says of metrics.
pub(crate) struct Observed<'a>(pub(crate) &'a Observation<'a>);

impl MetricSource for Observed<'_> {
    fn per_pod(&self, metric: &MetricSpec) -> Result<PodValues, NoProposal> {
        let Observation { pods, series, .. } = *self.0;
        match metric {
            MetricSpec::Resource { resource, container, .. } => {
                PodValues::of_resource(pods, *resource, container.as_deref())
            }
            MetricSpec::Pods { name, .. } => PodValues::of_series(pods, series, name),
            _ => Err(NoProposal::InvalidMetric),
        }
    }

    fn value(&self, metric: &MetricSpec) -> Result<Milli, NoProposal> {
        let (MetricSpec::Object { name, .. } | MetricSpec::External { name, .. }) = metric else {
            return Err(NoProposal::InvalidMetric);
        };
        let own = self.0.series.iter().filter(|reading| reading.metric == *name && reading.pod.is_none());
        let sum = own.map(|reading| reading.value.get()).reduce(i64::saturating_add);
        sum.map(Milli::new).ok_or(NoProposal::NoMetrics)
    }
}

impl Policy for Hpa {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.sync_period)
    }

    fn reset(&mut self, _: Seed) {
        self.controller.reset(0);
        self.pending = None;
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let (now, limits, workload) = (observation.now, observation.limits, observation.workload);
        let spec = workload.spec.get() as i32;
        if let Some((reconciled, at)) = self.pending.take() {
            let succeeded = workload.last_write == LastWrite::Succeeded;
            let write = if succeeded { Write::Succeeded } else { Write::Failed };
            self.controller.wrote(&reconciled, write, at);
        }
        let limits = Range { min: limits.min().get() as i32, max: limits.max().get() as i32 };
        self.controller.set_range(self.range.unwrap_or(limits));
        let scale = (spec, workload.status.get() as i32);
        let reconciled = self.controller.reconcile(scale, observation.pods, now, &Observed(observation));
        let reason = reconciled.reason(self.controller.spec());
        if reconciled.rescale.is_none() {
            return Decision::hold(reason);
        }
        self.pending = Some((reconciled, now));
        Decision::scale_to(count(reconciled.desired), reason)
    }
}

fn count(replicas: i32) -> Replicas {
    Replicas::new(replicas.max(0) as u32)
}

impl Reconciled {
    /// In the words of a decision.
    fn reason(&self, hpa: &HpaSpec) -> Reason {
        let rule = match (self.rescale, self.raw, self.failed) {
            (Some(RescaleReason::AboveMax | RescaleReason::BelowMin), ..) => "outside-limits",
            (_, _, Some((_, error))) if self.rescale.is_none() => error.rule(),
            (_, Some((_, rule)), _) => rule,
            _ => "scaling-disabled",
        };
        let bound = match (self.rescale, self.limited, self.stabilized) {
            (Some(RescaleReason::AboveMax), ..) | (_, Some(Limited::TooManyReplicas), _) => Bound::Max,
            (Some(RescaleReason::BelowMin), ..) | (_, Some(Limited::TooFewReplicas), _) => Bound::Min,
            (_, Some(Limited::ScaleUpLimit), _) => Bound::StepUp,
            (_, Some(Limited::ScaleDownLimit), _) => Bound::StepDown,
            (_, Some(_), Some(stabilized)) if stabilized != Stabilized::ReadyForNewScale => {
                Bound::Stabilization
            }
            _ => Bound::None,
        };
        let driving = self.metric.or(self.failed.map(|(index, _)| index));
        let metric = driving.and_then(|index| hpa.metrics.get(index)).map(MetricSpec::label);
        let raw = self.raw.map(|(raw, _)| count(raw));
        Reason { rule, metric, raw, bound }
    }
}
