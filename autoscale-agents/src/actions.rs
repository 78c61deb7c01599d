//! What an action index means, and which actions are of use now.

use autoscale_core::agent::{ActionIndex, ActionMask};
use autoscale_core::limits::ScalingLimits;
use autoscale_core::policy::Target;
use autoscale_core::units::Replicas;
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use serde::{Deserialize, Serialize};

/// Initial logit of the action that follows the base rule, above the others' zero.
const WARM_START_LOGIT: f32 = 2.5;

/// How an action index becomes a wish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ActionSpace {
    /// Add this many replicas; 0 holds.
    Delta {
        /// Replicas to add, ascending, with 0 among them.
        steps: Vec<i32>,
    },
    /// Action 0 holds; action k asks for the base policy's answer times `factors[k - 1]`, rounded up.
    Residual {
        /// Positive factors, ascending, with 1 among them.
        factors: Vec<f64>,
    },
}

impl ActionSpace {
    /// −k … +k replicas.
    pub fn delta(k: u16) -> Self {
        let k = i32::from(k);
        Self::Delta { steps: (-k..=k).collect() }
    }

    /// Hold, or the base policy's answer times one of ten factors from 0.5 to 2.3.
    pub fn residual() -> Self {
        Self::Residual { factors: vec![0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.85, 2.3] }
    }

    /// How many actions there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Delta { steps } => steps.len(),
            Self::Residual { factors } => factors.len() + 1,
        }
    }

    /// Never true of a checked space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One line an action, in order; checkpoints are compared by it.
    pub fn table(&self) -> Vec<String> {
        match self {
            Self::Delta { steps } => steps.iter().map(|s| format!("{s:+} replicas")).collect(),
            Self::Residual { factors } => std::iter::once("hold".to_owned())
                .chain(factors.iter().map(|f| format!("base rule x {f}")))
                .collect(),
        }
    }

    /// What action `k` asks for, where `current` replicas are asked for now and the base policy answers
    /// `base`.
    ///
    /// # Panics
    /// When `action` is not one of [`Self::len`].
    pub fn target(&self, action: ActionIndex, current: Replicas, base: Target) -> Target {
        let k = usize::from(action.0);
        match self {
            Self::Delta { steps } if steps[k] == 0 => Target::Hold,
            Self::Delta { steps } => Target::ScaleTo(current.offset(steps[k])),
            Self::Residual { .. } if k == 0 => Target::Hold,
            Self::Residual { factors } => {
                // The slack keeps 10 × 1.1 = 11.000000000000002 at 11.
                let wish = f64::from(base.or(current).get()) * factors[k - 1] - 1e-9;
                Target::ScaleTo(Replicas::from_ceil(wish))
            }
        }
    }

    /// Allows the actions that lead to different replica counts. Of several that are granted the same, the
    /// mildest stays: the base rule itself, then holding, then the smallest departure. Never empty.
    pub fn mask(&self, current: Replicas, base: Target, limits: &ScalingLimits) -> ActionMask {
        let granted =
            |k: usize| limits.grant(current, self.target(ActionIndex(k as u16), current, base)).replicas;
        ActionMask::from_fn(self.len(), |k| {
            let mine = granted(k);
            !(0..self.len()).any(|other| {
                self.departure(other).total_cmp(&self.departure(k)).then(other.cmp(&k)).is_lt()
                    && granted(other) == mine
            })
        })
    }

    /// Logits of a fresh policy: a residual space starts out following its base rule.
    pub fn initial_logits(&self) -> Vec<f32> {
        match self {
            Self::Delta { .. } => vec![0.0; self.len()],
            Self::Residual { factors } => std::iter::once(0.0)
                .chain(factors.iter().map(|&f| if is_one(f) { WARM_START_LOGIT } else { 0.0 }))
                .collect(),
        }
    }

    /// How far action `k` is from doing nothing of its own; zero is the mildest.
    fn departure(&self, k: usize) -> f64 {
        match self {
            Self::Delta { steps } => f64::from(steps[k].unsigned_abs()),
            // Holding comes right after the base rule's own answer.
            Self::Residual { .. } if k == 0 => f64::MIN_POSITIVE,
            Self::Residual { factors } => factors[k - 1].ln().abs(),
        }
    }
}

fn is_one(factor: f64) -> bool {
    (factor - 1.0).abs() < 1e-12
}

impl Validate for ActionSpace {
    type Checked = Self;

    fn validate(self) -> Result<Self, ConfigError> {
        count_in_range("actions", self.len() as u64, 2, 64)?;
        match &self {
            Self::Delta { steps } => {
                if !steps.windows(2).all(|w| w[0] < w[1]) || !steps.contains(&0) {
                    let given = format!("{steps:?}");
                    return Err(ConfigError::new("delta.steps", given, "ascending steps with 0 among them"));
                }
            }
            Self::Residual { factors } => {
                for &factor in factors {
                    in_range("residual.factors", factor, 0.05, 20.0)?;
                }
                if !factors.windows(2).all(|w| w[0] < w[1]) || !factors.iter().any(|&f| is_one(f)) {
                    let given = format!("{factors:?}");
                    return Err(ConfigError::new(
                        "residual.factors",
                        given,
                        "ascending factors with 1 among them",
                    ));
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn allowed_actions_lead_to_different_counts_and_reach_all_that_the_space_reaches(
            current in 1u32..40, base in 0u32..60, min in 1u32..5, extra in 0u32..40, residual: bool,
        ) {
            let space = if residual { ActionSpace::residual() } else { ActionSpace::delta(5) };
            let limits = ScalingLimits::between(Replicas::new(min), Replicas::new(min + extra)).unwrap();
            let (current, base) = (Replicas::new(current), Target::ScaleTo(Replicas::new(base)));
            let grant = |k: usize| limits.grant(current, space.target(ActionIndex(k as u16), current, base)).replicas;
            let mask = space.mask(current, base, &limits);
            let allowed: Vec<_> = (0..space.len()).filter(|&k| mask.allows(k)).map(grant).collect();
            let distinct: BTreeSet<_> = allowed.iter().copied().collect();
            prop_assert!(!allowed.is_empty());
            prop_assert_eq!(allowed.len(), distinct.len());
            prop_assert_eq!(distinct, (0..space.len()).map(grant).collect());
            if residual {
                prop_assert!(mask.allows(5), "the base rule's own answer is always allowed");
            }
        }
    }

    #[test]
    fn factors_multiply_the_base_rule_and_round_up() {
        let space = ActionSpace::residual();
        let ten = Target::ScaleTo(Replicas::new(10));
        let wish = |k| space.target(ActionIndex(k), Replicas::new(3), ten);
        assert_eq!(wish(0), Target::Hold);
        assert_eq!(wish(5), ten);
        assert_eq!(wish(6), Target::ScaleTo(Replicas::new(11)));
        assert_eq!(wish(10), Target::ScaleTo(Replicas::new(23)));
        assert_eq!(space.table().len(), 11);
    }

    #[test]
    fn spaces_without_a_neutral_action_are_refused() {
        assert!(ActionSpace::Delta { steps: vec![-1, 1] }.validate().is_err());
        assert!(ActionSpace::Residual { factors: vec![0.5, 2.0] }.validate().is_err());
        assert!(ActionSpace::residual().validate().is_ok());
    }
}
