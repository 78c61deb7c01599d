//! What an action index means, and which actions are of use now.

use autoscale_core::agent::{ActionIndex, ActionMask};
use autoscale_core::limits::ScalingLimits;
use autoscale_core::policy::{Observation, Target};
use autoscale_core::rule::{MeasuredUse, measured_use};
use autoscale_core::units::{Replicas, Utilization};
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
    /// Action 0 holds; action k asks for the pods that the ratio rule on measured CPU use calls for at the target
    /// `percents[k - 1]`. Without a usable sample all hold.
    Target {
        /// Utilisation targets in percent of the request, ascending.
        percents: Vec<u32>,
    },
    /// Action k asks for `counts[k]` replicas.
    Absolute {
        /// Replicas, ascending.
        counts: Vec<u32>,
    },
}

/// What an action index is to be understood from.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Replicas that are asked for now.
    current: Replicas,
    /// The base policy's answer.
    base: Target,
    /// Looked at only where targets are chosen.
    measured: Option<MeasuredUse>,
}

impl Choice {
    /// In the light of an observation, to which the base policy answers `base`.
    pub fn new(space: &ActionSpace, observation: &Observation<'_>, base: Target) -> Self {
        let measured = match space {
            ActionSpace::Target { .. } => measured_use(observation),
            _ => None,
        };
        Self { current: observation.workload.spec, base, measured }
    }
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

    /// Hold, or one of ten targets from 30 to 95 %.
    pub fn utilization() -> Self {
        Self::Target { percents: vec![30, 40, 50, 60, 65, 70, 75, 80, 87, 95] }
    }

    /// All counts between `least` and `most`, or of more than 24 that many from `least`, or 1, on, of which each is the same
    /// multiple of the one before.
    pub fn absolute(least: Replicas, most: Replicas) -> Self {
        const MOST: u32 = 24;
        let (low, high) = (least.get(), most.get().max(least.get() + 1));
        let counts = if high - low < MOST {
            (low..=high).collect()
        } else {
            let (from, to) = (f64::from(low.max(1)).ln(), f64::from(high).ln());
            let each = |k| (from + (to - from) * f64::from(k) / f64::from(MOST - 1)).exp().round() as u32;
            let mut counts: Vec<u32> = (0..MOST).map(each).collect();
            // Low counts are as far apart as whole numbers can be.
            counts.dedup();
            counts
        };
        Self::Absolute { counts }
    }

    /// How many actions there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Target { percents } => percents.len() + 1,
            Self::Absolute { counts } => counts.len(),
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
            Self::Target { percents } => std::iter::once("hold".to_owned())
                .chain(percents.iter().map(|p| format!("target {p} %")))
                .collect(),
            Self::Absolute { counts } => counts.iter().map(|n| format!("{n} replicas")).collect(),
        }
    }

    /// What an action asks for.
    ///
    /// # Panics
    /// When `action` is not one of [`Self::len`].
    pub fn target(&self, action: ActionIndex, choice: Choice) -> Target {
        let (k, Choice { current, base, measured }) = (usize::from(action.0), choice);
        match self {
            Self::Delta { steps } if steps[k] == 0 => Target::Hold,
            Self::Delta { steps } => Target::ScaleTo(current.offset(steps[k])),
            Self::Absolute { counts } => Target::ScaleTo(Replicas::new(counts[k])),
            Self::Residual { .. } | Self::Target { .. } if k == 0 => Target::Hold,
            Self::Target { percents } => measured.map_or(Target::Hold, |measured| {
                let target = Utilization::from_fraction(f64::from(percents[k - 1]) / 100.0);
                Target::ScaleTo(measured.pods(target))
            }),
            Self::Residual { factors } => {
                // The slack keeps 10 × 1.1 = 11.000000000000002 at 11.
                let wish = f64::from(base.or(current).get()) * factors[k - 1] - 1e-9;
                Target::ScaleTo(Replicas::from_ceil(wish))
            }
        }
    }

    /// Allows the actions that lead to different replica counts. Of several that are granted the same, the
    /// mildest stays: the base rule itself, then holding, then the smallest departure. Never empty.
    pub fn mask(&self, choice: Choice, limits: &ScalingLimits) -> ActionMask {
        let actions = self.len();
        // At most 64, so that nothing has to be allocated.
        let mut granted = [(Replicas::ZERO, 0.0); 64];
        for (k, slot) in granted.iter_mut().enumerate().take(actions) {
            let wish = self.target(ActionIndex(k as u16), choice);
            *slot = (limits.grant(choice.current, wish).replicas, self.departure(k, choice));
        }
        ActionMask::from_fn(actions, |k| {
            let (mine, departure) = granted[k];
            !granted[..actions].iter().enumerate().any(|(other, &(replicas, milder))| {
                replicas == mine && milder.total_cmp(&departure).then(other.cmp(&k)).is_lt()
            })
        })
    }

    /// Logits of a fresh policy: a residual space starts out following its base rule.
    pub fn initial_logits(&self) -> Vec<f32> {
        match self {
            Self::Delta { .. } | Self::Target { .. } | Self::Absolute { .. } => vec![0.0; self.len()],
            Self::Residual { factors } => std::iter::once(0.0)
                .chain(factors.iter().map(|&f| if is_one(f) { WARM_START_LOGIT } else { 0.0 }))
                .collect(),
        }
    }

    /// How far action `k` is from doing nothing of its own; zero is the mildest.
    fn departure(&self, k: usize, choice: Choice) -> f64 {
        match self {
            Self::Absolute { counts } => f64::from(choice.current.abs_diff(Replicas::new(counts[k]))),
            // Holding, and then the highest target, which asks for the fewest pods.
            Self::Target { .. } if k == 0 => 0.0,
            Self::Target { percents } => 1.0 / f64::from(percents[k - 1]),
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
        let ascending = |field: &str, numbers: &[u32], low: u64, high: u64| {
            for &n in numbers {
                count_in_range(field, u64::from(n), low, high)?;
            }
            let rises = numbers.windows(2).all(|w| w[0] < w[1]);
            let error = || ConfigError::new(field, format!("{numbers:?}"), "ascending numbers");
            rises.then_some(()).ok_or_else(error)
        };
        match &self {
            Self::Target { percents } => ascending("target.percents", percents, 1, 400)?,
            Self::Absolute { counts } => ascending("absolute.counts", counts, 0, 1_000_000)?,
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

    fn use_of(busy: f64, serving: u32) -> MeasuredUse {
        MeasuredUse::new(Utilization::from_fraction(busy), serving)
    }

    proptest! {
        #[test]
        fn allowed_actions_lead_to_different_counts_and_reach_all_that_the_space_reaches(
            current in 1u32..40, base in 0u32..60, min in 1u32..5, extra in 0u32..40, kind in 0usize..4,
            busy in 0.0f64..3.0, serving in 0u32..40,
        ) {
            let limits = ScalingLimits::between(Replicas::new(min), Replicas::new(min + extra)).unwrap();
            let space = match kind {
                0 => ActionSpace::residual(),
                1 => ActionSpace::delta(5),
                2 => ActionSpace::utilization(),
                _ => ActionSpace::absolute(limits.min(), limits.max()),
            };
            prop_assert!(space.clone().validate().is_ok());
            let residual = kind == 0;
            let measured = (serving > 0).then(|| use_of(busy, serving));
            let current = Replicas::new(current);
            let choice = Choice { current, base: Target::ScaleTo(Replicas::new(base)), measured };
            let grant = |k: usize| limits.grant(current, space.target(ActionIndex(k as u16), choice)).replicas;
            let mask = space.mask(choice, &limits);
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
        let choice = Choice { current: Replicas::new(3), base: ten, measured: None };
        let wish = |k| space.target(ActionIndex(k), choice);
        assert_eq!(wish(0), Target::Hold);
        assert_eq!(wish(5), ten);
        assert_eq!(wish(6), Target::ScaleTo(Replicas::new(11)));
        assert_eq!(wish(10), Target::ScaleTo(Replicas::new(23)));
        assert_eq!(space.table().len(), 11);
    }

    #[test]
    fn targets_and_counts_are_what_they_say() {
        let hold = Target::Hold;
        let choice = Choice { current: Replicas::new(9), base: hold, measured: Some(use_of(0.6, 10)) };
        let space = ActionSpace::Target { percents: vec![30, 60, 90] };
        let wish = |k| space.target(ActionIndex(k), choice);
        let pods = |n| Target::ScaleTo(Replicas::new(n));
        assert_eq!([wish(0), wish(1), wish(2), wish(3)], [hold, pods(20), pods(10), pods(7)]);
        let blind = Choice { measured: None, ..choice };
        let limits = ScalingLimits::between(Replicas::ONE, Replicas::new(100)).unwrap();
        assert_eq!(space.mask(blind, &limits).count(), 1, "all hold");
        let ActionSpace::Absolute { counts } = ActionSpace::absolute(Replicas::ONE, Replicas::new(100))
        else {
            panic!("another space")
        };
        assert_eq!((counts.first(), counts.last()), (Some(&1), Some(&100)));
        assert!(counts.len() > 18 && counts.windows(2).all(|w| w[0] < w[1]), "{counts:?}");
    }

    #[test]
    fn spaces_without_a_neutral_action_are_refused() {
        assert!(ActionSpace::Delta { steps: vec![-1, 1] }.validate().is_err());
        assert!(ActionSpace::Residual { factors: vec![0.5, 2.0] }.validate().is_err());
        assert!(ActionSpace::residual().validate().is_ok());
    }
}
