//! What a request demands.

use crate::draw;
use autoscale_core::validate::{ConfigError, in_range};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How the time that a request needs on an idle worker is distributed, as written in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DemandConfig {
    /// Always the same.
    Deterministic {
        /// Mean, in milliseconds.
        mean_ms: f64,
    },
    /// Memoryless.
    Exponential {
        /// Mean, in milliseconds.
        mean_ms: f64,
    },
    /// Heavy-tailed.
    Lognormal {
        /// Mean, in milliseconds.
        mean_ms: f64,
        /// Coefficient of variation: standard deviation over mean.
        cv: f64,
    },
    /// Between deterministic (cv towards 0) and far more variable than exponential (cv above 1).
    Gamma {
        /// Mean, in milliseconds.
        mean_ms: f64,
        /// Coefficient of variation: standard deviation over mean.
        cv: f64,
    },
}

impl DemandConfig {
    /// Checks the ranges and prepares sampling.
    pub(crate) fn check(self) -> Result<Demand, ConfigError> {
        let mean = |ms: f64| in_range("mean_ms", ms, 1e-3, 600_000.0).map(|ms| ms / 1000.0);
        Ok(match self {
            Self::Deterministic { mean_ms } => Demand { mean_s: mean(mean_ms)?, shape: Shape::Deterministic },
            Self::Exponential { mean_ms } => Demand { mean_s: mean(mean_ms)?, shape: Shape::Exponential },
            Self::Lognormal { mean_ms, cv } => {
                let mean_s = mean(mean_ms)?;
                let cv = in_range("cv", cv, 0.01, 20.0)?;
                // Moments of the lognormal: cv² = exp(σ²) − 1, mean = exp(μ + σ²/2).
                let variance = libm::log(1.0 + cv * cv);
                let shape =
                    Shape::Lognormal { mu: libm::log(mean_s) - variance / 2.0, sigma: variance.sqrt() };
                Demand { mean_s, shape }
            }
            Self::Gamma { mean_ms, cv } => {
                let cv = in_range("cv", cv, 0.01, 20.0)?;
                Demand { mean_s: mean(mean_ms)?, shape: Shape::Gamma { shape: 1.0 / (cv * cv) } }
            }
        })
    }
}

/// A checked demand distribution, in seconds of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    mean_s: f64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Deterministic,
    Exponential,
    Lognormal { mu: f64, sigma: f64 },
    Gamma { shape: f64 },
}

impl Demand {
    pub(crate) fn mean_s(&self) -> f64 {
        self.mean_s
    }

    /// Draws one demand, in seconds.
    pub(crate) fn draw(&self, stream: &mut impl Rng) -> f64 {
        match self.shape {
            Shape::Deterministic => self.mean_s,
            Shape::Exponential => self.mean_s * draw::exponential(stream),
            Shape::Lognormal { mu, sigma } => draw::lognormal(mu, sigma, stream),
            Shape::Gamma { shape } => self.mean_s * draw::gamma(shape, stream) / shape,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    #[test]
    fn draws_have_the_configured_mean_and_spread() {
        for (config, cv) in [
            (DemandConfig::Deterministic { mean_ms: 50.0 }, 0.0),
            (DemandConfig::Exponential { mean_ms: 50.0 }, 1.0),
            (DemandConfig::Lognormal { mean_ms: 50.0, cv: 1.5 }, 1.5),
            (DemandConfig::Gamma { mean_ms: 50.0, cv: 0.5 }, 0.5),
            (DemandConfig::Gamma { mean_ms: 50.0, cv: 2.0 }, 2.0),
        ] {
            let demand = config.check().unwrap();
            let mut stream = Seed::root(1).stream();
            let n = 400_000;
            let draws: Vec<f64> = (0..n).map(|_| demand.draw(&mut stream)).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let sd = (draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / f64::from(n)).sqrt();
            assert!((mean / 0.05 - 1.0).abs() < 0.01, "{config:?}: mean {mean}");
            assert!((sd / mean - cv).abs() < 0.04, "{config:?}: cv {}", sd / mean);
        }
    }

    #[test]
    fn a_spread_out_of_range_is_refused_by_name() {
        let error = DemandConfig::Lognormal { mean_ms: 50.0, cv: -1.0 }.check().unwrap_err();
        assert_eq!(error.field, "cv");
    }
}
