//! PPO, A2C and DQN solve CartPole-v1 within 100,000, 500,000 and 150,000 steps: a mean of 475 over 100 test episodes. More seeds are in an experiment.

mod common;

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::dqn::{Dqn, DqnConfig};
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::toy::CartPole;
use autoscale_core::seed::Seed;
use common::learn;

const ROOT: Seed = Seed::root(1);

#[test]
fn ppo() {
    let config = PpoConfig::cart_pole();
    let envs = config.num_envs;
    let make = |setup, backend| Ppo::new(config, setup, ROOT, backend).expect("in range");
    let learnt = learn::<CartPole, _>(make, envs, ROOT, (1, 100_000 - 1024), 500.0);
    assert!(learnt.score >= 475.0, "{} after {} steps", learnt.score, learnt.steps);
}

#[test]
fn a2c() {
    let config = A2cConfig::cart_pole();
    let envs = config.num_envs;
    let make = |setup, backend| A2c::new(config, setup, ROOT, backend).expect("in range");
    let learnt = learn::<CartPole, _>(make, envs, ROOT, (5000, 500_000 - 128), 500.0);
    assert!(learnt.score >= 475.0, "{} after {} steps", learnt.score, learnt.steps);
}

#[test]
fn dqn() {
    let config = DqnConfig::cart_pole();
    let envs = config.num_envs;
    let make = |setup, backend| Dqn::new(config, setup, ROOT, backend).expect("in range");
    let learnt = learn::<CartPole, _>(make, envs, ROOT, (2000, 150_000 - 1000), 500.0);
    assert!(learnt.score >= 475.0, "{} after {} steps", learnt.score, learnt.steps);
}
