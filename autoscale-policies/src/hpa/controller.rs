//! One HPA in the controller: a whole reconcile (`horizontal.go`, `reconcileAutoscaler`), with the conditions and the
//! status that a cluster would show.

use super::behavior::BehaviorSpec;
use super::normalizer::{Legacy, Limited, Normalizer, Range, Stabilized};
use super::replica_calculator::{
    NoProposal, PodValues, Proposal, Readiness, ReplicaCalculator, Resource, Shown,
};
use autoscale_core::rule::Tolerance;
use autoscale_core::sample::PodSample;
use autoscale_core::units::{Milli, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// What a resource of pods is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceTarget {
    /// Percent of the requests.
    Utilization(i32),
    /// A value per pod.
    AverageValue(Milli),
}

/// What an object's or an external value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueTarget {
    /// The value as it is.
    Value(Milli),
    /// The value per pod.
    AverageValue(Milli),
}

/// One of an HPA's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricSpec {
    /// `Resource`, or `ContainerResource` when it names a container.
    Resource {
        /// Which resource.
        resource: Resource,
        /// Of which container; of all when absent.
        container: Option<Arc<str>>,
        /// The target; the API server refuses a metric without.
        target: Option<ResourceTarget>,
    },
    /// `Pods`: a custom metric of each pod.
    Pods {
        /// The metric's name.
        name: Arc<str>,
        /// The target per pod.
        target: Milli,
    },
    /// `Object`: a metric of another object.
    Object {
        /// The metric's name.
        name: Arc<str>,
        /// The target.
        target: ValueTarget,
    },
    /// `External`: a metric of something outside the cluster.
    External {
        /// The metric's name.
        name: Arc<str>,
        /// The target.
        target: ValueTarget,
    },
    /// A type that the controller does not know.
    Unknown,
}

impl MetricSpec {
    /// A short fixed word for it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Resource { resource: Resource::Cpu, .. } => "cpu",
            Self::Resource { resource: Resource::Memory, .. } => "memory",
            Self::Pods { .. } => "pods",
            Self::Object { .. } => "object",
            Self::External { .. } => "external",
            Self::Unknown => "unknown",
        }
    }
}

/// An HPA as the API server keeps it: what its controller fills in is left open.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaSpec {
    /// `minReplicas` and `maxReplicas`.
    pub range: Range,
    /// Its metrics, at least one.
    pub metrics: Vec<MetricSpec>,
    /// `behavior`; without it, other rules hold.
    pub behavior: Option<BehaviorSpec>,
}

/// Settings of the controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerConfig {
    /// About young pods.
    pub readiness: Readiness,
    /// `horizontal-pod-autoscaler-tolerance`, as a fraction.
    pub tolerance: f64,
    /// For HPAs without `behavior`, and the window of a way down that states none.
    pub legacy: Legacy,
    /// Feature gate `HPAConfigurableTolerance`.
    pub configurable_tolerance: Gate,
    /// Feature gate `HPAScaleToZero`.
    pub scale_to_zero: Gate,
}

impl Default for ControllerConfig {
    /// The flags' defaults, and the gates of v1.36.
    fn default() -> Self {
        Self {
            readiness: Readiness {
                cpu_initialization_period: Duration::from_secs(300),
                initial_readiness_delay: Duration::from_secs(30),
            },
            tolerance: 0.1,
            legacy: Legacy::default(),
            configurable_tolerance: Gate::On,
            scale_to_zero: Gate::Off,
        }
    }
}

/// A feature gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The feature is there.
    On,
    /// It is not.
    Off,
}

/// Where metrics come from.
pub trait MetricSource {
    /// Values per pod of a metric of kind Resource, `ContainerResource` or Pods.
    ///
    /// # Errors
    /// When the API has none or cannot be asked.
    fn per_pod(&self, metric: &MetricSpec) -> Result<PodValues, NoProposal>;

    /// The value of a metric of kind Object or External; for the latter the sum of all series.
    ///
    /// # Errors
    /// When the API has none or cannot be asked.
    fn value(&self, metric: &MetricSpec) -> Result<Milli, NoProposal>;
}

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The scale can be read and written.
    AbleToScale,
    /// Counts are computed.
    ScalingActive,
    /// Something bounds the count.
    ScalingLimited,
    /// It was this HPA that scaled to zero.
    ScaledToZero,
}

/// A condition of the HPA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: bool,
    /// The machine-readable reason.
    pub reason: &'static str,
}

/// Why a count is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RescaleReason {
    /// `spec.replicas` is above `maxReplicas`.
    AboveMax,
    /// `spec.replicas` is below `minReplicas`.
    BelowMin,
    /// The metric with this index asks for more.
    AboveTarget(usize),
    /// All metrics ask for less.
    AllBelowTarget,
    /// The metrics ask for no change, but an earlier recommendation still counts; events then give no reason.
    Earlier,
}

/// What a reconcile decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// The count that was found.
    pub spec: i32,
    /// The count to be asked for.
    pub desired: i32,
    /// The recommendation before stabilisation, rate limits and bounds, and the rule behind it.
    pub raw: Option<(i32, &'static str)>,
    /// The metric that drove it.
    pub metric: Option<usize>,
    /// What stabilisation did.
    pub stabilized: Option<Stabilized>,
    /// What bound the count.
    pub limited: Option<Limited>,
    /// Why, if the count is to be written.
    pub rescale: Option<RescaleReason>,
    /// The first metric that failed, and why; nothing else may have been wrong with the reconcile.
    pub failed: Option<(usize, NoProposal)>,
}

/// How a write of the scale went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It got through.
    Succeeded,
    /// It did not.
    Failed,
}

/// One HPA in the controller, with its memory and its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    spec: HpaSpec,
    config: ControllerConfig,
    tolerance: Tolerance,
    normalizer: Normalizer,
    conditions: Vec<Condition>,
    /// `status.currentMetrics`, one entry a metric; `None` for one that failed.
    shown: Vec<Option<Shown>>,
    status_current: i32,
    status_desired: i32,
    last_scale: Option<Timestamp>,
}

/// A failed metric of this kind makes `ScalingActive` false for this reason.
fn failure_reason(metric: &MetricSpec) -> &'static str {
    match metric {
        MetricSpec::Resource { container: None, .. } => "FailedGetResourceMetric",
        MetricSpec::Resource { .. } => "FailedGetContainerResourceMetric",
        MetricSpec::Pods { .. } => "FailedGetPodsMetric",
        MetricSpec::Object { .. } => "FailedGetObjectMetric",
        MetricSpec::External { .. } => "FailedGetExternalMetric",
        MetricSpec::Unknown => "InvalidMetricSourceType",
    }
}

impl Controller {
    /// An HPA that the controller has just seen for the first time, with what it fills in; `replicas` is what its status
    /// says.
    ///
    /// # Errors
    /// When a tolerance is out of range.
    pub fn new(
        spec: HpaSpec,
        config: ControllerConfig,
        replicas: i32,
    ) -> Result<Self, autoscale_core::validate::ConfigError> {
        let behavior =
            spec.behavior.clone().map(|behavior| behavior.defaulted(config.legacy.downscale_stabilization));
        let own = behavior.as_ref().filter(|_| config.configurable_tolerance == Gate::On);
        let down = own.and_then(|b| b.scale_down.tolerance).unwrap_or(config.tolerance);
        let up = own.and_then(|b| b.scale_up.tolerance).unwrap_or(config.tolerance);
        Ok(Self {
            tolerance: Tolerance::new(down, up)?,
            normalizer: Normalizer::new(behavior, config.legacy),
            spec,
            config,
            conditions: Vec::new(),
            shown: Vec::new(),
            status_current: replicas,
            status_desired: replicas,
            last_scale: None,
        })
    }

    /// Forgets all but its settings, and finds the HPA with this many replicas in its status.
    pub fn reset(&mut self, replicas: i32) {
        self.normalizer.reset();
        self.conditions.clear();
        self.shown.clear();
        (self.status_current, self.status_desired, self.last_scale) = (replicas, replicas, None);
    }

    /// The HPA.
    pub fn spec(&self) -> &HpaSpec {
        &self.spec
    }

    /// The controller's settings.
    pub fn config(&self) -> &ControllerConfig {
        &self.config
    }

    /// `minReplicas` and `maxReplicas` are changed.
    pub fn set_range(&mut self, range: Range) {
        self.spec.range = range;
    }

    /// Takes over conditions that the HPA has from before.
    pub fn set_conditions(&mut self, conditions: Vec<Condition>) {
        self.conditions = conditions;
    }

    /// Takes over recommendations from before.
    pub fn set_recommendations(&mut self, recommendations: Vec<(i32, Timestamp)>) {
        self.normalizer.set_recommendations(recommendations);
    }

    /// Its conditions, in the order in which they first appeared.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// `status.currentMetrics`.
    pub fn current_metrics(&self) -> &[Option<Shown>] {
        &self.shown
    }

    /// `status.currentReplicas` and `status.desiredReplicas`.
    pub fn status_replicas(&self) -> (i32, i32) {
        (self.status_current, self.status_desired)
    }

    /// `status.lastScaleTime`.
    pub fn last_scale(&self) -> Option<Timestamp> {
        self.last_scale
    }

    fn set(&mut self, kind: ConditionType, status: bool, reason: &'static str) {
        let condition = Condition { kind, status, reason };
        match self.conditions.iter_mut().find(|c| c.kind == kind) {
            Some(old) => *old = condition,
            None => self.conditions.push(condition),
        }
    }

    fn is(&self, kind: ConditionType) -> bool {
        self.conditions.iter().any(|c| c.kind == kind && c.status)
    }

    fn drop_condition(&mut self, kind: ConditionType) {
        self.conditions.retain(|c| c.kind != kind);
    }

    /// The scale could not be read; nothing else happens.
    pub fn scale_unknown(&mut self) {
        self.set(ConditionType::AbleToScale, false, "FailedGetScale");
    }

    /// Whether some metric can ask for pods when there are none.
    fn has_value_metric(&self) -> bool {
        let value = |m: &MetricSpec| matches!(m, MetricSpec::Object { .. } | MetricSpec::External { .. });
        self.spec.metrics.iter().any(value)
    }

    /// Decides. When `rescale` says so, the caller writes `desired` and then calls [`Self::wrote`]; otherwise the
    /// reconcile is over. `spec` and `status` are the scale's replicas.
    pub fn reconcile(
        &mut self,
        (spec, status): (i32, i32),
        pods: &[PodSample],
        now: Timestamp,
        source: &impl MetricSource,
    ) -> Reconciled {
        self.set(ConditionType::AbleToScale, true, "SucceededGetScale");
        self.normalizer.begin(spec, now);
        let range = self.spec.range;
        let mut reconciled = Reconciled {
            spec,
            desired: 0,
            raw: None,
            metric: None,
            stabilized: None,
            limited: None,
            rescale: None,
            failed: None,
        };
        let gate = self.config.scale_to_zero == Gate::On;
        let was_scaled_to_zero = gate && self.is(ConditionType::ScaledToZero);
        if spec == 0 && !(was_scaled_to_zero && (range.min != 0 || self.has_value_metric())) {
            self.set(ConditionType::ScalingActive, false, "ScalingDisabled");
            if !gate {
                self.drop_condition(ConditionType::ScaledToZero);
            }
            self.shown.clear();
        } else if spec > range.max {
            (reconciled.desired, reconciled.rescale) = (range.max, Some(RescaleReason::AboveMax));
            self.shown.clear();
        } else if spec != 0 && spec < range.min {
            (reconciled.desired, reconciled.rescale) = (range.min, Some(RescaleReason::BelowMin));
            self.shown.clear();
        } else {
            let calculator =
                ReplicaCalculator { pods, now, readiness: self.config.readiness, tolerance: self.tolerance };
            if !self.compute(&mut reconciled, (spec, status), &calculator, source) {
                self.status_current = spec;
                return reconciled;
            }
            let proposed = reconciled.raw.map_or(0, |(raw, _)| raw.max(0));
            let normalized = self.normalizer.normalize(spec, proposed, range, now);
            self.set(ConditionType::AbleToScale, true, stabilized_reason(normalized.stabilized));
            let limited = normalized.limited != Limited::DesiredWithinRange;
            self.set(ConditionType::ScalingLimited, limited, limited_reason(normalized.limited));
            (reconciled.stabilized, reconciled.limited) =
                (Some(normalized.stabilized), Some(normalized.limited));
            reconciled.desired = normalized.desired;
            if spec == 0 && range.min != 0 && was_scaled_to_zero {
                reconciled.desired = reconciled.desired.max(range.min);
            }
            if reconciled.desired != spec {
                reconciled.rescale = Some(match reconciled.metric {
                    Some(metric) if proposed > spec => RescaleReason::AboveTarget(metric),
                    _ if proposed < spec => RescaleReason::AllBelowTarget,
                    _ => RescaleReason::Earlier,
                });
            }
        }
        if reconciled.rescale.is_none() {
            (self.status_current, self.status_desired) = (spec, reconciled.desired);
        }
        reconciled
    }

    /// Asks all metrics; false when that failed altogether.
    fn compute(
        &mut self,
        reconciled: &mut Reconciled,
        (spec, status): (i32, i32),
        calculator: &ReplicaCalculator<'_>,
        source: &impl MetricSource,
    ) -> bool {
        self.shown.clear();
        let (mut best, mut failures) = (0, 0);
        for (index, metric) in self.spec.metrics.iter().enumerate() {
            match propose(metric, (spec, status), calculator, source) {
                Ok(Proposal { replicas, shown, rule }) => {
                    self.shown.push(Some(shown));
                    if reconciled.raw.is_none() || best == 0 || replicas > best {
                        best = replicas;
                        reconciled.raw = Some((replicas, rule));
                        // Only one that asks for more than nothing counts as the driving one.
                        reconciled.metric = (replicas > 0).then_some(index).or(reconciled.metric);
                    }
                }
                Err(error) => {
                    self.shown.push(None);
                    failures += 1;
                    reconciled.failed = reconciled.failed.or(Some((index, error)));
                }
            }
        }
        if let Some((first, _)) = reconciled.failed
            && (failures == self.spec.metrics.len() || best < spec)
        {
            let reason = failure_reason(&self.spec.metrics[first]);
            self.set(ConditionType::ScalingActive, false, reason);
            return false;
        }
        self.set(ConditionType::ScalingActive, true, "ValidMetricFound");
        true
    }

    /// The write that a reconcile asked for is over.
    pub fn wrote(&mut self, reconciled: &Reconciled, write: Write, now: Timestamp) {
        let Reconciled { spec, desired, .. } = *reconciled;
        self.status_current = spec;
        if write == Write::Failed {
            self.set(ConditionType::AbleToScale, false, "FailedUpdateScale");
            return;
        }
        self.set(ConditionType::AbleToScale, true, "SucceededRescale");
        self.normalizer.rescaled(spec, desired, now);
        (self.status_desired, self.last_scale) = (desired, Some(now));
        if self.config.scale_to_zero == Gate::Off {
            self.drop_condition(ConditionType::ScaledToZero);
            return;
        }
        let to_zero = spec > 0 && desired == 0 && self.spec.range.min == 0 && self.has_value_metric();
        let reason = if to_zero { "ScaledToZero" } else { "NotScaledToZero" };
        self.set(ConditionType::ScaledToZero, to_zero, reason);
    }
}

fn stabilized_reason(stabilized: Stabilized) -> &'static str {
    match stabilized {
        Stabilized::ReadyForNewScale => "ReadyForNewScale",
        Stabilized::ScaleUpStabilized => "ScaleUpStabilized",
        Stabilized::ScaleDownStabilized => "ScaleDownStabilized",
    }
}

fn limited_reason(limited: Limited) -> &'static str {
    match limited {
        Limited::DesiredWithinRange => "DesiredWithinRange",
        Limited::ScaleUpLimit => "ScaleUpLimit",
        Limited::ScaleDownLimit => "ScaleDownLimit",
        Limited::TooManyReplicas => "TooManyReplicas",
        Limited::TooFewReplicas => "TooFewReplicas",
    }
}

/// What one metric asks for.
fn propose(
    metric: &MetricSpec,
    (spec, status): (i32, i32),
    calculator: &ReplicaCalculator<'_>,
    source: &impl MetricSource,
) -> Result<Proposal, NoProposal> {
    match metric {
        MetricSpec::Resource { target: None, .. } | MetricSpec::Unknown => Err(NoProposal::InvalidMetric),
        MetricSpec::Resource { resource, container, target: Some(target) } => {
            let values = source.per_pod(metric)?;
            match *target {
                ResourceTarget::Utilization(percent) => {
                    calculator.utilization(spec, percent, (*resource, container.as_deref()), &values)
                }
                ResourceTarget::AverageValue(target) => {
                    calculator.average_of_pods(spec, target, Some(*resource), &values)
                }
            }
        }
        MetricSpec::Pods { target, .. } => {
            calculator.average_of_pods(spec, *target, None, &source.per_pod(metric)?)
        }
        MetricSpec::Object { target: ValueTarget::AverageValue(target), .. } => {
            Ok(calculator.object_average_value(status, *target, source.value(metric)?))
        }
        MetricSpec::External { target: ValueTarget::AverageValue(target), .. } => {
            Ok(calculator.external_average_value(status, *target, source.value(metric)?))
        }
        MetricSpec::Object { target: ValueTarget::Value(target), .. }
        | MetricSpec::External { target: ValueTarget::Value(target), .. } => {
            calculator.value(spec, *target, source.value(metric)?)
        }
    }
}
