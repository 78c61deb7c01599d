//! What a request demands.

use crate::draw;
use autoscale_core::validate::{ConfigError, in_range};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How the time that a request needs on an idle worker is distributed, as written in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Drawn from measured values.
    Empirical {
        /// A file with one value in milliseconds a line; a relative path starts at the scenario file's folder.
        path: PathBuf,
    },
}

impl DemandConfig {
    /// Checks the ranges and prepares sampling; a relative path starts at `folder`.
    pub(crate) fn check(&self, folder: &Path) -> Result<Demand, ConfigError> {
        let mean = |ms: f64| in_range("mean_ms", ms, 1e-3, 600_000.0).map(|ms| ms / 1000.0);
        Ok(match *self {
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
            Self::Empirical { ref path } => {
                let values = read_values(&folder.join(path))?;
                let mean_s = values.iter().sum::<f64>() / values.len() as f64;
                Demand { mean_s, shape: Shape::Empirical(values.into()) }
            }
        })
    }
}

/// Measured demands in seconds.
fn read_values(path: &Path) -> Result<Vec<f64>, ConfigError> {
    let wrong = |what: &dyn std::fmt::Display, expected: &str| {
        ConfigError::new("path", format!("{}: {what}", path.display()), expected)
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e, "a readable text file"))?;
    let values = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let values: Vec<f64> = values
        .map(|(number, line)| {
            let value = line.trim().parse().ok().filter(|ms| (1e-3..=600_000.0).contains(ms));
            let what = format!("line {}: {:?}", number + 1, line.trim());
            value.map(|ms: f64| ms / 1000.0).ok_or_else(|| wrong(&what, "0.001 to 600000 (milliseconds)"))
        })
        .collect::<Result<_, _>>()?;
    if values.is_empty() {
        return Err(wrong(&"empty", "one value in milliseconds a line"));
    }
    Ok(values)
}

/// A checked demand distribution, in seconds of work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demand {
    mean_s: f64,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Deterministic,
    Exponential,
    Lognormal { mu: f64, sigma: f64 },
    Gamma { shape: f64 },
    Empirical(Arc<[f64]>),
}

impl Demand {
    pub(crate) fn mean_s(&self) -> f64 {
        self.mean_s
    }

    /// Draws one demand, in seconds.
    pub(crate) fn draw(&self, stream: &mut impl Rng) -> f64 {
        match &self.shape {
            Shape::Deterministic => self.mean_s,
            Shape::Exponential => self.mean_s * draw::exponential(stream),
            Shape::Lognormal { mu, sigma } => draw::lognormal(*mu, *sigma, stream),
            Shape::Gamma { shape } => self.mean_s * draw::gamma(*shape, stream) / shape,
            Shape::Empirical(values) => values[stream.random_range(0..values.len())],
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
            let demand = config.check(Path::new("")).unwrap();
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
        let error = DemandConfig::Lognormal { mean_ms: 50.0, cv: -1.0 }.check(Path::new("")).unwrap_err();
        assert_eq!(error.field, "cv");
    }
    #[test]
    fn measured_demands_are_drawn_as_often_as_they_occur() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("d.txt"), text).unwrap();
        let config = DemandConfig::Empirical { path: "d.txt".into() };
        write("10\n10\n\n40\n20\n");
        let demand = config.check(folder.path()).unwrap();
        assert!((demand.mean_s() - 0.02).abs() < 1e-12);
        let mut stream = Seed::root(1).stream();
        let tens = (0..40_000).filter(|_| demand.draw(&mut stream) < 0.015).count();
        assert!(tens.abs_diff(20_000) < 400, "{tens}");
        for (text, part) in [("10\n-3\n", "line 2: \"-3\""), ("x", "line 1"), ("\n", "empty")] {
            write(text);
            let message = config.check(folder.path()).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("d.txt"), "{message}");
        }
        std::fs::remove_file(folder.path().join("d.txt")).unwrap();
        assert!(config.check(folder.path()).is_err());
    }
}
