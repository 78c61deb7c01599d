//! The networks on the host: plain numbers, for acting without allocation. `graph` has the same as tensors.

use autoscale_core::seed::Stream;
use autoscale_core::validate::{ConfigError, Validate, count_in_range};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::f64::consts::SQRT_2;

/// Whether actor and critic have layers in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trunk {
    /// One network with an output more: half the arithmetic.
    Shared,
    /// Two networks, so that neither loss disturbs the other's features. Only so can a critic see more than the actor.
    #[default]
    Separate,
}

/// What the networks look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetConfig {
    /// Widths of the hidden layers, with `ReLU` behind each.
    pub hidden: Vec<usize>,
    /// What actor and critic share.
    pub trunk: Trunk,
    /// Width of a gated recurrent unit behind the hidden layers; none when null.
    pub gru: Option<usize>,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self { hidden: vec![64, 64], trunk: Trunk::default(), gru: None }
    }
}

impl Validate for NetConfig {
    type Checked = Self;

    fn validate(self) -> Result<Self, ConfigError> {
        count_in_range("hidden", self.hidden.len() as u64, 1, 8)?;
        for &width in &self.hidden {
            count_in_range("hidden", width as u64, 1, 4096)?;
        }
        if let Some(width) = self.gru {
            count_in_range("gru", width as u64, 1, 1024)?;
        }
        Ok(self)
    }
}

/// A fully connected layer. `weight` is row-major `[inputs, outputs]`, `bias` is `[outputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// Outputs that are summed up at once: as many as stay in registers.
const BLOCK: usize = 32;

impl Dense {
    /// Orthogonal rows or columns, whichever are fewer, times `gain` (Saxe et al., 2014); biases of zero.
    fn orthogonal(inputs: usize, outputs: usize, gain: f64, stream: &mut Stream) -> Self {
        let (count, length) = (inputs.min(outputs), inputs.max(outputs));
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
        while basis.len() < count {
            let mut vector: Vec<f64> = (0..length).map(|_| StandardNormal.sample(stream)).collect();
            // Gram-Schmidt, twice for accuracy.
            for _ in 0..2 {
                for other in &basis {
                    let along: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                    vector.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
                }
            }
            let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
            if norm > 1e-6 {
                for a in &mut vector {
                    *a /= norm;
                }
                basis.push(vector);
            }
        }
        let entry = |i: usize, o: usize| if inputs <= outputs { basis[i][o] } else { basis[o][i] };
        let weight = (0..inputs * outputs).map(|n| (gain * entry(n / outputs, n % outputs)) as f32).collect();
        Self { inputs, outputs, weight, bias: vec![0.0; outputs] }
    }

    /// Sets `output` to the layer's, without activation.
    fn forward(&self, input: &[f32], output: &mut Vec<f32>) {
        output.clear();
        output.extend_from_slice(&self.bias);
        let (blocks, rest) = output.as_chunks_mut::<BLOCK>();
        for (k, sums) in blocks.iter_mut().enumerate() {
            let mut block = *sums;
            for (&x, row) in input.iter().zip(self.weight.chunks_exact(self.outputs)) {
                let row: &[f32] = &row[k * BLOCK..(k + 1) * BLOCK];
                block.iter_mut().zip(row).for_each(|(y, w)| *y += x * w);
            }
            *sums = block;
        }
        if !rest.is_empty() {
            let first = self.outputs - rest.len();
            for (&x, row) in input.iter().zip(self.weight.chunks_exact(self.outputs)) {
                rest.iter_mut().zip(&row[first..]).for_each(|(y, w)| *y += x * w);
            }
        }
    }
}

/// A gated recurrent unit (Cho et al., 2014), as `PyTorch` writes it: gates in the order reset, update, new.
#[derive(Clone, Debug, PartialEq)]
pub struct Gru {
    /// `[inputs, 3 width]`.
    pub(crate) input: Dense,
    /// `[width, 3 width]`.
    pub(crate) hidden: Dense,
}

impl Gru {
    fn orthogonal(inputs: usize, width: usize, stream: &mut Stream) -> Self {
        Self {
            input: Dense::orthogonal(inputs, 3 * width, 1.0, stream),
            hidden: Dense::orthogonal(width, 3 * width, 1.0, stream),
        }
    }

    pub(crate) const fn width(&self) -> usize {
        self.hidden.inputs
    }

    /// Moves `state` on by `input`, with room for the gates in `from_input` and `from_state`.
    fn step(&self, input: &[f32], state: &mut [f32], from_input: &mut Vec<f32>, from_state: &mut Vec<f32>) {
        self.input.forward(input, from_input);
        self.hidden.forward(state, from_state);
        let width = self.width();
        for (k, h) in state.iter_mut().enumerate() {
            let (x, s) =
                (|gate: usize| from_input[gate * width + k], |gate: usize| from_state[gate * width + k]);
            let reset = sigmoid(x(0) + s(0));
            let update = sigmoid(x(1) + s(1));
            let new = (x(2) + reset * s(2)).tanh();
            *h = new + update * (*h - new);
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Hidden layers, perhaps a recurrent unit, and an output layer.
#[derive(Clone, Debug)]
pub struct Tower {
    pub(crate) hidden: Vec<Dense>,
    pub(crate) gru: Option<Gru>,
    pub(crate) output: Dense,
    front: Vec<f32>,
    back: Vec<f32>,
    gates: Vec<f32>,
}

impl Tower {
    /// Orthogonal layers: gain √2 in the hidden ones, `gain` at the output.
    pub fn orthogonal(
        inputs: usize,
        config: &NetConfig,
        outputs: usize,
        gain: f64,
        stream: &mut Stream,
    ) -> Self {
        let mut width = inputs;
        let mut hidden = Vec::with_capacity(config.hidden.len());
        for &next in &config.hidden {
            hidden.push(Dense::orthogonal(width, next, SQRT_2, stream));
            width = next;
        }
        let gru = config.gru.map(|next| {
            let gru = Gru::orthogonal(width, next, stream);
            width = next;
            gru
        });
        Self::new(hidden, gru, Dense::orthogonal(width, outputs, gain, stream))
    }

    pub(crate) fn new(hidden: Vec<Dense>, gru: Option<Gru>, output: Dense) -> Self {
        Self { hidden, gru, output, front: Vec::new(), back: Vec::new(), gates: Vec::new() }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.hidden.first().map_or(self.output.inputs, |layer| layer.inputs)
    }

    pub(crate) const fn outputs(&self) -> usize {
        self.output.outputs
    }

    /// How many numbers it remembers from step to step.
    pub fn state_width(&self) -> usize {
        self.gru.as_ref().map_or(0, Gru::width)
    }

    /// The output for `input`, after `state` was moved on; shapes `[inputs], [state_width] → [outputs]`.
    pub fn forward(&mut self, input: &[f32], state: &mut [f32]) -> &[f32] {
        self.front.clear();
        self.front.extend_from_slice(input);
        for layer in &self.hidden {
            layer.forward(&self.front, &mut self.back);
            self.back.iter_mut().for_each(|x| *x = x.max(0.0));
            std::mem::swap(&mut self.front, &mut self.back);
        }
        if let Some(gru) = &self.gru {
            gru.step(&self.front, state, &mut self.back, &mut self.gates);
            self.front.clear();
            self.front.extend_from_slice(state);
        }
        self.output.forward(&self.front, &mut self.back);
        &self.back
    }

    /// All layers with their names, in the order of their parameters.
    pub(crate) fn layers(&self) -> Vec<(String, &Dense)> {
        let hidden = self.hidden.iter().enumerate().map(|(k, layer)| (format!("hidden.{k}"), layer));
        let gru = self
            .gru
            .iter()
            .flat_map(|gru| [("gru.input".to_owned(), &gru.input), ("gru.hidden".to_owned(), &gru.hidden)]);
        hidden.chain(gru).chain([("output".to_owned(), &self.output)]).collect()
    }

    /// All parameters, a slice a tensor: weights and then biases, layer after layer.
    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut [f32]> {
        let gru = self.gru.iter_mut().flat_map(|gru| [&mut gru.input, &mut gru.hidden]);
        let layers = self.hidden.iter_mut().chain(gru).chain([&mut self.output]);
        layers.flat_map(|layer| [&mut layer.weight[..], &mut layer.bias[..]]).collect()
    }
}

/// An actor and a critic.
#[derive(Clone, Debug)]
pub struct ActorCritic {
    /// Gives a logit an action; where there is no critic apart, one output more is the value.
    pub(crate) actor: Tower,
    pub(crate) critic: Option<Tower>,
    features: usize,
    actions: usize,
}

impl ActorCritic {
    /// A fresh one. The actor sees the first `features` of its input; a critic apart sees `privileged` more. Logits begin
    /// at about `initial_logits`, one an action.
    ///
    /// # Errors
    /// When a critic that shares the actor's layers is to see more than the actor.
    pub fn fresh(
        config: &NetConfig,
        (features, privileged): (usize, usize),
        initial_logits: &[f32],
        stream: &mut Stream,
    ) -> Result<Self, ConfigError> {
        let actions = initial_logits.len();
        let own = config.trunk == Trunk::Separate;
        if privileged > 0 && !own {
            return Err(ConfigError::new("net.trunk", "shared", "separate, where the critic sees more"));
        }
        let outputs = actions + usize::from(!own);
        let mut actor = Tower::orthogonal(features, config, outputs, 0.01, stream);
        actor.output.bias[..actions].copy_from_slice(initial_logits);
        let critic = own.then(|| Tower::orthogonal(features + privileged, config, 1, 1.0, stream));
        Ok(Self { actor, critic, features, actions })
    }

    pub(crate) fn new(actor: Tower, critic: Option<Tower>) -> Self {
        let actions = actor.outputs() - usize::from(critic.is_none());
        Self { features: actor.inputs(), actions, actor, critic }
    }

    /// How many numbers both remember.
    pub(crate) fn state_width(&self) -> usize {
        self.actor.state_width() + self.critic.as_ref().map_or(0, Tower::state_width)
    }

    /// Logits and value for a row of features, after `state` was moved on.
    pub fn act(&mut self, row: &[f32], state: &mut [f32]) -> (&[f32], f32) {
        let (of_actor, of_critic) = state.split_at_mut(self.actor.state_width());
        let apart = self.critic.as_mut().map(|critic| critic.forward(row, of_critic)[0]);
        let (logits, rest) = self.actor.forward(&row[..self.features], of_actor).split_at(self.actions);
        (logits, apart.unwrap_or_else(|| rest[0]))
    }

    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut [f32]> {
        let mut all = self.actor.parameters_mut();
        all.extend(self.critic.iter_mut().flat_map(Tower::parameters_mut));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    #[test]
    fn orthogonal_layers_are() {
        for (inputs, outputs) in [(6, 3), (3, 6), (5, 5)] {
            let layer = Dense::orthogonal(inputs, outputs, 1.0, &mut Seed::root(1).stream());
            let at = |i: usize, o: usize| layer.weight[i * outputs + o];
            let few = inputs.min(outputs);
            for a in 0..few {
                for b in 0..few {
                    let dot: f32 = (0..inputs.max(outputs))
                        .map(|n| if inputs <= outputs { at(a, n) * at(b, n) } else { at(n, a) * at(n, b) })
                        .sum();
                    assert!((dot - f32::from(u8::from(a == b))).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn layers_of_any_width_sum_up_every_product() {
        for outputs in [1, 7, 32, 40, 64, 71] {
            let mut layer = Dense::orthogonal(5, outputs, 1.0, &mut Seed::root(1).stream());
            layer.bias.iter_mut().enumerate().for_each(|(k, b)| *b = k as f32);
            let input = [0.5, -1.0, 0.0, 2.0, 0.25];
            let mut output = Vec::new();
            layer.forward(&input, &mut output);
            for (k, y) in output.iter().enumerate() {
                let sum: f32 = (0..5).map(|i| input[i] * layer.weight[i * outputs + k]).sum();
                assert!((y - sum - k as f32).abs() < 1e-5, "{outputs} outputs, {k}");
            }
        }
    }
}
