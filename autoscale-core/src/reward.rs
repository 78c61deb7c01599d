//! Raw reward terms keep their units; weights are applied outside the environment.

use crate::validate::{ConfigError, Validate, in_range};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// What happened between two decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RewardTerms {
    /// Pod-hours paid for: every pod from creation until it is gone, starting and draining ones included.
    pub pod_hours: f64,
    /// Requests that left in the step, late, timed out, refused or lost, or that never finished.
    pub violations: u64,
    /// Requests that arrived in the step.
    pub arrivals: u64,
    /// Replicas that the decision added or removed.
    pub churn: u32,
}

impl AddAssign for RewardTerms {
    fn add_assign(&mut self, other: Self) {
        self.pod_hours += other.pod_hours;
        self.violations += other.violations;
        self.arrivals += other.arrivals;
        self.churn += other.churn;
    }
}

/// Prices, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardWeights {
    /// Price of one pod for one hour.
    pub pod_hour: f64,
    /// Price of one violated request.
    pub violation: f64,
    /// Price of one replica added or removed.
    pub churn: f64,
}

impl Default for RewardWeights {
    /// One pod-hour weighs as much as 2,000 violated requests or 100 replicas added or removed.
    fn default() -> Self {
        Self { pod_hour: 1.0, violation: 1.0 / 2000.0, churn: 0.01 }
    }
}

impl Validate for RewardWeights {
    type Checked = Self;

    fn validate(self) -> Result<Self, ConfigError> {
        in_range("pod_hour", self.pod_hour, 0.0, 1e6)?;
        in_range("violation", self.violation, 0.0, 1e6)?;
        in_range("churn", self.churn, 0.0, 1e6)?;
        Ok(self)
    }
}

/// A step's reward split by cause; all parts are costs, so none is positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PricedReward {
    /// −price × pod-hours.
    pub pods: f64,
    /// −price × violations.
    pub violations: f64,
    /// −price × |Δ replicas|.
    pub churn: f64,
}

impl PricedReward {
    /// The reward itself.
    pub fn total(self) -> f64 {
        self.pods + self.violations + self.churn
    }
}

impl RewardWeights {
    /// Prices raw terms.
    pub fn price(&self, terms: &RewardTerms) -> PricedReward {
        PricedReward {
            pods: -self.pod_hour * terms.pod_hours,
            violations: -self.violation * terms.violations as f64,
            churn: -self.churn * f64::from(terms.churn),
        }
    }
}
