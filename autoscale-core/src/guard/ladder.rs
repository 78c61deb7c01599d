//! Who decides when measurements fail.

use super::freshness::{Freshness, FreshnessConfig, FreshnessGate, Hysteresis};
use crate::policy::Observation;
use crate::units::Timestamp;
use crate::validate::{ConfigError, Validate, count_in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When to step down from the policy, and how long to stay there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LadderConfig {
    /// When the policy's measurements can be acted on.
    pub freshness: FreshnessConfig,
    /// How long nothing is changed before the fallback decides, 0 to 3,600 s.
    pub hold_s: u32,
    /// The fallback's usage samples of pods are stale above this age, 1 to 3,600 s.
    pub usage_max_age_s: u32,
}

impl Default for LadderConfig {
    fn default() -> Self {
        Self { freshness: FreshnessConfig::default(), hold_s: 60, usage_max_age_s: 120 }
    }
}

/// Who decides, from best to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The policy: its measurements are good.
    Policy,
    /// Nobody, for a while: they have just failed, and a scrape or two is often all that is missing.
    Hold,
    /// The fallback, on usage samples of pods, which come from another source.
    Fallback,
    /// Nobody, since there is nothing to decide on.
    HandsOff,
}

/// Steps down as sources fail, and up again when they have been good for a while.
#[derive(Clone, Debug)]
pub struct Ladder {
    measurements: FreshnessGate,
    usage: Hysteresis,
    usage_max_age: Duration,
    hold: Duration,
    stale_since: Option<Timestamp>,
}

impl Validate for LadderConfig {
    type Checked = Ladder;

    fn validate(self) -> Result<Ladder, ConfigError> {
        count_in_range("hold_s", u64::from(self.hold_s), 0, 3600)?;
        count_in_range("usage_max_age_s", u64::from(self.usage_max_age_s), 1, 3600)?;
        Ok(Ladder {
            measurements: self.freshness.validate()?,
            usage: Hysteresis::new(self.freshness.recover_after),
            usage_max_age: Duration::from_secs(u64::from(self.usage_max_age_s)),
            hold: Duration::from_secs(u64::from(self.hold_s)),
            stale_since: None,
        })
    }
}

impl Ladder {
    /// Forgets what it saw.
    pub fn reset(&mut self) {
        self.measurements.reset();
        self.usage.reset();
        self.stale_since = None;
    }

    /// Who decides on this observation.
    pub fn look(&mut self, observation: &Observation<'_>) -> Rung {
        let now = observation.now;
        // The metrics API's clock is another one, and may be ahead a little.
        let recent =
            |at: Timestamp| now.since(at) <= self.usage_max_age && at.since(now) <= self.usage_max_age;
        let sampled = observation
            .pods
            .iter()
            .filter(|pod| pod.is_serving())
            .any(|pod| pod.usage.as_ref().is_some_and(|usage| recent(usage.timestamp)));
        let usage = self.usage.look(sampled);
        if self.measurements.look(observation) == Freshness::Fresh {
            self.stale_since = None;
            return Rung::Policy;
        }
        let since = *self.stale_since.get_or_insert(now);
        if now.since(since) < self.hold {
            Rung::Hold
        } else if usage == Freshness::Fresh {
            Rung::Fallback
        } else {
            Rung::HandsOff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::{measurement, pods, seen};
    use crate::units::Replicas;

    #[test]
    fn one_step_at_a_time_down_and_up_only_after_a_while() {
        let config = LadderConfig {
            freshness: FreshnessConfig { max_age_s: 20, recover_after: 2, ..FreshnessConfig::default() },
            hold_s: 30,
            usage_max_age_s: 30,
        };
        let mut ladder = config.validate().unwrap();
        // At each look, 15 s apart: whether Prometheus answers, whether the metrics API does, and who decides.
        let looks = [
            (true, true, Rung::Policy),
            (false, true, Rung::Hold),
            (false, true, Rung::Hold),
            (false, true, Rung::Fallback),
            (true, true, Rung::Fallback),
            (false, false, Rung::HandsOff),
            (false, true, Rung::HandsOff),
            (false, true, Rung::Fallback),
            (true, false, Rung::HandsOff),
            (true, false, Rung::Policy),
        ];
        for (k, (measured, sampled, expected)) in looks.into_iter().enumerate() {
            let now = Timestamp::from_secs(10_000 + 15 * k as i64);
            let history = [measurement(now, if measured { 1 } else { 40 })];
            let pods = if sampled { pods(3, 50, now) } else { Vec::new() };
            let rung = ladder.look(&seen(now, Replicas::new(3), &pods, &history));
            assert_eq!(rung, expected, "look {k}");
        }
    }
}
