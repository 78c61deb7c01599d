//! Three small checkpoints for other programs to read: PPO with a critic apart, A2C with a recurrent unit, and a
//! dueling DQN, each trained for a moment on random numbers. The same bytes each time.
//! `cargo run -p autoscale-agents --example small_checkpoints -- FOLDER`

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::{Checkpoint, CheckpointInfo};
use autoscale_agents::dqn::{Dqn, DqnConfig};
use autoscale_agents::features::feature_names;
use autoscale_agents::learner::{Setup, Trainable};
use autoscale_agents::net::{NetConfig, Trunk};
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_core::agent::{ActionMask, Seen, Transition};
use autoscale_core::environment::EpisodeEnd;
use autoscale_core::seed::{Seed, Stream};
use rand::RngExt;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENVS: [usize; 4] = [0, 1, 2, 3];
/// Steps of each environment.
const STEPS: u64 = 400;
/// Steps of an episode.
const EPISODE: u64 = 20;

fn setup(privileged: usize) -> Setup {
    Setup {
        features: feature_names().len(),
        privileged,
        initial_logits: ActionSpace::residual().initial_logits(),
        total_steps: STEPS * ENVS.len() as u64,
    }
}

/// Numbers of several means and ranges; every fourth never moves.
fn row(width: usize, stream: &mut Stream) -> Vec<f32> {
    let number = |k: usize| {
        let (mean, range) = ((k % 5) as f32 * 0.25 - 0.5, [0.0, 0.3, 0.7, 1.5][k % 4]);
        mean + range * (2.0 * stream.random::<f32>() - 1.0)
    };
    (0..width).map(number).collect()
}

fn rows(width: usize, stream: &mut Stream) -> Vec<f32> {
    ENVS.iter().flat_map(|_| row(width, stream)).collect()
}

/// Lets `learner` learn which action suits the second feature.
fn teach(learner: &mut impl Trainable, setup: &Setup, seed: Seed) {
    let width = setup.features + setup.privileged;
    let mask = ActionMask::all(setup.initial_logits.len());
    let mut stream = seed.child("features").stream();
    let mut features = rows(width, &mut stream);
    let mut actions = Vec::new();
    for step in 1..=STEPS {
        learner.explore(&Seen { envs: &ENVS, features: &features, masks: &[mask; ENVS.len()] }, &mut actions);
        let next = rows(width, &mut stream);
        for (env, &action) in ENVS.into_iter().zip(&actions) {
            let of_env = env * width..(env + 1) * width;
            let now = &features[of_env.clone()];
            learner.record(Transition {
                env,
                features: now,
                mask,
                action,
                reward: (4.0 * now[1] + f32::from(action.0)).sin(),
                next_features: &next[of_env],
                next_mask: mask,
                end: (step % EPISODE == 0).then_some(EpisodeEnd::Truncated),
            });
        }
        learner.update();
        features = next;
    }
    learner.finish();
}

fn write(
    mut learner: impl Trainable,
    net: NetConfig,
    setup: &Setup,
    seed: Seed,
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    teach(&mut learner, setup, seed);
    let info = CheckpointInfo {
        scenario: "random-numbers".into(),
        interval: Duration::from_secs(15),
        action_space: ActionSpace::residual(),
        net,
        privileged: setup.privileged,
        seed,
        // Not known here, and it would change the bytes.
        commit: "unknown".into(),
        episodes_done: STEPS / EPISODE * ENVS.len() as u64,
    };
    Ok(Checkpoint::of(&learner, info).save(path)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("a folder to write to is missing")?);
    std::fs::create_dir_all(&folder)?;
    let (seed, backend) = (Seed::root(1), Backend::Flex);

    let net = NetConfig { hidden: vec![16, 8], trunk: Trunk::Separate, gru: None };
    let config = PpoConfig {
        num_envs: ENVS.len(),
        num_steps: 50,
        minibatch_size: 50,
        learning_rate: 5e-3,
        net: net.clone(),
        ..PpoConfig::default()
    };
    // The critic sees more than the policy, so that there are moments that a reader has to leave out.
    let seen = setup(2);
    let learner = Ppo::new(config, seen.clone(), seed, backend)?;
    write(learner, net, &seen, seed, &folder.join("ppo.safetensors"))?;

    let net = NetConfig { hidden: vec![16], trunk: Trunk::Separate, gru: Some(8) };
    let config =
        A2cConfig { num_envs: ENVS.len(), learning_rate: 5e-3, net: net.clone(), ..A2cConfig::default() };
    let seen = setup(0);
    let learner = A2c::new(config, seen.clone(), seed, backend)?;
    write(learner, net, &seen, seed, &folder.join("gru.safetensors"))?;

    let config = DqnConfig {
        num_envs: ENVS.len(),
        learning_starts: 200,
        learning_rate: 5e-3,
        dueling: true,
        hidden: vec![16],
        ..DqnConfig::default()
    };
    let net = config.net();
    let learner = Dqn::new(config, seen.clone(), seed, backend)?;
    write(learner, net, &seen, seed, &folder.join("dqn.safetensors"))
}
