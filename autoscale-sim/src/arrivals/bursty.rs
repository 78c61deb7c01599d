//! Bursts out of nowhere.

use super::MOST_RPS;
use crate::draw;
use autoscale_core::seed::Stream;
use autoscale_core::validate::{ConfigError, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Bursts at the times of a Poisson process, each of a height and a length of its own; where they meet they add up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bursty {
    /// Rate without bursts.
    pub base_rps: f64,
    /// Bursts per hour on average, 0 to 60.
    pub bursts_per_hour: f64,
    /// What the lowest burst adds, as a multiple of the base.
    pub add_low: f64,
    /// What the highest adds; any between is as likely.
    pub add_high: f64,
    /// Straight rise to the full height.
    pub rise_s: f64,
    /// Shortest time at the full height.
    pub hold_low_s: f64,
    /// Longest; any between is as likely.
    pub hold_high_s: f64,
    /// Straight fall back.
    pub fall_s: f64,
}

impl Bursty {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("base_rps", self.base_rps, 0.0, MOST_RPS)?;
        in_range("bursts_per_hour", self.bursts_per_hour, 0.0, 60.0)?;
        in_range("add_low", self.add_low, 0.0, 1000.0)?;
        in_range("add_high", self.add_high, self.add_low, 1000.0)?;
        in_range("rise_s", self.rise_s, 1.0, 3600.0)?;
        in_range("hold_low_s", self.hold_low_s, 0.0, 86_400.0)?;
        in_range("hold_high_s", self.hold_high_s, self.hold_low_s, 86_400.0)?;
        in_range("fall_s", self.fall_s, 1.0, 3600.0)?;
        Ok(())
    }

    /// Mean over a long time.
    pub(super) fn mean(&self) -> f64 {
        let hold = f64::midpoint(self.hold_low_s, self.hold_high_s);
        let area =
            f64::midpoint(self.add_low, self.add_high) * (hold + f64::midpoint(self.rise_s, self.fall_s));
        self.base_rps * (1.0 + self.bursts_per_hour / 3600.0 * area)
    }

    pub(super) fn rates(&self, stream: &mut Stream, lead: u32, length: u32) -> Vec<f64> {
        let seconds = f64::from(lead + length);
        let mut rates = vec![self.base_rps; (lead + length) as usize];
        if self.bursts_per_hour == 0.0 {
            return rates;
        }
        // The first that can still be felt began this long before the window.
        let mut begin = -(self.rise_s + self.hold_high_s + self.fall_s);
        loop {
            begin += draw::exponential(stream) * 3600.0 / self.bursts_per_hour;
            let add = self.add_low + (self.add_high - self.add_low) * stream.random::<f64>();
            let hold = self.hold_low_s + (self.hold_high_s - self.hold_low_s) * stream.random::<f64>();
            if begin >= seconds {
                return rates;
            }
            let end = (begin + self.rise_s + hold + self.fall_s).clamp(0.0, seconds);
            let window = begin.max(0.0).ceil() as usize..end as usize;
            for (s, rate) in rates.iter_mut().enumerate().take(window.end).skip(window.start) {
                let age = s as f64 - begin;
                let rise = (age / self.rise_s).clamp(0.0, 1.0);
                let fall = ((age - self.rise_s - hold) / self.fall_s).clamp(0.0, 1.0);
                *rate += self.base_rps * add * (rise - fall);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    #[test]
    fn bursts_have_the_mean_that_is_computed() {
        let bursty = Bursty {
            base_rps: 100.0,
            bursts_per_hour: 3.0,
            add_low: 1.0,
            add_high: 3.0,
            rise_s: 20.0,
            hold_low_s: 60.0,
            hold_high_s: 400.0,
            fall_s: 60.0,
        };
        let rates = bursty.rates(&mut Seed::root(1).stream(), 0, 2_000_000);
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        // About 1,700 bursts, whose areas scatter by 60 %: a standard error of 0.9 % of what they add.
        assert!((mean / bursty.mean() - 1.0).abs() < 0.02, "{mean} against {}", bursty.mean());
        assert!(rates.iter().all(|&r| r >= 100.0));
    }
}
