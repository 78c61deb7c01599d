//! The networks: plain numbers on the host for acting, and the same as tensors for learning.

use autoscale_core::seed::Stream;
use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

/// A fully connected layer. `weight` is row-major `[inputs, outputs]`, `bias` is `[outputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Layer {
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

    fn forward(&self, input: &[f32], output: &mut Vec<f32>) {
        output.clear();
        output.extend_from_slice(&self.bias);
        for (&x, row) in input.iter().zip(self.weight.chunks_exact(self.outputs)) {
            // About half of all hidden units are zero behind a ReLU.
            if x != 0.0 {
                output.iter_mut().zip(row).for_each(|(y, w)| *y += x * w);
            }
        }
    }
}

/// A multilayer perceptron with `ReLU` between its layers, on the host. Acting allocates nothing.
#[derive(Clone, Debug)]
pub struct Mlp {
    pub(crate) layers: Vec<Layer>,
    front: Vec<f32>,
    back: Vec<f32>,
}

impl Mlp {
    /// Layers of `sizes[0] → sizes[1] → …`, orthogonal: gain √2 inside, `gain` at the output.
    pub fn orthogonal(sizes: &[usize], gain: f64, stream: &mut Stream) -> Self {
        let last = sizes.len().saturating_sub(2);
        let layer = |(k, w): (usize, &[usize])| {
            Layer::orthogonal(w[0], w[1], if k == last { gain } else { std::f64::consts::SQRT_2 }, stream)
        };
        Self::new(sizes.windows(2).enumerate().map(layer).collect())
    }

    pub(crate) fn new(layers: Vec<Layer>) -> Self {
        Self { layers, front: Vec::new(), back: Vec::new() }
    }

    /// Sets the output layer's biases, `[outputs]`.
    pub(crate) fn set_output_bias(&mut self, bias: &[f32]) {
        if let Some(layer) = self.layers.last_mut() {
            layer.bias.copy_from_slice(bias);
        }
    }

    /// The output for `input`; shapes `[inputs] → [outputs]`.
    pub fn forward(&mut self, input: &[f32]) -> &[f32] {
        self.front.clear();
        self.front.extend_from_slice(input);
        for (k, layer) in self.layers.iter().enumerate() {
            if k > 0 {
                self.front.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            layer.forward(&self.front, &mut self.back);
            std::mem::swap(&mut self.front, &mut self.back);
        }
        &self.front
    }
}

/// Actor and critic as tensors, apart from each other so that neither loss disturbs the other's features.
#[derive(Module, Debug)]
pub(crate) struct ActorCritic {
    actor: Vec<Linear>,
    critic: Vec<Linear>,
}

impl ActorCritic {
    /// The tensors of two host networks. Parameter numbers are fixed, so that a saved optimiser finds its
    /// parameters again.
    pub(crate) fn from_host(actor: &Mlp, critic: &Mlp, device: &Device) -> Self {
        let mut id = 0_u64;
        let mut next_id = || {
            id += 1;
            ParamId::from(id)
        };
        let mut convert = |mlp: &Mlp| -> Vec<Linear> {
            mlp.layers
                .iter()
                .map(|layer| {
                    let weight = TensorData::new(layer.weight.clone(), [layer.inputs, layer.outputs]);
                    let bias = TensorData::new(layer.bias.clone(), [layer.outputs]);
                    let weight = Tensor::<2>::from_data(weight, device).require_grad();
                    let bias = Tensor::<1>::from_data(bias, device).require_grad();
                    Linear {
                        weight: Param::initialized(next_id(), weight),
                        bias: Some(Param::initialized(next_id(), bias)),
                    }
                })
                .collect()
        };
        Self { actor: convert(actor), critic: convert(critic) }
    }

    /// Actor and critic on the host.
    pub(crate) fn to_host(&self) -> (Mlp, Mlp) {
        let layer = |linear: &Linear| {
            let weight = linear.weight.val();
            let [inputs, outputs] = weight.dims();
            let bias = linear.bias.as_ref().map_or_else(|| vec![0.0; outputs], |b| numbers(b.val()));
            Layer { inputs, outputs, weight: numbers(weight), bias }
        };
        let convert = |layers: &[Linear]| Mlp::new(layers.iter().map(layer).collect());
        (convert(&self.actor), convert(&self.critic))
    }

    /// Logits and values; shapes `[batch, features] → [batch, actions], [batch]`.
    pub(crate) fn forward(&self, features: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let run = |layers: &[Linear], input: Tensor<2>| {
            layers
                .iter()
                .enumerate()
                .fold(input, |x, (k, layer)| layer.forward(if k > 0 { relu(x) } else { x }))
        };
        (run(&self.actor, features.clone()), run(&self.critic, features).squeeze_dim(1))
    }
}

/// The numbers of a tensor, row-major.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use autoscale_core::seed::Seed;

    #[test]
    fn acting_and_learning_compute_the_same() {
        let mut stream = Seed::root(3).stream();
        let mut actor = Mlp::orthogonal(&[5, 64, 64, 4], 1.0, &mut stream);
        let mut critic = Mlp::orthogonal(&[5, 64, 64, 1], 1.0, &mut stream);
        actor.set_output_bias(&[0.1, -0.2, 0.3, 2.5]);
        let device = Backend::Flex.device().unwrap();
        let net = ActorCritic::from_host(&actor, &critic, &device);
        let input: Vec<f32> = (0..15).map(|i| (i as f32 * 0.77).sin()).collect();
        let (logits, values) =
            net.forward(Tensor::from_data(TensorData::new(input.clone(), [3, 5]), &device));
        let (logits, values) = (numbers(logits), numbers(values));
        for (n, row) in input.chunks(5).enumerate() {
            for (a, b) in actor.forward(row).iter().zip(&logits[n * 4..]) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            assert!((critic.forward(row)[0] - values[n]).abs() < 1e-5);
        }
        let (actor_again, critic_again) = net.to_host();
        assert_eq!((actor_again.layers, critic_again.layers), (actor.layers, critic.layers));
    }

    #[test]
    fn orthogonal_layers_are() {
        for (inputs, outputs) in [(6, 3), (3, 6), (5, 5)] {
            let layer = Layer::orthogonal(inputs, outputs, 1.0, &mut Seed::root(1).stream());
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
}
