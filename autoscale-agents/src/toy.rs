//! Small worlds with known answers, on which learners are tested, benchmarked and shown.
//!
//! | World             | What it asks for           | Known answer                           | Ends       |
//! |-------------------|----------------------------|----------------------------------------|------------|
//! | [`Flip`]          | values through truncation  | values 1/(1-γ²) and γ/(1-γ²)           | truncated  |
//! | [`TwoState`]      | putting off a reward       | [`TwoState::optimal_values`], 57 a run | truncated  |
//! | [`ContextBandit`] | reading features and masks | 1 an episode                           | terminated |
//! | [`Corridor`]      | memory                     | 1 an episode with it, 0 without        | terminated |
//! | [`CartPole`]      | control                    | 500 an episode                         | either     |
//! | [`Trivial`]       | nothing, at no cost        | 200 an episode                         | truncated  |
//!
//! A world before its first reset counts as over. All of them panic on an action that their mask forbids, for
//! no learner may ever take one.

use autoscale_core::agent::{ActionIndex, ActionMask, GreedyPolicy, Task, TaskStep};
use autoscale_core::environment::{EpisodeEnd, EpisodeOver};
use autoscale_core::seed::Seed;
use rand::RngExt;

/// Plays one greedy episode a seed and averages the undiscounted returns; NaN without any seed. Every episode
/// of the task has to end.
pub fn mean_return<P: GreedyPolicy>(
    policy: &mut P,
    task: &mut impl Task,
    seeds: impl Iterator<Item = Seed>,
) -> f64 {
    let (mut total, mut episodes) = (0.0, 0.0);
    for seed in seeds {
        task.reset(seed);
        policy.reset();
        episodes += 1.0;
        while let Ok(step) = task.step(policy.act(task.features(), task.valid_actions())) {
            total += f64::from(step.reward);
            if step.end.is_some() {
                break;
            }
        }
    }
    total / episodes
}

/// The number of an action that may be taken now.
fn admit(task: &impl Task, running: bool, action: ActionIndex) -> Result<usize, EpisodeOver> {
    if !running {
        return Err(EpisodeOver);
    }
    let k = usize::from(action.0);
    assert!(task.valid_actions().allows(k), "only allowed actions are taken");
    Ok(k)
}

/// What a [`Task`] says without acting: numbers of features and actions, features, allowed actions.
macro_rules! shape {
    ($features:literal, $actions:literal, |$w:pat_param| $seen:expr, |$v:pat_param| $mask:expr) => {
        fn feature_count(&self) -> usize {
            $features
        }
        fn action_count(&self) -> usize {
            $actions
        }
        fn features(&self) -> &[f32] {
            let $w = self;
            $seen
        }
        fn valid_actions(&self) -> ActionMask {
            let $v = self;
            $mask
        }
    };
}

/// A step that earned `reward`, cut off unless the world is still `running`.
fn cut(running: bool, reward: f32) -> TaskStep {
    TaskStep { reward, end: (!running).then_some(EpisodeEnd::Truncated) }
}

/// Two states in turn, rewards 1 and 0 for ever whatever is done; episodes are cut off by the clock after 5
/// to 27 steps. Action 0 is always allowed, action 1 in the second state, action 2 never. A learner that
/// takes the cut for the end gets the values too low.
#[derive(Clone, Debug, Default)]
pub struct Flip {
    state: usize,
    steps: u64,
    length: u64,
    running: bool,
}

impl Flip {
    /// The features of both states.
    pub const STATES: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

    /// The values of both states: V(a) = 1 + γ V(b) and V(b) = γ V(a).
    pub fn values(gamma: f64) -> [f64; 2] {
        let first = 1.0 / (1.0 - gamma * gamma);
        [first, gamma * first]
    }

    /// Steps since the reset.
    pub const fn steps(&self) -> u64 {
        self.steps
    }
}

impl Task for Flip {
    shape!(2, 3, |w| &Self::STATES[w.state], |w| ActionMask::from_fn(3, |k| k <= w.state));
    fn reset(&mut self, seed: Seed) {
        // Unequal lengths, so that environments finish out of order.
        *self = Self { state: 0, steps: 0, length: 5 + seed.number() % 23, running: true };
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        admit(self, self.running, action)?;
        self.state = 1 - self.state;
        self.steps += 1;
        self.running = self.steps < self.length;
        Ok(cut(self.running, f32::from(self.state == 1)))
    }
}

/// A decision problem in which the reward at hand misleads. In the first state action 0 stays and earns 1,
/// action 1 goes to the second state and earns nothing; there action 0 stays and earns 3, action 1 goes back
/// and earns nothing. An episode begins in the first state and is cut off after 20 steps. Going at once and
/// then staying is best for every γ above 1/3, and returns 57; never going returns 20.
#[derive(Clone, Debug, Default)]
pub struct TwoState {
    state: usize,
    steps: u32,
    running: bool,
}

impl TwoState {
    /// The features of both states.
    pub const STATES: [[f32; 2]; 2] = Flip::STATES;

    /// The best values of both states, for ever and not only until the cut; 0 <= γ < 1.
    pub fn optimal_values(gamma: f64) -> [f64; 2] {
        // Staying in the second state earns the most there is; in the first the choice is staying or going.
        let second = 3.0 / (1.0 - gamma);
        [(1.0 / (1.0 - gamma)).max(gamma * second), second]
    }
}

impl Task for TwoState {
    shape!(2, 2, |w| &Self::STATES[w.state], |_| ActionMask::all(2));
    fn reset(&mut self, _: Seed) {
        *self = Self { state: 0, steps: 0, running: true };
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let moves = admit(self, self.running, action)? == 1;
        let reward = if moves { 0.0 } else { [1.0, 3.0][self.state] };
        self.state ^= usize::from(moves);
        self.steps += 1;
        self.running = self.steps < 20;
        Ok(cut(self.running, reward))
    }
}

/// Episodes of one step: one of 4 contexts is shown, action (context + 1) mod 4 earns 1 and the others
/// nothing, and action (context + 3) mod 4, the best one elsewhere, is not allowed. The best return is 1.
#[derive(Clone, Debug, Default)]
pub struct ContextBandit {
    context: usize,
    seen: [f32; 4],
    running: bool,
}

impl Task for ContextBandit {
    shape!(4, 4, |w| &w.seen, |w| ActionMask::from_fn(4, |k| k != (w.context + 3) % 4));
    fn reset(&mut self, seed: Seed) {
        let context = seed.stream().random_range(0..4_u8).into();
        let seen = std::array::from_fn(|k| f32::from(k == context));
        *self = Self { context, seen, running: true };
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let right = admit(self, self.running, action)? == (self.context + 1) % 4;
        self.running = false;
        Ok(TaskStep { reward: f32::from(right), end: Some(EpisodeEnd::Terminated) })
    }
}

/// A T-maze after Bakker ("Reinforcement Learning with Long Short-Term Memory", NIPS 14, 2002). The first
/// step shows a cue of 1 or -1, `length` steps without one follow, and only action 2, forward, is allowed on
/// the way. At the junction action 1 is right after a cue of 1 and action 0 after -1: right earns 1, wrong
/// -1. The features are the cue, whether this is the junction, and 1. With memory the best mean return is 1;
/// without it is 0 whatever is done, for all junctions look alike.
#[derive(Clone, Debug)]
pub struct Corridor {
    length: u32,
    cue: f32,
    steps: u32,
    seen: [f32; 3],
    running: bool,
}

impl Corridor {
    /// A corridor with `length` steps between cue and junction; an episode takes `length` + 2 steps.
    pub const fn new(length: u32) -> Self {
        Self { length, cue: 0.0, steps: 0, seen: [0.0, 0.0, 1.0], running: false }
    }

    const fn at_junction(&self) -> bool {
        self.steps > self.length
    }
}

impl Task for Corridor {
    shape!(3, 3, |w| &w.seen, |w| ActionMask::from_fn(3, |k| (k < 2) == w.at_junction()));
    fn reset(&mut self, seed: Seed) {
        let cue = if seed.stream().random_bool(0.5) { 1.0 } else { -1.0 };
        *self = Self { cue, seen: [cue, 0.0, 1.0], running: true, ..Self::new(self.length) };
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let k = admit(self, self.running, action)?;
        if self.at_junction() {
            self.running = false;
            let reward = if k == 1 { self.cue } else { -self.cue };
            return Ok(TaskStep { reward, end: Some(EpisodeEnd::Terminated) });
        }
        self.steps += 1;
        self.seen = [0.0, f32::from(self.at_junction()), 1.0];
        Ok(TaskStep { reward: 0.0, end: None })
    }
}

/// The pole of Barto, Sutton and Anderson (1983), with the constants and bounds of Gymnasium's CartPole-v1: 1
/// a step until pole or cart is out of bounds, cut off after 500 steps. The best return is 500.
#[derive(Clone, Debug, Default)]
pub struct CartPole {
    state: [f64; 4],
    seen: [f32; 4],
    steps: u32,
    running: bool,
}

impl Task for CartPole {
    shape!(4, 2, |w| &w.seen, |_| ActionMask::all(2));
    fn reset(&mut self, seed: Seed) {
        let mut stream = seed.stream();
        let state = std::array::from_fn(|_| stream.random_range(-0.05..0.05));
        *self = Self { state, seen: state.map(|x| x as f32), steps: 0, running: true };
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let force = if admit(self, self.running, action)? == 1 { 10.0 } else { -10.0 };
        let [x, v, angle, turn] = self.state;
        let (sin, cos) = angle.sin_cos();
        let pull = (force + 0.05 * turn * turn * sin) / 1.1;
        let turning = (9.8 * sin - cos * pull) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
        let pushing = pull - 0.05 * turning * cos / 1.1;
        self.state = [x + 0.02 * v, v + 0.02 * pushing, angle + 0.02 * turn, turn + 0.02 * turning];
        self.seen = self.state.map(|x| x as f32);
        self.steps += 1;
        let fell = self.state[0].abs() > 2.4 || self.state[2].abs() > 12.0_f64.to_radians();
        self.running = !fell && self.steps < 500;
        let end = if fell { EpisodeEnd::Terminated } else { EpisodeEnd::Truncated };
        Ok(TaskStep { reward: 1.0, end: (!self.running).then_some(end) })
    }
}

/// The world of benchmarks, next to free to run: 32 features in [0, 1), of which each step redraws one, in
/// turn, and 7 actions. Action floor(7 f) earns 1, where f is the first feature, and the others nothing.
/// Episodes are cut off after 200 steps, so the best return is 200.
#[derive(Clone, Debug, Default)]
pub struct Trivial {
    seen: [f32; 32],
    counter: u64,
    steps: u32,
    running: bool,
}

impl Trivial {
    /// The hash of a counter, which is cheaper than a generator.
    const fn draw(&mut self) -> f32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.counter = self.counter.wrapping_add(1);
        let hash = self.counter.wrapping_mul(ODD);
        let hash = (hash ^ (hash >> 32)).wrapping_mul(ODD);
        // 23 bits, so that 7 f cannot be rounded up to 7.
        (hash >> 41) as f32 / (1_u32 << 23) as f32
    }
}

impl Task for Trivial {
    shape!(32, 7, |w| &w.seen, |_| ActionMask::all(7));
    fn reset(&mut self, seed: Seed) {
        // A child seed, for roots with neighbouring numbers would share most of their counters.
        *self = Self { seen: [0.0; 32], counter: seed.nth(0).number(), steps: 0, running: true };
        self.seen = std::array::from_fn(|_| self.draw());
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        let right = admit(self, self.running, action)? == (7.0 * self.seen[0]) as usize;
        self.seen[self.steps as usize % 32] = self.draw();
        self.steps += 1;
        self.running = self.steps < 200;
        Ok(cut(self.running, f32::from(right)))
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of whole numbers are exact")]
mod tests {
    use super::*;

    /// A policy with room for one number, which is 0 again in each episode.
    struct Script<F>(F, f32);

    impl<F: FnMut(&[f32], ActionMask, &mut f32) -> u16> GreedyPolicy for Script<F> {
        fn reset(&mut self) {
            self.1 = 0.0;
        }
        fn act(&mut self, features: &[f32], mask: ActionMask) -> ActionIndex {
            ActionIndex((self.0)(features, mask, &mut self.1))
        }
    }

    fn score(task: &mut impl Task, policy: impl FnMut(&[f32], ActionMask, &mut f32) -> u16) -> f64 {
        mean_return(&mut Script(policy, 1.0), task, (0..1000).map(Seed::root))
    }

    fn position(features: &[f32]) -> usize {
        features.iter().position(|&f| f == 1.0).unwrap()
    }

    /// One episode of allowed actions in turn: all that was seen and earned, and how it ended.
    fn play(task: &mut impl Task, seed: Seed) -> (Vec<f32>, EpisodeEnd) {
        task.reset(seed);
        let mut log = task.features().to_vec();
        for k in 0.. {
            let allowed: Vec<_> = (0..64).filter(|&a| task.valid_actions().allows(a)).collect();
            assert!(!allowed.is_empty() && allowed.iter().all(|&a| a < task.action_count()));
            let action = ActionIndex(allowed[k % allowed.len()] as u16);
            let step = task.step(action).unwrap();
            log.push(step.reward);
            log.extend(task.features());
            if let Some(end) = step.end {
                assert_eq!(task.step(action), Err(EpisodeOver));
                return (log, end);
            }
        }
        unreachable!("worlds end")
    }

    fn conforms<T: Task + Clone>(fresh: &T, end: EpisodeEnd, differ: bool) {
        let mut used = fresh.clone();
        assert_eq!(used.step(ActionIndex(0)), Err(EpisodeOver), "not reset yet");
        let logs: Vec<_> = (0..50).map(|k| play(&mut used, Seed::root(k))).collect();
        for (k, log) in (0..).zip(&logs) {
            assert_eq!(log, &play(&mut fresh.clone(), Seed::root(k)), "seeds decide, not what was before");
            assert_eq!(log.1, end);
        }
        assert_eq!(logs.iter().any(|log| log != &logs[0]), differ);
    }

    #[test]
    fn worlds_depend_on_seeds_alone_end_as_documented_and_then_refuse() {
        conforms(&Flip::default(), EpisodeEnd::Truncated, true);
        conforms(&TwoState::default(), EpisodeEnd::Truncated, false);
        conforms(&ContextBandit::default(), EpisodeEnd::Terminated, true);
        conforms(&Corridor::new(7), EpisodeEnd::Terminated, true);
        conforms(&CartPole::default(), EpisodeEnd::Terminated, true);
        conforms(&Trivial::default(), EpisodeEnd::Truncated, true);
    }

    /// Values and best actions by value iteration over a world's answers; `way` leads to the second state.
    fn solve(task: &mut impl Task, way: u16, gamma: f64) -> ([f64; 2], [usize; 2]) {
        let mut outcome = |state: usize, action: u16| {
            task.reset(Seed::root(5));
            assert!(state == 0 || task.step(ActionIndex(way)).is_ok());
            let allowed = task.valid_actions().allows(action.into());
            allowed.then(|| (task.step(ActionIndex(action)).unwrap().reward, position(task.features())))
        };
        let model = [0, 1].map(|s| [0, 1].map(|a| outcome(s, a)));
        let (mut values, mut best) = ([0.0; 2], [0; 2]);
        for _ in 0..5000 {
            let value = |(reward, next): (f32, usize)| f64::from(reward) + gamma * values[next];
            let q = model.map(|row| row.map(|o| o.map_or(f64::NEG_INFINITY, value)));
            (values, best) = (q.map(|[a, b]| a.max(b)), q.map(|[a, b]| usize::from(b > a)));
        }
        (values, best)
    }

    #[test]
    fn value_iteration_finds_the_values_in_closed_form() {
        let close = |a: [f64; 2], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        for gamma in [0.0, 0.2, 0.5, 0.9, 0.99] {
            let (values, best) = solve(&mut TwoState::default(), 1, gamma);
            assert!(close(values, TwoState::optimal_values(gamma)), "{gamma}: {values:?}");
            assert_eq!(best, [usize::from(gamma > 1.0 / 3.0), 0], "{gamma}");
            let (values, _) = solve(&mut Flip::default(), 0, gamma);
            assert!(close(values, Flip::values(gamma)), "{gamma}: {values:?}");
        }
        assert!(close(TwoState::optimal_values(0.9), [27.0, 30.0]));
        let run = |plan: [u16; 2]| score(&mut TwoState::default(), |f, _, _| plan[position(f)]);
        assert_eq!([[0, 0], [0, 1], [1, 0], [1, 1]].map(run), [20.0, 20.0, 57.0, 0.0]);
    }

    #[test]
    fn a_bandit_and_the_benchmark_world_are_solved_from_their_features() {
        let best = score(&mut ContextBandit::default(), |f, _, _| (position(f) as u16 + 1) % 4);
        let fixed = score(&mut ContextBandit::default(), |_, mask, _| u16::from(!mask.allows(0)));
        assert!(best == 1.0 && (fixed - 0.25).abs() < 0.05, "{best} {fixed}");
        let best = score(&mut Trivial::default(), |f, _, _| (7.0 * f[0]) as u16);
        let fixed = score(&mut Trivial::default(), |_, _, _| 3);
        assert!(best == 200.0 && (fixed - 200.0 / 7.0).abs() < 2.0, "{best} {fixed}");
    }

    #[test]
    fn a_corridor_pays_memory_only() {
        for length in [0, 1, 10] {
            let mut task = Corridor::new(length);
            let remembering = score(&mut task, |f, mask, cue| {
                *cue += f[0];
                if mask.allows(2) { 2 } else { u16::from(*cue > 0.0) }
            });
            // Without memory there are two policies, and what one wins the other loses.
            let [left, right] = [0, 1].map(|turn| {
                score(&mut task, |f, mask, _| {
                    assert!(mask.allows(2) || f == [0.0, 1.0, 1.0]);
                    if mask.allows(2) { 2 } else { turn }
                })
            });
            assert!(remembering == 1.0 && left == -right && left.abs() < 0.1, "{remembering} {left} {right}");
            assert_eq!(play(&mut task, Seed::root(3)).0.len() as u32, 3 + 4 * (length + 2));
        }
    }

    #[test]
    fn a_linear_controller_balances_the_pole_and_a_constant_push_does_not() {
        let mut task = CartPole::default();
        let held = score(&mut task, |f, _, _| u16::from(0.1 * f[0] + 0.2 * f[1] + 2.0 * f[2] + f[3] > 0.0));
        let pushed = score(&mut task, |_, _, _| 1);
        assert!(held > 475.0 && (8.0..=11.0).contains(&pushed), "{held} {pushed}");
        // Accelerations by hand: -600 / 41 and 400 / 41 at rest, 9.8 / (0.5 * 4/3) and 10.2 / 1.1 lying flat.
        let q = std::f64::consts::FRAC_PI_2;
        let rest = ([0.0; 4], [0.0, 8.0 / 41.0, 0.0, -12.0 / 41.0]);
        let flat = ([0.0, 0.0, q, 2.0], [0.0, 0.204 / 1.1, q + 0.04, 2.294]);
        for (state, next) in [rest, flat] {
            task = CartPole { state, running: true, ..CartPole::default() };
            assert!(task.step(ActionIndex(1)).is_ok());
            assert!(task.state.iter().zip(next).all(|(a, b)| (a - b).abs() < 1e-12), "{:?}", task.state);
        }
    }

    #[test]
    #[should_panic = "only allowed actions"]
    fn a_masked_action_is_refused_loudly() {
        let mut task = Flip::default();
        task.reset(Seed::root(1));
        let _ = task.step(ActionIndex(1));
    }
}
