//! Proximal policy optimisation (Schulman et al., 2017, arXiv:1707.06347), in the order of the paper; the
//! details that matter follow Huang et al., 2022, "The 37 implementation details of PPO", and figures have
//! the names that `CleanRL` gives them.

use crate::arrays::Arrays;
use crate::backend::Backend;
use crate::graph::{numbers, scalar};
use crate::learned::GreedyActor;
use crate::learner::{Counters, Setup, SetupError, Trainable, Treatment};
use crate::net::NetConfig;
use crate::on_policy::{Evaluated, OnPolicy, Rules, explained_variance, on_policy_learner};
use crate::optimizer::OptimizerConfig;
use crate::rollout_buffer::{Batch, Minibatch};
use autoscale_core::agent::{ActionIndex, Learner, Seen, Transition, UpdateStats};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Hyperparameters, named as in `CleanRL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Environments stepped side by side.
    pub num_envs: usize,
    /// Steps of each environment between two updates.
    pub num_steps: usize,
    /// Passes over a rollout.
    pub update_epochs: usize,
    /// Steps in a minibatch.
    pub minibatch_size: usize,
    /// Longest sequence through which a network that remembers is differentiated, in steps.
    pub sequence_length: usize,
    /// The optimiser's step size at the start.
    pub learning_rate: f64,
    /// Whether the step size falls linearly to zero.
    pub anneal_lr: bool,
    /// Discount γ per step.
    pub gamma: f64,
    /// λ of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Clipping range ε of the probability ratio.
    pub clip_coef: f64,
    /// Whether values, too, are kept within ε of what they were.
    pub clip_vloss: bool,
    /// Whether a minibatch's advantages are given mean 0 and deviation 1.
    pub norm_adv: bool,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Stop an update's passes once the policy moved this far; never when null.
    pub target_kl: Option<f64>,
    /// What is done to what comes in.
    pub treatment: Treatment,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The networks.
    pub net: NetConfig,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            num_envs: 8,
            num_steps: 120,
            update_epochs: 10,
            minibatch_size: 240,
            sequence_length: 16,
            learning_rate: 6e-4,
            anneal_lr: true,
            gamma: 0.95,
            gae_lambda: 0.95,
            clip_coef: 0.2,
            clip_vloss: false,
            norm_adv: true,
            ent_coef: 0.003,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            target_kl: Some(0.05),
            treatment: Treatment::default(),
            optimizer: OptimizerConfig::ADAM,
            net: NetConfig::default(),
        }
    }
}

impl PpoConfig {
    /// For [`crate::toy::CartPole`].
    pub fn cart_pole() -> Self {
        Self {
            num_steps: 128,
            minibatch_size: 256,
            learning_rate: 1e-3,
            gamma: 0.98,
            gae_lambda: 0.9,
            ent_coef: 0.0,
            target_kl: None,
            ..Self::default()
        }
    }
}

impl Validate for PpoConfig {
    type Checked = Self;

    fn validate(self) -> Result<Self, ConfigError> {
        count_in_range("num_envs", self.num_envs as u64, 1, 4096)?;
        count_in_range("num_steps", self.num_steps as u64, 1, 1 << 20)?;
        count_in_range("update_epochs", self.update_epochs as u64, 1, 1000)?;
        count_in_range("minibatch_size", self.minibatch_size as u64, 2, 1 << 24)?;
        count_in_range("sequence_length", self.sequence_length as u64, 1, 1 << 16)?;
        in_range("learning_rate", self.learning_rate, 1e-9, 1.0)?;
        in_range("gamma", self.gamma, 0.0, 1.0)?;
        in_range("gae_lambda", self.gae_lambda, 0.0, 1.0)?;
        in_range("clip_coef", self.clip_coef, 0.001, 1.0)?;
        in_range("ent_coef", self.ent_coef, 0.0, 1.0)?;
        in_range("vf_coef", self.vf_coef, 0.0, 100.0)?;
        in_range("max_grad_norm", self.max_grad_norm, 1e-6, 1e6)?;
        if let Some(kl) = self.target_kl {
            in_range("target_kl", kl, 1e-6, 100.0)?;
        }
        self.optimizer.check()?;
        self.net.clone().validate().map_err(|e| e.within("net"))?;
        Ok(self)
    }
}

/// The learner.
pub struct Ppo {
    config: PpoConfig,
    actor: OnPolicy,
}

impl Ppo {
    /// A fresh learner. Everything random comes from `seed`.
    ///
    /// # Errors
    /// When the configuration is out of range, or the backend was not compiled in.
    pub fn new(config: PpoConfig, setup: Setup, seed: Seed, backend: Backend) -> Result<Self, SetupError> {
        let config = config.validate()?;
        let rules = Rules {
            net: config.net.clone(),
            treatment: config.treatment,
            optimizer: config.optimizer,
            gamma: config.gamma,
            gae_lambda: config.gae_lambda,
            max_grad_norm: config.max_grad_norm,
        };
        Ok(Self { actor: OnPolicy::new(rules, setup, seed, backend)?, config })
    }

    /// The critic's value of an episode's first state; `row` is `[features + privileged]`.
    pub fn value(&mut self, row: &[f32]) -> f32 {
        self.actor.first_value(row)
    }

    /// One update: rollout to advantages, then passes over shuffled minibatches.
    fn learn(&mut self) -> UpdateStats {
        let batch = self.actor.batch();
        let begun = self.actor.counters.steps - batch.len() as u64;
        let fraction = begun as f64 / self.actor.setup.total_steps.max(1) as f64;
        let anneal = if self.config.anneal_lr { (1.0 - fraction).max(0.0) } else { 1.0 };
        let learning_rate = self.config.learning_rate * anneal;
        let mut shuffle = self.actor.shuffle();
        let mut sums = LossTerms::default();
        let (mut done, mut skipped) = (0_u32, 0_u64);
        'passes: for _ in 0..self.config.update_epochs {
            let (size, length) = (self.config.minibatch_size, self.config.sequence_length);
            for minibatch in batch.minibatches(size, length, &mut shuffle) {
                let Some(terms) = self.minibatch(&batch, &minibatch, learning_rate) else {
                    skipped += 1;
                    continue;
                };
                sums.add(&terms);
                done += 1;
                if self.config.target_kl.is_some_and(|limit| terms.approx_kl > limit) {
                    break 'passes;
                }
            }
        }
        self.actor.counters.skipped += skipped;
        self.actor.counters.updates += 1;
        let mean = |sum: f64| sum / f64::from(done.max(1));
        UpdateStats::from([
            ("charts/learning_rate", learning_rate),
            ("losses/policy_loss", mean(sums.policy_loss)),
            ("losses/value_loss", mean(sums.value_loss)),
            ("losses/entropy", mean(sums.entropy)),
            ("losses/old_approx_kl", mean(sums.old_approx_kl)),
            ("losses/approx_kl", mean(sums.approx_kl)),
            ("losses/clipfrac", mean(sums.clipfrac)),
            ("losses/grad_norm", mean(sums.grad_norm)),
            ("losses/explained_variance", explained_variance(&batch)),
            ("losses/minibatches", f64::from(done)),
            ("losses/skipped_minibatches", skipped as f64),
        ])
    }

    /// One gradient step; `None` if loss or gradient was not finite and nothing was changed.
    fn minibatch(&mut self, batch: &Batch, minibatch: &Minibatch, learning_rate: f64) -> Option<LossTerms> {
        let Evaluated { graph, chosen, entropy, values } = self.actor.evaluate(batch, minibatch);
        let pick = |from: &[f32]| self.actor.pick(from, minibatch);
        let advantages = if self.config.norm_adv {
            self.actor.pick_standardized(&batch.advantages, minibatch)
        } else {
            pick(&batch.advantages)
        };
        let log_ratio = chosen - pick(&batch.log_probabilities);
        let ratio = log_ratio.clone().exp();
        let epsilon = self.config.clip_coef;
        let policy_loss = policy_loss(ratio, advantages, epsilon);
        let old = self.config.clip_vloss.then(|| pick(&batch.values));
        let value_loss = value_loss(values, pick(&batch.returns), old, epsilon);
        // Equation 9, with the sign of a loss.
        let loss = policy_loss.clone() + value_loss.clone() * self.config.vf_coef
            - entropy.clone() * self.config.ent_coef;

        let log_ratio = numbers(log_ratio.detach());
        let mean =
            |of: &dyn Fn(f32) -> f64| log_ratio.iter().map(|&l| of(l)).sum::<f64>() / log_ratio.len() as f64;
        let mut terms = LossTerms {
            policy_loss: scalar(policy_loss.detach()),
            value_loss: scalar(value_loss.detach()),
            entropy: scalar(entropy.detach()),
            old_approx_kl: mean(&|l| f64::from(-l)),
            // Schulman's estimator of the divergence: (r − 1) − log r.
            approx_kl: mean(&|l| f64::from(l.exp_m1() - l)),
            clipfrac: mean(&|l| f64::from(u8::from(f64::from(l.exp_m1().abs()) > epsilon))),
            grad_norm: 0.0,
        };
        if !(terms.policy_loss + terms.value_loss + terms.entropy).is_finite() {
            return None;
        }
        terms.grad_norm = self.actor.descend(&graph, &loss, learning_rate)?;
        Some(terms)
    }
}

/// −L^CLIP, equation 7.
fn policy_loss(ratio: Tensor<1>, advantages: Tensor<1>, epsilon: f64) -> Tensor<1> {
    let unclipped = ratio.clone() * advantages.clone();
    let clipped = ratio.clamp(1.0 - epsilon, 1.0 + epsilon) * advantages;
    -unclipped.min_pair(clipped).mean()
}

/// Half of the mean squared error; where the `old` values are given, of the worse of the new value and one at most ε from
/// the old.
fn value_loss(values: Tensor<1>, returns: Tensor<1>, old: Option<Tensor<1>>, epsilon: f64) -> Tensor<1> {
    let mut errors = (values.clone() - returns.clone()).square();
    if let Some(old) = old {
        let kept = old.clone() + (values - old).clamp(-epsilon, epsilon);
        errors = errors.max_pair((kept - returns).square());
    }
    errors.mean() * 0.5
}

on_policy_learner!(Ppo, "ppo");

/// Figures of one gradient step.
#[derive(Clone, Copy, Debug, Default)]
struct LossTerms {
    policy_loss: f64,
    value_loss: f64,
    entropy: f64,
    old_approx_kl: f64,
    approx_kl: f64,
    clipfrac: f64,
    grad_norm: f64,
}

impl LossTerms {
    fn add(&mut self, other: &Self) {
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.entropy += other.entropy;
        self.old_approx_kl += other.old_approx_kl;
        self.approx_kl += other.approx_kl;
        self.clipfrac += other.clipfrac;
        self.grad_norm += other.grad_norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::column;

    fn device() -> burn::tensor::Device {
        Backend::Flex.device().unwrap()
    }

    /// The gradient of a loss of one column.
    fn slope(x: &[f32], loss: impl Fn(Tensor<1>) -> Tensor<1>) -> Vec<f32> {
        let x = column(x.to_vec(), &device()).require_grad();
        let mut gradients = loss(x.clone()).backward();
        x.grad_remove(&mut gradients).map(numbers).unwrap()
    }

    #[test]
    fn a_ratio_beyond_the_clip_counts_only_where_that_is_worse() {
        let advantages = || column(vec![1.0, -1.0, 1.0, -1.0, 2.0], &device());
        // The least of r A and clip(r) A: 1.2, −1.5, 0.5, −0.8, 2.2.
        let ratio = [1.5, 1.5, 0.5, 0.5, 1.1];
        let loss = scalar(policy_loss(column(ratio.to_vec(), &device()), advantages(), 0.2));
        assert!((loss + 1.6 / 5.0).abs() < 1e-6, "{loss}");
        let slope = slope(&ratio, |ratio| policy_loss(ratio, advantages(), 0.2));
        for (found, expected) in slope.iter().zip([0.0, 0.2, -0.2, 0.0, -0.4]) {
            assert!((found - expected).abs() < 1e-6, "{slope:?}");
        }
    }

    #[test]
    fn a_clipped_value_counts_only_where_it_is_worse() {
        let of = |values: &[f32]| column(values.to_vec(), &device());
        let loss = |old| scalar(value_loss(of(&[3.0, 0.0]), of(&[0.0, 0.0]), old, 0.2));
        assert!((loss(None) - 2.25).abs() < 1e-6);
        // From 1 it may go to 1.2 and 0.8, where the errors are 1.44 and 0.64, and the others 9 and 0.
        assert!((loss(Some(of(&[1.0, 1.0]))) - 9.64 / 4.0).abs() < 1e-6);
    }
}
