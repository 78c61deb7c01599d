//! Advantage actor-critic: the synchronous form of Mnih et al., 2016, "Asynchronous methods for deep reinforcement
//! learning" (arXiv:1602.01783, algorithm S3), in its order. Figures have `CleanRL`'s names.

use crate::arrays::Arrays;
use crate::backend::Backend;
use crate::graph::scalar;
use crate::learned::GreedyActor;
use crate::learner::{Counters, Setup, SetupError, Trainable, Treatment};
use crate::net::NetConfig;
use crate::on_policy::{Evaluated, OnPolicy, Rules, explained_variance, on_policy_learner};
use crate::optimizer::OptimizerConfig;
use autoscale_core::agent::{ActionIndex, Learner, Seen, Transition, UpdateStats};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use serde::{Deserialize, Serialize};

/// Hyperparameters, named as in `CleanRL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct A2cConfig {
    /// Environments stepped side by side.
    pub num_envs: usize,
    /// Steps of each environment between two updates: `t_max`.
    pub num_steps: usize,
    /// The optimiser's step size at the start.
    pub learning_rate: f64,
    /// Whether the step size falls linearly to zero.
    pub anneal_lr: bool,
    /// Discount γ per step.
    pub gamma: f64,
    /// λ of generalised advantage estimation; 1 gives the paper's returns over all steps that are left.
    pub gae_lambda: f64,
    /// Whether a rollout's advantages are given mean 0 and deviation 1.
    pub norm_adv: bool,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// What is done to what comes in.
    pub treatment: Treatment,
    /// The optimiser; the paper's is `RMSProp`.
    pub optimizer: OptimizerConfig,
    /// The networks.
    pub net: NetConfig,
}

impl Default for A2cConfig {
    fn default() -> Self {
        Self {
            num_envs: 8,
            num_steps: 16,
            learning_rate: 7e-4,
            anneal_lr: true,
            gamma: 0.95,
            gae_lambda: 0.95,
            norm_adv: false,
            ent_coef: 0.003,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            treatment: Treatment::default(),
            optimizer: OptimizerConfig::RMS_PROP,
            net: NetConfig::default(),
        }
    }
}

impl A2cConfig {
    /// For [`crate::toy::CartPole`].
    pub fn cart_pole() -> Self {
        Self { gamma: 0.98, ent_coef: 0.0, norm_adv: true, ..Self::default() }
    }
}

impl Validate for A2cConfig {
    type Checked = Self;

    fn validate(self) -> Result<Self, ConfigError> {
        count_in_range("num_envs", self.num_envs as u64, 1, 4096)?;
        count_in_range("num_steps", self.num_steps as u64, 1, 1 << 20)?;
        in_range("learning_rate", self.learning_rate, 1e-9, 1.0)?;
        in_range("gamma", self.gamma, 0.0, 1.0)?;
        in_range("gae_lambda", self.gae_lambda, 0.0, 1.0)?;
        in_range("ent_coef", self.ent_coef, 0.0, 1.0)?;
        in_range("vf_coef", self.vf_coef, 0.0, 100.0)?;
        in_range("max_grad_norm", self.max_grad_norm, 1e-6, 1e6)?;
        self.optimizer.check()?;
        self.net.clone().validate().map_err(|e| e.within("net"))?;
        Ok(self)
    }
}

/// The learner.
pub struct A2c {
    config: A2cConfig,
    actor: OnPolicy,
}

impl A2c {
    /// A fresh learner. Everything random comes from `seed`.
    ///
    /// # Errors
    /// When the configuration is out of range, or the backend was not compiled in.
    pub fn new(config: A2cConfig, setup: Setup, seed: Seed, backend: Backend) -> Result<Self, SetupError> {
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

    /// One gradient step on all that was kept; it is skipped if the loss or its gradient is not finite.
    fn learn(&mut self) -> UpdateStats {
        let batch = self.actor.batch();
        let begun = self.actor.counters.steps - batch.len() as u64;
        let fraction = begun as f64 / self.actor.setup.total_steps.max(1) as f64;
        let anneal = if self.config.anneal_lr { (1.0 - fraction).max(0.0) } else { 1.0 };
        let learning_rate = self.config.learning_rate * anneal;
        let mut stats = UpdateStats::from([
            ("charts/learning_rate", learning_rate),
            ("losses/explained_variance", explained_variance(&batch)),
        ]);
        let mut skipped = 0;
        // All of it at once; a network that remembers needs a step a length of sequence.
        for minibatch in batch.minibatches(batch.len(), batch.len(), &mut self.actor.shuffle()) {
            let Evaluated { graph, chosen, entropy, values } = self.actor.evaluate(&batch, &minibatch);
            let advantages = if self.config.norm_adv {
                self.actor.pick_standardized(&batch.advantages, &minibatch)
            } else {
                self.actor.pick(&batch.advantages, &minibatch)
            };
            // The gradient of log π (R − V), with V held, and that of (R − V)².
            let policy_loss = -(chosen * advantages).mean();
            let returns = self.actor.pick(&batch.returns, &minibatch);
            let value_loss = (values - returns).square().mean() * 0.5;
            let loss = policy_loss.clone() + value_loss.clone() * self.config.vf_coef
                - entropy.clone() * self.config.ent_coef;
            let terms = [policy_loss, value_loss, entropy].map(|term| scalar(term.detach()));
            let finite = terms.iter().all(|term| term.is_finite());
            let norm = finite.then(|| self.actor.descend(&graph, &loss, learning_rate)).flatten();
            if let Some(norm) = norm {
                let names = ["losses/policy_loss", "losses/value_loss", "losses/entropy"];
                stats.extend(names.into_iter().zip(terms));
                stats.insert("losses/grad_norm", norm);
            } else {
                skipped += 1;
            }
        }
        stats.insert("losses/skipped_minibatches", skipped as f64);
        self.actor.counters.skipped += skipped;
        self.actor.counters.updates += 1;
        stats
    }
}

on_policy_learner!(A2c, "a2c");
