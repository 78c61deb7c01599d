//! A tournament's web site.

use super::{DAY_S, MOST_RPS, sine, time_of_day};
use crate::draw;
use autoscale_core::seed::Stream;
use autoscale_core::validate::{ConfigError, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// A web site during a tournament: a day rhythm, surges around matches whose hours vary from day to day,
/// and sudden spikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchDay {
    /// Mean over many days.
    pub mean_rps: f64,
    /// Height of the day's sine as a share of the base load.
    pub day_amplitude: f64,
    /// Hour of the day with the most everyday load.
    pub peak_hour: f64,
    /// Matches a day; each at a uniformly drawn time between noon and 22 h.
    pub matches: u32,
    /// Least height of a surge as a multiple of the base load.
    pub surge_low: f64,
    /// Largest height of a surge as a multiple of the base load; heights between are drawn uniformly.
    pub surge_high: f64,
    /// Standard deviation in time of a surge's bell shape: half-width at half height is 1.18 times this.
    pub surge_width_s: f64,
    /// Spikes per hour, at times of a Poisson process.
    pub spikes_per_hour: f64,
    /// Least height of a spike as a multiple of the load at that time.
    pub spike_low: f64,
    /// Largest height of a spike; heights between are drawn with small ones more frequent.
    pub spike_high: f64,
    /// Shortest rise of a spike to its peak.
    pub spike_rise_low_s: f64,
    /// Longest rise of a spike to its peak.
    pub spike_rise_high_s: f64,
    /// Mean time in which a spike dies away (exponentially).
    pub spike_decay_s: f64,
}

impl MatchDay {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range("mean_rps", self.mean_rps, 0.0, MOST_RPS)?;
        in_range("day_amplitude", self.day_amplitude, 0.0, 1.0)?;
        in_range("peak_hour", self.peak_hour, 0.0, 24.0)?;
        in_range("matches", f64::from(self.matches), 0.0, 10.0)?;
        in_range("surge_low", self.surge_low, 0.0, 100.0)?;
        in_range("surge_high", self.surge_high, self.surge_low, 100.0)?;
        in_range("surge_width_s", self.surge_width_s, 60.0, 20_000.0)?;
        in_range("spikes_per_hour", self.spikes_per_hour, 0.0, 60.0)?;
        in_range("spike_low", self.spike_low, 1.0, 100.0)?;
        in_range("spike_high", self.spike_high, self.spike_low, 100.0)?;
        in_range("spike_rise_low_s", self.spike_rise_low_s, 1.0, 3600.0)?;
        in_range("spike_rise_high_s", self.spike_rise_high_s, self.spike_rise_low_s, 3600.0)?;
        in_range("spike_decay_s", self.spike_decay_s, 1.0, 3600.0)?;
        Ok(())
    }

    /// Mean of surges and spikes as a multiple of the base load, so that the mean comes out as asked.
    fn normaliser(&self) -> f64 {
        let bell = self.surge_width_s * TAU.sqrt();
        let surges = f64::from(self.matches) * f64::midpoint(self.surge_low, self.surge_high) * bell / DAY_S;
        // Height − 1 of a spike is low + (high − low) u², whose mean is low + (high − low)/3.
        let height = self.spike_low - 1.0 + (self.spike_high - self.spike_low) / 3.0;
        let rise = f64::midpoint(self.spike_rise_low_s, self.spike_rise_high_s) / 2.0;
        let spikes = self.spikes_per_hour * height * (rise + self.spike_decay_s) / 3600.0;
        (1.0 + surges) * (1.0 + spikes)
    }

    pub(super) fn rates(&self, stream: &mut Stream, lead: u32, length: u32) -> Vec<f64> {
        let start = time_of_day(stream);
        // Matches of the day and of its neighbours, whose surges reach over midnight.
        let mut matches = Vec::new();
        for day in -1..=2 {
            for _ in 0..self.matches {
                let hour = 12.0 + 10.0 * stream.random::<f64>();
                let height = self.surge_low + (self.surge_high - self.surge_low) * stream.random::<f64>();
                matches.push((f64::from(day) * DAY_S + hour * 3600.0, height));
            }
        }
        let mut spikes = Vec::new();
        if self.spikes_per_hour > 0.0 {
            // A spike that began an hour ago may still be felt.
            let mut t = -f64::from(lead) - 3600.0;
            loop {
                t += draw::exponential(stream) * 3600.0 / self.spikes_per_hour;
                let u: f64 = stream.random();
                let height = self.spike_low - 1.0 + (self.spike_high - self.spike_low) * u * u;
                let rise = self.spike_rise_low_s
                    + (self.spike_rise_high_s - self.spike_rise_low_s) * stream.random::<f64>();
                if t >= f64::from(length) {
                    break;
                }
                spikes.push((t, height, rise));
            }
        }
        let base = self.mean_rps / self.normaliser();
        (0..lead + length)
            .map(|s| {
                let t = f64::from(s) - f64::from(lead);
                let surges: f64 = matches
                    .iter()
                    .map(|&(at, height)| {
                        let distance = (start + t - at) / self.surge_width_s;
                        height * libm::exp(-distance * distance / 2.0)
                    })
                    .sum();
                let spike: f64 = spikes
                    .iter()
                    .filter(|&&(at, _, _)| t >= at)
                    .map(|&(at, height, rise)| {
                        let age = t - at;
                        height
                            * if age < rise {
                                age / rise
                            } else {
                                libm::exp(-(age - rise) / self.spike_decay_s)
                            }
                    })
                    .sum();
                base * (1.0 + self.day_amplitude * sine(start + t, self.peak_hour) + surges) * (1.0 + spike)
            })
            .collect()
    }
}
