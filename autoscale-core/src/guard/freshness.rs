//! Whether measurements can be acted on.

use crate::measurement::{LatencySummary, Measurement};
use crate::policy::Observation;
use crate::units::{RequestRate, Timestamp};
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

/// What counters give. CPU use comes from another source.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Numbers {
    arrival_rate: RequestRate,
    latency: Option<LatencySummary>,
    in_flight: f64,
    queued: f64,
}

/// The newest measurement, and how many in a row have had its numbers.
#[derive(Clone, Copy, Debug)]
struct Run {
    at: Timestamp,
    numbers: Numbers,
    length: u32,
}

/// Watches measurements: stale at once, fresh again only after a while. It keeps what it has to know of those that it has
/// seen, so that observations need not go back further than to the last look.
#[derive(Clone, Debug)]
pub struct FreshnessGate {
    config: FreshnessConfig,
    trust: Hysteresis,
    run: Option<Run>,
}

impl Validate for FreshnessConfig {
    type Checked = FreshnessGate;

    fn validate(self) -> Result<FreshnessGate, ConfigError> {
        count_in_range("max_age_s", u64::from(self.max_age_s), 1, 3600)?;
        count_in_range("recover_after", u64::from(self.recover_after), 1, 1000)?;
        count_in_range("frozen_after", u64::from(self.frozen_after), 2, 1000)?;
        Ok(FreshnessGate { config: self, trust: Hysteresis::new(self.recover_after), run: None })
    }
}

impl FreshnessGate {
    /// Forgets what it saw.
    pub fn reset(&mut self) {
        self.trust.reset();
        self.run = None;
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
        self.take_in(observation.history);
        self.trust.look(good && !self.is_frozen())
    }

    /// Counts on from the measurement seen last. If the newest is older than that, a clock was set back, and all is counted
    /// anew.
    fn take_in(&mut self, history: &[Measurement]) {
        if let (Some(run), Some(newest)) = (self.run, history.last())
            && newest.at < run.at
        {
            self.run = None;
        }
        let known = self.run.map(|run| run.at);
        let new = known.map_or(0, |known| history.partition_point(|m| m.at <= known));
        for measurement in &history[new..] {
            let &Measurement { at, arrival_rate, latency, in_flight, queued, .. } = measurement;
            let numbers = Numbers { arrival_rate, latency, in_flight, queued };
            let before = self.run.filter(|run| run.numbers == numbers).map_or(0, |run| run.length);
            self.run = Some(Run { at, numbers, length: before.saturating_add(1) });
        }
    }

    /// Counters of a living service never give the same rates and latencies time and again. An idle one has only zeros
    /// to show.
    fn is_frozen(&self) -> bool {
        self.run.is_some_and(|run| {
            run.length >= self.config.frozen_after && run.numbers.arrival_rate > RequestRate::ZERO
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::testing::{measurement, seen};
    use crate::units::Replicas;

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
            let of = |k: usize| NOW + Duration::from_secs(k as u64);
            let history: Vec<Measurement> =
                rates.iter().enumerate().map(|(k, &rate)| of_rate(of(k), rate)).collect();
            gate.reset();
            let at_once = gate.look(&seen(of(3), Replicas::ONE, &[], &history));
            // The same one by one, the last of them looked at twice.
            gate.reset();
            let one_by_one =
                [0, 1, 2, 2].map(|k| gate.look(&seen(of(3), Replicas::ONE, &[], &history[k..=k])));
            assert_eq!(one_by_one[2..], [at_once; 2]);
            at_once
        };
        assert_eq!(look([7.0, 7.0, 7.1]), Freshness::Fresh);
        assert_eq!(look([0.0, 0.0, 0.0]), Freshness::Fresh);
        assert_eq!(look([7.0, 7.0, 7.0]), Freshness::Stale);
        assert_eq!(look([7.1, 7.0, 7.0]), Freshness::Fresh, "two in a row");
    }

    #[test]
    fn after_a_clock_was_set_back_all_is_counted_anew() {
        let mut gate = FreshnessConfig { frozen_after: 3, recover_after: 1, ..FreshnessConfig::default() }
            .validate()
            .unwrap();
        let mut look = |at: Timestamp| gate.look(&seen(at, Replicas::ONE, &[], &[of_rate(at, 7.0)]));
        let later = |seconds| NOW + Duration::from_secs(seconds);
        assert_eq!([later(900), later(915), NOW, later(15)].map(&mut look), [Freshness::Fresh; 4]);
        assert_eq!(look(later(30)), Freshness::Stale);
    }

    fn of_rate(at: Timestamp, rate: f64) -> Measurement {
        Measurement { arrival_rate: RequestRate::new(rate).unwrap(), ..measurement(at, 1) }
    }
}
