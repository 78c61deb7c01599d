//! Each algorithm solves small worlds whose answers are known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "the best returns are whole numbers")]

mod common;

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::backend::Backend;
use autoscale_agents::dqn::{Dqn, DqnConfig, PriorityConfig};
use autoscale_agents::learner::{Setup, Treatment};
use autoscale_agents::net::{NetConfig, Trunk};
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::toy::{ContextBandit, Corridor, Flip, TwoState};
use autoscale_agents::trainer::{Progress, Stepping, train};
use autoscale_core::agent::{ActionIndex, ActionMask, Learner, Seen, Task, TaskStep, Transition};
use autoscale_core::environment::{EpisodeEnd, EpisodeOver};
use autoscale_core::seed::Seed;
use common::{learn, setup};

const ROOT: Seed = Seed::root(3);

fn ppo(net: NetConfig) -> impl FnOnce(Setup, Backend) -> Ppo {
    let config = PpoConfig {
        num_steps: 32,
        minibatch_size: 64,
        learning_rate: 3e-3,
        gamma: 0.9,
        ent_coef: 0.01,
        target_kl: None,
        net,
        ..PpoConfig::default()
    };
    move |setup, backend| Ppo::new(config, setup, ROOT, backend).unwrap()
}

fn a2c(net: NetConfig) -> impl FnOnce(Setup, Backend) -> A2c {
    let config = A2cConfig {
        learning_rate: 2e-3,
        gamma: 0.9,
        ent_coef: 0.01,
        anneal_lr: false,
        net,
        ..A2cConfig::default()
    };
    move |setup, backend| A2c::new(config, setup, ROOT, backend).unwrap()
}

fn dqn(change: impl FnOnce(DqnConfig) -> DqnConfig) -> impl FnOnce(Setup, Backend) -> Dqn {
    let config = change(DqnConfig {
        learning_starts: 200,
        learning_rate: 2e-3,
        gamma: 0.9,
        start_e: 1.0,
        target_network_frequency: 50,
        ..DqnConfig::default()
    });
    move |setup, backend| Dqn::new(config, setup, ROOT, backend).unwrap()
}

fn plain(trunk: Trunk) -> NetConfig {
    NetConfig { hidden: vec![32], trunk, gru: None }
}

#[test]
fn a_reward_is_put_off_for_a_larger_one() {
    // 19 times 3 after one step without reward.
    let best = 57.0;
    let steps = (1000, 30_000);
    assert_eq!(learn::<TwoState, _>(ppo(plain(Trunk::Shared)), 8, ROOT, steps, best).score, best);
    assert_eq!(learn::<TwoState, _>(ppo(plain(Trunk::Separate)), 8, ROOT, steps, best).score, best);
    assert_eq!(learn::<TwoState, _>(a2c(plain(Trunk::Separate)), 8, ROOT, steps, best).score, best);
    assert_eq!(learn::<TwoState, _>(dqn(|c| c), 8, ROOT, steps, best).score, best);
}

#[test]
fn a_bandit_is_played_by_its_context() {
    let steps = (1000, 30_000);
    assert_eq!(learn::<ContextBandit, _>(ppo(plain(Trunk::Shared)), 8, ROOT, steps, 1.0).score, 1.0);
    assert_eq!(learn::<ContextBandit, _>(a2c(plain(Trunk::Shared)), 8, ROOT, steps, 1.0).score, 1.0);
    assert_eq!(learn::<ContextBandit, _>(dqn(|c| c), 8, ROOT, steps, 1.0).score, 1.0);
}

/// Every switch of DQN leads to the same answers.
#[test]
fn each_part_of_dqn_can_be_left_out() {
    let off = |c: DqnConfig| DqnConfig { double: false, dueling: false, n_step: 1, huber: false, ..c };
    let switches: [fn(DqnConfig) -> DqnConfig; 5] = [
        |c| c,
        |c| DqnConfig { double: true, ..c },
        |c| DqnConfig { dueling: true, ..c },
        |c| DqnConfig { n_step: 3, tau: 0.02, target_network_frequency: 1, ..c },
        |c| DqnConfig { priorities: Some(PriorityConfig::default()), huber: true, ..c },
    ];
    for (k, switch) in switches.into_iter().enumerate() {
        let score = learn::<TwoState, _>(dqn(|c| switch(off(c))), 8, ROOT, (1000, 30_000), 57.0).score;
        assert_eq!(score, 57.0, "switch {k}");
    }
}

/// What was shown at the start decides at the end.
#[derive(Clone, Debug)]
struct Remember(Corridor);

impl Default for Remember {
    fn default() -> Self {
        Self(Corridor::new(5))
    }
}

impl Task for Remember {
    fn feature_count(&self) -> usize {
        self.0.feature_count()
    }
    fn action_count(&self) -> usize {
        self.0.action_count()
    }
    fn reset(&mut self, seed: Seed) {
        self.0.reset(seed);
    }
    fn features(&self) -> &[f32] {
        self.0.features()
    }
    fn valid_actions(&self) -> ActionMask {
        self.0.valid_actions()
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        self.0.step(action)
    }
}

#[test]
fn a_recurrent_policy_remembers_and_another_cannot() {
    for trunk in [Trunk::Shared, Trunk::Separate] {
        let net = || NetConfig { hidden: vec![16], trunk, gru: Some(16) };
        assert_eq!(
            learn::<Remember, _>(ppo(net()), 8, ROOT, (2000, 60_000), 1.0).score,
            1.0,
            "PPO {trunk:?}"
        );
        assert_eq!(
            learn::<Remember, _>(a2c(net()), 8, ROOT, (2000, 150_000), 1.0).score,
            1.0,
            "A2C {trunk:?}"
        );
    }
    let without = learn::<Remember, _>(ppo(plain(Trunk::Shared)), 8, ROOT, (2000, 20_000), 1.0);
    assert!(without.score.abs() < 0.3 && without.steps >= 20_000, "{without:?}");
}

/// V(a) = 1 + γ V(b) and V(b) = γ V(a); taking truncation for the end gives about 3.5.
#[test]
fn a_never_ending_world_is_valued_through_truncation() {
    let known = Flip::values(0.9);
    let run = |learner: &mut dyn FnMut() -> [f32; 2]| learner();
    for bootstrap_truncation in [true, false] {
        let treatment =
            Treatment { normalize_observations: false, bootstrap_truncation, ..Treatment::default() };
        let tasks = || (0..4).map(|_| Flip::default()).collect::<Vec<_>>();
        let seeds = |k| Seed::root(9).nth(k);
        let shape = || setup(&Flip::default(), 12_000);
        let by_ppo = run(&mut || {
            let config = PpoConfig {
                num_envs: 4,
                num_steps: 32,
                minibatch_size: 32,
                learning_rate: 3e-3,
                gamma: 0.9,
                target_kl: None,
                treatment,
                ..PpoConfig::default()
            };
            let mut learner = Ppo::new(config, shape(), Seed::root(1), Backend::Flex).unwrap();
            train(&mut learner, tasks(), seeds, Progress::fresh(700), Stepping::Sequential, &mut ()).unwrap();
            Flip::STATES.map(|state| learner.value(&state))
        });
        let by_a2c = run(&mut || {
            let config =
                A2cConfig { num_envs: 4, gamma: 0.9, learning_rate: 3e-3, treatment, ..A2cConfig::default() };
            let mut learner = A2c::new(config, shape(), Seed::root(1), Backend::Flex).unwrap();
            train(&mut learner, tasks(), seeds, Progress::fresh(2000), Stepping::Sequential, &mut ())
                .unwrap();
            Flip::STATES.map(|state| learner.value(&state))
        });
        for values in [by_ppo, by_a2c] {
            let near = values.iter().zip(known).all(|(v, known)| (f64::from(*v) - known).abs() < 0.25);
            assert_eq!(near, bootstrap_truncation, "{values:?} where {known:?} is right");
            assert!(bootstrap_truncation || f64::from(values[0]) < known[0] - 1.0, "{values:?}");
        }
    }
}

/// The value of an action that is not allowed next must not count, however high it is.
#[test]
fn dqn_bootstraps_from_allowed_actions_only() {
    let value = |masked: bool, double: bool| {
        let config = DqnConfig {
            num_envs: 1,
            learning_starts: 16,
            batch_size: 32,
            learning_rate: 5e-3,
            anneal_lr: false,
            gamma: 0.5,
            n_step: 1,
            double,
            dueling: false,
            target_network_frequency: 20,
            treatment: Treatment { normalize_observations: false, ..Treatment::default() },
            ..DqnConfig::default()
        };
        let setup = Setup { features: 2, privileged: 0, initial_logits: vec![0.0; 2], total_steps: 6000 };
        let mut learner = Dqn::new(config, setup, Seed::root(1), Backend::Flex).unwrap();
        let all = ActionMask::all(2);
        let first_only = ActionMask::from_fn(2, |k| k == 0);
        let mut actions = Vec::new();
        for step in 0..6000_u16 {
            // In the second state, action 0 ends with 1 and action 1 with 9; from the first one gets there.
            let (from, action) = [(0, 0), (1, 0), (1, 1)][usize::from(step % 3)];
            let seen = Seen { envs: &[0], features: &Flip::STATES[from], masks: &[all] };
            learner.explore(&seen, &mut actions);
            learner.record(Transition {
                env: 0,
                features: &Flip::STATES[from],
                mask: all,
                action: ActionIndex(action),
                reward: [0.0, 1.0, 9.0][usize::from(step % 3)],
                next_features: &Flip::STATES[1],
                next_mask: if masked { first_only } else { all },
                end: (from == 1).then_some(EpisodeEnd::Terminated),
            });
            learner.update();
        }
        learner.snapshot().preferences(&Flip::STATES[0])[0]
    };
    for double in [false, true] {
        let (allowed, masked) = (value(false, double), value(true, double));
        assert!((allowed - 4.5).abs() < 0.2, "half of 9: {allowed}");
        assert!((masked - 0.5).abs() < 0.2, "half of 1: {masked}");
    }
}
