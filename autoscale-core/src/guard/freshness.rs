//! Whether measurements can be acted on.

use crate::measurement::Measurement;
use crate::policy::Observation;
use crate::units::RequestRate;
use crate::validate::{ConfigError, Validate, count_in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When measurements are too old to act on, or otherwise not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreshnessConfig {
    /// A measurement is stale above this age, 1 to 3,600 s.
    pub max_age_s: u32,
    /// Fresh measurements in a row before one is trusted again, 1 to 1,000.
    pub recover_after: u32,
    /// So many measurements in a row with the same numbers, of a service that has traffic, are a frozen exporter: 2 to
    /// 1,000.
    pub frozen_after: u32,
}

impl Default for FreshnessConfig {
    fn default() -> Self {
        Self { max_age_s: 90, recover_after: 3, frozen_after: 8 }
    }
}

/// Whether measurements can be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// They can.
    Fresh,
    /// They are missing, too old, frozen or no numbers, or have been until just now.
    Stale,
}

/// Stale at once, fresh again only after a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hysteresis {
    recover_after: u32,
    /// Good looks in a row that are still missing.
    missing: u32,
}

impl Hysteresis {
    pub(super) fn new(recover_after: u32) -> Self {
        Self { recover_after, missing: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.missing = 0;
    }

    pub(super) fn look(&mut self, good: bool) -> Freshness {
        self.missing = if good { self.missing.saturating_sub(1) } else { self.recover_after };
        if self.missing == 0 { Freshness::Fresh } else { Freshness::Stale }
    }
}

/// Watches measurements: stale at once, fresh again only after a while.
#[derive(Clone, Debug)]
pub struct FreshnessGate {
    config: FreshnessConfig,
    trust: Hysteresis,
}

impl Validate for FreshnessConfig {
    type Checked = FreshnessGate;

    fn validate(self) -> Result<FreshnessGate, ConfigError> {
        count_in_range("max_age_s", u64::from(self.max_age_s), 1, 3600)?;
        count_in_range("recover_after", u64::from(self.recover_after), 1, 1000)?;
        count_in_range("frozen_after", u64::from(self.frozen_after), 2, 1000)?;
        Ok(FreshnessGate { config: self, trust: Hysteresis::new(self.recover_after) })
    }
}

impl FreshnessGate {
    /// Forgets what it saw.
    pub fn reset(&mut self) {
        self.trust.reset();
    }

    /// Looks at the newest measurements.
    pub fn look(&mut self, observation: &Observation<'_>) -> Freshness {
        let limit = Duration::from_secs(u64::from(self.config.max_age_s));
        let good = observation.history.last().is_some_and(|m| {
            // What is from later is from before a clock was set back.
            m.at <= observation.now
                && observation.now.since(m.at) + m.age <= limit
                && m.arrival_rate.per_second().is_finite()
                && m.cpu_utilization.is_none_or(|u| u.fraction().is_finite())
        });
        self.trust.look(good && !self.is_frozen(observation.history))
    }

    /// Counters of a living service never give the same rates and latencies time and again. An idle one has only zeros
    /// to show, and CPU use comes from another source than the rest.
    fn is_frozen(&self, history: &[Measurement]) -> bool {
        let count = self.config.frozen_after as usize;
        let Some(recent) = history.len().checked_sub(count).map(|from| &history[from..]) else {
            return false;
        };
        let shown = |m: &Measurement| (m.arrival_rate, m.latency, m.in_flight, m.queued);
        recent[0].arrival_rate > RequestRate::ZERO && recent.iter().all(|m| shown(m) == shown(&recent[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::{measurement, seen};
    use crate::units::{Replicas, Timestamp};

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[test]
    fn stale_at_once_and_fresh_after_a_while() {
        let mut gate = FreshnessConfig { max_age_s: 60, recover_after: 3, ..FreshnessConfig::default() }
            .validate()
            .unwrap();
        let mut look = |history: &[Measurement]| gate.look(&seen(NOW, Replicas::ONE, &[], history));
        let good = [measurement(NOW - Duration::from_secs(40), 20)];
        let old = [measurement(NOW - Duration::from_secs(40), 21)];
        assert_eq!(look(&good), Freshness::Fresh);
        for bad in [&[][..], &old] {
            assert_eq!(look(bad), Freshness::Stale);
            assert_eq!(
                [look(&good), look(&good), look(&good)],
                [Freshness::Stale, Freshness::Stale, Freshness::Fresh]
            );
        }
    }

    #[test]
    fn the_same_numbers_time_and_again_are_not_believed_unless_they_are_zero() {
        let mut gate = FreshnessConfig { frozen_after: 3, ..FreshnessConfig::default() }.validate().unwrap();
        let mut look = |rates: [f64; 3]| {
            let history = rates.map(|rate| Measurement {
                arrival_rate: RequestRate::new(rate).unwrap(),
                ..measurement(NOW, 1)
            });
            gate.reset();
            gate.look(&seen(NOW, Replicas::ONE, &[], &history))
        };
        assert_eq!(look([7.0, 7.0, 7.1]), Freshness::Fresh);
        assert_eq!(look([0.0, 0.0, 0.0]), Freshness::Fresh);
        assert_eq!(look([7.0, 7.0, 7.0]), Freshness::Stale);
    }
}
