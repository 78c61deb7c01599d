//! Bounds around the reactive rule, and a budget for flapping.

use crate::limits::Bound;
use crate::policy::{Decision, Observation, Target};
use crate::rule::reactive;
use crate::units::{Replicas, Timestamp, Utilization};
use crate::validate::{ConfigError, Validate, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// Bounds around the reactive rule, and a budget for flapping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvelopeConfig {
    /// CPU use as a share of the request that the reactive rule aims at, 0.01 to 10.
    pub target_utilization: f64,
    /// No fewer pods than this times the rule's answer, 0 to 1; 0 for no floor.
    pub floor: f64,
    /// No more pods than this times the rule's answer, 1 to 1,000.
    pub ceiling: f64,
    /// Changes of direction within any hour, 0 to 1,000. When they are spent, a policy may still scale up, so there
    /// is one more at most.
    pub reversals_per_hour: u32,
}

impl Default for EnvelopeConfig {
    fn default() -> Self {
        Self { target_utilization: 0.9, floor: 1.0, ceiling: 4.0, reversals_per_hour: 20 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// The envelope of one workload.
#[derive(Clone, Debug)]
pub struct Envelope {
    config: EnvelopeConfig,
    /// Which way the last change went.
    last: Option<Direction>,
    reversals: VecDeque<Timestamp>,
}

impl Validate for EnvelopeConfig {
    type Checked = Envelope;

    fn validate(self) -> Result<Envelope, ConfigError> {
        in_range("target_utilization", self.target_utilization, 0.01, 10.0)?;
        in_range("floor", self.floor, 0.0, 1.0)?;
        in_range("ceiling", self.ceiling, 1.0, 1000.0)?;
        count_in_range("reversals_per_hour", u64::from(self.reversals_per_hour), 0, 1000)?;
        Ok(Envelope { config: self, last: None, reversals: VecDeque::new() })
    }
}

impl Envelope {
    /// Forgets what was granted.
    pub fn reset(&mut self) {
        self.last = None;
        self.reversals.clear();
    }

    /// The decision, held within the envelope. The floor is the last word, for too few pods hurt more than a change
    /// too many; without usable samples there is neither floor nor ceiling.
    pub fn hold(&mut self, observation: &Observation<'_>, mut decision: Decision) -> Decision {
        let (now, spec) = (observation.now, observation.workload.spec);
        let target = Utilization::from_fraction(self.config.target_utilization);
        let needed = reactive(observation, target).map(|pods| f64::from(pods.get()));
        let mut wish = decision.target.or(spec);
        let mut bind = |wish: &mut Replicas, to: Replicas, bound| {
            *wish = to;
            decision.reason.bound = bound;
        };
        // Pods that have been asked for but do not serve yet are not asked for again.
        let ceiling =
            needed.map(|n| Replicas::from_ceil(n * self.config.ceiling).max(observation.limits.min()));
        if let Some(ceiling) = ceiling.filter(|&ceiling| wish > ceiling.max(spec)) {
            bind(&mut wish, ceiling.max(spec), Bound::Ceiling);
        }
        while self.reversals.front().is_some_and(|&at| at + HOUR <= now) {
            self.reversals.pop_front();
        }
        let spent = self.reversals.len() >= self.config.reversals_per_hour as usize;
        if spent && wish < spec && self.last == Some(Direction::Up) {
            bind(&mut wish, spec, Bound::FlapBudget);
        }
        let floor = needed.map(|n| Replicas::from_ceil(n * self.config.floor));
        // What the driver would clamp anyway is no business of the floor.
        let floor = floor.map(|floor| floor.min(observation.limits.max()));
        if let Some(floor) = floor.filter(|&floor| wish < floor) {
            bind(&mut wish, floor, Bound::Floor);
        }
        let granted = observation.limits.grant(spec, Target::ScaleTo(wish)).replicas;
        let direction = match granted.cmp(&spec) {
            std::cmp::Ordering::Less => Some(Direction::Down),
            std::cmp::Ordering::Greater => Some(Direction::Up),
            std::cmp::Ordering::Equal => None,
        };
        // Going back within the limits is nobody's choice.
        let within = (observation.limits.min()..=observation.limits.max()).contains(&spec);
        if let Some(direction) = direction.filter(|_| within) {
            if self.last.is_some_and(|last| last != direction) {
                self.reversals.push_back(now);
            }
            self.last = Some(direction);
        }
        Decision { target: Target::ScaleTo(wish), ..decision }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::{LIMITS, pods, seen};
    use crate::policy::Reason;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_wished_stays_within_the_envelope(
            steps in proptest::collection::vec((0u32..100, 1i64..200, 1u64..900), 1..120),
            floor in 0.0f64..1.0, ceiling in 1.0f64..5.0, budget in 0u32..10,
        ) {
            let config = EnvelopeConfig { target_utilization: 0.8, floor, ceiling, reversals_per_hour: budget };
            let mut envelope = config.validate().unwrap();
            let (mut now, mut spec) = (Timestamp::ZERO, Replicas::new(5));
            let (mut last, mut reversals) = (0i64, Vec::new());
            for (wish, percent, seconds) in steps {
                now += Duration::from_secs(seconds);
                let pods = pods(spec.get(), percent, now);
                let seen = seen(now, spec, &pods, &[]);
                let wish = Decision::scale_to(Replicas::new(wish), Reason::rule("wish"));
                let held = envelope.hold(&seen, wish);
                let granted = LIMITS.grant(spec, held.target).replicas;
                let needed = f64::from(reactive(&seen, Utilization::from_fraction(0.8)).unwrap().get());
                let least = (needed * floor).min(40.0);
                prop_assert!(f64::from(granted.get()) >= least.floor(), "{granted} below {least}");
                let most = (needed * ceiling).ceil().max(f64::from(spec.get())).max(1.0);
                prop_assert!(f64::from(granted.get()) <= most, "{granted} above {most}");
                prop_assert_eq!(held.reason.bound == Bound::None, held.target == wish.target);
                let direction = i64::from(granted.get()) - i64::from(spec.get());
                if direction * last < 0 {
                    reversals.push(now);
                }
                if direction != 0 {
                    last = direction;
                }
                let within = reversals.iter().filter(|&&at| at + HOUR > now).count();
                prop_assert!(within <= budget as usize + 1, "{within} reversals within an hour");
                spec = granted;
            }
        }
    }
}
