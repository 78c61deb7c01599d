//! Day and week.

use super::{DAY_S, MOST_RPS, sine};
use autoscale_core::seed::Stream;
use autoscale_core::validate::{ConfigError, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};

const DAYS: f64 = 7.0;
/// The week begins on a Monday.
const WORKDAYS: f64 = 5.0;

/// A sine over the day, multiplied at weekends, with an hour's straight passage at midnight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weekly {
    /// Mean over a week.
    pub mean_rps: f64,
    /// Height of the day's sine as a share of the day's mean, 0 to 1.
    pub amplitude: f64,
    /// Hour of the day with the most load, 0 to 24.
    pub peak_hour: f64,
    /// Load of a day at the weekend as a multiple of a working day's, 0 to 10.
    pub weekend_factor: f64,
}

impl Weekly {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("mean_rps", self.mean_rps, 0.0, MOST_RPS)?;
        in_range("amplitude", self.amplitude, 0.0, 1.0)?;
        in_range("peak_hour", self.peak_hour, 0.0, 24.0)?;
        in_range("weekend_factor", self.weekend_factor, 0.0, 10.0)?;
        Ok(())
    }

    /// Seconds since a Monday's midnight at which a window begins, the first draw of its stream.
    pub(super) fn start(stream: &mut Stream) -> f64 {
        stream.random::<f64>() * DAYS * DAY_S
    }

    pub(super) fn rates(&self, stream: &mut Stream, lead: u32, length: u32) -> Vec<f64> {
        let start = Self::start(stream);
        let workday = self.mean_rps * DAYS / (WORKDAYS + (DAYS - WORKDAYS) * self.weekend_factor);
        (0..lead + length)
            .map(|s| {
                let t = start + f64::from(s);
                workday * self.day(t / DAY_S) * (1.0 + self.amplitude * sine(t, self.peak_hour))
            })
            .collect()
    }

    /// Factor of a time in days since a Monday's midnight.
    fn day(&self, days: f64) -> f64 {
        const PASSAGE: f64 = 1.0 / 24.0;
        let day = days % DAYS;
        // How far into the weekend, from half an hour before Saturday to half an hour before Monday.
        let begun = ((day - WORKDAYS) / PASSAGE + 0.5).clamp(0.0, 1.0);
        let ended = ((day - DAYS) / PASSAGE + 0.5).clamp(0.0, 1.0)
            - ((0.5 * PASSAGE - day) / PASSAGE).clamp(0.0, 1.0);
        1.0 + (self.weekend_factor - 1.0) * (begun - ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    #[test]
    fn a_week_has_its_mean_and_its_weekend() {
        let week = Weekly { mean_rps: 70.0, amplitude: 0.5, peak_hour: 15.0, weekend_factor: 0.5 };
        let rates = week.rates(&mut Seed::root(1).stream(), 0, 7 * 86_400);
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!((mean / 70.0 - 1.0).abs() < 0.01, "{mean}");
        let jump = rates.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
        assert!(jump < 0.1, "no jump at midnight: {jump}");
        for (day, factor) in
            [(0.5, 1.0), (4.9, 1.0), (5.0, 0.75), (5.5, 0.5), (6.9, 0.5), (7.0, 0.75), (7.1, 1.0)]
        {
            assert!((week.day(day) - factor).abs() < 1e-9, "day {day}: {}", week.day(day));
        }
    }
}
