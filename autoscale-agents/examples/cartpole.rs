//! CartPole-v1 by each algorithm, seeds 1 to 5: a line a run, as CSV. See `experiments/cartpole`.

#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

#[path = "../tests/common/mod.rs"]
mod common;

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::dqn::{Dqn, DqnConfig};
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::toy::CartPole;
use autoscale_core::seed::Seed;
use common::{Learnt, learn};

fn main() {
    println!("algorithm,seed,steps,mean_return");
    for seed in 1..=5 {
        let root = Seed::root(seed);
        let line = |name: &str, Learnt { score, steps }: Learnt| println!("{name},{seed},{steps},{score}");
        let (ppo, a2c, dqn) = (PpoConfig::cart_pole(), A2cConfig::cart_pole(), DqnConfig::cart_pole());
        let envs = [ppo.num_envs, a2c.num_envs, dqn.num_envs];
        let make = |setup, backend| Ppo::new(ppo, setup, root, backend).expect("in range");
        line("ppo", learn::<CartPole, _>(make, envs[0], root, (1, 100_000 - 1024), 500.0));
        let make = |setup, backend| A2c::new(a2c, setup, root, backend).expect("in range");
        line("a2c", learn::<CartPole, _>(make, envs[1], root, (5000, 500_000 - 128), 500.0));
        let make = |setup, backend| Dqn::new(dqn, setup, root, backend).expect("in range");
        line("dqn", learn::<CartPole, _>(make, envs[2], root, (2000, 150_000 - 1000), 500.0));
    }
}
