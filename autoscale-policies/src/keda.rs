//! KEDA's part beside the HPA that it makes: 0 ↔ 1 by polling and cool-down, and the fallback of a failing trigger
//! (kedacore/keda, `pkg/scaling/executor/scale_scaledobjects.go`, `pkg/fallback/fallback.go`). From one pod on the HPA
//! decides, on an external metric.

use crate::hpa::{
    BehaviorSpec, Controller, ControllerConfig, HpaSpec, MetricSource, MetricSpec, NoProposal, PodValues,
    Range, Reconciled, ValueTarget, Write,
};
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Replicas, Timestamp};
use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The HPA's sync period.
pub(crate) const SYNC: Duration = Duration::from_secs(15);

/// A `ScaledObject` with one trigger of type `AverageValue`, with KEDA's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KedaConfig {
    /// The trigger's value that a pod should have, above 0.
    pub threshold: f64,
    /// Above this value the trigger is active.
    pub activation_threshold: f64,
    /// `pollingInterval`, 1 to 3,600 s.
    pub polling_interval_s: u32,
    /// `cooldownPeriod`: so long after the trigger was last active the count goes to idle or zero.
    pub cooldown_period_s: u32,
    /// `initialCooldownPeriod`: the same for a trigger that never was, after the object was made.
    pub initial_cooldown_period_s: u32,
    /// `minReplicaCount`.
    pub min_replica_count: u32,
    /// `maxReplicaCount`.
    pub max_replica_count: u32,
    /// `idleReplicaCount`, below the minimum.
    pub idle_replica_count: Option<u32>,
    /// `fallback`, with behavior `static`.
    pub fallback: Option<Fallback>,
}

/// What holds while the trigger fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// More failures in a row than this.
    pub failure_threshold: u32,
    /// So many pods.
    pub replicas: u32,
}

impl Default for KedaConfig {
    fn default() -> Self {
        Self {
            threshold: 20.0,
            activation_threshold: 0.0,
            polling_interval_s: 30,
            cooldown_period_s: 300,
            initial_cooldown_period_s: 0,
            min_replica_count: 0,
            max_replica_count: 100,
            idle_replica_count: None,
            fallback: None,
        }
    }
}

/// The operator and its HPA, for one workload.
#[derive(Clone, Debug)]
pub struct Keda {
    config: KedaConfig,
    controller: Controller,
    created: Option<Timestamp>,
    next_poll: Timestamp,
    last_active: Option<Timestamp>,
    /// Failures of the trigger in a row.
    failures: u32,
    /// A rescale whose write is not yet known to have got through.
    pending: Option<(Reconciled, Timestamp)>,
}

/// The trigger as the HPA is told of it.
struct Trigger(Option<Milli>);

impl MetricSource for Trigger {
    fn per_pod(&self, _: &MetricSpec) -> Result<PodValues, NoProposal> {
        Err(NoProposal::InvalidMetric)
    }

    fn value(&self, _: &MetricSpec) -> Result<Milli, NoProposal> {
        self.0.ok_or(NoProposal::FetchFailed)
    }
}

impl Keda {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(config: KedaConfig) -> Result<Self, ConfigError> {
        in_range("threshold", config.threshold, 1e-3, 1e12)?;
        in_range("activation_threshold", config.activation_threshold, 0.0, 1e12)?;
        count_in_range("polling_interval_s", u64::from(config.polling_interval_s), 1, 3600)?;
        count_in_range("max_replica_count", u64::from(config.max_replica_count), 1, 1_000_000)?;
        let most = u64::from(config.max_replica_count);
        count_in_range("min_replica_count", u64::from(config.min_replica_count), 0, most)?;
        if let Some(idle) = config.idle_replica_count {
            let below = u64::from(config.min_replica_count).saturating_sub(1);
            count_in_range("idle_replica_count", u64::from(idle), 0, below)?;
        }
        let spec = HpaSpec {
            range: Range {
                min: config.min_replica_count.max(1) as i32,
                max: config.max_replica_count as i32,
            },
            metrics: vec![MetricSpec::External {
                name: "s0-trigger".into(),
                target: ValueTarget::AverageValue(Milli::from_units_ceil(config.threshold)),
            }],
            behavior: Some(BehaviorSpec::default()),
        };
        Ok(Self {
            config,
            controller: Controller::new(spec, ControllerConfig::default(), 0)?,
            created: None,
            next_poll: Timestamp::ZERO,
            last_active: None,
            failures: 0,
            pending: None,
        })
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.controller.reset(0);
        (self.created, self.last_active, self.pending) = (None, None, None);
        self.failures = 0;
    }

    /// A sync of the HPA, after a poll if one is due: what `spec.replicas` should be. The object is made at the first
    /// call. `spec` and `status` are the workload's counts; `value` is the trigger's, `None` when it fails.
    pub fn sync(&mut self, now: Timestamp, (spec, status): (i32, i32), value: Option<f64>) -> i32 {
        if self.created.is_none() {
            (self.created, self.next_poll) = (Some(now), now);
            self.controller.reset(spec);
        }
        if let Some((reconciled, at)) = self.pending.take() {
            let write = if spec == reconciled.desired { Write::Succeeded } else { Write::Failed };
            self.controller.wrote(&reconciled, write, at);
        }
        let mut replicas = spec;
        if now >= self.next_poll {
            self.next_poll = now + Duration::from_secs(u64::from(self.config.polling_interval_s));
            self.count_failure(value);
            replicas = self.poll(now, spec, value);
        }
        self.count_failure(value);
        let metric = value.map(Milli::from_units_ceil).or_else(|| self.fallback_value());
        let reconciled = self.controller.reconcile((replicas, status), &[], now, &Trigger(metric));
        if reconciled.rescale.is_some() {
            replicas = reconciled.desired;
            self.pending = Some((reconciled, now));
        }
        replicas
    }

    /// A sync as a decision, by a rule of this name on this metric.
    pub(crate) fn decide(
        &mut self,
        observation: &Observation<'_>,
        value: Option<f64>,
        rule: &'static str,
        metric: &'static str,
    ) -> Decision {
        let workload = observation.workload;
        let counts = (workload.spec.get() as i32, workload.status.get() as i32);
        let wish = Replicas::new(self.sync(observation.now, counts, value).max(0) as u32);
        let reason = Reason { rule, metric: Some(metric), raw: None, bound: Bound::None };
        if wish == workload.spec { Decision::hold(reason) } else { Decision::scale_to(wish, reason) }
    }

    /// Both the polling loop and the HPA's reads count.
    fn count_failure(&mut self, value: Option<f64>) {
        self.failures = if value.is_some() { 0 } else { self.failures.saturating_add(1) };
    }

    /// What the HPA is told in place of the value of a trigger that has failed too often.
    fn fallback_value(&self) -> Option<Milli> {
        let fallback = self.config.fallback.filter(|f| self.failures > f.failure_threshold)?;
        Some(Milli::new((self.config.threshold * f64::from(fallback.replicas) * 1000.0) as i64))
    }

    /// The polling loop's part.
    fn poll(&mut self, now: Timestamp, current: i32, value: Option<f64>) -> i32 {
        let config = self.config;
        let (least, idle) = (config.min_replica_count as i32, config.idle_replica_count.map(|n| n as i32));
        let falls_back = value.is_none() && self.fallback_value().is_some();
        let active = falls_back || value.is_some_and(|value| value > config.activation_threshold);
        if active {
            if current == 0 || (idle.is_some() && current < least) {
                self.last_active = Some(now);
                return least.max(1);
            }
            if value.is_some() {
                self.last_active = Some(now);
            }
            return current;
        }
        if value.is_none() {
            return current;
        }
        let cools = idle.is_some_and(|idle| current > idle) || (current > 0 && least == 0);
        if cools {
            let seconds = |s: u32| Duration::from_secs(u64::from(s));
            let over = match self.last_active {
                Some(at) => at + seconds(config.cooldown_period_s) < now,
                None => self.created.is_some_and(|at| at + seconds(config.initial_cooldown_period_s) < now),
            };
            return if over { idle.unwrap_or(least) } else { current };
        }
        if idle.is_none() && current < least { least } else { current }
    }
}

/// KEDA with a trigger on the measured rate of requests.
#[derive(Clone, Debug)]
pub struct KedaPolicy(Keda);

impl KedaPolicy {
    /// `threshold` is in requests per second and pod.
    pub const fn new(keda: Keda) -> Self {
        Self(keda)
    }
}

impl Policy for KedaPolicy {
    fn cadence(&self) -> Cadence {
        Cadence::every(SYNC)
    }

    fn reset(&mut self, _: Seed) {
        self.0.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let rate = observation.history.last().map(|m| m.arrival_rate.per_second());
        self.0.decide(observation, rate, "keda", "arrival_rate")
    }
}
