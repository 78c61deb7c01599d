//! The last word on every wish, in the simulator and in the cluster.

use crate::policy::Target;
use crate::units::Replicas;
use crate::validate::{ConfigError, Validate};
use serde::{Deserialize, Serialize};

/// What kept a wish from being granted as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Nothing.
    #[default]
    None,
    /// `minReplicas`.
    Min,
    /// `maxReplicas`.
    Max,
    /// The largest step up at once.
    StepUp,
    /// The largest step down at once.
    StepDown,
    /// A stabilisation window.
    Stabilization,
    /// A guard's floor: no fewer pods than measured use calls for.
    Floor,
    /// A guard's ceiling: not so many times what measured use calls for.
    Ceiling,
    /// A guard's budget of reversals was spent.
    FlapBudget,
    /// A controller that has just started does not scale down yet.
    StartUp,
}

/// How far a workload may be scaled, in all and at once, as it is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Never fewer pods than this.
    pub min_replicas: u32,
    /// Never more pods than this.
    pub max_replicas: u32,
    /// At most this many pods more per decision; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step_up: Option<u32>,
    /// At most this many pods fewer per decision; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step_down: Option<u32>,
}

/// Checked limits: `1 <= min <= max`, steps of at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ScalingLimits {
    min: Replicas,
    max: Replicas,
    step_up: Option<Replicas>,
    step_down: Option<Replicas>,
}

impl Validate for LimitsConfig {
    type Checked = ScalingLimits;

    fn validate(self) -> Result<ScalingLimits, ConfigError> {
        const MOST: u32 = 10_000;
        if !(1..=MOST).contains(&self.max_replicas) {
            return Err(ConfigError::new("max_replicas", self.max_replicas, format!("1 to {MOST}")));
        }
        if !(1..=self.max_replicas).contains(&self.min_replicas) {
            let expected = format!("1 to max_replicas ({})", self.max_replicas);
            return Err(ConfigError::new("min_replicas", self.min_replicas, expected));
        }
        for (field, step) in [("max_step_up", self.max_step_up), ("max_step_down", self.max_step_down)] {
            if step == Some(0) {
                return Err(ConfigError::new(field, 0, "at least 1, or no such line"));
            }
        }
        Ok(ScalingLimits {
            min: Replicas::new(self.min_replicas),
            max: Replicas::new(self.max_replicas),
            step_up: self.max_step_up.map(Replicas::new),
            step_down: self.max_step_down.map(Replicas::new),
        })
    }
}

/// What a wish became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The new `spec.replicas`.
    pub replicas: Replicas,
    /// What bound it.
    pub bound: Bound,
}

impl ScalingLimits {
    /// Limits from `min` to `max` without step limits.
    ///
    /// # Errors
    /// When `min` is zero or above `max`.
    pub fn between(min: Replicas, max: Replicas) -> Result<Self, ConfigError> {
        LimitsConfig {
            min_replicas: min.get(),
            max_replicas: max.get(),
            max_step_up: None,
            max_step_down: None,
        }
        .validate()
    }

    /// `minReplicas`.
    pub const fn min(&self) -> Replicas {
        self.min
    }

    /// `maxReplicas`.
    pub const fn max(&self) -> Replicas {
        self.max
    }

    /// Turns a wish into what is asked of the cluster. Steps are limited first, bounds come last, so the
    /// result is always within [`Self::min`] and [`Self::max`].
    pub fn grant(&self, current: Replicas, target: Target) -> Granted {
        let wish = target.or(current);
        let mut granted = Granted { replicas: wish, bound: Bound::None };
        if let Some(step) = self.step_up {
            let most = Replicas::new(current.get().saturating_add(step.get()));
            if wish > most {
                granted = Granted { replicas: most, bound: Bound::StepUp };
            }
        }
        if let Some(step) = self.step_down {
            let least = Replicas::new(current.get().saturating_sub(step.get()));
            if wish < least {
                granted = Granted { replicas: least, bound: Bound::StepDown };
            }
        }
        if granted.replicas < self.min {
            granted = Granted { replicas: self.min, bound: Bound::Min };
        }
        if granted.replicas > self.max {
            granted = Granted { replicas: self.max, bound: Bound::Max };
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn grants_stay_within_bounds_and_are_settled(
            min in 1u32..50, extra in 0u32..50, current in 0u32..120, wish in 0u32..500,
            up in proptest::option::of(1u32..20), down in proptest::option::of(1u32..20),
        ) {
            let limits = LimitsConfig {
                min_replicas: min, max_replicas: min + extra, max_step_up: up, max_step_down: down,
            }.validate().expect("in range");
            let wish = Target::ScaleTo(Replicas::new(wish));
            let granted = limits.grant(Replicas::new(current), wish);
            prop_assert!(granted.replicas >= limits.min() && granted.replicas <= limits.max());
            // Holding what was granted changes nothing.
            prop_assert_eq!(limits.grant(granted.replicas, Target::Hold).replicas, granted.replicas);
            if granted.bound == Bound::None {
                prop_assert_eq!(Target::ScaleTo(granted.replicas), wish);
            }
        }
    }

    #[test]
    fn a_minimum_above_the_maximum_is_refused_by_name() {
        let error = ScalingLimits::between(Replicas::new(5), Replicas::new(3)).expect_err("5 > 3");
        assert_eq!(error.field, "min_replicas");
        assert_eq!(error.expected, "1 to max_replicas (3)");
    }
}
