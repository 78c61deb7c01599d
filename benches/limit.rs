//! A yardstick of how fast learning could be: PPO and DQN with the gradients of one small network written out by hand,
//! for [`Trivial`] alone. They do the arithmetic of the learners built on tensors, in plain loops on one thread, without
//! what makes those general: a graph, shapes and rules that can be chosen, figures, checkpoints.

use autoscale_agents::categorical::{argmax, sample};
use autoscale_agents::normalizer::Normalizer;
use autoscale_agents::optimizer::{Optimizer, OptimizerConfig, clip_global_norm};
use autoscale_agents::replay::{Item, NStep, Replay, Truncation};
use autoscale_agents::toy::Trivial;
use autoscale_core::agent::{ActionIndex, ActionMask, Task, TaskStep, Transition};
use autoscale_core::environment::EpisodeEnd;
use autoscale_core::seed::{Seed, Stream};
use rand::RngExt;

pub(crate) const FEATURES: usize = 32;
const HIDDEN: usize = 64;
/// Rows of a sum of products that stay in the nearest cache.
pub(crate) const NEAR: usize = 64;
pub(crate) const ACTIONS: usize = 7;
/// One an action, and one more, which is PPO's value and nothing to DQN.
pub(crate) const OUTPUTS: usize = ACTIONS + 1;
const ENVS: usize = 8;
const GAMMA: f32 = 0.95;
// PPO.
const STEPS: usize = 128;
const MINIBATCH: usize = 256;
const CLIP: f32 = 0.2;
const LAMBDA: f32 = 0.95;
const ENTROPY: f32 = 0.003;
const VALUE: f32 = 0.5;
// DQN.
const BATCH: usize = 32;

pub(crate) type Features = [f32; FEATURES];
type Hidden = [f32; HIDDEN];
pub(crate) type Output = [f32; OUTPUTS];

/// Where the parameters of the second and third layer begin.
const TWO: usize = (FEATURES + 1) * HIDDEN;
const THREE: usize = TWO + (HIDDEN + 1) * HIDDEN;

/// A network `[32, 64, 64, 8]` with `ReLU` between its layers, that is differentiated by hand.
///
/// All parameters are one slice, layer after layer: weights row-major `[inputs, outputs]`, then biases.
#[derive(Clone, Debug)]
pub(crate) struct LimitNet {
    pub(crate) parameters: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<Hidden>,
    second: Vec<Hidden>,
    output: Vec<Output>,
    /// Slopes of the loss in the hidden layers.
    of_first: Vec<Hidden>,
    of_second: Vec<Hidden>,
}

impl LimitNet {
    /// A fresh one, with room for batches of up to `rows`. Weights are uniform (He et al., 2015), those of the last layer
    /// a hundredth of that; biases are zero.
    pub(crate) fn new(rows: usize, stream: &mut Stream) -> Self {
        let mut parameters = Vec::new();
        let shapes = [(FEATURES, HIDDEN, 1.0), (HIDDEN, HIDDEN, 1.0), (HIDDEN, OUTPUTS, 0.01)];
        for (inputs, outputs, gain) in shapes {
            let bound = gain * (6.0 / inputs as f32).sqrt();
            parameters.extend((0..inputs * outputs).map(|_| stream.random_range(-bound..bound)));
            parameters.resize(parameters.len() + outputs, 0.0);
        }
        let [first, second, of_first, of_second] = std::array::from_fn(|_| vec![[0.0; HIDDEN]; rows]);
        let (gradient, output) = (vec![0.0; parameters.len()], vec![[0.0; OUTPUTS]; rows]);
        Self { parameters, gradient, first, second, output, of_first, of_second }
    }

    /// The outputs for `rows`, row-major `[n, 32] → [n, 8]`. All activations are kept.
    pub(crate) fn forward(&mut self, rows: &[f32]) -> &[Output] {
        let (rows, n) = (rows.as_chunks::<FEATURES>().0, rows.len() / FEATURES);
        let (first, second) = (&mut self.first[..n], &mut self.second[..n]);
        dense(rows, &self.parameters[..TWO], first);
        first.as_flattened_mut().iter_mut().for_each(|x| *x = x.max(0.0));
        dense(first, &self.parameters[TWO..THREE], second);
        second.as_flattened_mut().iter_mut().for_each(|x| *x = x.max(0.0));
        dense(second, &self.parameters[THREE..], &mut self.output[..n]);
        &self.output[..n]
    }

    /// The gradient in all parameters, given the slope of the loss in each output of the last [`Self::forward`], which was
    /// for the same `rows`.
    pub(crate) fn backward(&mut self, rows: &[f32], slopes: &[Output]) -> &[f32] {
        let (rows, n) = (rows.as_chunks::<FEATURES>().0, rows.len() / FEATURES);
        let (first, second) = (&self.first[..n], &self.second[..n]);
        let (of_first, of_second) = (&mut self.of_first[..n], &mut self.of_second[..n]);
        back(slopes, &self.parameters[THREE..], second, of_second);
        back(of_second, &self.parameters[TWO..THREE], first, of_first);
        self.gradient.fill(0.0);
        learn(rows, of_first, &mut self.gradient[..TWO]);
        learn(first, of_second, &mut self.gradient[TWO..THREE]);
        learn(second, slopes, &mut self.gradient[THREE..]);
        &self.gradient
    }

    /// A step against the last gradient, clipped to a norm of `limit`; none if it is not finite.
    pub(crate) fn descend(&mut self, optimizer: &mut Optimizer, learning_rate: f64, limit: f64) {
        if clip_global_norm(&mut self.gradient, limit).is_finite() {
            optimizer.step(learning_rate, vec![&mut self.parameters], &self.gradient);
        }
    }
}

/// A layer, without activation.
fn dense<const K: usize, const N: usize>(rows: &[[f32; K]], layer: &[f32], out: &mut [[f32; N]]) {
    if let [weights @ .., biases] = layer.as_chunks::<N>().0 {
        out.fill(*biases);
        add_products(|m, k| rows[m][k], weights, out);
    }
}

/// From the slopes in a layer's outputs to those in its inputs, which are what came out of a `ReLU`.
fn back<const N: usize>(slopes: &[[f32; N]], layer: &[f32], inputs: &[Hidden], out: &mut [Hidden]) {
    let mut turned = [[0.0; HIDDEN]; N];
    for (i, row) in layer.as_chunks::<N>().0[..HIDDEN].iter().enumerate() {
        turned.iter_mut().zip(row).for_each(|(to, from)| to[i] = *from);
    }
    out.fill([0.0; HIDDEN]);
    add_products(|m, k| slopes[m][k], &turned, out);
    let through = out.as_flattened_mut().iter_mut().zip(inputs.as_flattened());
    through.for_each(|(slope, &x)| *slope = if x > 0.0 { *slope } else { 0.0 });
}

/// Adds to the gradient of a layer with these inputs and slopes in its outputs.
fn learn<const K: usize, const N: usize>(inputs: &[[f32; K]], slopes: &[[f32; N]], gradient: &mut [f32]) {
    if let [weights @ .., biases] = gradient.as_chunks_mut::<N>().0 {
        for (inputs, slopes) in inputs.chunks(NEAR).zip(slopes.chunks(NEAR)) {
            add_products(|m, k| inputs[k][m], slopes, weights);
        }
        add_products(|_, _| 1.0, slopes, std::slice::from_mut(biases));
    }
}

/// Adds `a(m, k) * b[k]`, summed over k, to each row m of `out`, as many numbers at once as stay in registers.
#[inline]
fn add_products<const N: usize>(a: impl Fn(usize, usize) -> f32, b: &[[f32; N]], out: &mut [[f32; N]]) {
    if N.is_multiple_of(32) { blocks::<1, 32, N>(a, b, out) } else { blocks::<2, 8, N>(a, b, out) }
}

/// The same, a block of `R` rows and `C` columns after the other; `C` divides `N`.
#[inline]
fn blocks<const R: usize, const C: usize, const N: usize>(
    a: impl Fn(usize, usize) -> f32,
    b: &[[f32; N]],
    out: &mut [[f32; N]],
) {
    let last = out.len().saturating_sub(1);
    for (i, out) in out.chunks_mut(R).enumerate() {
        // Where rows are left over, the last is summed up more than once.
        let rows: [usize; R] = std::array::from_fn(|r| (R * i + r).min(last));
        for from in (0..N).step_by(C) {
            let mut sums = [[0.0; C]; R];
            for (k, b) in b.iter().enumerate() {
                let (a, b) = (rows.map(|m| a(m, k)), &b[from..from + C]);
                for (sums, a) in sums.iter_mut().zip(a) {
                    sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * b);
                }
            }
            for (out, sums) in out.iter_mut().zip(&sums) {
                out[from..from + C].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
        }
    }
}

/// Worlds side by side.
struct Worlds {
    tasks: [Trivial; ENVS],
    seed: Seed,
    normalizer: Normalizer,
    /// What they showed last, and the same normalised.
    seen: Vec<f32>,
    rows: Vec<f32>,
    /// What the episodes under way returned so far, and a mean of about the last 50 that ended.
    returns: [f64; ENVS],
    mean: f64,
    ended: u64,
}

impl Worlds {
    fn new(seed: Seed) -> Self {
        let mut tasks: [Trivial; ENVS] = std::array::from_fn(|_| Trivial::default());
        tasks.iter_mut().zip(0..).for_each(|(task, k)| task.reset(seed.nth(k)));
        let (normalizer, seen, rows) = (Normalizer::new(FEATURES), Vec::new(), Vec::new());
        Self { tasks, seed, normalizer, seen, rows, returns: [0.0; ENVS], mean: 0.0, ended: 0 }
    }

    fn look(&mut self) {
        self.seen.clear();
        self.tasks.iter().for_each(|task| self.seen.extend_from_slice(task.features()));
        self.normalizer.observe(&self.seen);
        self.rows.clear();
        self.seen.chunks(FEATURES).for_each(|row| self.normalizer.append(row, &mut self.rows));
    }

    /// A step, and what it led to. Where an episode ended, the next begins.
    fn step(&mut self, env: usize, action: ActionIndex) -> (TaskStep, Features, ActionMask) {
        let task = &mut self.tasks[env];
        let step = task.step(action).unwrap_or(TaskStep { reward: 0.0, end: Some(EpisodeEnd::Terminated) });
        let (next, mask) = (std::array::from_fn(|k| task.features()[k]), task.valid_actions());
        self.returns[env] += f64::from(step.reward);
        if step.end.is_some() {
            task.reset(self.seed.nth(ENVS as u64 + self.ended));
            self.ended += 1;
            self.mean += (self.returns[env] - self.mean) / self.ended.min(50) as f64;
            self.returns[env] = 0.0;
        }
        (step, next, mask)
    }
}

/// What PPO keeps of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) row: Features,
    pub(crate) mask: ActionMask,
    pub(crate) action: ActionIndex,
    pub(crate) log_probability: f32,
    pub(crate) value: f32,
    /// The reward, and the discounted value of a successor that is not among what is kept.
    pub(crate) gained: f32,
    pub(crate) ended: bool,
    pub(crate) advantage: f32,
}

/// PPO on eight worlds for at least so many steps; the mean return of about the last 50 episodes.
pub(crate) fn ppo(total_steps: u64, seed: Seed) -> f64 {
    let mut stream = seed.child("ppo").stream();
    let mut net = LimitNet::new(MINIBATCH, &mut stream);
    let mut optimizer = Optimizer::new(OptimizerConfig::ADAM, net.parameters.len());
    let mut worlds = Worlds::new(seed);
    for _ in 0..total_steps.div_ceil((ENVS * STEPS) as u64) {
        let mut kept = roll_out(&mut net, &mut worlds, &mut stream);
        for _ in 0..4 {
            (1..kept.len()).rev().for_each(|i| kept.swap(i, stream.random_range(0..=i)));
            for minibatch in kept.chunks(MINIBATCH) {
                improve(&mut net, minibatch);
                net.descend(&mut optimizer, 6e-4, 0.5);
            }
        }
    }
    worlds.mean
}

/// Steps of all worlds, one of each after the other, with their advantages.
fn roll_out(net: &mut LimitNet, worlds: &mut Worlds, stream: &mut Stream) -> Vec<Kept> {
    let (mut kept, mut bootstrap): (Vec<Kept>, _) = (Vec::with_capacity(ENVS * STEPS), Vec::new());
    for t in 1..=STEPS {
        worlds.look();
        let mut outputs = [[0.0; OUTPUTS]; ENVS];
        outputs.copy_from_slice(net.forward(&worlds.rows));
        for (env, outputs) in outputs.iter().enumerate() {
            let mask = worlds.tasks[env].valid_actions();
            let (action, log_probability) = sample(&outputs[..ACTIONS], mask, stream.random());
            let (TaskStep { reward: mut gained, end }, next, _) = worlds.step(env, action);
            if end == Some(EpisodeEnd::Truncated) || (end.is_none() && t == STEPS) {
                bootstrap.clear();
                worlds.normalizer.append(&next, &mut bootstrap);
                gained += GAMMA * net.forward(&bootstrap)[0][ACTIONS];
            }
            let (row, value) = (worlds.rows.as_chunks().0[env], outputs[ACTIONS]);
            let (ended, advantage) = (end.is_some(), 0.0);
            kept.push(Kept { row, mask, action, log_probability, value, gained, ended, advantage });
        }
    }
    // Generalised advantage estimation (Schulman et al., 2016, equation 16).
    for at in (0..kept.len()).rev() {
        let after = kept.get(at + ENVS).filter(|_| !kept[at].ended);
        let following = after.map_or(0.0, |after| GAMMA * (after.value + LAMBDA * after.advantage));
        kept[at].advantage = kept[at].gained + following - kept[at].value;
    }
    kept
}

/// Leaves the gradient of PPO's mean loss in `net`.
fn improve(net: &mut LimitNet, minibatch: &[Kept]) {
    let n = minibatch.len() as f64;
    let advantages = || minibatch.iter().map(|kept| f64::from(kept.advantage));
    let mean = advantages().sum::<f64>() / n;
    let deviation = (advantages().map(|a| (a - mean).powi(2)).sum::<f64>() / n).sqrt() + 1e-8;
    let rows: Vec<Features> = minibatch.iter().map(|kept| kept.row).collect();
    let slope = |(outputs, kept): (&Output, &Kept)| {
        let advantage = ((f64::from(kept.advantage) - mean) / deviation) as f32;
        surrogate(outputs, kept, advantage).1.map(|slope| slope / n as f32)
    };
    let slopes: Vec<Output> = net.forward(rows.as_flattened()).iter().zip(minibatch).map(slope).collect();
    net.backward(rows.as_flattened(), &slopes);
}

/// A step's part of PPO's loss (Schulman et al., 2017, equations 7 and 9), and its slopes in logits and value.
pub(crate) fn surrogate(outputs: &Output, kept: &Kept, advantage: f32) -> (f32, Output) {
    let [logits @ .., value] = outputs;
    let allowed = |k: &usize| kept.mask.allows(*k);
    let most = (0..ACTIONS).filter(allowed).fold(f32::NEG_INFINITY, |most, k| most.max(logits[k]));
    let mut policy = [0.0; ACTIONS];
    (0..ACTIONS).filter(allowed).for_each(|k| policy[k] = (logits[k] - most).exp());
    let sum: f32 = policy.iter().sum();
    let (policy, norm) = (policy.map(|p| p / sum), most + sum.ln());
    let entropy: f32 = policy.iter().zip(logits).map(|(p, logit)| p * (norm - logit)).sum();

    let action = usize::from(kept.action.0);
    let ratio = (logits[action] - norm - kept.log_probability).exp();
    let (unclipped, clipped) = (ratio * advantage, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * advantage);
    // How much is gained by log π(action).
    let pull = if unclipped <= clipped { unclipped } else { 0.0 };
    let error = value - (kept.advantage + kept.value);
    let mut slopes = [VALUE * error; OUTPUTS];
    for ((slope, p), logit) in slopes.iter_mut().zip(policy).zip(logits) {
        *slope = p * (pull + ENTROPY * (logit - norm + entropy));
    }
    slopes[action] -= pull;
    (VALUE * 0.5 * error * error - unclipped.min(clipped) - ENTROPY * entropy, slopes)
}

/// Double Q-learning on eight worlds for at least so many steps; the mean return of about the last 50 episodes.
pub(crate) fn dqn(total_steps: u64, seed: Seed) -> f64 {
    let mut stream = seed.child("dqn").stream();
    let mut online = LimitNet::new(BATCH, &mut stream);
    let mut target = online.clone();
    let mut optimizer = Optimizer::new(OptimizerConfig::ADAM, online.parameters.len());
    let mut worlds = Worlds::new(seed);
    let mut replay = Replay::new(50_000, FEATURES, None);
    let mut n_step = NStep::new(1, GAMMA, Truncation::Bootstrap);
    let (mut drawn, mut weights, mut updates) = (Vec::new(), Vec::new(), 0_u64);
    for round in 1..=total_steps.div_ceil(ENVS as u64) {
        worlds.look();
        for (env, outputs) in online.forward(&worlds.rows).iter().enumerate() {
            let mask = worlds.tasks[env].valid_actions();
            let mut action = argmax(&outputs[..ACTIONS], mask);
            if stream.random::<f64>() < 0.1 {
                action = sample(&[0.0; ACTIONS], mask, stream.random()).0;
            }
            let (TaskStep { reward, end }, next, next_mask) = worlds.step(env, action);
            let features = &worlds.seen[env * FEATURES..(env + 1) * FEATURES];
            let next_features = &next;
            let transition =
                Transition { env, features, mask, action, reward, next_features, next_mask, end };
            n_step.push(&transition, &mut replay);
        }
        let due = if round * ENVS as u64 >= 1000 { ENVS / 4 } else { 0 };
        for _ in 0..due {
            replay.sample(BATCH, 1.0, &mut stream, &mut drawn, &mut weights);
            let items: Vec<Item<'_>> = drawn.iter().map(|&index| replay.get(index)).collect();
            follow(&mut online, &mut target, &items, &worlds.normalizer);
            online.descend(&mut optimizer, 5e-4, 10.0);
            updates += 1;
            if updates.is_multiple_of(250) {
                target.parameters.copy_from_slice(&online.parameters);
            }
        }
    }
    worlds.mean
}

/// Leaves the gradient of the mean loss of `items` in `online`.
fn follow(online: &mut LimitNet, target: &mut LimitNet, items: &[Item<'_>], normalizer: &Normalizer) {
    let mut rows = Vec::with_capacity(items.len() * FEATURES);
    items.iter().map(|item| item.next_features).for_each(|row| normalizer.append(row, &mut rows));
    let both = online.forward(&rows).iter().zip(target.forward(&rows));
    let value = |(item, (chosen, judged)): (&Item<'_>, (&Output, &Output))| {
        item.reward + item.discount * judged[usize::from(argmax(&chosen[..ACTIONS], item.next_mask).0)]
    };
    let targets: Vec<f32> = items.iter().zip(both).map(value).collect();
    rows.clear();
    items.iter().map(|item| item.features).for_each(|row| normalizer.append(row, &mut rows));
    let outputs = online.forward(&rows).iter().zip(items.iter().zip(targets));
    let slope = |(outputs, (item, target)): (&Output, (&Item<'_>, f32))| {
        huber(outputs, item.action, target).1.map(|slope| slope / items.len() as f32)
    };
    let slopes: Vec<Output> = outputs.map(slope).collect();
    online.backward(&rows, &slopes);
}

/// The loss of an action's error, ½ e² up to 1 and |e| − ½ beyond, and its slopes.
pub(crate) fn huber(outputs: &Output, action: ActionIndex, target: f32) -> (f32, Output) {
    let error = outputs[usize::from(action.0)] - target;
    let (inner, mut slopes) = (error.clamp(-1.0, 1.0), [0.0; OUTPUTS]);
    slopes[usize::from(action.0)] = inner;
    (inner * (error - 0.5 * inner), slopes)
}
