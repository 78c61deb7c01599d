//! One step ahead on replica counts: the two models of the Predictive Horizontal Pod Autoscaler (jthomperoo,
//! `algorithms/linear_regression` and `algorithms/holt_winters`; the latter is statsmodels' exponential smoothing with
//! fixed coefficients).

mod policy;

pub use policy::{DecisionType, Model, Order, Phpa, PhpaConfig};

use autoscale_core::units::Timestamp;
use autoscale_core::validate::{ConfigError, in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Upstream's `ceil` acts on noise of the last digits; forecasts this little above a whole number are that number.
const NOISE: f64 = 1e-9;
/// Moving averages that the first level and trend come from.
const FIRST_AVERAGES: usize = 10;
/// Seasons that the first state comes from, at most and if that suffices.
const FIRST_SEASONS: usize = 5;

/// A forecast as a count of replicas.
pub fn replicas(forecast: f64) -> i64 {
    (forecast - NOISE).ceil() as i64
}

/// The straight line of least squares through the history, at `now + look_ahead`; `None` of no history.
pub fn linear(history: &[(Timestamp, f64)], now: Timestamp, look_ahead: Duration) -> Option<f64> {
    let at = now + look_ahead;
    let n = history.len() as f64;
    let mean = |value: &dyn Fn(&(Timestamp, f64)) -> f64| history.iter().map(value).sum::<f64>() / n;
    let x = |point: &(Timestamp, f64)| at.as_secs_f64() - point.0.as_secs_f64();
    let (mean_x, mean_y) = (mean(&x), mean(&|point| point.1));
    let covariance: f64 = history.iter().map(|p| (x(p) - mean_x) * (p.1 - mean_y)).sum();
    let variance: f64 = history.iter().map(|p| (x(p) - mean_x) * (x(p) - mean_x)).sum();
    match history.len() {
        0 => None,
        // All at once: there is no slope.
        _ if variance <= 0.0 => Some(mean_y),
        _ => Some(mean_y - covariance / variance * mean_x),
    }
}

/// How a component enters the forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Component {
    /// As a term.
    #[serde(rename = "add")]
    Additive,
    /// As a factor.
    #[serde(rename = "mul")]
    Multiplicative,
}

/// Exponential smoothing with trend and season (Holt 1957, Winters 1960).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoltWinters {
    /// How the trend enters.
    pub trend: Component,
    /// How the season enters.
    pub seasonal: Component,
    /// Smoothing of the level, 0 to 1.
    pub alpha: f64,
    /// Smoothing of the trend, 0 to 1.
    pub beta: f64,
    /// Smoothing of the season, 0 to 1.
    pub gamma: f64,
    /// Length of a season in steps, at least 2.
    pub seasonal_periods: usize,
}

/// Level, trend and season at the start.
#[derive(Clone, Debug, PartialEq)]
pub struct InitialState {
    /// The level.
    pub level: f64,
    /// The trend: per step, or its factor.
    pub trend: f64,
    /// The season's values, one a phase.
    pub seasonal: Vec<f64>,
}

impl HoltWinters {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(self) -> Result<Self, ConfigError> {
        for (field, value) in [("alpha", self.alpha), ("beta", self.beta), ("gamma", self.gamma)] {
            in_range(field, value, 0.0, 1.0)?;
        }
        in_range("seasonal_periods", self.seasonal_periods as f64, 2.0, 1e6)?;
        Ok(self)
    }

    /// The next value of the series; `None` when it is too short to start from.
    pub fn forecast(&self, series: &[f64]) -> Option<f64> {
        let InitialState { mut level, mut trend, seasonal } = self.initial_state(series)?;
        let m = self.seasonal_periods;
        // A ring of the last season's values.
        let mut season = seasonal;
        for (step, &y) in series.iter().enumerate() {
            let s = season[step % m];
            let base = self.base(level, trend);
            let without_season = match self.seasonal {
                Component::Additive => y - s,
                Component::Multiplicative => y / s,
            };
            let next = self.alpha * without_season + (1.0 - self.alpha) * base;
            let growth = match self.trend {
                Component::Additive => next - level,
                Component::Multiplicative => next / level,
            };
            trend = self.beta * growth + (1.0 - self.beta) * trend;
            let of_season = match self.seasonal {
                Component::Additive => y - base,
                Component::Multiplicative => y / base,
            };
            season[step % m] = self.gamma * of_season + (1.0 - self.gamma) * s;
            level = next;
        }
        let (base, s) = (self.base(level, trend), season[series.len() % m]);
        Some(match self.seasonal {
            Component::Additive => base + s,
            Component::Multiplicative => base * s,
        })
    }

    fn base(&self, level: f64, trend: f64) -> f64 {
        match self.trend {
            Component::Additive => level + trend,
            Component::Multiplicative => level * trend,
        }
    }

    /// statsmodels' heuristic: the season from a centred moving average, level and trend from a line through its
    /// first ten values (Hyndman et al. 2008, section 2.6.1). `None` of fewer than two seasons, or fewer than ten
    /// averages.
    pub fn initial_state(&self, series: &[f64]) -> Option<InitialState> {
        let (n, m) = (series.len(), self.seasonal_periods);
        let needed = FIRST_AVERAGES + 2 * (m / 2);
        if m < 2 || n < 2 * m || n < needed {
            return None;
        }
        let seasons = FIRST_SEASONS.min(n / m).max(needed.div_ceil(m));
        let series = &series[..n.min(seasons * m)];
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mut averages: Vec<f64> = series.windows(m).map(mean).collect();
        if m.is_multiple_of(2) {
            averages = averages.windows(2).map(mean).collect();
        }
        let offset = m / 2;
        let mut sums = vec![(0.0, 0.0); m];
        for (k, &average) in averages.iter().enumerate() {
            let y = series[k + offset];
            let detrended = match self.seasonal {
                Component::Additive => y - average,
                Component::Multiplicative => y / average,
            };
            let (sum, count) = &mut sums[(k + offset) % m];
            (*sum, *count) = (*sum + detrended, *count + 1.0);
        }
        let mut seasonal: Vec<f64> = sums.iter().map(|(sum, count)| sum / count).collect();
        let middle = mean(&seasonal);
        for value in &mut seasonal {
            match self.seasonal {
                Component::Additive => *value -= middle,
                Component::Multiplicative => *value /= middle,
            }
        }
        let first = averages.get(..FIRST_AVERAGES)?;
        let mean_x = (FIRST_AVERAGES + 1) as f64 / 2.0;
        let mean_y = mean(first);
        let deviations = || (1..=FIRST_AVERAGES).map(|x| x as f64 - mean_x);
        let covariance: f64 = deviations().zip(first).map(|(dx, y)| dx * (y - mean_y)).sum();
        let slope = covariance / deviations().map(|dx| dx * dx).sum::<f64>();
        let level = mean_y - slope * mean_x;
        let trend = match self.trend {
            Component::Additive => slope,
            Component::Multiplicative => 1.0 + slope / level,
        };
        Some(InitialState { level, trend, seasonal })
    }
}
