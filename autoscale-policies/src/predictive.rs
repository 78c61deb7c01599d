//! Scaling ahead of the load: a forecast over the time that a pod needs, with the reactive rule as its floor.

use crate::forecast::{ForecastConfig, Forecaster};
use crate::service::PodCapacity;
use crate::window::Highest;
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::rule::reactive;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, Utilization};
use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What can be set on the predictive rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictiveConfig {
    /// How busy pods should be, as a share of their capacity, 0.05 to 1.
    pub target_utilization: f64,
    /// Never fewer pods than this, 0 to 1,000,000.
    pub min_replicas: u32,
    /// Time from asking for a pod until it serves, 0 to 3,600 s.
    pub startup_s: f64,
    /// How the load is forecast.
    pub forecast: ForecastConfig,
    /// Scales down to the highest wish of so many seconds, 0 to 3,600.
    pub stabilization_s: f64,
}

impl Default for PredictiveConfig {
    fn default() -> Self {
        Self {
            target_utilization: 0.7,
            min_replicas: 0,
            startup_s: 30.0,
            forecast: ForecastConfig::HoltWinters {
                alpha: 0.6,
                beta: 0.3,
                gamma: 0.0,
                damping: 0.9,
                season: 0,
            },
            stabilization_s: 120.0,
        }
    }
}

/// Asks for what the highest load needs between now and the time when a pod asked for at the next decision will serve.
///
/// The horizon is start-up time + age of the measurement + one period. Never fewer than the reactive rule calls for,
/// be it on the measured rate or on measured CPU use.
#[derive(Clone, Debug)]
pub struct Predictive {
    capacity: PodCapacity,
    config: PredictiveConfig,
    period: Duration,
    forecaster: Forecaster,
    highest: Highest,
}

impl Predictive {
    /// The rule for pods of this capacity, asked every `period`.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(
        capacity: PodCapacity,
        config: PredictiveConfig,
        period: Duration,
    ) -> Result<Self, ConfigError> {
        in_range("target_utilization", config.target_utilization, 0.05, 1.0)?;
        count_in_range("min_replicas", u64::from(config.min_replicas), 0, 1_000_000)?;
        in_range("startup_s", config.startup_s, 0.0, 3600.0)?;
        let window = in_range("stabilization_s", config.stabilization_s, 0.0, 3600.0)?;
        let forecaster = Forecaster::new(config.forecast).map_err(|e| e.within("forecast"))?;
        let highest = Highest::new(Duration::from_secs_f64(window));
        Ok(Self { capacity, config, period, forecaster, highest })
    }
}

impl Policy for Predictive {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {
        self.forecaster.reset();
        self.highest.reset();
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        self.forecaster.learn(observation.history);
        let Some(last) = observation.history.last() else {
            return Decision::hold(Reason::rule("no-measurement"));
        };
        let busy = Utilization::from_fraction(self.config.target_utilization);
        let age = observation.now.since(last.at) + last.age;
        let horizon = age + Duration::from_secs_f64(self.config.startup_s) + self.period;
        let peak = self.forecaster.peak(horizon).unwrap_or(last.arrival_rate);
        let ahead = self.capacity.pods(peak, busy);
        let floor =
            self.capacity.pods(last.arrival_rate, busy).max(reactive(observation, busy).unwrap_or_default());
        let (raw, rule) = if ahead >= floor { (ahead, "forecast") } else { (floor, "reactive-floor") };
        let stable = self.highest.of(observation.now, raw);
        let wish = stable.max(Replicas::new(self.config.min_replicas));
        let bound = match () {
            () if wish > stable => Bound::Min,
            () if stable > raw => Bound::Stabilization,
            () => Bound::None,
        };
        Decision::scale_to(wish, Reason { rule, metric: Some("arrival_rate"), raw: Some(raw), bound })
    }
}
