//! What a request costs.

use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, in_range};
use rand_distr::{Distribution, Exp1};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a worker has to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cost {
    /// What it does meanwhile.
    pub work: Work,
    /// How long, on average: 0 to 60,000 ms.
    pub mean_ms: f64,
    /// How much it differs between requests.
    #[serde(default)]
    pub spread: Spread,
}

/// What a worker does while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    /// Uses the processor for that long, however long it takes to get it.
    Busy,
    /// Waits, as for a database.
    Sleep,
}

/// How costs are distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Spread {
    /// All requests cost the same.
    #[default]
    Fixed,
    /// Exponentially.
    Exponential,
}

impl Cost {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("meanMs", self.mean_ms, 0.0, 60_000.0).map(drop)
    }

    /// What the `k`-th request costs.
    pub(super) fn of(self, seed: Seed, k: u64) -> Duration {
        let factor = match self.spread {
            Spread::Fixed => 1.0,
            Spread::Exponential => Exp1.sample(&mut seed.nth(k).stream()),
        };
        Duration::from_secs_f64(self.mean_ms * factor / 1000.0)
    }
}

impl Work {
    /// Does it.
    pub(super) async fn last(self, time: Duration) {
        match self {
            Self::Sleep => tokio::time::sleep(time).await,
            // Not on a thread that answers requests: it would answer none meanwhile. It has no way to fail.
            Self::Busy => drop(tokio::task::spawn_blocking(move || burn(time)).await),
        }
    }
}

/// Uses the processor for `time`.
fn burn(time: Duration) {
    let until = used() + time;
    let mut number = 0_u64;
    while used() < until {
        for _ in 0..1000 {
            number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(7));
        }
    }
}

/// Processor time of this thread.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_work_uses_the_processor() {
        let before = used();
        burn(Duration::from_millis(30));
        assert!(used().saturating_sub(before) >= Duration::from_millis(30));
    }

    #[test]
    fn costs_have_their_mean_and_come_again() {
        let cost = Cost { work: Work::Sleep, mean_ms: 20.0, spread: Spread::Exponential };
        let of = |seed| (0..10_000).map(|k| cost.of(Seed::root(seed), k).as_secs_f64()).collect::<Vec<_>>();
        let drawn = of(1);
        // The mean of 10,000 exponential draws has a deviation of a hundredth of it.
        let mean = drawn.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.02).abs() < 0.001, "{mean}");
        assert_eq!(drawn, of(1));
        assert_ne!(drawn, of(2));
        let fixed = Cost { spread: Spread::Fixed, ..cost };
        assert_eq!(fixed.of(Seed::root(1), 5), Duration::from_millis(20));
    }
}
