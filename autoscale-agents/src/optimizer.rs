//! Gradient descent on the host, over all parameters at once: the tensor library's optimisers cost more than the
//! gradients of networks as small as these ([ADR 8](../../docs/adr/0008-host-optimizer.md)).

use autoscale_core::validate::{ConfigError, in_range};
use serde::{Deserialize, Serialize};

/// Which rule, with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Kingma and Ba (2015), algorithm 1.
    Adam {
        /// Decay of the mean gradient.
        beta_1: f64,
        /// Decay of the mean square.
        beta_2: f64,
        /// Added to the root of the mean square.
        eps: f64,
    },
    /// Tieleman and Hinton (2012), with ε under the root as in the A3C paper (Mnih et al., 2016) and the original DQN.
    RmsProp {
        /// Decay of the mean square.
        alpha: f64,
        /// Added to the mean square.
        eps: f64,
    },
}

impl OptimizerConfig {
    /// Adam with the ε that PPO's reference implementation has.
    pub const ADAM: Self = Self::Adam { beta_1: 0.9, beta_2: 0.999, eps: 1e-5 };
    /// `RMSProp` with the decay of the A3C paper, and ε of A2C's reference implementation.
    pub const RMS_PROP: Self = Self::RmsProp { alpha: 0.99, eps: 1e-5 };

    pub(crate) fn check(self) -> Result<(), ConfigError> {
        let decay = |name: &str, value| in_range(&format!("optimizer.{name}"), value, 0.0, 0.999_999);
        let (Self::Adam { eps, .. } | Self::RmsProp { eps, .. }) = self;
        in_range("optimizer.eps", eps, 1e-12, 1.0)?;
        match self {
            Self::Adam { beta_1, beta_2, .. } => {
                decay("beta_1", beta_1)?;
                decay("beta_2", beta_2)?;
            }
            Self::RmsProp { alpha, .. } => {
                decay("alpha", alpha)?;
            }
        }
        Ok(())
    }
}

/// A rule with what it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    config: OptimizerConfig,
    /// Means of the gradients; unused by `RMSProp`.
    pub(crate) first: Vec<f32>,
    /// Means of their squares.
    pub(crate) second: Vec<f32>,
    pub(crate) steps: u64,
}

impl Optimizer {
    /// A fresh one for so many parameters.
    pub fn new(config: OptimizerConfig, parameters: usize) -> Self {
        let first = match config {
            OptimizerConfig::Adam { .. } => vec![0.0; parameters],
            OptimizerConfig::RmsProp { .. } => Vec::new(),
        };
        Self { config, first, second: vec![0.0; parameters], steps: 0 }
    }

    /// Moves `parameters` against `gradient`, which has a number for each of them, in order.
    pub fn step(&mut self, learning_rate: f64, parameters: Vec<&mut [f32]>, gradient: &[f32]) {
        self.steps += 1;
        let mut from = 0;
        for part in parameters {
            let range = from..from + part.len();
            from = range.end;
            let (gradient, second) = (&gradient[range.clone()], &mut self.second[range.clone()]);
            match self.config {
                OptimizerConfig::Adam { beta_1, beta_2, eps } => {
                    let n = self.steps as i32;
                    // Both corrections of the bias, drawn into the step size and ε.
                    let root = (1.0 - beta_2.powi(n)).sqrt();
                    let size = (learning_rate * root / (1.0 - beta_1.powi(n))) as f32;
                    let (b1, b2, eps) = (beta_1 as f32, beta_2 as f32, (eps * root) as f32);
                    let first = &mut self.first[range];
                    for (((x, &g), m), v) in part.iter_mut().zip(gradient).zip(first).zip(second) {
                        *m = b1 * *m + (1.0 - b1) * g;
                        *v = b2 * *v + (1.0 - b2) * g * g;
                        *x -= size * *m / (v.sqrt() + eps);
                    }
                }
                OptimizerConfig::RmsProp { alpha, eps } => {
                    let (size, alpha, eps) = (learning_rate as f32, alpha as f32, eps as f32);
                    for ((x, &g), v) in part.iter_mut().zip(gradient).zip(second) {
                        *v = alpha * *v + (1.0 - alpha) * g * g;
                        *x -= size * g / (*v + eps).sqrt();
                    }
                }
            }
        }
    }
}

/// Scales the whole gradient so that its norm is at most `limit` (Pascanu et al., 2013, algorithm 1); returns the norm
/// before.
pub fn clip_global_norm(gradient: &mut [f32], limit: f64) -> f64 {
    // Several sums side by side keep the processor's lanes busy, and the accuracy.
    let (lanes, rest) = gradient.as_chunks::<32>();
    let mut sums = [0.0_f32; 32];
    let mut total = rest.iter().map(|&g| f64::from(g * g)).sum::<f64>();
    for part in lanes.chunks(64) {
        for lane in part {
            for (sum, g) in sums.iter_mut().zip(lane) {
                *sum += g * g;
            }
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        sums = [0.0; 32];
    }
    let norm = total.sqrt();
    if norm.is_finite() && norm > limit {
        let scale = (limit / norm) as f32;
        for g in gradient {
            *g *= scale;
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_clipped_by_their_joint_norm() {
        let mut gradient = vec![3.0, 0.0, 4.0];
        assert!((clip_global_norm(&mut gradient, 10.0) - 5.0).abs() < 1e-6);
        assert_eq!(gradient, [3.0, 0.0, 4.0]);
        assert!((clip_global_norm(&mut gradient, 1.0) - 5.0).abs() < 1e-6);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[2] - 0.8).abs() < 1e-6);
        assert!(clip_global_norm(&mut [f32::NAN, 1.0], 1.0).is_nan());
    }

    /// Three steps by the papers' formulas, in double precision.
    #[test]
    fn steps_follow_the_papers() {
        let gradients = [[0.5_f32, -2.0], [0.1, 1.0], [-3.0, 0.0]];
        for config in [OptimizerConfig::ADAM, OptimizerConfig::RMS_PROP] {
            let mut x = [1.0_f32, -1.0];
            let mut optimizer = Optimizer::new(config, 2);
            for gradient in &gradients {
                let (a, b) = x.split_at_mut(1);
                optimizer.step(0.1, vec![a, b], gradient);
            }
            for k in 0..2 {
                let (mut y, mut m, mut v) = (if k == 0 { 1.0 } else { -1.0 }, 0.0, 0.0);
                for (t, gradient) in (1..).zip(&gradients) {
                    let g = f64::from(gradient[k]);
                    y -= match config {
                        OptimizerConfig::Adam { beta_1, beta_2, eps } => {
                            m = beta_1 * m + (1.0 - beta_1) * g;
                            v = beta_2 * v + (1.0 - beta_2) * g * g;
                            let (mean, square) = (m / (1.0 - beta_1.powi(t)), v / (1.0 - beta_2.powi(t)));
                            0.1 * mean / (square.sqrt() + eps)
                        }
                        OptimizerConfig::RmsProp { alpha, eps } => {
                            v = alpha * v + (1.0 - alpha) * g * g;
                            0.1 * g / (v + eps).sqrt()
                        }
                    };
                }
                assert!((f64::from(x[k]) - y).abs() < 1e-5, "{config:?}: {} and {y}", x[k]);
            }
        }
    }
}
