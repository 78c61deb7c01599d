//! What PPO and A2C have in common: how they act, what they keep of it, and the quantities that their losses are made of.

use crate::arrays::Arrays;
use crate::backend::{Backend, BackendError};
use crate::categorical::sample;
use crate::graph::{ActorCriticGraph, column};
use crate::learned::GreedyActor;
use crate::learner::{Counters, Setup, SetupError, Treatment};
use crate::net::{ActorCritic, NetConfig, Trunk};
use crate::normalizer::{Normalizer, ReturnNormalizer};
use crate::optimizer::{Optimizer, OptimizerConfig, clip_global_norm};
use crate::rollout_buffer::{Batch, Minibatch, RolloutBuffer, Step};
use autoscale_core::agent::{ActionIndex, ActionMask, Seen, Transition};
use autoscale_core::environment::EpisodeEnd;
use autoscale_core::seed::{Seed, Stream};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;

/// Stands for log 0 in a masked logit: finite, so that 0 × log 0 stays 0.
const FORBIDDEN: f32 = -1e8;

/// What an algorithm tells its actor.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) net: NetConfig,
    pub(crate) treatment: Treatment,
    pub(crate) optimizer: OptimizerConfig,
    pub(crate) gamma: f64,
    pub(crate) gae_lambda: f64,
    pub(crate) max_grad_norm: f64,
}

/// An action that was chosen and not yet recorded.
#[derive(Clone, Copy, Debug)]
struct Pending {
    log_probability: f32,
    value: f32,
}

/// Acts by a stochastic policy, keeps what happened, and holds all that learning changes.
pub(crate) struct OnPolicy {
    rules: Rules,
    pub(crate) setup: Setup,
    seed: Seed,
    device: Device,
    net: ActorCritic,
    optimizer: Optimizer,
    normalizer: Normalizer,
    returns: ReturnNormalizer,
    buffer: RolloutBuffer,
    /// What is remembered of each environment's episode.
    states: Vec<Vec<f32>>,
    /// What each environment showed last, for the value of a rollout's end.
    latest: Vec<Vec<f32>>,
    pending: Vec<Pending>,
    pending_rows: Vec<f32>,
    pending_states: Vec<f32>,
    recorded: usize,
    scratch: Vec<f32>,
    explored: u64,
    pub(crate) counters: Counters,
}

impl OnPolicy {
    pub(crate) fn new(rules: Rules, setup: Setup, seed: Seed, backend: Backend) -> Result<Self, SetupError> {
        let mut stream = seed.child("init").stream();
        let widths = (setup.features, setup.privileged);
        let mut net = ActorCritic::fresh(&rules.net, widths, &setup.initial_logits, &mut stream)?;
        let parameters = net.parameters_mut().iter().map(|p| p.len()).sum();
        let device = backend.device().map_err(|e: BackendError| SetupError::Backend(e))?;
        Ok(Self {
            optimizer: Optimizer::new(rules.optimizer, parameters),
            normalizer: Normalizer::new(setup.features + setup.privileged),
            returns: ReturnNormalizer::new(rules.gamma),
            buffer: RolloutBuffer::default(),
            states: Vec::new(),
            latest: Vec::new(),
            pending: Vec::new(),
            pending_rows: Vec::new(),
            pending_states: Vec::new(),
            recorded: 0,
            scratch: Vec::new(),
            explored: 0,
            counters: Counters::default(),
            seed,
            device,
            net,
            rules,
            setup,
        })
    }

    fn width(&self) -> usize {
        self.setup.features + self.setup.privileged
    }

    /// Steps kept since the last update.
    pub(crate) fn kept(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn explore(&mut self, seen: &Seen<'_>, actions: &mut Vec<ActionIndex>) {
        actions.clear();
        self.pending.clear();
        self.pending_rows.clear();
        self.pending_states.clear();
        self.recorded = 0;
        if self.rules.treatment.normalize_observations {
            self.normalizer.observe(seen.features);
        }
        // A stream of its own for every round: nothing of a generator has to be kept.
        let mut stream = self.seed.child("explore").nth(self.explored).stream();
        self.explored += 1;
        let (width, remembered) = (self.width(), self.net.state_width());
        for ((&env, row), &mask) in seen.envs.iter().zip(seen.features.chunks_exact(width)).zip(seen.masks) {
            if self.states.len() <= env {
                self.states.resize(env + 1, vec![0.0; remembered]);
                self.latest.resize(env + 1, vec![0.0; width]);
            }
            let first = self.pending_rows.len();
            self.normalizer.append(row, &mut self.pending_rows);
            let state = &mut self.states[env];
            self.pending_states.extend_from_slice(state);
            let (logits, value) = self.net.act(&self.pending_rows[first..], state);
            let mask = self.rules.treatment.mask(mask, logits.len());
            let (action, log_probability) = sample(logits, mask, stream.random());
            actions.push(action);
            self.pending.push(Pending { log_probability, value });
        }
    }

    pub(crate) fn record(&mut self, transition: &Transition<'_>) {
        let (n, env) = (self.recorded, transition.env);
        self.recorded += 1;
        self.counters.steps += 1;
        let Pending { log_probability, value } = self.pending[n];
        let (width, remembered) = (self.width(), self.net.state_width());
        let treatment = self.rules.treatment;
        let mut reward = transition.reward;
        if treatment.normalize_rewards {
            reward = self.returns.apply(env, reward, transition.end);
        }
        let end = treatment.end(transition.end);
        let end_value = match end {
            Some(EpisodeEnd::Truncated) => self.value(transition.next_features, env),
            _ => 0.0,
        };
        self.buffer.push(
            env,
            &Step {
                row: &self.pending_rows[n * width..(n + 1) * width],
                state: &self.pending_states[n * remembered..(n + 1) * remembered],
                mask: treatment.mask(transition.mask, self.setup.initial_logits.len()),
                action: transition.action.0,
                log_probability,
                value,
                reward,
                end,
                end_value,
            },
        );
        if end.is_some() {
            self.states[env].fill(0.0);
        } else {
            self.latest[env].copy_from_slice(transition.next_features);
        }
    }

    /// The value of what environment `env` shows, without remembering it.
    fn value(&mut self, row: &[f32], env: usize) -> f32 {
        self.scratch.clear();
        self.normalizer.append(row, &mut self.scratch);
        let mut state = self.states.get(env).cloned().unwrap_or_else(|| vec![0.0; self.net.state_width()]);
        self.net.act(&self.scratch, &mut state).1
    }

    /// The critic's value of the first state of an episode; `row` is `[features + privileged]`.
    pub(crate) fn first_value(&mut self, row: &[f32]) -> f32 {
        self.value(row, usize::MAX)
    }

    /// Empties what was kept into a batch with advantages.
    pub(crate) fn batch(&mut self) -> Batch {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (gamma, lambda) = (self.rules.gamma as f32, self.rules.gae_lambda as f32);
        let batch = buffer.drain(gamma, lambda, |env| {
            let latest = std::mem::take(&mut self.latest[env]);
            let value = self.value(&latest, env);
            self.latest[env] = latest;
            value
        });
        self.buffer = buffer;
        batch
    }

    /// A stream for the order of minibatches in the coming update.
    pub(crate) fn shuffle(&self) -> Stream {
        self.seed.child("shuffle").nth(self.counters.updates).stream()
    }

    /// What the loss of a minibatch is made of.
    pub(crate) fn evaluate(&self, batch: &Batch, minibatch: &Minibatch) -> Evaluated {
        let rows = &minibatch.rows;
        let (n, width, actions) = (rows.len(), self.width(), self.setup.initial_logits.len());
        let graph = ActorCriticGraph::of(&self.net, &self.device);
        let mut input = Vec::with_capacity(n * width);
        for &r in rows {
            input.extend_from_slice(&batch.rows[r * width..(r + 1) * width]);
        }
        let input = Tensor::<2>::from_data(TensorData::new(input, [n, width]), &self.device);
        let (mut logits, values) = graph.forward(input, minibatch.sequence.as_ref());
        if rows.iter().any(|&r| batch.masks[r] != ActionMask::all(actions)) {
            let penalty = |&r: &usize| {
                (0..actions).map(move |k| if batch.masks[r].allows(k) { 0.0 } else { FORBIDDEN })
            };
            let penalty: Vec<f32> = rows.iter().flat_map(penalty).collect();
            logits = logits + Tensor::<2>::from_data(TensorData::new(penalty, [n, actions]), &self.device);
        }
        let log_policy = log_softmax(logits, 1);
        let chosen: Vec<i64> = rows.iter().map(|&r| i64::from(batch.actions[r])).collect();
        let chosen = Tensor::<2, Int>::from_data(TensorData::new(chosen, [n, 1]), &self.device);
        Evaluated {
            chosen: log_policy.clone().gather(1, chosen).squeeze_dim(1),
            entropy: -(log_policy.clone().exp() * log_policy).sum() / n as f64,
            values,
            graph,
        }
    }

    /// Of these steps, as a tensor `[rows]`.
    pub(crate) fn pick(&self, from: &[f32], minibatch: &Minibatch) -> Tensor<1> {
        column(minibatch.rows.iter().map(|&r| from[r]).collect(), &self.device)
    }

    /// The same, with mean 0 and deviation 1.
    pub(crate) fn pick_standardized(&self, from: &[f32], minibatch: &Minibatch) -> Tensor<1> {
        column(standardized(minibatch.rows.iter().map(|&r| from[r]).collect()), &self.device)
    }

    /// Moves all parameters against the gradient of `loss`; `None` if it was not finite and nothing was changed, else
    /// its norm before clipping.
    pub(crate) fn descend(
        &mut self,
        graph: &ActorCriticGraph,
        loss: &Tensor<1>,
        learning_rate: f64,
    ) -> Option<f64> {
        let mut gradient = graph.gradient(loss);
        let norm = clip_global_norm(&mut gradient, self.rules.max_grad_norm);
        if !norm.is_finite() {
            return None;
        }
        self.optimizer.step(learning_rate, self.net.parameters_mut(), &gradient);
        Some(norm)
    }

    pub(crate) fn snapshot(&self) -> GreedyActor {
        GreedyActor::new(
            self.net.actor.clone(),
            self.normalizer.first(self.setup.features),
            self.setup.initial_logits.len(),
        )
    }

    /// What acting needs.
    pub(crate) fn weights(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put_tower("policy", &self.net.actor);
        if let Some(critic) = &self.net.critic {
            arrays.put_tower("value", critic);
        }
        arrays.put_normalizer("normalizer", &self.normalizer);
        arrays
    }

    /// What going on needs beside; right after an update, when nothing is kept of a rollout.
    pub(crate) fn state(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put_optimizer("training.optimizer", &self.optimizer);
        arrays.put_normalizer("training.returns", &self.returns.moments);
        arrays.put("training.returns.sums", self.returns.returns.clone());
        arrays.put("training.states", self.states.concat());
        arrays.put("training.explored", vec![self.explored]);
        self.counters.put(&mut arrays);
        arrays
    }

    pub(crate) fn load_weights(&mut self, arrays: &Arrays) -> Result<(), String> {
        let (features, width, net) = (self.setup.features, self.width(), &self.rules.net);
        let own = net.trunk == Trunk::Separate;
        let outputs = self.setup.initial_logits.len() + usize::from(!own);
        let actor = arrays.tower("policy", features, net, outputs)?;
        let critic = own.then(|| arrays.tower("value", width, net, 1)).transpose()?;
        self.normalizer = arrays.normalizer("normalizer", width)?;
        self.net = ActorCritic::new(actor, critic);
        Ok(())
    }

    pub(crate) fn load_state(&mut self, arrays: &Arrays) -> Result<(), String> {
        arrays.restore_optimizer("training.optimizer", &mut self.optimizer)?;
        self.returns.moments = arrays.normalizer("training.returns", 1)?;
        self.returns.returns = arrays.get("training.returns.sums")?.to_vec();
        let (states, remembered) = (arrays.get::<f32>("training.states")?, self.net.state_width());
        if remembered > 0 {
            self.states = states.chunks_exact(remembered).map(<[f32]>::to_vec).collect();
            self.latest = vec![vec![0.0; self.width()]; self.states.len()];
        }
        self.explored = arrays.exactly::<u64>("training.explored", 1)?[0];
        self.counters = Counters::get(arrays)?;
        Ok(())
    }
}

/// A minibatch under the present network.
pub(crate) struct Evaluated {
    pub(crate) graph: ActorCriticGraph,
    /// log π of the actions taken, `[rows]`.
    pub(crate) chosen: Tensor<1>,
    /// Mean entropy of the policy, `[1]`.
    pub(crate) entropy: Tensor<1>,
    /// Values, `[rows]`.
    pub(crate) values: Tensor<1>,
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
pub(crate) fn explained_variance(batch: &Batch) -> f64 {
    let errors: Vec<f32> = batch.returns.iter().zip(&batch.values).map(|(r, v)| r - v).collect();
    let spread = moments(&batch.returns).1;
    if spread > 0.0 { 1.0 - moments(&errors).1 / spread } else { 0.0 }
}

/// A learner is an [`OnPolicy`] called `actor`, a `config` that says how many steps of how many environments make a rollout,
/// and how it learns from one: `learn`.
macro_rules! on_policy_learner {
    ($learner:ident, $name:literal) => {
        impl Learner for $learner {
            type Policy = GreedyActor;

            fn explore(&mut self, seen: &Seen<'_>, actions: &mut Vec<ActionIndex>) {
                self.actor.explore(seen, actions);
            }

            fn record(&mut self, transition: Transition<'_>) {
                self.actor.record(&transition);
            }

            fn update(&mut self) -> Option<UpdateStats> {
                (self.actor.kept() >= self.config.num_envs * self.config.num_steps).then(|| self.learn())
            }

            fn finish(&mut self) -> Option<UpdateStats> {
                (self.actor.kept() > 0).then(|| self.learn())
            }

            fn snapshot(&self) -> GreedyActor {
                self.actor.snapshot()
            }
        }

        impl Trainable for $learner {
            fn algorithm(&self) -> &'static str {
                $name
            }

            fn counters(&self) -> Counters {
                self.actor.counters
            }

            fn weights(&self) -> Arrays {
                self.actor.weights()
            }

            fn state(&self) -> Arrays {
                self.actor.state()
            }

            fn load_weights(&mut self, arrays: &Arrays) -> Result<(), String> {
                self.actor.load_weights(arrays)
            }

            fn load(&mut self, arrays: &Arrays) -> Result<(), String> {
                self.actor.load_weights(arrays)?;
                self.actor.load_state(arrays)
            }
        }
    };
}
pub(crate) use on_policy_learner;
