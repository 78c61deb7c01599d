//! Deep Q-networks (Mnih et al., 2015), with what Hessel et al., 2018, "Rainbow" (arXiv:1710.02298), found worth adding,
//! each part a switch: double (van Hasselt et al., 2016), dueling (Wang et al., 2016), several steps at once, and
//! prioritised replay (Schaul et al., 2016). Figures have `CleanRL`'s names.

mod state;
#[cfg(test)]
mod tests;

use crate::arrays::Arrays;
use crate::backend::Backend;
use crate::categorical::argmax;
use crate::graph::{TowerGraph, numbers};
use crate::learned::GreedyActor;
use crate::learner::{Counters, Setup, SetupError, Trainable, Treatment};
use crate::net::{NetConfig, Tower, Trunk};
use crate::normalizer::{Normalizer, ReturnNormalizer};
use crate::optimizer::{Optimizer, OptimizerConfig, clip_global_norm};
use crate::replay::{Item, NStep, Priorities, Replay, Truncation};
use autoscale_core::agent::{ActionIndex, Learner, Seen, Transition, UpdateStats};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use state::{pending, put_pending, put_replay, replay};

/// Prioritised replay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriorityConfig {
    /// How much priorities count, 0 to 1.
    pub alpha: f64,
    /// How much of the bias that comes of it is taken out at the start, 0 to 1; all of it at the end.
    pub beta: f64,
    /// Added to errors, so that none is forgotten.
    pub eps: f64,
}

impl Default for PriorityConfig {
    fn default() -> Self {
        Self { alpha: 0.6, beta: 0.4, eps: 1e-3 }
    }
}

/// Hyperparameters, named as in `CleanRL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set by name in a file")]
pub struct DqnConfig {
    /// Environments stepped side by side.
    pub num_envs: usize,
    /// Steps that are remembered.
    pub buffer_size: usize,
    /// Steps before the first update, explored at `start_e`.
    pub learning_starts: u64,
    /// Environment steps to an update.
    pub train_frequency: u64,
    /// Steps in an update.
    pub batch_size: usize,
    /// The optimiser's step size at the start.
    pub learning_rate: f64,
    /// Whether the step size falls linearly to zero.
    pub anneal_lr: bool,
    /// Discount γ per step.
    pub gamma: f64,
    /// Share of random actions at the start.
    pub start_e: f64,
    /// Share of random actions from `exploration_fraction` on.
    pub end_e: f64,
    /// Share of training in which the share of random actions falls.
    pub exploration_fraction: f64,
    /// Updates between two moves of the target network.
    pub target_network_frequency: u64,
    /// How much of the way it moves, 0 to 1.
    pub tau: f64,
    /// Whether the network that learns chooses the next action, and the target network judges it.
    pub double: bool,
    /// Whether the network gives a state's value and the actions' advantages apart.
    pub dueling: bool,
    /// Rewards that are summed up before the value of a state is asked for.
    pub n_step: usize,
    /// Prioritised replay; uniform when null.
    pub priorities: Option<PriorityConfig>,
    /// Whether errors above 1 count linearly.
    pub huber: bool,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// What a fresh network prefers, as a multiple of the logits that a policy would begin with.
    pub warm_start: f64,
    /// What is done to what comes in.
    pub treatment: Treatment,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
}

impl Default for DqnConfig {
    fn default() -> Self {
        Self {
            num_envs: 8,
            buffer_size: 50_000,
            learning_starts: 1000,
            train_frequency: 4,
            batch_size: 64,
            learning_rate: 5e-4,
            anneal_lr: true,
            gamma: 0.95,
            start_e: 0.2,
            end_e: 0.02,
            exploration_fraction: 0.5,
            target_network_frequency: 250,
            tau: 1.0,
            double: true,
            dueling: true,
            n_step: 3,
            priorities: None,
            huber: true,
            max_grad_norm: 10.0,
            warm_start: 0.05,
            treatment: Treatment::default(),
            optimizer: OptimizerConfig::ADAM,
            hidden: vec![64, 64],
        }
    }
}

impl DqnConfig {
    /// For [`crate::toy::CartPole`].
    pub fn cart_pole() -> Self {
        Self {
            learning_rate: 1e-3,
            gamma: 0.98,
            start_e: 1.0,
            end_e: 0.04,
            exploration_fraction: 0.16,
            ..Self::default()
        }
    }

    /// The network as a checkpoint describes it.
    pub fn net(&self) -> NetConfig {
        NetConfig { hidden: self.hidden.clone(), trunk: Trunk::Shared, gru: None }
    }
}

impl Validate for DqnConfig {
    type Checked = Self;

    fn validate(self) -> Result<Self, ConfigError> {
        count_in_range("num_envs", self.num_envs as u64, 1, 4096)?;
        count_in_range("buffer_size", self.buffer_size as u64, 16, 1 << 26)?;
        count_in_range("learning_starts", self.learning_starts, 1, 1 << 40)?;
        count_in_range("train_frequency", self.train_frequency, 1, 1 << 20)?;
        count_in_range("batch_size", self.batch_size as u64, 1, 1 << 20)?;
        in_range("learning_rate", self.learning_rate, 1e-9, 1.0)?;
        in_range("gamma", self.gamma, 0.0, 1.0)?;
        in_range("start_e", self.start_e, 0.0, 1.0)?;
        in_range("end_e", self.end_e, 0.0, 1.0)?;
        in_range("exploration_fraction", self.exploration_fraction, 1e-6, 1.0)?;
        count_in_range("target_network_frequency", self.target_network_frequency, 1, 1 << 40)?;
        in_range("tau", self.tau, 1e-6, 1.0)?;
        count_in_range("n_step", self.n_step as u64, 1, 1000)?;
        if let Some(priorities) = self.priorities {
            in_range("priorities.alpha", priorities.alpha, 0.0, 1.0)?;
            in_range("priorities.beta", priorities.beta, 0.0, 1.0)?;
            in_range("priorities.eps", priorities.eps, 1e-9, 1.0)?;
        }
        in_range("max_grad_norm", self.max_grad_norm, 1e-6, 1e6)?;
        in_range("warm_start", self.warm_start, 0.0, 1000.0)?;
        self.optimizer.check()?;
        self.net().validate()?;
        Ok(self)
    }
}

/// Environment steps between two reports.
const REPORT_STEPS: u64 = 1000;

/// The learner.
pub struct Dqn {
    config: DqnConfig,
    setup: Setup,
    seed: Seed,
    device: Device,
    online: Tower,
    target: Tower,
    optimizer: Optimizer,
    normalizer: Normalizer,
    returns: ReturnNormalizer,
    n_step: NStep,
    replay: Replay,
    /// Rounds of exploring.
    explored: u64,
    /// Steps that no update was made for yet.
    due: u64,
    reported: u64,
    counters: Counters,
    sums: Sums,
    scratch: Scratch,
}

/// Figures since the last report.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    updates: u64,
    loss: f64,
    values: f64,
    norm: f64,
    skipped: u64,
}

/// Room for a batch.
#[derive(Clone, Debug, Default)]
struct Scratch {
    indices: Vec<usize>,
    weights: Vec<f32>,
    row: Vec<f32>,
    values: Vec<f32>,
}

/// A batch's loss, and what it comes of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Loss {
    figure: f64,
    /// Of each transition.
    errors: Vec<f32>,
    /// Mean value of the actions taken.
    value: f64,
    /// Slope of the loss in each output, `[batch, outputs]`.
    slopes: Vec<f32>,
}

impl Dqn {
    /// A fresh learner. Everything random comes from `seed`.
    ///
    /// # Errors
    /// When the configuration is out of range, or the backend was not compiled in.
    pub fn new(config: DqnConfig, setup: Setup, seed: Seed, backend: Backend) -> Result<Self, SetupError> {
        let config = config.validate()?;
        if setup.privileged > 0 {
            let error = ConfigError::new("privileged", setup.privileged, "0, for a DQN has no critic");
            return Err(error.into());
        }
        let actions = setup.initial_logits.len();
        let outputs = actions + usize::from(config.dueling);
        let mut stream = seed.child("init").stream();
        let mut online = Tower::orthogonal(setup.features, &config.net(), outputs, 0.01, &mut stream);
        for (bias, logit) in online.output.bias.iter_mut().zip(&setup.initial_logits) {
            *bias = logit * config.warm_start as f32;
        }
        let parameters = online.parameters_mut().iter().map(|p| p.len()).sum();
        Ok(Self {
            device: backend.device()?,
            target: online.clone(),
            online,
            optimizer: Optimizer::new(config.optimizer, parameters),
            normalizer: Normalizer::new(setup.features),
            returns: ReturnNormalizer::new(config.gamma),
            n_step: NStep::new(config.n_step, config.gamma as f32, truncation(&config)),
            replay: Replay::new(config.buffer_size, setup.features, priorities(&config)),
            explored: 0,
            due: 0,
            reported: 0,
            counters: Counters::default(),
            sums: Sums::default(),
            scratch: Scratch::default(),
            seed,
            setup,
            config,
        })
    }

    fn actions(&self) -> usize {
        self.setup.initial_logits.len()
    }

    /// How much of training is done, 0 to 1.
    fn fraction(&self) -> f64 {
        (self.counters.steps as f64 / self.setup.total_steps.max(1) as f64).min(1.0)
    }

    fn learning_rate(&self) -> f64 {
        self.config.learning_rate * if self.config.anneal_lr { 1.0 - self.fraction() } else { 1.0 }
    }

    fn epsilon(&self) -> f64 {
        if self.counters.steps < self.config.learning_starts {
            return self.config.start_e;
        }
        let share = (self.fraction() / self.config.exploration_fraction).min(1.0);
        self.config.start_e + share * (self.config.end_e - self.config.start_e)
    }

    /// r + γ Q(s′, a′) with the best a′ among those that are allowed; `[batch]`.
    fn targets(&mut self, indices: &[usize]) -> Vec<f32> {
        let (actions, dueling) = (self.actions(), self.config.dueling);
        let Scratch { row, values, .. } = &mut self.scratch;
        let mut target = |index: usize| {
            let Item { reward, discount, next_features, next_mask, .. } = self.replay.get(index);
            // Nothing follows.
            if discount == 0.0 {
                return reward;
            }
            row.clear();
            self.normalizer.append(next_features, row);
            values.clear();
            values.extend_from_slice(self.target.forward(row, &mut []));
            let best = if self.config.double {
                argmax(&self.online.forward(row, &mut [])[..actions], next_mask)
            } else {
                argmax(&values[..actions], next_mask)
            };
            reward + discount * action_value(values, actions, dueling, usize::from(best.0))
        };
        indices.iter().map(|&index| target(index)).collect()
    }

    /// One gradient step; it is skipped if the loss or its gradient is not finite.
    fn gradient_step(&mut self) {
        let update = self.counters.updates;
        self.counters.updates += 1;
        let mut stream = self.seed.child("replay").nth(update).stream();
        let (mut indices, mut weights) =
            (std::mem::take(&mut self.scratch.indices), std::mem::take(&mut self.scratch.weights));
        let beta = self.config.priorities.map_or(1.0, |p| p.beta + self.fraction() * (1.0 - p.beta));
        self.replay.sample(self.config.batch_size, beta as f32, &mut stream, &mut indices, &mut weights);
        let targets = self.targets(&indices);

        let (n, width) = (indices.len(), self.setup.features);
        let mut rows = Vec::with_capacity(n * width);
        for &index in &indices {
            self.normalizer.append(self.replay.get(index).features, &mut rows);
        }
        let graph = TowerGraph::of(&self.online, &self.device);
        let rows = Tensor::<2>::from_data(TensorData::new(rows, [n, width]), &self.device);
        let outputs = graph.forward(rows, None);
        let Loss { figure, errors, value, slopes } =
            self.loss(&numbers(outputs.clone().detach()), &indices, &targets, &weights);

        let mut norm = f64::NAN;
        if figure.is_finite() {
            let slopes = Tensor::from_data(TensorData::new(slopes, outputs.dims()), &self.device);
            let mut gradient = graph.gradient(&(outputs * slopes).sum());
            norm = clip_global_norm(&mut gradient, self.config.max_grad_norm);
            if norm.is_finite() {
                let learning_rate = self.learning_rate();
                self.optimizer.step(learning_rate, self.online.parameters_mut(), &gradient);
            }
        }
        if norm.is_finite() {
            if self.config.priorities.is_some() {
                self.replay.update_priorities(&indices, &errors);
            }
            self.sums.updates += 1;
            self.sums.loss += figure;
            self.sums.norm += norm;
            self.sums.values += value;
        } else {
            self.sums.skipped += 1;
            self.counters.skipped += 1;
        }
        (self.scratch.indices, self.scratch.weights) = (indices, weights);
        if self.counters.updates.is_multiple_of(self.config.target_network_frequency) {
            self.move_target();
        }
    }

    /// The mean loss of a batch, for what the network gives in its states. On the host: a dozen tensor operations on so few
    /// numbers, and as many on the way back, cost as much as the network.
    fn loss(&self, outputs: &[f32], indices: &[usize], targets: &[f32], weights: &[f32]) -> Loss {
        let (actions, dueling) = (self.actions(), self.config.dueling);
        let (width, n) = (actions + usize::from(dueling), indices.len() as f32);
        let mut loss = Loss { slopes: vec![0.0; outputs.len()], ..Loss::default() };
        let rows = outputs.chunks_exact(width).zip(loss.slopes.chunks_exact_mut(width));
        for (k, (row, slopes)) in rows.enumerate() {
            let action = usize::from(self.replay.get(indices[k]).action.0);
            let value = action_value(row, actions, dueling, action);
            let error = value - targets[k];
            // Uniform draws have weights of 1; Schaul et al., section 3.4.
            let weight = weights[k] / n;
            let slope = if self.config.huber { error.clamp(-1.0, 1.0) } else { error };
            // ½ e², and with Huber's |e| − ½ beyond 1.
            loss.figure += f64::from(weight * slope * (error - slope * 0.5));
            loss.value += f64::from(value / n);
            loss.errors.push(error);
            if dueling {
                // Wang et al., equation 9.
                slopes[..actions].fill(-weight * slope / actions as f32);
                slopes[actions] = weight * slope;
            }
            slopes[action] += weight * slope;
        }
        loss
    }

    fn move_target(&mut self) {
        let tau = self.config.tau as f32;
        for (to, from) in self.target.parameters_mut().into_iter().zip(self.online.parameters_mut()) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += tau * (*from - *to));
        }
    }

    fn report(&mut self) -> UpdateStats {
        self.reported = self.counters.steps;
        let sums = std::mem::take(&mut self.sums);
        let mean = |sum: f64| sum / sums.updates.max(1) as f64;
        UpdateStats::from([
            ("charts/epsilon", self.epsilon()),
            ("charts/learning_rate", self.learning_rate()),
            ("losses/td_loss", mean(sums.loss)),
            ("losses/q_values", mean(sums.values)),
            ("losses/grad_norm", mean(sums.norm)),
            ("losses/minibatches", sums.updates as f64),
            ("losses/skipped_minibatches", sums.skipped as f64),
        ])
    }
}

/// The value of an action in what a network gave.
fn action_value(outputs: &[f32], actions: usize, dueling: bool, action: usize) -> f32 {
    if dueling {
        let mean = outputs[..actions].iter().sum::<f32>() / actions as f32;
        outputs[action] + (outputs[actions] - mean)
    } else {
        outputs[action]
    }
}

fn truncation(config: &DqnConfig) -> Truncation {
    if config.treatment.bootstrap_truncation { Truncation::Bootstrap } else { Truncation::Terminate }
}

fn priorities(config: &DqnConfig) -> Option<Priorities> {
    config.priorities.map(|p| Priorities { alpha: p.alpha as f32, eps: p.eps as f32 })
}

impl Learner for Dqn {
    type Policy = GreedyActor;

    fn explore(&mut self, seen: &Seen<'_>, actions: &mut Vec<ActionIndex>) {
        actions.clear();
        if self.config.treatment.normalize_observations {
            self.normalizer.observe(seen.features);
        }
        let mut stream = self.seed.child("explore").nth(self.explored).stream();
        self.explored += 1;
        let (epsilon, count) = (self.epsilon(), self.actions());
        let row = &mut self.scratch.row;
        for (features, &mask) in seen.features.chunks_exact(self.setup.features).zip(seen.masks) {
            let mask = self.config.treatment.mask(mask, count);
            if stream.random::<f64>() < epsilon {
                let k = stream.random_range(0..mask.count());
                let allowed = (0..count).filter(|&k| mask.allows(k)).nth(k as usize);
                actions.push(ActionIndex(allowed.unwrap_or(0) as u16));
                continue;
            }
            row.clear();
            self.normalizer.append(features, row);
            actions.push(argmax(&self.online.forward(row, &mut [])[..count], mask));
        }
    }

    fn record(&mut self, transition: Transition<'_>) {
        self.counters.steps += 1;
        self.due += 1;
        let (treatment, count) = (self.config.treatment, self.actions());
        let reward = if treatment.normalize_rewards {
            self.returns.apply(transition.env, transition.reward, transition.end)
        } else {
            transition.reward
        };
        let treated = Transition {
            reward,
            mask: treatment.mask(transition.mask, count),
            next_mask: treatment.mask(transition.next_mask, count),
            ..transition
        };
        self.n_step.push(&treated, &mut self.replay);
    }

    fn update(&mut self) -> Option<UpdateStats> {
        if self.counters.steps < self.config.learning_starts || self.replay.is_empty() {
            self.due = 0;
            return None;
        }
        while self.due >= self.config.train_frequency {
            self.due -= self.config.train_frequency;
            self.gradient_step();
        }
        (self.counters.steps >= self.reported + REPORT_STEPS).then(|| self.report())
    }

    fn finish(&mut self) -> Option<UpdateStats> {
        Some(self.update().unwrap_or_else(|| self.report()))
    }

    fn snapshot(&self) -> GreedyActor {
        GreedyActor::new(self.online.clone(), self.normalizer.clone(), self.actions())
    }
}

impl Trainable for Dqn {
    fn algorithm(&self) -> &'static str {
        "dqn"
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn weights(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put_tower("policy", &self.online);
        arrays.put_normalizer("normalizer", &self.normalizer);
        arrays
    }

    fn state(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put_tower("training.target", &self.target);
        arrays.put_optimizer("training.optimizer", &self.optimizer);
        arrays.put_normalizer("training.returns", &self.returns.moments);
        arrays.put("training.returns.sums", self.returns.returns.clone());
        arrays.put("training.rounds", vec![self.explored, self.due, self.reported]);
        self.counters.put(&mut arrays);
        put_replay(&mut arrays, self.replay.state());
        put_pending(&mut arrays, self.n_step.state());
        arrays
    }

    fn load_weights(&mut self, arrays: &Arrays) -> Result<(), String> {
        let outputs = self.online.outputs();
        let tower = |name| arrays.tower(name, self.setup.features, &self.config.net(), outputs);
        let online = tower("policy")?;
        self.normalizer = arrays.normalizer("normalizer", self.setup.features)?;
        self.target = online.clone();
        self.online = online;
        Ok(())
    }

    fn load(&mut self, arrays: &Arrays) -> Result<(), String> {
        self.load_weights(arrays)?;
        let outputs = self.online.outputs();
        self.target = arrays.tower("training.target", self.setup.features, &self.config.net(), outputs)?;
        arrays.restore_optimizer("training.optimizer", &mut self.optimizer)?;
        self.returns.moments = arrays.normalizer("training.returns", 1)?;
        self.returns.returns = arrays.get("training.returns.sums")?.to_vec();
        let rounds = arrays.exactly::<u64>("training.rounds", 3)?;
        (self.explored, self.due, self.reported) = (rounds[0], rounds[1], rounds[2]);
        self.counters = Counters::get(arrays)?;
        let (size, width) = (self.config.buffer_size, self.setup.features);
        self.replay = Replay::restore(size, width, priorities(&self.config), replay(arrays, width)?)?;
        let (n, gamma) = (self.config.n_step, self.config.gamma as f32);
        self.n_step = NStep::restore(n, gamma, truncation(&self.config), &pending(arrays)?)?;
        Ok(())
    }
}
