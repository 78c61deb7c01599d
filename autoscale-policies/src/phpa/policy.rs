//! The models as a policy: the HPA's own recommendation, a forecast of it, and the larger of the two.

use super::{HoltWinters, linear, replicas};
use crate::hpa::{
    Behavior, Controller, ControllerConfig, HpaSpec, Legacy, MetricSpec, Normalizer, Range, Readiness,
    Resource, ResourceTarget,
};
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, Policy, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_core::validate::{ConfigError, count_in_range};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// How the next recommendation is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Model {
    /// A straight line through the last recommendations.
    Linear {
        /// So many of them.
        history_size: usize,
        /// So far ahead.
        look_ahead_s: u32,
    },
    /// Level, trend and season.
    HoltWinters {
        /// Its coefficients.
        #[serde(flatten)]
        model: HoltWinters,
        /// Whole seasons that are kept.
        stored_seasons: usize,
        /// In which order it gets them.
        order: Order,
    },
}

/// The order of the series that the seasonal model gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Oldest first, as is meant.
    #[default]
    Chronological,
    /// As upstream has it: the stored points newest first, then the newest of all.
    Reversed,
}

/// How the recommendation and the prediction become one (`decisionType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionType {
    /// The larger.
    #[default]
    Maximum,
    /// The smaller.
    Minimum,
    /// Their mean, halves away from zero.
    Mean,
}

/// What can be set on a `PredictiveHorizontalPodAutoscaler` with one model and a CPU target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhpaConfig {
    /// `averageUtilization` of the CPU target, in percent.
    pub target_utilization_percent: u32,
    /// The model.
    pub model: Model,
    /// How its prediction counts.
    pub decision_type: DecisionType,
}

impl Default for PhpaConfig {
    fn default() -> Self {
        Self {
            target_utilization_percent: 80,
            model: Model::Linear { history_size: 6, look_ahead_s: 60 },
            decision_type: DecisionType::Maximum,
        }
    }
}

/// The predictive HPA as a policy. Its limits are the workload's.
#[derive(Clone, Debug)]
pub struct Phpa {
    config: PhpaConfig,
    controller: Controller,
    normalizer: Normalizer,
    history: VecDeque<(Timestamp, f64)>,
    /// A change that is not yet known to have got through: from, to, when.
    pending: Option<(i32, i32, Timestamp)>,
}

/// Upstream's own: the HPA's default policies, but by the minute.
fn behavior() -> Behavior {
    let mut behavior = Behavior::default();
    for rules in [&mut behavior.scale_up, &mut behavior.scale_down] {
        for policy in &mut rules.policies {
            policy.period_seconds = 60;
        }
    }
    behavior
}

impl Phpa {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(config: PhpaConfig) -> Result<Self, ConfigError> {
        let percent = u64::from(config.target_utilization_percent);
        count_in_range("target_utilization_percent", percent, 1, 10_000)?;
        match config.model {
            Model::Linear { history_size, .. } => {
                count_in_range("model.history_size", history_size as u64, 1, 10_000)?;
            }
            Model::HoltWinters { model, stored_seasons, .. } => {
                model.validate().map_err(|e| e.within("model"))?;
                count_in_range("model.stored_seasons", stored_seasons as u64, 1, 1000)?;
            }
        }
        let target = Some(ResourceTarget::Utilization(config.target_utilization_percent as i32));
        let spec = HpaSpec {
            range: Range { min: 1, max: i32::MAX },
            metrics: vec![MetricSpec::Resource { resource: Resource::Cpu, container: None, target }],
            behavior: None,
        };
        let standard = ControllerConfig::default();
        let readiness =
            Readiness { cpu_initialization_period: Duration::from_secs(30), ..standard.readiness };
        Ok(Self {
            config,
            controller: Controller::new(spec, ControllerConfig { readiness, ..standard }, 0)?,
            normalizer: Normalizer::new(Some(behavior()), Legacy::default()),
            history: VecDeque::new(),
            pending: None,
        })
    }

    /// The model's prediction on the history; `None` when it has none.
    fn predict(&self, now: Timestamp) -> Option<i64> {
        let forecast = match self.config.model {
            Model::Linear { look_ahead_s, .. } => {
                let points: Vec<(Timestamp, f64)> = self.history.iter().copied().collect();
                linear(&points, now, Duration::from_secs(u64::from(look_ahead_s)))
            }
            Model::HoltWinters { model, order, .. } => {
                let mut series: Vec<f64> = self.history.iter().map(|&(_, count)| count).collect();
                if order == Order::Reversed {
                    let stored = series.len().saturating_sub(1);
                    series[..stored].reverse();
                }
                // Too short a series predicts nothing.
                Some(model.forecast(&series).unwrap_or(0.0))
            }
        };
        forecast.filter(|f| f.is_finite()).map(replicas)
    }

    /// How many points are kept.
    fn kept(&self) -> usize {
        match self.config.model {
            Model::Linear { history_size, .. } => history_size,
            Model::HoltWinters { model, stored_seasons, .. } => {
                let season = model.seasonal_periods;
                // Whole seasons go at once.
                let excess = self.history.len().saturating_sub(stored_seasons * season);
                self.history.len() - excess / season * season
            }
        }
    }
}

impl Policy for Phpa {
    fn cadence(&self) -> Cadence {
        Cadence::every(Duration::from_secs(15))
    }

    fn reset(&mut self, _: Seed) {
        self.controller.reset(0);
        self.normalizer.reset();
        self.history.clear();
        self.pending = None;
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let (now, workload) = (observation.now, observation.workload);
        let spec = workload.spec.get() as i32;
        if let Some((from, to, at)) = self.pending.take()
            && workload.last_write == LastWrite::Succeeded
        {
            self.normalizer.rescaled(from, to, at);
        }
        let scale = (spec, workload.status.get() as i32);
        let metrics = crate::hpa::Observed(observation);
        let reconciled = self.controller.reconcile(scale, observation.pods, now, &metrics);
        let Some((calculated, _)) = reconciled.raw else {
            return Decision::hold(Reason::rule("no-recommendation"));
        };
        self.history.push_back((now, f64::from(calculated)));
        let predicted = self.predict(now);
        let kept = self.kept();
        self.history.drain(..self.history.len() - kept.min(self.history.len()));

        let calculated = i64::from(calculated);
        let chosen = match (predicted, self.config.decision_type) {
            (None, _) => calculated,
            (Some(predicted), DecisionType::Maximum) => calculated.max(predicted),
            (Some(predicted), DecisionType::Minimum) => calculated.min(predicted),
            (Some(predicted), DecisionType::Mean) => (calculated + predicted + 1).div_euclid(2),
        };
        let rule = if chosen == calculated { "recommendation" } else { "prediction" };
        let chosen = chosen.clamp(0, i64::from(i32::MAX)) as i32;
        // The limits come last, and are the driver's.
        let unlimited = Range { min: i32::MIN, max: i32::MAX };
        let wish = self.normalizer.normalize(spec, chosen, unlimited, now).desired.max(0);
        let bound = if wish == chosen { Bound::None } else { Bound::Stabilization };
        let raw = Some(Replicas::new(chosen as u32));
        let reason = Reason { rule, metric: Some("cpu"), raw, bound };
        let limits = observation.limits;
        let granted = Replicas::new(wish as u32).clamp(limits.min(), limits.max());
        if granted == workload.spec {
            return Decision::hold(reason);
        }
        self.pending = Some((spec, granted.get() as i32, now));
        Decision::scale_to(granted, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Component;
    use super::*;

    #[test]
    fn the_seasonal_model_gets_its_series_in_order_unless_told_otherwise() {
        let model = HoltWinters {
            trend: Component::Additive,
            seasonal: Component::Additive,
            alpha: 0.9,
            beta: 0.5,
            gamma: 0.0,
            seasonal_periods: 4,
        };
        let predicted = |order, counts: &[f64]| {
            let model = Model::HoltWinters { model, stored_seasons: 6, order };
            let mut phpa = Phpa::new(PhpaConfig { model, ..PhpaConfig::default() }).unwrap();
            let at = |k: usize| Timestamp::from_secs(15 * k as i64);
            phpa.history = counts.iter().enumerate().map(|(k, &count)| (at(k), count)).collect();
            phpa.predict(at(counts.len())).unwrap()
        };
        let rising: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(predicted(Order::Chronological, &rising), 21);
        // Upstream stores newest first: 19, 18, … 1, and then the newest.
        let mut stored: Vec<f64> = (1..=19).rev().map(f64::from).collect();
        stored.push(20.0);
        let upstream = predicted(Order::Reversed, &rising);
        assert_eq!(upstream, predicted(Order::Chronological, &stored));
        assert_ne!(upstream, 21);
        // Too short a series predicts nothing, so that only the recommendation counts.
        assert_eq!(predicted(Order::Chronological, &rising[..10]), 0);
    }
}
