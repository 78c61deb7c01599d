//! Trainer, truncation, determinism, and what a checkpoint keeps.

#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::{Checkpoint, CheckpointError, CheckpointInfo};
use autoscale_agents::encoded::EncodedTask;
use autoscale_agents::features::feature_names;
use autoscale_agents::learned::LearnedPolicy;
use autoscale_agents::ppo::{Ppo, PpoConfig, PpoShape};
use autoscale_agents::trainer::{EpisodeSummary, TrainObserver, TrainReport, train};
use autoscale_core::agent::{
    ActionIndex, ActionMask, GreedyPolicy, Learner, Task, TaskStep, Transition, UpdateStats,
};
use autoscale_core::environment::{Environment, EpisodeEnd, EpisodeOver, Outcome};
use autoscale_core::limits::ScalingLimits;
use autoscale_core::measurement::{Measurement, ReplicaCounts};
use autoscale_core::policy::{
    Cadence, Decision, LastWrite, Observation, Policy, Reason, Target, WorkloadStatus,
};
use autoscale_core::record::{EPISODE_RECORD_VERSION, EpisodeRecord};
use autoscale_core::reward::{RewardTerms, RewardWeights};
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Replicas, RequestRate, TimeOfWeek, Timestamp, Utilization};
use std::time::Duration;

/// Two states in turn, rewards 1 and 0 for ever; episodes are cut off by the clock. Action 0 is always
/// allowed, action 1 in the second state, action 2 never.
struct Flip {
    state: usize,
    steps: u64,
    length: u64,
    over: bool,
}

impl Flip {
    fn new() -> Self {
        Self { state: 0, steps: 0, length: 1, over: true }
    }
}

const SHOWN: [[f32; 2]; 2] = [[1.0, 0.0], [0.0, 1.0]];

impl Task for Flip {
    fn feature_count(&self) -> usize {
        2
    }
    fn action_count(&self) -> usize {
        3
    }
    fn reset(&mut self, seed: Seed) {
        // Unequal lengths, so that environments finish out of order.
        *self = Self { state: 0, steps: 0, length: 5 + seed.number() % 23, over: false };
    }
    fn features(&self) -> &[f32] {
        &SHOWN[self.state]
    }
    fn valid_actions(&self) -> ActionMask {
        ActionMask::from_fn(3, |k| k <= self.state)
    }
    fn step(&mut self, action: ActionIndex) -> Result<TaskStep, EpisodeOver> {
        assert!(self.valid_actions().allows(usize::from(action.0)), "only allowed actions are taken");
        if self.over {
            return Err(EpisodeOver);
        }
        let reward = if self.state == 0 { 1.0 } else { 0.0 };
        self.state = 1 - self.state;
        self.steps += 1;
        self.over = self.steps == self.length;
        Ok(TaskStep { reward, end: self.over.then_some(EpisodeEnd::Truncated) })
    }
}

fn flip_learner(total_steps: u64) -> Ppo {
    let config = PpoConfig {
        num_envs: 4,
        num_steps: 32,
        minibatch_size: 32,
        learning_rate: 3e-3,
        gamma: 0.9,
        target_kl: None,
        ..PpoConfig::default()
    };
    let shape = PpoShape { features: 2, initial_logits: vec![0.0; 3], total_steps };
    Ppo::new(config, shape, Seed::root(1), Backend::Flex).unwrap()
}

#[test]
fn a_never_ending_world_is_valued_through_truncation() {
    let mut learner = flip_learner(12_000);
    let tasks = (0..4).map(|_| Flip::new()).collect();
    train(&mut learner, tasks, |k| Seed::root(9).nth(k), 0..700, &mut ()).unwrap();
    // V(a) = 1 + γ V(b) and V(b) = γ V(a); taking truncation for the end would give about 3.5.
    let (a, b) = (1.0 / (1.0 - 0.81), 0.9 / (1.0 - 0.81));
    let (learnt_a, learnt_b) = (learner.value(&SHOWN[0]), learner.value(&SHOWN[1]));
    assert!((learnt_a - a).abs() < 0.25 && (learnt_b - b).abs() < 0.25, "{learnt_a} {learnt_b}");
}

#[derive(Default)]
struct Log(Vec<u64>, Vec<u64>, u64);

impl<L: Learner> TrainObserver<Flip, L> for Log {
    type Detail = u64;
    fn detail(&mut self, task: &Flip) -> u64 {
        task.steps
    }
    fn episode(&mut self, summary: &EpisodeSummary, steps: u64) {
        assert_eq!(summary.steps, steps);
        assert_eq!(summary.seed, Seed::root(9).nth(summary.episode));
        self.0.push(summary.episode);
        self.1.push(steps);
    }
    fn update(&mut self, _: &UpdateStats, steps: u64, _: &L) {
        self.2 = steps;
    }
}

#[test]
fn exactly_as_many_episodes_as_asked_in_seed_order() {
    for envs in [1, 3, 8] {
        let mut learner = flip_learner(1000);
        let mut log = Log::default();
        let tasks = (0..envs).map(|_| Flip::new()).collect();
        let report = train(&mut learner, tasks, |k| Seed::root(9).nth(k), 5..26, &mut log).unwrap();
        assert_eq!(log.0, (5..26).collect::<Vec<_>>(), "{envs} environments");
        assert_eq!(log.1, (5..26).map(|k| 5 + Seed::root(9).nth(k).number() % 23).collect::<Vec<_>>());
        assert_eq!(report.steps, log.1.iter().sum::<u64>());
        assert_eq!(log.2, report.steps, "the last, partial rollout is learnt from");
    }
}

/// One pod serves 10 requests per second at full use; the load is a slow wave.
struct Wave {
    record: EpisodeRecord,
    limits: ScalingLimits,
    history: Vec<Measurement>,
    spec: Replicas,
    now: Timestamp,
    phase: f64,
}

const INTERVAL: Duration = Duration::from_secs(15);

impl Wave {
    fn new() -> Self {
        let (min, max) = (Replicas::ONE, Replicas::new(40));
        let record = EpisodeRecord {
            version: EPISODE_RECORD_VERSION,
            seed: Seed::root(0),
            interval: INTERVAL,
            slo: Duration::from_millis(500),
            pod_capacity: RequestRate::new(10.0).unwrap(),
            replica_range: (min, max),
            initial_replicas: Replicas::new(5),
            intervals: Vec::new(),
            scale_events: Vec::new(),
            totals: RewardTerms::default(),
        };
        let limits = ScalingLimits::between(min, max).unwrap();
        Self { record, limits, history: Vec::new(), spec: min, now: Timestamp::ZERO, phase: 0.0 }
    }

    fn load(&self) -> f64 {
        100.0 + 80.0 * (self.phase + self.history.len() as f64 / 7.0).sin()
    }
}

impl Environment for Wave {
    fn reset(&mut self, seed: Seed, _: Cadence) {
        let phase = (seed.number() % 628) as f64 / 100.0;
        *self = Self { spec: Replicas::new(5), phase, ..Self::new() };
        self.record.seed = seed;
    }
    fn observe(&self) -> Observation<'_> {
        Observation {
            now: self.now,
            time_of_week: TimeOfWeek::MONDAY,
            workload: WorkloadStatus { spec: self.spec, status: self.spec, last_write: LastWrite::Never },
            pods: &[],
            series: &[],
            history: &self.history,
            limits: &self.limits,
        }
    }
    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        if self.history.len() == 40 {
            return Err(EpisodeOver);
        }
        let granted = self.limits.grant(self.spec, decision.target);
        let churn = granted.replicas.abs_diff(self.spec);
        self.spec = granted.replicas;
        self.now += INTERVAL;
        let (load, capacity) = (self.load(), 10.0 * f64::from(self.spec.get()));
        let arrivals = (load * 15.0) as u64;
        let violations = ((load - capacity).max(0.0) * 15.0) as u64;
        self.history.push(Measurement {
            at: self.now,
            age: Duration::ZERO,
            arrival_rate: RequestRate::new(load).unwrap(),
            cpu_utilization: Some(Utilization::from_fraction(load / capacity)),
            memory_bytes: 0,
            in_flight: 0.0,
            queued: 0.0,
            latency: None,
            error_rate: RequestRate::from_count(violations, INTERVAL),
            timeout_rate: RequestRate::ZERO,
            replicas: ReplicaCounts { desired: self.spec, ready: self.spec, ..ReplicaCounts::default() },
        });
        let pod_hours = f64::from(self.spec.get()) / 240.0;
        let end = (self.history.len() == 40).then_some(EpisodeEnd::Truncated);
        Ok(Outcome { granted, reward: RewardTerms { pod_hours, violations, arrivals, churn }, end })
    }
    fn record(&self) -> &EpisodeRecord {
        &self.record
    }
}

/// Asks for the pods that the last measured load keeps 80 % busy.
struct Ratio;

impl Policy for Ratio {
    fn cadence(&self) -> Cadence {
        Cadence::every(INTERVAL)
    }
    fn reset(&mut self, _: Seed) {}
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let reason = Reason::rule("ratio");
        observation.history.last().map_or(Decision::hold(reason), |m| {
            Decision::scale_to(Replicas::from_ceil(m.arrival_rate.per_second() / 8.0), reason)
        })
    }
}

fn wave_task(space: &ActionSpace) -> EncodedTask<Wave> {
    EncodedTask::new(Wave::new(), Box::new(Ratio), space.clone(), RewardWeights::default(), INTERVAL, 0.1)
}

fn wave_config() -> (PpoConfig, PpoShape) {
    let space = ActionSpace::residual();
    let config = PpoConfig { num_envs: 4, num_steps: 40, minibatch_size: 80, ..PpoConfig::default() };
    let features = feature_names().len();
    (config, PpoShape { features, initial_logits: space.initial_logits(), total_steps: 16 * 40 })
}

fn train_waves(learner: &mut Ppo, episodes: std::ops::Range<u64>) -> TrainReport {
    let tasks = (0..4).map(|_| wave_task(&ActionSpace::residual())).collect();
    train(learner, tasks, |k| Seed::root(4).episode(Branch::Train, k), episodes, &mut ()).unwrap()
}

fn info(episodes_done: u64) -> CheckpointInfo {
    CheckpointInfo {
        scenario: "wave".into(),
        interval: INTERVAL,
        action_space: ActionSpace::residual(),
        seed: Seed::root(4),
        commit: "abc".into(),
        episodes_done,
    }
}

fn fresh() -> Ppo {
    let (config, shape) = wave_config();
    Ppo::new(config, shape, Seed::root(4), Backend::Flex).unwrap()
}

fn saved(learner: &Ppo, path: &std::path::Path) -> Vec<u8> {
    learner.checkpoint(info(16)).unwrap().without_training_state().save(path).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn equal_seeds_give_equal_bytes_on_any_number_of_threads_and_through_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut learner = fresh();
            let report = train_waves(&mut learner, 0..16);
            (saved(&learner, &path), report)
        })
    };
    let (bytes, report) = run(1);
    let (bytes_on_two, report_on_two) = run(2);
    assert_eq!(report, report_on_two);
    assert!(bytes == bytes_on_two, "the checkpoints differ");

    let state = dir.path().join("state.safetensors");
    let mut first = fresh();
    train_waves(&mut first, 0..8);
    first.checkpoint(info(8)).unwrap().save(&state).unwrap();
    let (config, shape) = wave_config();
    let loaded = Checkpoint::load(&state).unwrap();
    assert_eq!(loaded.manifest.episodes_done, 8);
    let mut second = Ppo::resume(config, shape, Seed::root(4), Backend::Flex, &loaded).unwrap();
    train_waves(&mut second, 8..16);
    assert!(saved(&second, &path) == bytes, "a resumed run ends where an unbroken one does");
}

#[test]
fn a_checkpoint_acts_as_the_learner_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut learner = fresh();
    train_waves(&mut learner, 0..8);
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
    let mut actor = fresh().snapshot();
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
    assert_eq!(Target::Hold, ActionSpace::delta(2).target(ActionIndex(2), Replicas::ONE, Target::Hold));
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let learner = fresh();
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
    let message = swap("\\\"version\\\":1", "\\\"version\\\":9");
    assert!(message.contains("layout version 9"), "{message}");

    let (config, shape) = wave_config();
    saved(&learner, &path);
    let acting = Checkpoint::load(&path).unwrap();
    let error = Ppo::resume(config, shape, Seed::root(4), Backend::Flex, &acting).err().unwrap();
    assert!(matches!(error, CheckpointError::NoTrainingState(_)), "{error}");
    let gone = dir.path().join("none").join("model.safetensors");
    assert!(matches!(Checkpoint::load(&gone), Err(CheckpointError::Io { .. })));
    assert!(matches!(acting.save(&gone), Err(CheckpointError::Io { .. })));
}

#[test]
fn a_save_that_fails_or_is_cut_short_leaves_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let before = saved(&fresh(), &path);
    // What is written beside it cannot be created, as on a full disk.
    let partial = dir.path().join("model.safetensors.partial");
    std::fs::create_dir(&partial).unwrap();
    let checkpoint = fresh().checkpoint(info(17)).unwrap();
    assert!(matches!(checkpoint.save(&path), Err(CheckpointError::Io { .. })));
    assert!(std::fs::read(&path).unwrap() == before);
    // A kill in the middle of writing leaves a part beside the whole.
    std::fs::remove_dir(&partial).unwrap();
    std::fs::write(&partial, &before[..before.len() / 3]).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap().manifest.episodes_done, 16);
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap().manifest.episodes_done, 17);
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_counted_and_changes_no_weight() {
    let mut learner = flip_learner(1000);
    let value = learner.value(&SHOWN[0]);
    let mut actions = Vec::new();
    for k in 0..128_u8 {
        let mask = ActionMask::from_fn(3, |k| k < 1);
        learner.explore(&SHOWN[0], &[mask], &mut actions);
        learner.record(Transition {
            env: usize::from(k % 4),
            features: &SHOWN[0],
            mask,
            action: actions[0],
            reward: f32::NAN,
            next_features: &SHOWN[1],
            next_mask: mask,
            end: None,
        });
    }
    let stats = learner.update().expect("the rollout is full");
    assert!(stats["losses/skipped_minibatches"] > 0.0 && stats["losses/minibatches"] == 0.0, "{stats:?}");
    assert!(value.is_finite() && learner.value(&SHOWN[0]).is_finite());
    let checkpoint = learner.checkpoint(info(0)).unwrap();
    assert!(checkpoint.manifest.skipped_minibatches > 0);
}
