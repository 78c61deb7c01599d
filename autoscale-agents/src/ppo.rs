//! Proximal policy optimisation (Schulman et al., 2017, arXiv:1707.06347), in the order of the paper; the
//! details that matter follow Huang et al., 2022, "The 37 implementation details of PPO", and figures have
//! the names that `CleanRL` gives them.

use crate::backend::{Backend, BackendError};
use crate::categorical::sample;
use crate::checkpoint::{
    CHECKPOINT_VERSION, Checkpoint, CheckpointError, CheckpointInfo, CheckpointManifest,
};
use crate::features::{FEATURES_VERSION, feature_names};
use crate::learned::GreedyActor;
use crate::net::{ActorCritic, Mlp, numbers};
use crate::normalizer::Normalizer;
use crate::rollout_buffer::{Batch, RolloutBuffer};
use autoscale_core::agent::{ActionIndex, ActionMask, Learner, Transition, UpdateStats};
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bytes, Device, Int, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Stands for log 0 in a masked logit: finite, so that 0 × log 0 stays 0.
const FORBIDDEN: f32 = -1e8;

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
    /// Adam's step size at the start.
    pub learning_rate: f64,
    /// Whether the step size falls linearly to zero.
    pub anneal_lr: bool,
    /// Discount γ per step.
    pub gamma: f64,
    /// λ of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Clipping range ε of the probability ratio.
    pub clip_coef: f64,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Stop an update's passes once the policy moved this far; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kl: Option<f64>,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            num_envs: 8,
            num_steps: 120,
            update_epochs: 10,
            minibatch_size: 240,
            learning_rate: 6e-4,
            anneal_lr: true,
            gamma: 0.95,
            gae_lambda: 0.95,
            clip_coef: 0.2,
            ent_coef: 0.003,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            target_kl: Some(0.05),
            hidden: vec![64, 64],
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
        in_range("learning_rate", self.learning_rate, 0.0, 1.0)?;
        in_range("gamma", self.gamma, 0.0, 1.0)?;
        in_range("gae_lambda", self.gae_lambda, 0.0, 1.0)?;
        in_range("clip_coef", self.clip_coef, 0.001, 1.0)?;
        in_range("ent_coef", self.ent_coef, 0.0, 1.0)?;
        in_range("vf_coef", self.vf_coef, 0.0, 100.0)?;
        in_range("max_grad_norm", self.max_grad_norm, 1e-6, 1e6)?;
        if let Some(kl) = self.target_kl {
            in_range("target_kl", kl, 1e-6, 100.0)?;
        }
        count_in_range("hidden", self.hidden.len() as u64, 1, 8)?;
        for &width in &self.hidden {
            count_in_range("hidden", width as u64, 1, 4096)?;
        }
        Ok(self)
    }
}

/// What PPO learns on.
#[derive(Clone, Debug, PartialEq)]
pub struct PpoShape {
    /// Features of a state.
    pub features: usize,
    /// Logits of a fresh policy, one an action, besides small random ones.
    pub initial_logits: Vec<f32>,
    /// Environment steps that training will take; the step size falls to zero over them.
    pub total_steps: u64,
}

/// The learner.
pub struct Ppo {
    config: PpoConfig,
    shape: PpoShape,
    seed: Seed,
    device: Device,
    net: ActorCritic,
    optimizer: ModuleOptimizer,
    actor: Mlp,
    critic: Mlp,
    normalizer: Normalizer,
    buffer: RolloutBuffer,
    /// Log-probabilities of actions chosen and not yet recorded.
    pending: VecDeque<f32>,
    stream: Stream,
    scratch: Vec<f32>,
    steps: u64,
    updates: u64,
    skipped: u64,
}

impl Ppo {
    /// A fresh learner. Everything random comes from `seed`.
    ///
    /// # Errors
    /// When the backend was not compiled in.
    pub fn new(
        config: PpoConfig,
        shape: PpoShape,
        seed: Seed,
        backend: Backend,
    ) -> Result<Self, BackendError> {
        let mut stream = seed.child("init").stream();
        let sizes = |outputs| [&[shape.features][..], &config.hidden, &[outputs]].concat();
        let mut actor = Mlp::orthogonal(&sizes(shape.initial_logits.len()), 0.01, &mut stream);
        actor.set_output_bias(&shape.initial_logits);
        let critic = Mlp::orthogonal(&sizes(1), 1.0, &mut stream);
        let device = backend.device()?;
        Ok(Self {
            net: ActorCritic::from_host(&actor, &critic, &device),
            optimizer: AdamConfig::new().with_epsilon(1e-5).init(),
            normalizer: Normalizer::new(shape.features),
            buffer: RolloutBuffer::default(),
            pending: VecDeque::new(),
            stream: seed.child("explore").nth(0).stream(),
            scratch: vec![0.0; shape.features],
            steps: 0,
            updates: 0,
            skipped: 0,
            config,
            shape,
            seed,
            device,
            actor,
            critic,
        })
    }

    /// Goes on from `checkpoint`, which holds the state right after an update; episodes that were under way
    /// then are begun again. `seed` is that of [`Self::new`].
    ///
    /// # Errors
    /// When the checkpoint has no training state or its network is not of this size.
    pub fn resume(
        config: PpoConfig,
        shape: PpoShape,
        seed: Seed,
        backend: Backend,
        checkpoint: &Checkpoint,
    ) -> Result<Self, CheckpointError> {
        let refuse = |reason: String| CheckpointError::NoTrainingState(reason);
        let fresh = Self::new(config, shape, seed, backend).map_err(|e| refuse(e.to_string()))?;
        let record =
            checkpoint.optimizer.clone().ok_or_else(|| refuse("it has no optimiser state".into()))?;
        let sizes = |mlp: &Mlp| mlp.layers.iter().map(|l| (l.inputs, l.outputs)).collect::<Vec<_>>();
        if sizes(&fresh.actor) != sizes(&checkpoint.actor)
            || sizes(&fresh.critic) != sizes(&checkpoint.critic)
        {
            return Err(refuse("its networks have other sizes than the configuration says".into()));
        }
        let optimizer =
            fresh.optimizer.from_bytes(Bytes::from_bytes_vec(record)).map_err(|e| refuse(e.to_string()))?;
        let manifest = &checkpoint.manifest;
        Ok(Self {
            net: ActorCritic::from_host(&checkpoint.actor, &checkpoint.critic, &fresh.device),
            optimizer,
            actor: checkpoint.actor.clone(),
            critic: checkpoint.critic.clone(),
            normalizer: checkpoint.normalizer.clone(),
            stream: seed.child("explore").nth(manifest.updates_done).stream(),
            steps: manifest.steps_done,
            updates: manifest.updates_done,
            skipped: manifest.skipped_minibatches,
            ..fresh
        })
    }

    /// All that acting and resuming need, for a network over this crate's features.
    ///
    /// # Errors
    /// When the optimiser's state cannot be written out.
    pub fn checkpoint(&self, info: CheckpointInfo) -> Result<Checkpoint, CheckpointError> {
        let optimizer = self
            .optimizer
            .into_bytes()
            .map_err(|e| CheckpointError::NoTrainingState(e.to_string()))?
            .to_vec();
        Ok(Checkpoint {
            manifest: CheckpointManifest {
                version: CHECKPOINT_VERSION,
                algorithm: "ppo".to_owned(),
                features_version: FEATURES_VERSION,
                feature_names: feature_names().iter().map(|&n| n.to_owned()).collect(),
                action_table: info.action_space.table(),
                action_space: info.action_space,
                interval: info.interval,
                scenario: info.scenario,
                seed: info.seed,
                commit: info.commit,
                episodes_done: info.episodes_done,
                steps_done: self.steps,
                updates_done: self.updates,
                skipped_minibatches: self.skipped,
                observations: self.normalizer.count,
                validation_return: None,
            },
            actor: self.actor.clone(),
            critic: self.critic.clone(),
            normalizer: self.normalizer.clone(),
            optimizer: Some(optimizer),
        })
    }

    /// The critic's value of a state; `features` is `[features]`.
    pub fn value(&mut self, features: &[f32]) -> f32 {
        self.normalizer.apply(features, &mut self.scratch);
        self.critic.forward(&self.scratch)[0]
    }

    /// One update: rollout to advantages, then passes over shuffled minibatches.
    fn learn(&mut self) -> UpdateStats {
        let fraction = self.steps as f64 / self.shape.total_steps.max(1) as f64;
        let anneal = if self.config.anneal_lr { (1.0 - fraction).max(0.0) } else { 1.0 };
        let learning_rate = self.config.learning_rate * anneal;
        self.steps += self.buffer.len() as u64;
        // The ratio below uses the probabilities at which actions were chosen, so it accounts for what a
        // change of the normaliser does to the policy, too.
        for rows in self.buffer.features() {
            self.normalizer.observe(rows);
        }
        let (normalizer, critic) = (&self.normalizer, &mut self.critic);
        let discounts = (self.config.gamma as f32, self.config.gae_lambda as f32);
        let batch = self.buffer.drain(
            self.shape.features,
            discounts,
            |raw, out| normalizer.apply(raw, out),
            |x| critic.forward(x)[0],
        );

        let mut shuffle = self.seed.child("shuffle").nth(self.updates).stream();
        let mut order: Vec<usize> = (0..batch.actions.len()).collect();
        let mut sums = LossTerms::default();
        let (mut done, mut skipped) = (0_u32, 0_u64);
        'passes: for _ in 0..self.config.update_epochs {
            for i in (1..order.len()).rev() {
                order.swap(i, shuffle.random_range(0..=i));
            }
            for minibatch in order.chunks(self.config.minibatch_size) {
                match self.minibatch(&batch, minibatch, learning_rate) {
                    Some(terms) => {
                        sums.add(&terms);
                        done += 1;
                        if self.config.target_kl.is_some_and(|limit| terms.approx_kl > limit) {
                            break 'passes;
                        }
                    }
                    None => skipped += 1,
                }
            }
        }
        self.skipped += skipped;
        self.updates += 1;
        (self.actor, self.critic) = self.net.to_host();
        self.stream = self.seed.child("explore").nth(self.updates).stream();

        let mean = |sum: f64| sum / f64::from(done.max(1));
        UpdateStats::from([
            ("charts/learning_rate", learning_rate),
            ("losses/policy_loss", mean(sums.policy_loss)),
            ("losses/value_loss", mean(sums.value_loss)),
            ("losses/entropy", mean(sums.entropy)),
            ("losses/approx_kl", mean(sums.approx_kl)),
            ("losses/clipfrac", mean(sums.clipfrac)),
            ("losses/grad_norm", mean(sums.grad_norm)),
            ("losses/explained_variance", explained_variance(&batch.values, &batch.returns)),
            ("losses/minibatches", f64::from(done)),
            ("losses/skipped_minibatches", skipped as f64),
        ])
    }

    /// One gradient step on the steps `rows` of `batch`; `None` if loss or gradient was not finite and
    /// nothing was changed.
    fn minibatch(&mut self, batch: &Batch, rows: &[usize], learning_rate: f64) -> Option<LossTerms> {
        let n = rows.len();
        let (width, actions) = (self.shape.features, self.shape.initial_logits.len());
        let pick = |from: &[f32]| rows.iter().map(|&r| from[r]).collect::<Vec<f32>>();
        let column = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [n]), &self.device);
        let features =
            rows.iter().flat_map(|&r| &batch.features[r * width..(r + 1) * width]).copied().collect();
        let penalty = rows
            .iter()
            .flat_map(|&r| (0..actions).map(move |k| if batch.masks[r].allows(k) { 0.0 } else { FORBIDDEN }))
            .collect();
        let chosen: Vec<i64> = rows.iter().map(|&r| i64::from(batch.actions[r])).collect();
        let features = Tensor::<2>::from_data(TensorData::new::<f32, _>(features, [n, width]), &self.device);
        let penalty = Tensor::<2>::from_data(TensorData::new::<f32, _>(penalty, [n, actions]), &self.device);
        let chosen = Tensor::<2, Int>::from_data(TensorData::new(chosen, [n, 1]), &self.device);
        let old = pick(&batch.log_probabilities);
        let advantages = column(standardized(pick(&batch.advantages)));
        let returns = column(pick(&batch.returns));

        let (logits, values) = self.net.forward(features);
        let log_policy = log_softmax(logits + penalty, 1);
        let log_ratio = log_policy.clone().gather(1, chosen).squeeze_dim::<1>(1) - column(old);
        let ratio = log_ratio.clone().exp();
        let epsilon = self.config.clip_coef;

        // L^CLIP, equation 7.
        let unclipped = ratio.clone() * advantages.clone();
        let clipped = ratio.clamp(1.0 - epsilon, 1.0 + epsilon) * advantages;
        let policy_loss = -unclipped.min_pair(clipped).mean();
        let value_loss = (values - returns).square().mean() * 0.5;
        let entropy = -(log_policy.clone().exp() * log_policy).sum_dim(1).mean();
        // Equation 9, with the sign of a loss.
        let loss = policy_loss.clone() + value_loss.clone() * self.config.vf_coef
            - entropy.clone() * self.config.ent_coef;

        let log_ratio = numbers(log_ratio.detach());
        let scalar = |t: Tensor<1>| numbers(t.detach()).first().copied().map_or(f64::NAN, f64::from);
        let mut terms = LossTerms {
            policy_loss: scalar(policy_loss),
            value_loss: scalar(value_loss),
            entropy: scalar(entropy),
            // Schulman's estimator of the divergence: (r − 1) − log r.
            approx_kl: log_ratio.iter().map(|&l| f64::from(l.exp_m1() - l)).sum::<f64>() / n as f64,
            clipfrac: log_ratio.iter().filter(|l| f64::from(l.exp_m1().abs()) > epsilon).count() as f64
                / n as f64,
            grad_norm: 0.0,
        };
        if !scalar(loss.clone()).is_finite() {
            return None;
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.net);
        let (gradients, norm) = clip_global_norm(&self.net, gradients, self.config.max_grad_norm);
        if !norm.is_finite() {
            return None;
        }
        terms.grad_norm = norm;
        self.net = self.optimizer.step(learning_rate, self.net.clone(), gradients);
        Some(terms)
    }
}

impl Learner for Ppo {
    type Policy = GreedyActor;

    fn explore(&mut self, features: &[f32], masks: &[ActionMask], actions: &mut Vec<ActionIndex>) {
        actions.clear();
        for (row, &mask) in features.chunks_exact(self.shape.features).zip(masks) {
            self.normalizer.apply(row, &mut self.scratch);
            let logits = self.actor.forward(&self.scratch);
            let (action, log_probability) = sample(logits, mask, self.stream.random());
            actions.push(action);
            self.pending.push_back(log_probability);
        }
    }

    fn record(&mut self, transition: Transition<'_>) {
        let log_probability = self.pending.pop_front().expect("an action is explored before it is recorded");
        self.buffer.push(&transition, log_probability);
    }

    fn update(&mut self) -> Option<UpdateStats> {
        (self.buffer.len() >= self.config.num_envs * self.config.num_steps).then(|| self.learn())
    }

    fn finish(&mut self) -> Option<UpdateStats> {
        (!self.buffer.is_empty()).then(|| self.learn())
    }

    fn snapshot(&self) -> GreedyActor {
        GreedyActor::new(self.actor.clone(), self.normalizer.clone())
    }
}

/// Figures of one gradient step.
#[derive(Clone, Copy, Debug, Default)]
struct LossTerms {
    policy_loss: f64,
    value_loss: f64,
    entropy: f64,
    approx_kl: f64,
    clipfrac: f64,
    grad_norm: f64,
}

impl LossTerms {
    fn add(&mut self, other: &Self) {
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.entropy += other.entropy;
        self.approx_kl += other.approx_kl;
        self.clipfrac += other.clipfrac;
        self.grad_norm += other.grad_norm;
    }
}

/// Mean 0 and deviation 1.
fn standardized(mut values: Vec<f32>) -> Vec<f32> {
    let (mean, variance) = moments(&values);
    let deviation = variance.sqrt() + 1e-8;
    for x in &mut values {
        *x = ((f64::from(*x) - mean) / deviation) as f32;
    }
    values
}

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    (mean, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n)
}

/// 1 − Var(returns − values) / Var(returns); 0 where returns do not vary.
fn explained_variance(values: &[f32], returns: &[f32]) -> f64 {
    let errors: Vec<f32> = returns.iter().zip(values).map(|(r, v)| r - v).collect();
    let spread = moments(returns).1;
    if spread > 0.0 { 1.0 - moments(&errors).1 / spread } else { 0.0 }
}

/// Scales all gradients together so that their joint norm is at most `limit`; returns the norm before.
fn clip_global_norm(net: &ActorCritic, gradients: GradientsParams, limit: f64) -> (GradientsParams, f64) {
    struct Norm<'a>(&'a GradientsParams, f64);
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1 += numbers(gradient).iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
            }
        }
    }
    struct Scale(GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient * self.1);
            }
        }
    }
    let mut squares = Norm(&gradients, 0.0);
    net.visit(&mut squares);
    let norm = squares.1.sqrt();
    if !norm.is_finite() || norm <= limit {
        return (gradients, norm);
    }
    let mut scaled = Scale(gradients, limit / norm);
    net.visit(&mut scaled);
    (scaled.0, norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_clipped_by_their_joint_norm() {
        let shape = PpoShape { features: 3, initial_logits: vec![0.0; 2], total_steps: 1 };
        let ppo = Ppo::new(PpoConfig::default(), shape, Seed::root(1), Backend::Flex).unwrap();
        let gradients = || {
            let x = Tensor::<2>::ones([4, 3], &ppo.device);
            let (logits, values) = ppo.net.forward(x);
            let loss = logits.square().sum() * 5.0 + (values - 3.0).square().sum();
            GradientsParams::from_grads(loss.backward(), &ppo.net)
        };
        let (_, norm) = clip_global_norm(&ppo.net, gradients(), 1e9);
        assert!(norm > 1.0, "{norm}");
        let (clipped, before) = clip_global_norm(&ppo.net, gradients(), norm / 4.0);
        assert!((before - norm).abs() < 1e-6 * norm, "the norm before clipping is reported");
        let (_, after) = clip_global_norm(&ppo.net, clipped, 1e9);
        assert!((after - norm / 4.0).abs() < 1e-5 * norm, "actor and critic together: {after}");
    }
}
