//! The replay memory of a value-based learner: n-step transitions in a ring, drawn uniformly or by priority
//! (Schaul et al., ICLR 2016, the proportional variant).

use autoscale_core::agent::{ActionIndex, ActionMask, Transition};
use autoscale_core::environment::EpisodeEnd;
use autoscale_core::seed::Stream;
use rand::RngExt;

/// What a truncated episode means for a bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// The task would have gone on: bootstrap from the successor of the last step.
    Bootstrap,
    /// As if the task were over. Biased, here only to measure by how much.
    Terminate,
}

/// Turns the steps of several interleaved environments into n-step transitions.
#[derive(Clone, Debug)]
pub struct NStep {
    n: usize,
    gamma: f32,
    truncation: Truncation,
    /// By environment: the steps whose n-step transition is not complete, oldest first, fewer than `n`.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug, Default)]
struct Pending {
    /// `[steps, width]`.
    features: Vec<f32>,
    steps: Vec<PendingStep>,
}

#[derive(Clone, Copy, Debug)]
struct PendingStep {
    mask: ActionMask,
    action: ActionIndex,
    reward: f32,
}

/// All that an [`NStep`] remembers, flat: the pending steps of environment 0, oldest first, then those of 1, ...
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NStepState {
    /// How many steps are pending, `[envs]`; their sum is `steps`.
    pub counts: Vec<usize>,
    /// Features before each step, row-major `[steps, width]`.
    pub features: Vec<f32>,
    /// Actions allowed before each step, bit k for action k, `[steps]`.
    pub masks: Vec<u64>,
    /// Actions taken, `[steps]`.
    pub actions: Vec<u16>,
    /// Rewards, `[steps]`.
    pub rewards: Vec<f32>,
}

impl NStep {
    /// Nothing pending. `gamma` is the discount of one step.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn new(n: usize, gamma: f32, truncation: Truncation) -> Self {
        assert!(n > 0, "a transition spans at least one step");
        Self { n, gamma, truncation, pending: Vec::new() }
    }

    /// Takes one step and pushes each transition that it completes: the one that is now `n` steps long, or
    /// at an episode's end all that are pending, each as long as it got.
    ///
    /// # Panics
    /// When features before or after the step are not as wide as those in `replay`.
    pub fn push(&mut self, t: &Transition<'_>, replay: &mut Replay) {
        let width = replay.width;
        assert!(t.features.len() == width && t.next_features.len() == width, "a row is {width} wide");
        if self.pending.len() <= t.env {
            self.pending.resize_with(t.env + 1, Pending::default);
        }
        let pending = &mut self.pending[t.env];
        pending.features.extend_from_slice(t.features);
        pending.steps.push(PendingStep { mask: t.mask, action: t.action, reward: t.reward });
        let held = pending.steps.len();
        assert_eq!(pending.features.len(), held * width, "pending rows are {width} wide");

        let complete = match t.end {
            Some(_) => held,
            None => usize::from(held == self.n),
        };
        let over = match t.end {
            Some(EpisodeEnd::Terminated) => true,
            Some(EpisodeEnd::Truncated) => self.truncation == Truncation::Terminate,
            None => false,
        };
        for (first, step) in pending.steps[..complete].iter().enumerate() {
            // In f64 and by plain products, so that long sums stay exact enough and are the same everywhere.
            let (mut reward, mut discount) = (0.0, 1.0);
            for later in &pending.steps[first..] {
                reward += discount * f64::from(later.reward);
                discount *= f64::from(self.gamma);
            }
            replay.push(Item {
                features: &pending.features[first * width..][..width],
                mask: step.mask,
                action: step.action,
                reward: reward as f32,
                discount: if over { 0.0 } else { discount as f32 },
                next_features: t.next_features,
                next_mask: t.next_mask,
            });
        }
        pending.features.drain(..complete * width);
        pending.steps.drain(..complete);
    }

    /// All it remembers.
    pub fn state(&self) -> NStepState {
        let steps = || self.pending.iter().flat_map(|pending| &pending.steps);
        NStepState {
            counts: self.pending.iter().map(|pending| pending.steps.len()).collect(),
            features: self.pending.iter().flat_map(|pending| &pending.features).copied().collect(),
            masks: steps().map(|step| bits_of(step.mask)).collect(),
            actions: steps().map(|step| step.action.0).collect(),
            rewards: steps().map(|step| step.reward).collect(),
        }
    }

    /// Goes on exactly where `state` was taken, given the same other arguments.
    ///
    /// # Errors
    /// When the state's parts do not fit each other or `n`.
    pub fn restore(n: usize, gamma: f32, truncation: Truncation, state: &NStepState) -> Result<Self, String> {
        if n == 0 {
            return Err("a transition spans at least one step".to_owned());
        }
        let steps = state.rewards.len();
        if let Some(count) = state.counts.iter().find(|&&count| count >= n) {
            return Err(format!("{count} steps are pending where fewer than {n} can be"));
        }
        // Counts below n cannot overflow their sum unless n itself is absurd.
        let counted = state.counts.iter().fold(0_usize, |sum, &count| sum.saturating_add(count));
        expect_len("counted pending steps", counted, steps)?;
        expect_len("pending masks", state.masks.len(), steps)?;
        expect_len("pending actions", state.actions.len(), steps)?;
        let width = state.features.len().checked_div(steps).unwrap_or(0);
        expect_len("pending features", state.features.len(), steps * width)?;

        let mut first = 0;
        let mut pending = Vec::with_capacity(state.counts.len());
        for &count in &state.counts {
            let rows = first..first + count;
            pending.push(Pending {
                features: state.features[rows.start * width..rows.end * width].to_vec(),
                steps: rows
                    .map(|k| PendingStep {
                        mask: mask_of(state.masks[k]),
                        action: ActionIndex(state.actions[k]),
                        reward: state.rewards[k],
                    })
                    .collect(),
            });
            first += count;
        }
        Ok(Self { n, gamma, truncation, pending })
    }
}

/// How large errors turn into priorities: `(|error| + eps)^alpha`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Priorities {
    /// 0 draws uniformly, 1 in proportion to the errors.
    pub alpha: f32,
    /// What keeps a transition without error from never being drawn again.
    pub eps: f32,
}

impl Priorities {
    fn are_valid(self) -> bool {
        [self.alpha, self.eps].iter().all(|x| x.is_finite() && *x >= 0.0)
    }

    /// The priority of a finite error: positive and finite whatever over- or underflows on the way.
    fn priority(self, error: f32) -> f32 {
        let size = f64::from(error.abs()) + f64::from(self.eps);
        (size.powf(f64::from(self.alpha)) as f32).clamp(f32::MIN_POSITIVE, f32::MAX)
    }
}

/// One n-step transition, m steps long (m is below n only at an episode's end).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item<'a> {
    /// Features before the first step, `[width]`.
    pub features: &'a [f32],
    /// Actions allowed before the first step.
    pub mask: ActionMask,
    /// The first action.
    pub action: ActionIndex,
    /// The sum of `gamma^i` times the i-th reward, over m steps.
    pub reward: f32,
    /// What the value of the successor is multiplied by: `gamma^m`, or 0 when nothing follows.
    pub discount: f32,
    /// Features after the last step, `[width]`.
    pub next_features: &'a [f32],
    /// Actions allowed after the last step. May be empty where the discount is 0.
    pub next_mask: ActionMask,
}

/// A ring of transitions that overwrites the oldest. It takes memory as it fills.
#[derive(Clone, Debug)]
pub struct Replay {
    capacity: usize,
    width: usize,
    /// Where the next transition goes: the end until the ring is full, then the oldest.
    next: usize,
    /// `[len, width]`.
    features: Vec<f32>,
    /// `[len, width]`.
    next_features: Vec<f32>,
    /// `[len]`.
    scalars: Vec<Scalars>,
    ranking: Option<Ranking>,
}

/// An [`Item`] without its rows.
#[derive(Clone, Copy, Debug)]
struct Scalars {
    mask: ActionMask,
    next_mask: ActionMask,
    reward: f32,
    discount: f32,
    action: u16,
}

#[derive(Clone, Debug)]
struct Ranking {
    priorities: Priorities,
    /// The priority of each transition; each is an f32, so that a saved one is exact.
    tree: SumTree,
    /// The highest priority ever given, 1 before any.
    highest: f32,
}

/// All that a [`Replay`] remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayState {
    /// Width of a row.
    pub width: usize,
    /// Where the next transition goes.
    pub next: usize,
    /// Row-major `[len, width]`.
    pub features: Vec<f32>,
    /// Row-major `[len, width]`.
    pub next_features: Vec<f32>,
    /// `[len]`.
    pub actions: Vec<u16>,
    /// Bit k for action k, `[len]`.
    pub masks: Vec<u64>,
    /// Bit k for action k, `[len]`.
    pub next_masks: Vec<u64>,
    /// `[len]`.
    pub rewards: Vec<f32>,
    /// `[len]`.
    pub discounts: Vec<f32>,
    /// With the power alpha already taken, `[len]`; empty when draws are uniform.
    pub priorities: Vec<f32>,
    /// The highest priority so far, also with the power taken; 1 when draws are uniform.
    pub highest: f32,
}

impl Replay {
    /// An empty ring for `capacity` transitions with `width` features; without `priorities`, draws are
    /// uniform.
    ///
    /// # Panics
    /// When `capacity` is 0, or a number in `priorities` is negative or not finite.
    pub fn new(capacity: usize, width: usize, priorities: Option<Priorities>) -> Self {
        assert!(capacity > 0, "a ring holds at least one transition");
        assert!(priorities.is_none_or(Priorities::are_valid), "alpha and eps are finite and not negative");
        let ranking = priorities.map(|priorities| Ranking {
            priorities,
            tree: SumTree::of(std::iter::empty(), 1),
            highest: 1.0,
        });
        Self {
            capacity,
            width,
            next: 0,
            features: Vec::new(),
            next_features: Vec::new(),
            scalars: Vec::new(),
            ranking,
        }
    }

    /// How many transitions it holds.
    pub fn len(&self) -> usize {
        self.scalars.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.scalars.is_empty()
    }

    /// Keeps a transition, in the place of the oldest when full, with the highest priority so far: each is
    /// to be drawn soon, its own error is not known yet.
    ///
    /// # Panics
    /// When a row has the wrong width.
    pub fn push(&mut self, item: Item<'_>) {
        let (slot, width) = (self.next, self.width);
        assert!(item.features.len() == width && item.next_features.len() == width, "a row is {width} wide");
        let scalars = Scalars {
            mask: item.mask,
            next_mask: item.next_mask,
            reward: item.reward,
            discount: item.discount,
            action: item.action.0,
        };
        if slot == self.len() {
            self.features.extend_from_slice(item.features);
            self.next_features.extend_from_slice(item.next_features);
            self.scalars.push(scalars);
        } else {
            self.features[slot * width..][..width].copy_from_slice(item.features);
            self.next_features[slot * width..][..width].copy_from_slice(item.next_features);
            self.scalars[slot] = scalars;
        }
        if let Some(ranking) = &mut self.ranking {
            ranking.tree.set(slot, f64::from(ranking.highest));
        }
        self.next = (slot + 1) % self.capacity;
    }

    /// The transition in slot `index`, below [`Self::len`].
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, index: usize) -> Item<'_> {
        let scalars = self.scalars[index];
        Item {
            features: &self.features[index * self.width..][..self.width],
            mask: scalars.mask,
            action: ActionIndex(scalars.action),
            reward: scalars.reward,
            discount: scalars.discount,
            next_features: &self.next_features[index * self.width..][..self.width],
            next_mask: scalars.next_mask,
        }
    }

    /// Draws `batch` slots with replacement into `indices`, `[batch]`, and their importance weights into
    /// `weights`, `[batch]`; nothing when it is empty.
    ///
    /// By priority, one slot comes from each of `batch` equal parts of the total mass, and a weight is
    /// `(len * P)^-beta` divided by the largest of the batch; `beta` is not negative. Uniformly, weights are 1.
    pub fn sample(
        &self,
        batch: usize,
        beta: f32,
        stream: &mut Stream,
        indices: &mut Vec<usize>,
        weights: &mut Vec<f32>,
    ) {
        indices.clear();
        weights.clear();
        if self.is_empty() {
            return;
        }
        let Some(Ranking { tree, .. }) = &self.ranking else {
            indices.extend((0..batch).map(|_| stream.random_range(0..self.len())));
            weights.resize(batch, 1.0);
            return;
        };
        let total = tree.total();
        indices.extend((0..batch).map(|part| {
            let share = (part as f64 + stream.random::<f64>()) / batch as f64;
            tree.find(share * total)
        }));
        // The largest weight belongs to the lowest priority, and len and the total cancel in the quotient,
        // which therefore cannot overflow.
        let lowest = indices.iter().map(|&k| tree.get(k)).fold(f64::INFINITY, f64::min);
        weights.extend(indices.iter().map(|&k| (lowest / tree.get(k)).powf(f64::from(beta)) as f32));
    }

    /// Gives the transitions in slots `indices` the priorities of their new errors, both `[batch]`; the last
    /// counts where a slot occurs twice. An error that is not finite leaves the priority as it was. Does
    /// nothing when draws are uniform.
    ///
    /// # Panics
    /// When the lengths differ or a slot is empty.
    pub fn update_priorities(&mut self, indices: &[usize], errors: &[f32]) {
        assert_eq!(indices.len(), errors.len(), "one error per slot");
        let len = self.len();
        let Some(ranking) = &mut self.ranking else { return };
        for (&index, &error) in indices.iter().zip(errors) {
            assert!(index < len, "slot {index} of {len}");
            if error.is_finite() {
                let priority = ranking.priorities.priority(error);
                ranking.highest = ranking.highest.max(priority);
                ranking.tree.set(index, f64::from(priority));
            }
        }
    }

    /// All it remembers.
    pub fn state(&self) -> ReplayState {
        let scalars = self.scalars.iter();
        ReplayState {
            width: self.width,
            next: self.next,
            features: self.features.clone(),
            next_features: self.next_features.clone(),
            actions: scalars.clone().map(|s| s.action).collect(),
            masks: scalars.clone().map(|s| bits_of(s.mask)).collect(),
            next_masks: scalars.clone().map(|s| bits_of(s.next_mask)).collect(),
            rewards: scalars.clone().map(|s| s.reward).collect(),
            discounts: scalars.map(|s| s.discount).collect(),
            priorities: self.ranking.as_ref().map_or_else(Vec::new, |ranking| {
                (0..self.len()).map(|slot| ranking.tree.get(slot) as f32).collect()
            }),
            highest: self.ranking.as_ref().map_or(1.0, |ranking| ranking.highest),
        }
    }

    /// Goes on exactly where `state` was taken, given the same other arguments: what is drawn later is the
    /// same to the last bit.
    ///
    /// # Errors
    /// When the state's parts do not fit each other or the other arguments.
    pub fn restore(
        capacity: usize,
        width: usize,
        priorities: Option<Priorities>,
        state: ReplayState,
    ) -> Result<Self, String> {
        let len = state.rewards.len();
        if capacity == 0 || len > capacity {
            return Err(format!("{len} transitions in a ring for {capacity}"));
        }
        if state.width != width {
            return Err(format!("rows are {} wide instead of {width}", state.width));
        }
        if state.next >= capacity || (len < capacity && state.next != len) {
            return Err(format!("slot {} cannot be next with {len} of {capacity}", state.next));
        }
        let numbers = len.checked_mul(width).ok_or("more features than can be counted")?;
        expect_len("features", state.features.len(), numbers)?;
        expect_len("next features", state.next_features.len(), numbers)?;
        expect_len("actions", state.actions.len(), len)?;
        expect_len("masks", state.masks.len(), len)?;
        expect_len("next masks", state.next_masks.len(), len)?;
        expect_len("discounts", state.discounts.len(), len)?;
        expect_len("priorities", state.priorities.len(), if priorities.is_some() { len } else { 0 })?;
        if !priorities.is_none_or(Priorities::are_valid) {
            return Err("alpha and eps are finite and not negative".to_owned());
        }
        if !state.priorities.iter().chain([&state.highest]).all(|p| p.is_finite() && *p > 0.0) {
            return Err("a priority is finite and positive".to_owned());
        }
        let ranking = priorities.map(|priorities| Ranking {
            priorities,
            tree: SumTree::of(state.priorities.iter().copied().map(f64::from), len),
            highest: state.highest,
        });
        let scalars = (0..len)
            .map(|k| Scalars {
                mask: mask_of(state.masks[k]),
                next_mask: mask_of(state.next_masks[k]),
                reward: state.rewards[k],
                discount: state.discounts[k],
                action: state.actions[k],
            })
            .collect();
        Ok(Self {
            capacity,
            width,
            next: state.next,
            features: state.features,
            next_features: state.next_features,
            scalars,
            ranking,
        })
    }
}

/// Sums over a complete binary tree. Each sum is always made of its two children and never adjusted by a
/// difference: nothing drifts, and equal leaves mean equal sums whatever was set before.
#[derive(Clone, Debug)]
struct SumTree {
    /// Node k has children 2k and 2k + 1; 1 is the root, 0 is unused, the second half are the leaves, a power
    /// of two.
    sums: Vec<f64>,
}

impl SumTree {
    /// Leaves with these values and then empty ones, at least `leaves` in all.
    fn of(values: impl Iterator<Item = f64>, leaves: usize) -> Self {
        let size = leaves.next_power_of_two();
        let mut sums = vec![0.0; 2 * size];
        for (leaf, value) in sums[size..].iter_mut().zip(values) {
            *leaf = value;
        }
        for node in (1..size).rev() {
            sums[node] = sums[2 * node] + sums[2 * node + 1];
        }
        Self { sums }
    }

    fn leaves(&self) -> usize {
        self.sums.len() / 2
    }

    fn total(&self) -> f64 {
        self.sums[1]
    }

    fn get(&self, leaf: usize) -> f64 {
        self.sums[self.leaves() + leaf]
    }

    /// Sets a leaf, and grows the tree when there is no such leaf yet. Growing adds empty leaves on the right
    /// only, so the sums over the others stay the same.
    fn set(&mut self, leaf: usize, value: f64) {
        if leaf >= self.leaves() {
            *self = Self::of(self.sums[self.leaves()..].iter().copied(), leaf + 1);
        }
        let mut node = self.leaves() + leaf;
        self.sums[node] = value;
        while node > 1 {
            node /= 2;
            self.sums[node] = self.sums[2 * node] + self.sums[2 * node + 1];
        }
    }

    /// The leaf at which the running sum of leaves exceeds `mass`, which is not negative. Never an empty leaf
    /// unless all are, even where rounding puts `mass` at or beyond the total: it enters a side only if
    /// that has mass.
    fn find(&self, mut mass: f64) -> usize {
        let size = self.leaves();
        let mut node = 1;
        while node < size {
            let (left, right) = (self.sums[2 * node], self.sums[2 * node + 1]);
            node *= 2;
            if mass >= left && right > 0.0 {
                mass -= left;
                node += 1;
            }
        }
        node - size
    }
}

fn bits_of(mask: ActionMask) -> u64 {
    (0..64).filter(|&k| mask.allows(k)).fold(0, |bits, k| bits | 1 << k)
}

fn mask_of(bits: u64) -> ActionMask {
    ActionMask::from_fn(64, |k| bits >> k & 1 == 1)
}

fn expect_len(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found} {what} instead of {expected}")) }
}

#[cfg(test)]
mod tests;
