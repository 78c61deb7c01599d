//! Batches on the clock: reports at the full hour, backups, a broadcast.

use super::MOST_RPS;
use autoscale_core::seed::Stream;
use autoscale_core::validate::{ConfigError, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// A trapezoid on a base load, again and again at the same minutes of the clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduled {
    /// Rate between batches.
    pub base_rps: f64,
    /// Rate of a batch as a multiple of the base.
    pub factor: f64,
    /// Time from one batch to the next; at least rise, hold, fall and twice the jitter.
    pub every_s: f64,
    /// Straight rise to a batch's rate.
    pub rise_s: f64,
    /// Time at that rate.
    pub hold_s: f64,
    /// Straight fall back.
    pub fall_s: f64,
    /// A batch begins up to this much before or after its time, uniformly.
    #[serde(default)]
    pub jitter_s: f64,
}

impl Scheduled {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("base_rps", self.base_rps, 0.0, MOST_RPS)?;
        in_range("factor", self.factor, 1.0, 1000.0)?;
        in_range("rise_s", self.rise_s, 1.0, 86_400.0)?;
        in_range("hold_s", self.hold_s, 0.0, 86_400.0)?;
        in_range("fall_s", self.fall_s, 1.0, 86_400.0)?;
        in_range("jitter_s", self.jitter_s, 0.0, 86_400.0)?;
        let least = self.rise_s + self.hold_s + self.fall_s + 2.0 * self.jitter_s;
        in_range("every_s", self.every_s, least, 1e7)?;
        Ok(())
    }

    /// Mean over many batches.
    pub(super) fn mean(&self) -> f64 {
        let batch = (self.factor - 1.0) * (self.hold_s + f64::midpoint(self.rise_s, self.fall_s));
        self.base_rps * (1.0 + batch / self.every_s)
    }

    /// How long after a batch was due a window begins, the first draw of its stream.
    pub(super) fn start(&self, stream: &mut Stream) -> f64 {
        stream.random::<f64>() * self.every_s
    }

    pub(super) fn rates(&self, stream: &mut Stream, lead: u32, length: u32) -> Vec<f64> {
        let seconds = lead + length;
        let start = self.start(stream);
        let batches = ((start + f64::from(seconds)) / self.every_s).ceil() as u32;
        let begins: Vec<f64> = (0..=batches)
            .map(|k| {
                f64::from(k) * self.every_s - start + self.jitter_s * (2.0 * stream.random::<f64>() - 1.0)
            })
            .collect();
        (0..seconds)
            .map(|s| {
                let share: f64 = begins.iter().map(|begin| self.share(f64::from(s) - begin)).sum();
                self.base_rps * (1.0 + (self.factor - 1.0) * share)
            })
            .collect()
    }

    /// How much of a batch there is this long after its begin, 0 to 1.
    fn share(&self, age: f64) -> f64 {
        let rise = (age / self.rise_s).clamp(0.0, 1.0);
        let fall = ((age - self.rise_s - self.hold_s) / self.fall_s).clamp(0.0, 1.0);
        rise - fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    #[test]
    fn batches_come_on_time_and_the_mean_is_right() {
        let scheduled = Scheduled {
            base_rps: 100.0,
            factor: 4.0,
            every_s: 1800.0,
            rise_s: 120.0,
            hold_s: 300.0,
            fall_s: 60.0,
            jitter_s: 0.0,
        };
        let day = scheduled.rates(&mut Seed::root(2).stream(), 0, 86_400);
        let mean = day.iter().sum::<f64>() / day.len() as f64;
        assert!((mean / scheduled.mean() - 1.0).abs() < 0.01, "{mean} against {}", scheduled.mean());
        let peaks: Vec<usize> = (1..day.len()).filter(|&s| day[s] > 399.9 && day[s - 1] <= 399.9).collect();
        assert!(peaks.len() >= 47 && peaks.windows(2).all(|w| w[1] - w[0] == 1800), "{peaks:?}");
        let late = Scheduled { jitter_s: 200.0, ..scheduled };
        let day = late.rates(&mut Seed::root(2).stream(), 0, 86_400);
        let peaks: Vec<usize> = (1..day.len()).filter(|&s| day[s] > 399.9 && day[s - 1] <= 399.9).collect();
        assert!(peaks.windows(2).any(|w| w[1] - w[0] != 1800));
        assert!(peaks.windows(2).all(|w| (w[1] - w[0]).abs_diff(1800) <= 401), "{peaks:?}");
    }
}
