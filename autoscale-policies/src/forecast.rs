//! Forecasts of a load that is measured at regular times.

use autoscale_core::measurement::Measurement;
use autoscale_core::units::{RequestRate, Timestamp};
use autoscale_core::validate::{ConfigError, in_range};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// How to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum ForecastConfig {
    /// The straight line of least squares through the measurements of a window, 2 to 1,000 of them.
    Linear {
        /// Measurements.
        window: usize,
    },
    /// Level, damped trend and additive season, exponentially smoothed (Holt 1957, Winters 1960, Gardner and `McKenzie`
    /// 1985).
    HoltWinters {
        /// Smoothing of the level, 0 to 1.
        alpha: f64,
        /// Smoothing of the trend, 0 to 1.
        beta: f64,
        /// Smoothing of the season, 0 to 1.
        gamma: f64,
        /// What is left of the trend a measurement later, 0 to 1.
        damping: f64,
        /// Measurements a season, at least 2; 0 for none. It is known after the first season.
        season: usize,
    },
}

impl ForecastConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn check(self) -> Result<Self, ConfigError> {
        match self {
            Self::Linear { window } => {
                in_range("window", window as f64, 2.0, 1000.0)?;
            }
            Self::HoltWinters { alpha, beta, gamma, damping, season } => {
                for (field, value) in
                    [("alpha", alpha), ("beta", beta), ("gamma", gamma), ("damping", damping)]
                {
                    in_range(field, value, 0.0, 1.0)?;
                }
                if season != 0 {
                    in_range("season", season as f64, 2.0, 1e6)?;
                }
            }
        }
        Ok(self)
    }
}

/// A forecaster and what it has learnt of its series.
#[derive(Clone, Debug)]
pub struct Forecaster {
    config: ForecastConfig,
    /// The newest measurement, and the time from one to the next.
    newest: Option<Timestamp>,
    step: Duration,
    recent: VecDeque<f64>,
    level: f64,
    trend: f64,
    season: Vec<f64>,
    seen: usize,
}

impl Forecaster {
    /// One that has seen nothing.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(config: ForecastConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            config: config.check()?,
            newest: None,
            step: Duration::ZERO,
            recent: VecDeque::new(),
            level: 0.0,
            trend: 0.0,
            season: Vec::new(),
            seen: 0,
        })
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.newest = None;
        self.recent.clear();
        self.season.clear();
        (self.level, self.trend, self.seen) = (0.0, 0.0, 0);
    }

    /// Takes in what is new in the history.
    pub fn learn(&mut self, history: &[Measurement]) {
        let known = history.partition_point(|m| self.newest.is_some_and(|newest| m.at <= newest));
        for measurement in &history[known..] {
            if let Some(newest) = self.newest {
                self.step = measurement.at.since(newest);
            }
            self.newest = Some(measurement.at);
            self.add(measurement.arrival_rate.per_second());
            self.seen += 1;
        }
    }

    fn add(&mut self, rate: f64) {
        match self.config {
            ForecastConfig::Linear { window } => {
                self.recent.push_back(rate);
                if self.recent.len() > window {
                    self.recent.pop_front();
                }
            }
            ForecastConfig::HoltWinters { season: m, .. } if m > 0 && self.seen < m => {
                // The first season: its deviations from its mean are known at its end.
                self.season.push(rate);
                self.level = rate;
                if self.seen + 1 == m {
                    let mean = self.season.iter().sum::<f64>() / m as f64;
                    self.season.iter_mut().for_each(|s| *s -= mean);
                    (self.level, self.trend) = (mean, 0.0);
                }
            }
            ForecastConfig::HoltWinters { .. } if self.seen == 0 => self.level = rate,
            ForecastConfig::HoltWinters { alpha, beta, gamma, damping, season: m } => {
                let phase = self.seen % m.max(1);
                let s = self.season.get(phase).copied().unwrap_or(0.0);
                let expected = self.level + damping * self.trend;
                let level = alpha * (rate - s) + (1.0 - alpha) * expected;
                self.trend = beta * (level - self.level) + (1.0 - beta) * damping * self.trend;
                self.level = level;
                if let Some(s) = self.season.get_mut(phase) {
                    *s = gamma * (rate - level) + (1.0 - gamma) * *s;
                }
            }
        }
    }

    /// The rate `ahead` of the newest measurement, never negative; `None` before there was one.
    pub fn rate(&self, ahead: Duration) -> Option<RequestRate> {
        self.newest?;
        let steps = if self.step.is_zero() { 0.0 } else { ahead.as_secs_f64() / self.step.as_secs_f64() };
        let rate = match self.config {
            ForecastConfig::Linear { .. } => self.line(steps),
            ForecastConfig::HoltWinters { damping, season: m, .. } => {
                let warm = m == 0 || self.seen >= m;
                let phase = (self.seen + (steps.round() as usize).max(1) - 1) % m.max(1);
                let season = if warm { self.season.get(phase).copied().unwrap_or(0.0) } else { 0.0 };
                self.level + damped(damping, steps) * self.trend + season
            }
        };
        RequestRate::new(rate.max(0.0)).ok()
    }

    /// The highest rate from the newest measurement until `ahead` of it.
    pub fn peak(&self, ahead: Duration) -> Option<RequestRate> {
        let steps =
            if self.step.is_zero() { 0 } else { (ahead.as_secs_f64() / self.step.as_secs_f64()) as u32 };
        (0..=steps)
            .map(|k| self.step * k)
            .chain([ahead])
            .filter_map(|t| self.rate(t))
            .max_by(|a, b| a.per_second().total_cmp(&b.per_second()))
    }

    /// The line of least squares, `steps` after its newest point.
    fn line(&self, steps: f64) -> f64 {
        let n = self.recent.len() as f64;
        let (mean_x, mean_y) = ((n - 1.0) / 2.0, self.recent.iter().sum::<f64>() / n);
        let (mut covariance, mut variance) = (0.0, 0.0);
        for (x, y) in self.recent.iter().enumerate() {
            let dx = x as f64 - mean_x;
            covariance += dx * (y - mean_y);
            variance += dx * dx;
        }
        let slope = if variance > 0.0 { covariance / variance } else { 0.0 };
        mean_y + slope * (n - 1.0 + steps - mean_x)
    }
}

/// How many undamped steps so many damped ones are worth: φ + φ² + … + φᵏ, between whole k as the formula has it.
fn damped(phi: f64, steps: f64) -> f64 {
    if phi >= 1.0 { steps } else { phi * (1.0 - libm::pow(phi, steps)) / (1.0 - phi) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::measurement::ReplicaCounts;
    use proptest::prelude::*;

    const STEP: Duration = Duration::from_secs(15);

    fn history(rates: impl IntoIterator<Item = f64>) -> Vec<Measurement> {
        let measurement = |(k, rate): (usize, f64)| Measurement {
            at: Timestamp::from_secs(15 * k as i64),
            age: Duration::ZERO,
            arrival_rate: RequestRate::new(rate).unwrap(),
            cpu_utilization: None,
            memory_bytes: 0,
            in_flight: 0.0,
            queued: 0.0,
            latency: None,
            error_rate: RequestRate::ZERO,
            timeout_rate: RequestRate::ZERO,
            replicas: ReplicaCounts::default(),
        };
        rates.into_iter().enumerate().map(measurement).collect()
    }

    fn learnt(config: ForecastConfig, rates: impl IntoIterator<Item = f64>) -> Forecaster {
        let mut forecaster = Forecaster::new(config).unwrap();
        forecaster.learn(&history(rates));
        forecaster
    }

    const HOLT: ForecastConfig =
        ForecastConfig::HoltWinters { alpha: 0.7, beta: 0.3, gamma: 0.0, damping: 1.0, season: 0 };

    proptest! {
        #[test]
        fn a_straight_line_is_continued(from in 100.0f64..200.0, slope in -0.5f64..5.0, ahead in 0u32..20) {
            let rates = (0..150).map(|k| from + slope * f64::from(k));
            let expected = from + slope * f64::from(149 + ahead);
            for config in [ForecastConfig::Linear { window: 10 }, HOLT] {
                let rate = learnt(config, rates.clone()).rate(STEP * ahead).unwrap().per_second();
                prop_assert!((rate - expected).abs() < 1e-6 * expected, "{config:?}: {rate} for {expected}");
            }
        }
    }

    #[test]
    fn a_season_is_known_after_it_was_seen_twice() {
        let season = |k: u32| 100.0 + if (4..8).contains(&(k % 12)) { 60.0 } else { 0.0 };
        let config =
            ForecastConfig::HoltWinters { alpha: 0.1, beta: 0.0, gamma: 0.3, damping: 1.0, season: 12 };
        // The newest has phase 11, so a batch begins five steps later.
        let forecaster = learnt(config, (0..60).map(season));
        for ahead in 1..24 {
            let rate = forecaster.rate(STEP * ahead).unwrap().per_second();
            assert!((rate - season(59 + ahead)).abs() < 1.0, "{ahead}: {rate}");
        }
        let peak = |steps| forecaster.peak(STEP * steps).unwrap().per_second();
        assert!(peak(4) < 101.5 && peak(5) > 158.0, "{} and {}", peak(4), peak(5));
    }

    #[test]
    fn a_damped_trend_levels_off_and_a_learnt_history_is_not_learnt_again() {
        let config =
            ForecastConfig::HoltWinters { alpha: 1.0, beta: 1.0, gamma: 0.0, damping: 0.5, season: 0 };
        let mut forecaster = learnt(config, [100.0, 110.0]);
        let far = |f: &Forecaster| f.rate(STEP * 100).unwrap().per_second();
        // 110 + 10 (1/2 + 1/4 + …)
        assert!((far(&forecaster) - 120.0).abs() < 1e-9);
        forecaster.learn(&history([100.0, 110.0]));
        assert!((far(&forecaster) - 120.0).abs() < 1e-9);
        forecaster.reset();
        assert_eq!(forecaster.rate(STEP), None);
    }
}
