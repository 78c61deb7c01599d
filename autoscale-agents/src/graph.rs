//! The networks as tensors, for gradients. Parameters live on the host; a graph holds copies of them for one update.

use crate::net::{ActorCritic, Dense, Tower};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::module::linear;
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// A layer's tensors, which record gradients.
struct Affine {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Affine {
    fn of(layer: &Dense, device: &Device) -> Self {
        let weight = TensorData::new(layer.weight.clone(), [layer.inputs, layer.outputs]);
        let bias = TensorData::new(layer.bias.clone(), [layer.outputs]);
        Self {
            weight: Tensor::from_data(weight, device).require_grad(),
            bias: Tensor::from_data(bias, device).require_grad(),
        }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        linear(input, self.weight.clone(), Some(self.bias.clone()))
    }
}

/// How the rows of a batch follow each other: `length` steps of `chunks` sequences, step after step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sequence {
    pub(crate) chunks: usize,
    pub(crate) length: usize,
    /// What is remembered before the first step, `[chunks, state_width]` of actor and critic.
    pub(crate) states: Vec<f32>,
    /// `[length, chunks]`: 0 where an episode begins with the step, so that nothing is remembered, else 1.
    pub(crate) keeps: Vec<f32>,
}

/// A [`Tower`] as tensors.
pub(crate) struct TowerGraph {
    hidden: Vec<Affine>,
    gru: Option<(Affine, Affine)>,
    output: Affine,
}

impl TowerGraph {
    pub(crate) fn of(tower: &Tower, device: &Device) -> Self {
        let affine = |layer| Affine::of(layer, device);
        Self {
            hidden: tower.hidden.iter().map(affine).collect(),
            gru: tower.gru.as_ref().map(|gru| (affine(&gru.input), affine(&gru.hidden))),
            output: affine(&tower.output),
        }
    }

    /// Outputs; shapes `[rows, inputs] → [rows, outputs]`. A recurrent tower needs the sequence of the rows, and which
    /// part of its states is this tower's.
    pub(crate) fn forward(&self, rows: Tensor<2>, sequence: Option<(&Sequence, usize)>) -> Tensor<2> {
        let mut x = self.hidden.iter().fold(rows, |x, layer| relu(layer.forward(x)));
        if let (Some(gru), Some((sequence, offset))) = (&self.gru, sequence) {
            x = recur(gru, x, sequence, offset);
        }
        self.output.forward(x)
    }

    /// Appends the gradients of all parameters, in the order of [`Tower::parameters_mut`]; zeros where there is none.
    fn collect(&self, gradients: &mut Gradients, all: &mut Vec<f32>) {
        let gru = self.gru.iter().flat_map(|(input, hidden)| [input, hidden]);
        for layer in self.hidden.iter().chain(gru).chain([&self.output]) {
            append(layer.weight.grad_remove(gradients), layer.weight.dims().iter().product(), all);
            append(layer.bias.grad_remove(gradients), layer.bias.dims()[0], all);
        }
    }

    /// The gradient of `loss`, a number a parameter.
    pub(crate) fn gradient(&self, loss: &Tensor<1>) -> Vec<f32> {
        let (mut gradients, mut all) = (loss.backward(), Vec::new());
        self.collect(&mut gradients, &mut all);
        all
    }
}

fn append<const D: usize>(gradient: Option<Tensor<D>>, length: usize, all: &mut Vec<f32>) {
    match gradient {
        Some(gradient) => all.extend(numbers(gradient)),
        None => all.resize(all.len() + length, 0.0),
    }
}

/// Runs a recurrent unit over the rows; `[rows, inputs] → [rows, width]`.
fn recur(
    (input, hidden): &(Affine, Affine),
    rows: Tensor<2>,
    sequence: &Sequence,
    offset: usize,
) -> Tensor<2> {
    let device = rows.device();
    let (chunks, width) = (sequence.chunks, hidden.weight.dims()[0]);
    let per_chunk = sequence.states.len() / chunks.max(1);
    let state = sequence.states.chunks_exact(per_chunk).flat_map(|s| &s[offset..offset + width]);
    let state = TensorData::new(state.copied().collect::<Vec<f32>>(), [chunks, width]);
    let mut state = Tensor::<2>::from_data(state, &device);
    let gates = input.forward(rows);
    let mut states = Vec::with_capacity(sequence.length);
    for (t, keep) in sequence.keeps.chunks_exact(chunks).enumerate() {
        if keep.iter().any(|&k| k < 1.0) {
            state = state * Tensor::from_data(TensorData::new(keep.to_vec(), [chunks, 1]), &device);
        }
        let from_input = gates.clone().narrow(0, t * chunks, chunks);
        let from_state = hidden.forward(state.clone());
        let gate = |x: &Tensor<2>, k: usize| x.clone().narrow(1, k * width, width);
        let reset = sigmoid(gate(&from_input, 0) + gate(&from_state, 0));
        let update = sigmoid(gate(&from_input, 1) + gate(&from_state, 1));
        let new = (gate(&from_input, 2) + reset * gate(&from_state, 2)).tanh();
        state = new.clone() + update * (state - new);
        states.push(state.clone());
    }
    Tensor::cat(states, 0)
}

/// An [`ActorCritic`] as tensors.
pub(crate) struct ActorCriticGraph {
    actor: TowerGraph,
    critic: Option<TowerGraph>,
    features: usize,
    actions: usize,
    /// How much of a state is the actor's.
    of_actor: usize,
}

impl ActorCriticGraph {
    pub(crate) fn of(net: &ActorCritic, device: &Device) -> Self {
        Self {
            actor: TowerGraph::of(&net.actor, device),
            critic: net.critic.as_ref().map(|critic| TowerGraph::of(critic, device)),
            features: net.actor.inputs(),
            actions: net.actor.outputs() - usize::from(net.critic.is_none()),
            of_actor: net.actor.state_width(),
        }
    }

    /// Logits and values; shapes `[rows, features] → [rows, actions], [rows]`.
    pub(crate) fn forward(&self, rows: Tensor<2>, sequence: Option<&Sequence>) -> (Tensor<2>, Tensor<1>) {
        let Some(critic) = &self.critic else {
            let both = self.actor.forward(rows, sequence.map(|s| (s, 0)));
            let values = both.clone().narrow(1, self.actions, 1).squeeze_dim(1);
            return (both.narrow(1, 0, self.actions), values);
        };
        let seen = if rows.dims()[1] == self.features {
            rows.clone()
        } else {
            rows.clone().narrow(1, 0, self.features)
        };
        let logits = self.actor.forward(seen, sequence.map(|s| (s, 0)));
        let values = critic.forward(rows, sequence.map(|s| (s, self.of_actor)));
        (logits, values.squeeze_dim(1))
    }

    /// The gradient of `loss`, a number a parameter, in the order of [`ActorCritic::parameters_mut`].
    pub(crate) fn gradient(&self, loss: &Tensor<1>) -> Vec<f32> {
        let (mut gradients, mut all) = (loss.backward(), Vec::new());
        self.actor.collect(&mut gradients, &mut all);
        if let Some(critic) = &self.critic {
            critic.collect(&mut gradients, &mut all);
        }
        all
    }
}

/// The numbers of a tensor, row-major.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data();
    // Where the backend computes in f32 there is nothing to convert.
    match data.as_slice::<f32>() {
        Ok(slice) => slice.to_vec(),
        Err(_) => data.iter::<f32>().collect(),
    }
}

/// A row of numbers as a tensor, `[n]`.
pub(crate) fn column(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// The only number of a tensor.
pub(crate) fn scalar(tensor: Tensor<1>) -> f64 {
    numbers(tensor).first().copied().map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::net::{NetConfig, Trunk};
    use autoscale_core::seed::Seed;

    const STEPS: usize = 4;
    const CHUNKS: usize = 3;
    const ROW: usize = 5;

    /// The graph of a batch of sequences computes what acting step by step does, whatever the shape and the backend.
    #[test]
    #[expect(clippy::print_stdout, reason = "how far off is worth knowing, too")]
    fn acting_and_learning_compute_the_same() {
        for backend in Backend::available() {
            let largest = largest_difference(&backend.device().unwrap());
            println!("{backend:?}: a forward pass is at most {largest:.1e} off");
            assert!(largest < 1e-5, "{backend:?}: {largest}");
        }
    }

    fn largest_difference(device: &Device) -> f32 {
        let mut largest = 0.0f32;
        // What is not a number counts, too.
        let mut note = |difference: f32| {
            if largest.is_nan() || difference <= largest {
                return;
            }
            largest = difference.abs();
        };
        let config = |trunk, gru| NetConfig { hidden: vec![40, 24], trunk, gru };
        for (config, privileged) in [
            (config(Trunk::Shared, None), 0),
            (config(Trunk::Separate, None), 2),
            (config(Trunk::Shared, Some(9)), 0),
            (config(Trunk::Separate, Some(9)), 2),
        ] {
            let mut stream = Seed::root(3).stream();
            let logits = [0.1, -0.2, 0.3, 2.5];
            let mut net =
                ActorCritic::fresh(&config, (ROW - privileged, privileged), &logits, &mut stream).unwrap();
            let width = net.state_width();
            let rows: Vec<f32> = (0..STEPS * CHUNKS * ROW).map(|i| (i as f32 * 0.77).sin()).collect();
            let states: Vec<f32> = (0..CHUNKS * width).map(|i| (i as f32 * 0.31).cos()).collect();
            let mut keeps = vec![1.0; STEPS * CHUNKS];
            keeps[CHUNKS * 2 + 1] = 0.0;
            let sequence =
                Sequence { chunks: CHUNKS, length: STEPS, states: states.clone(), keeps: keeps.clone() };
            let graph = ActorCriticGraph::of(&net, device);
            let input = Tensor::from_data(TensorData::new(rows.clone(), [STEPS * CHUNKS, ROW]), device);
            let (logits, values) = graph.forward(input, Some(&sequence));
            let (logits, values) = (numbers(logits), numbers(values));
            for chunk in 0..CHUNKS {
                let mut state = states[chunk * width..(chunk + 1) * width].to_vec();
                for t in 0..STEPS {
                    let n = t * CHUNKS + chunk;
                    for s in &mut state {
                        *s *= keeps[n];
                    }
                    let (acted, value) = net.act(&rows[n * ROW..(n + 1) * ROW], &mut state);
                    for (a, b) in acted.iter().zip(&logits[n * 4..]) {
                        note((a - b).abs());
                    }
                    note((value - values[n]).abs());
                }
            }
        }
        largest
    }

    #[test]
    fn gradients_come_in_the_order_of_the_parameters() {
        let device = Backend::Flex.device().unwrap();
        let config = NetConfig { hidden: vec![6], trunk: Trunk::Separate, gru: Some(3) };
        let mut net = ActorCritic::fresh(&config, (2, 1), &[0.0; 2], &mut Seed::root(1).stream()).unwrap();
        let loss = |net: &ActorCritic| {
            let graph = ActorCriticGraph::of(net, &device);
            let rows = Tensor::from_data([[0.3, -0.4, 0.9], [1.0, 0.2, -0.7]], &device);
            let sequence = Sequence { chunks: 1, length: 2, states: vec![0.1; 6], keeps: vec![1.0; 2] };
            let (logits, values) = graph.forward(rows, Some(&sequence));
            let loss = logits.square().sum() + (values - 1.0).square().sum();
            (scalar(loss.clone().detach()), graph.gradient(&loss))
        };
        let (_, gradient) = loss(&net);
        let lengths: Vec<usize> = net.parameters_mut().iter().map(|p| p.len()).collect();
        assert_eq!(gradient.len(), lengths.iter().sum::<usize>());
        let mut first = 0;
        for (k, length) in lengths.into_iter().enumerate() {
            for n in [0, length / 2, length - 1] {
                let mut moved = |by: f32| {
                    net.parameters_mut()[k][n] += by;
                    loss(&net).0
                };
                let (up, down) = (moved(1e-2), moved(-2e-2));
                moved(1e-2);
                let slope = (up - down) / 2e-2;
                assert!(
                    (slope - f64::from(gradient[first + n])).abs() < 2e-3 + 0.02 * slope.abs(),
                    "tensor {k}, number {n}: {slope} and {}",
                    gradient[first + n]
                );
            }
            first += length;
        }
    }
}
