//! Trainer, determinism, and what a checkpoint keeps.

#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

mod wave;

use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::{Checkpoint, CheckpointError, CheckpointInfo};
use autoscale_agents::dqn::{Dqn, DqnConfig, PriorityConfig};
use autoscale_agents::features::feature_names;
use autoscale_agents::learned::LearnedPolicy;
use autoscale_agents::learner::{Setup, Trainable, Treatment};
use autoscale_agents::net::{NetConfig, Trunk};
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_agents::toy::Flip;
use autoscale_agents::trainer::{
    EpisodeSummary, Progress, Stepping, Stop, TrainObserver, TrainReport, train,
};
use autoscale_core::agent::{ActionMask, GreedyPolicy, Learner, Seen, Task, Transition, UpdateStats};
use autoscale_core::environment::Environment;
use autoscale_core::policy::Policy;
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::{Branch, Seed};
use std::path::Path;
use wave::{INTERVAL, Ratio, Wave, wave_task};

#[derive(Default)]
struct Log(Vec<u64>, Vec<u64>, u64);

impl<L: Learner> TrainObserver<Flip, L> for Log {
    type Detail = u64;
    fn detail(&mut self, task: &Flip) -> u64 {
        task.steps()
    }
    fn episode(&mut self, summary: &EpisodeSummary, steps: u64) {
        assert_eq!(summary.steps, steps);
        assert_eq!(summary.seed, Seed::root(9).nth(summary.episode));
        self.0.push(summary.episode);
        self.1.push(steps);
    }
    fn update(&mut self, _: &UpdateStats, steps: u64, _: &L, _: &mut dyn FnMut() -> Progress) {
        self.2 = steps;
    }
}

fn flip_learner(envs: usize) -> Ppo {
    let config = PpoConfig { num_envs: envs, num_steps: 32, minibatch_size: 32, ..PpoConfig::default() };
    let setup = Setup { features: 2, privileged: 0, initial_logits: vec![0.0; 3], total_steps: 1000 };
    Ppo::new(config, setup, Seed::root(1), Backend::Flex).unwrap()
}

#[test]
fn exactly_as_many_episodes_as_asked_in_seed_order() {
    for (envs, stepping) in [(1, Stepping::Sequential), (3, Stepping::Parallel), (8, Stepping::Sequential)] {
        let mut learner = flip_learner(envs);
        let mut log = Log::default();
        let tasks = (0..envs).map(|_| Flip::default()).collect();
        let seeds = |k| Seed::root(9).nth(k);
        let report = train(&mut learner, tasks, seeds, Progress::fresh(21), stepping, &mut log).unwrap();
        assert_eq!(log.0, (0..21).collect::<Vec<_>>(), "{envs} environments");
        assert_eq!(log.1, (0..21).map(|k| 5 + Seed::root(9).nth(k).number() % 23).collect::<Vec<_>>());
        assert_eq!((report.episodes, report.steps), (21, log.1.iter().sum::<u64>()));
        assert_eq!(log.2, report.steps, "the last, partial rollout is learnt from");
    }
}

fn setup() -> Setup {
    let initial_logits = ActionSpace::residual().initial_logits();
    let privileged = 0;
    Setup { features: feature_names().len(), privileged, initial_logits, total_steps: 640 }
}

fn ppo(net: NetConfig) -> Ppo {
    let treatment = Treatment { normalize_rewards: true, ..Treatment::default() };
    let config = PpoConfig {
        num_envs: 3,
        num_steps: 17,
        minibatch_size: 24,
        sequence_length: 8,
        treatment,
        net,
        ..PpoConfig::default()
    };
    Ppo::new(config, setup(), Seed::root(4), Backend::Flex).unwrap()
}

fn a2c(net: NetConfig) -> A2c {
    let config = A2cConfig { num_envs: 3, num_steps: 5, net, ..A2cConfig::default() };
    A2c::new(config, setup(), Seed::root(4), Backend::Flex).unwrap()
}

fn dqn() -> Dqn {
    let config = DqnConfig {
        num_envs: 3,
        learning_starts: 50,
        buffer_size: 300,
        priorities: Some(PriorityConfig::default()),
        ..DqnConfig::default()
    };
    Dqn::new(config, setup(), Seed::root(4), Backend::Flex).unwrap()
}

fn plain() -> NetConfig {
    NetConfig { hidden: vec![16], trunk: Trunk::Separate, gru: None }
}

fn recurrent() -> NetConfig {
    NetConfig { gru: Some(8), ..plain() }
}

fn info(net: NetConfig, episodes_done: u64) -> CheckpointInfo {
    CheckpointInfo {
        scenario: "wave".into(),
        interval: INTERVAL,
        action_space: ActionSpace::residual(),
        net,
        privileged: 0,
        seed: Seed::root(4),
        commit: "abc".into(),
        episodes_done,
    }
}

/// Saves all that training needs, and is killed at the n-th save.
struct Saver<'a> {
    path: &'a Path,
    net: NetConfig,
    saves: u64,
    kill_at: u64,
    episodes: Vec<u64>,
}

impl<T: Task, L: Trainable> TrainObserver<T, L> for Saver<'_> {
    type Detail = ();
    fn detail(&mut self, _: &T) {}
    fn episode(&mut self, summary: &EpisodeSummary, (): ()) {
        self.episodes.push(summary.episode);
    }
    fn update(&mut self, _: &UpdateStats, _: u64, learner: &L, progress: &mut dyn FnMut() -> Progress) {
        self.saves += 1;
        let checkpoint = Checkpoint::of(learner, info(self.net.clone(), self.episodes.len() as u64));
        checkpoint.with_training_state(learner, progress()).save(self.path).unwrap();
    }
    fn should_stop(&self) -> Stop {
        if self.saves == self.kill_at { Stop::Now } else { Stop::No }
    }
}

fn run<L: Trainable>(
    learner: &mut L,
    progress: Progress,
    stepping: Stepping,
    saver: &mut Saver<'_>,
) -> TrainReport {
    let tasks = (0..3).map(|_| wave_task(&ActionSpace::residual())).collect();
    let seeds = |k| Seed::root(4).episode(Branch::Train, k);
    train(learner, tasks, seeds, progress, stepping, saver).unwrap()
}

/// The bytes of the finished model, of a run that is killed right after the saves `kills`, each counted from the last
/// resumption.
fn trained<L: Trainable>(
    make: impl Fn() -> L,
    (net, episodes): (&NetConfig, u64),
    kills: &[u64],
    stepping: Stepping,
) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (state, model) = (folder.path().join("state"), folder.path().join("model"));
    let mut progress = Progress::fresh(episodes);
    let mut learner = make();
    for &kill_at in kills.iter().chain([&u64::MAX]) {
        let saver = Saver { path: &state, net: net.clone(), saves: 0, kill_at, episodes: Vec::new() };
        let mut saver = saver;
        let report = run(&mut learner, progress.clone(), stepping, &mut saver);
        assert_eq!(report.stopped, kill_at != u64::MAX, "it was long enough to be killed");
        // All that is left of the process is the file.
        learner = make();
        progress = Checkpoint::load(&state).unwrap().resume(&mut learner).unwrap();
    }
    Checkpoint::of(&learner, info(net.clone(), episodes)).save(&model).unwrap();
    std::fs::read(model).unwrap()
}

fn goes_on_exactly<L: Trainable>(make: impl Fn() -> L + Sync, net: &NetConfig, episodes: u64) {
    let net = (net, episodes);
    let unbroken = trained(&make, net, &[], Stepping::Sequential);
    for kills in [&[1][..], &[3], &[5, 1]] {
        let resumed = trained(&make, net, kills, Stepping::Sequential);
        assert!(resumed == unbroken, "killed at {kills:?}, it ends elsewhere");
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let threaded = pool.install(|| trained(&make, net, &[2], Stepping::Parallel));
        assert!(threaded == unbroken, "{threads} threads");
    }
}

#[test]
fn ppo_ends_with_the_same_bytes_when_killed_and_on_any_number_of_threads() {
    goes_on_exactly(|| ppo(plain()), &plain(), 16);
    goes_on_exactly(|| ppo(recurrent()), &recurrent(), 16);
}

#[test]
fn a2c_ends_with_the_same_bytes_when_killed_and_on_any_number_of_threads() {
    goes_on_exactly(|| a2c(plain()), &plain(), 16);
    goes_on_exactly(|| a2c(recurrent()), &recurrent(), 16);
}

/// It reports, and so is saved, every 1,000 steps only.
#[test]
fn dqn_ends_with_the_same_bytes_when_killed_and_on_any_number_of_threads() {
    goes_on_exactly(dqn, &DqnConfig::default().net(), 160);
}

fn saved(learner: &impl Trainable, path: &Path) -> Vec<u8> {
    Checkpoint::of(learner, info(plain(), 16)).save(path).unwrap();
    std::fs::read(path).unwrap()
}

fn after_some_training() -> Ppo {
    let mut learner = ppo(plain());
    let tasks = (0..3).map(|_| wave_task(&ActionSpace::residual())).collect();
    let seeds = |k| Seed::root(4).episode(Branch::Train, k);
    train(&mut learner, tasks, seeds, Progress::fresh(8), Stepping::Sequential, &mut ()).unwrap();
    learner
}

#[test]
fn a_checkpoint_acts_as_the_learner_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let learner = after_some_training();
    saved(&learner, &path);
    let mut policy = LearnedPolicy::new(&Checkpoint::load(&path).unwrap(), Box::new(Ratio)).unwrap();
    let mut world = Wave::new();
    let mut task = wave_task(&ActionSpace::residual());
    let mut actor = learner.snapshot();
    let seed = Seed::root(77);
    world.reset(seed, policy.cadence());
    policy.reset(seed.child("policy"));
    task.reset(seed);
    loop {
        let decision = policy.decide(&world.observe());
        let outcome = world.step(decision).unwrap();
        let step = task.step(actor.act(task.features(), task.valid_actions())).unwrap();
        assert!(task.features().iter().all(|x| x.is_finite() && x.abs() <= 5.0));
        assert_eq!(world.observe().workload, task.environment().observe().workload);
        let priced = RewardWeights::default().price(&outcome.reward).total() / 0.1;
        assert!((priced as f32 - step.reward).abs() < 1e-6);
        if step.end.is_some() {
            break;
        }
    }
}

#[test]
fn a_fresh_residual_policy_follows_its_base_rule() {
    let mut task = wave_task(&ActionSpace::residual());
    for mut actor in [ppo(plain()).snapshot(), dqn().snapshot()] {
        task.reset(Seed::root(1));
        loop {
            let wish = Ratio.decide(&task.environment().observe()).target;
            let current = task.environment().observe().workload.spec;
            let end = task.step(actor.act(task.features(), task.valid_actions())).unwrap().end;
            let expected = task.environment().observe().limits.grant(current, wish).replicas;
            assert_eq!(task.environment().observe().workload.spec, expected);
            if end.is_some() {
                break;
            }
        }
    }
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let learner = ppo(plain());
    let bytes = saved(&learner, &path);
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Checkpoint::load(&path).unwrap_err()
    };
    for cut in [0, 5, 300, bytes.len() - 1] {
        let error = refused(&bytes[..cut]);
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{cut}: {error}");
    }
    // Same length, so that the header still fits.
    let swap = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect("it is in the header");
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        refused(&changed).to_string()
    };
    let message = swap("\\\"features_version\\\":1", "\\\"features_version\\\":7");
    assert!(
        message.contains("feature version 7, this program has 1") && message.contains("abc"),
        "{message}"
    );
    let message = swap("base rule x 0.65", "base rule x 0.66");
    assert!(message.contains("action table"), "{message}");
    let message = swap("\\\"version\\\":2", "\\\"version\\\":9");
    assert!(message.contains("layout version 9"), "{message}");
    let message = swap("\\\"hidden\\\":[16]", "\\\"hidden\\\":[17]");
    assert!(message.contains("policy.hidden.0.weight"), "{message}");

    saved(&learner, &path);
    let acting = Checkpoint::load(&path).unwrap();
    let unfit = |error: CheckpointError| {
        assert!(matches!(error, CheckpointError::Unfit(_)), "{error}");
        error.to_string()
    };
    assert!(unfit(acting.resume(&mut ppo(plain())).unwrap_err()).contains("no training state"));
    let whole = acting.clone().with_training_state(&learner, Progress::fresh(1));
    assert!(whole.resume(&mut ppo(plain())).is_ok());
    assert!(unfit(whole.resume(&mut a2c(plain())).unwrap_err()).contains("algorithm ppo, not a2c"));
    assert!(unfit(whole.resume(&mut ppo(recurrent())).unwrap_err()).contains("policy.gru.input.weight"));
    let gone = dir.path().join("none").join("model.safetensors");
    assert!(matches!(Checkpoint::load(&gone), Err(CheckpointError::Io { .. })));
    assert!(matches!(acting.save(&gone), Err(CheckpointError::Io { .. })));
}

#[test]
fn a_save_that_fails_or_is_cut_short_leaves_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let before = saved(&ppo(plain()), &path);
    // What is written beside it cannot be created, as on a full disk.
    let partial = dir.path().join("model.safetensors.partial");
    std::fs::create_dir(&partial).unwrap();
    let checkpoint = Checkpoint::of(&ppo(plain()), info(plain(), 17));
    assert!(matches!(checkpoint.save(&path), Err(CheckpointError::Io { .. })));
    assert!(std::fs::read(&path).unwrap() == before);
    // A kill in the middle of writing leaves a part beside the whole.
    std::fs::remove_dir(&partial).unwrap();
    std::fs::write(&partial, &before[..before.len() / 3]).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap().manifest.episodes_done, 16);
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap().manifest.episodes_done, 17);
}

fn skips_what_is_not_finite(mut learner: impl Trainable, steps: usize) {
    let before = learner.weights();
    let mut actions = Vec::new();
    let (features, mask) = (vec![0.5; feature_names().len()], ActionMask::all(11));
    let mut skipped = 0.0;
    for _ in 0..steps {
        learner.explore(&Seen { envs: &[0], features: &features, masks: &[mask] }, &mut actions);
        learner.record(Transition {
            env: 0,
            features: &features,
            mask,
            action: actions[0],
            reward: f32::NAN,
            next_features: &features,
            next_mask: mask,
            end: None,
        });
        if let Some(stats) = learner.update() {
            skipped += stats["losses/skipped_minibatches"];
        }
    }
    assert!(skipped > 0.0, "{}", learner.algorithm());
    assert_eq!(learner.counters().skipped, skipped as u64, "{}", learner.algorithm());
    let policy = |arrays: &autoscale_agents::arrays::Arrays| {
        arrays.get::<f32>("policy.output.weight").unwrap().to_vec()
    };
    assert_eq!(policy(&before), policy(&learner.weights()), "{}", learner.algorithm());
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_counted_and_changes_no_weight() {
    skips_what_is_not_finite(ppo(plain()), 51);
    skips_what_is_not_finite(a2c(plain()), 15);
    skips_what_is_not_finite(dqn(), 1000);
}
