//! Averages over the last seconds.

use serde::{Deserialize, Serialize};

/// Below this the exponential weights do not fall slower.
const LEAST_COEFFICIENT: f64 = 0.2;
/// What is left of a weight at the window's far end.
const FAR_WEIGHT: f64 = 0.0001;

/// How the seconds of a window are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Averaging {
    /// All alike.
    #[default]
    Linear,
    /// The newer, the heavier.
    WeightedExponential,
}

/// A ring of seconds.
#[derive(Clone, Debug)]
pub(super) struct Window {
    averaging: Averaging,
    seconds: Vec<f64>,
    /// First and last second that was written since the last gap of a whole window.
    written: Option<(i64, i64)>,
}

impl Window {
    pub(super) fn new(seconds: u32, averaging: Averaging) -> Self {
        Self { averaging, seconds: vec![0.0; seconds as usize], written: None }
    }

    fn size(&self) -> i64 {
        self.seconds.len() as i64
    }

    fn slot(&self, second: i64) -> usize {
        second.rem_euclid(self.size()) as usize
    }

    pub(super) fn record(&mut self, now: i64, value: f64) {
        let written = match self.written {
            Some((first, last)) if now - last < self.size() => {
                for second in last + 1..=now {
                    let slot = self.slot(second);
                    self.seconds[slot] = 0.0;
                }
                (first, last.max(now))
            }
            _ => {
                self.seconds.fill(0.0);
                (now, now)
            }
        };
        self.written = Some(written);
        let slot = self.slot(now);
        self.seconds[slot] += value;
    }

    /// Whether nothing was written for more than a window.
    pub(super) fn is_empty(&self, now: i64) -> bool {
        self.written.is_none_or(|(_, last)| now - last > self.size())
    }

    pub(super) fn average(&self, now: i64) -> f64 {
        let Some((first, last)) = self.written else { return 0.0 };
        let missing = (now - last).max(0);
        if missing >= self.size() {
            return 0.0;
        }
        let known = (last - first + 1).min(self.size() - missing);
        let newest_first = (0..known).map(|back| self.seconds[self.slot(last - back)]);
        match self.averaging {
            Averaging::Linear => {
                let total: f64 = self.seconds.iter().sum();
                let stale: f64 = (last + 1..=now).map(|second| self.seconds[self.slot(second)]).sum();
                // Six decimals, as upstream.
                ((total - stale) / known as f64 * 1e6).round() / 1e6
            }
            Averaging::WeightedExponential => {
                let fall = libm::pow(FAR_WEIGHT, 1.0 / self.size() as f64);
                let coefficient = (1.0 - fall).max(LEAST_COEFFICIENT);
                let mut weight = coefficient * libm::pow(1.0 - coefficient, missing as f64);
                let mut sum = 0.0;
                for value in newest_first {
                    sum += value * weight;
                    weight *= 1.0 - coefficient;
                }
                sum
            }
        }
    }
}
