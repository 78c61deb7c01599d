//! `autoscale train`.

use crate::arena;
use crate::args::{OutputArgs, TrainArgs};
use crate::plot;
use crate::progress;
use crate::report::{self, SummaryWriter};
use crate::run_folder::{MODEL, Replace, RunFolder, STATE, SUMMARY, host, now};
use crate::settings::Settings;
use anyhow::{Context, Result};
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::{Checkpoint, CheckpointInfo};
use autoscale_agents::encoded::EncodedTask;
use autoscale_agents::features::feature_names;
use autoscale_agents::ppo::{Ppo, PpoShape};
use autoscale_agents::trainer::{EpisodeSummary, Stop, TrainObserver, train};
use autoscale_core::agent::UpdateStats;
use autoscale_core::environment::Environment;
use autoscale_core::record::{EpisodeRecord, RUN_MANIFEST_VERSION, RunManifest};
use autoscale_core::seed::Branch;
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::{Engine, Scenario};
use indicatif::ProgressBar;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const COMMIT: &str = env!("AUTOSCALE_COMMIT");

/// Snapshots of training among which, and its start, the model is chosen.
const CANDIDATES: u64 = 10;

type SimTask = EncodedTask<Simulator>;

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let (folder, settings, state) = if let Some(name) = &args.resume {
        resume(&name.display().to_string())?
    } else {
        let mut settings = Settings::from_args(args)?;
        if args.dry_run {
            return dry_run(&settings);
        }
        (start(args, &mut settings)?, settings, None)
    };
    let scenario = settings.world()?;
    let Some(model) = learn(&folder, &settings, &scenario, state.as_ref(), args.output)? else {
        if !args.output.quiet {
            eprintln!(
                "stopped; all is saved. Go on with:\n  autoscale train --resume {}",
                folder.path().display()
            );
        }
        return Ok(());
    };
    plot::rewards(folder.path(), &report::returns(&folder.file(SUMMARY))?)?;
    if !args.output.quiet {
        eprintln!(
            "trained; of the {} candidates the policy after {} episodes did best on validation episodes",
            CANDIDATES + 1,
            model.manifest.episodes_done
        );
    }
    let comparison =
        arena::run(&scenario, &model, &settings, settings.seed, settings.eval_seeds, args.output)?;
    comparison.write(folder.path())?;
    comparison.print(args.output)?;
    if !args.output.quiet {
        eprintln!("everything is in {}", folder.path().display());
    }
    Ok(())
}

/// Opens the folder of a new run, and finds its base rule.
fn start(args: &TrainArgs, settings: &mut Settings) -> Result<RunFolder> {
    let scenario = settings.world()?;
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    let label = format!("{}-{}", settings.algorithm, scenario.name());
    let folder = RunFolder::create(args.out.as_deref(), &label, replace)?;
    settings.base = arena::tuned_hpa(&scenario, settings.seed, args.output)?;
    folder.write_manifest(&RunManifest {
        version: RUN_MANIFEST_VERSION,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        commit: COMMIT.to_owned(),
        host: host(),
        started: now(),
        seed: settings.seed,
        config: &*settings,
    })?;
    folder.point_latest()?;
    Ok(folder)
}

/// Opens a run to go on with, and drops from its summary what its state does not hold.
fn resume(name: &str) -> Result<(RunFolder, Settings, Option<Checkpoint>)> {
    let folder = RunFolder::open(name)?;
    let settings: Settings = folder.manifest()?.config;
    let path = folder.file(STATE);
    let state = if path.exists() { Some(Checkpoint::load(&path)?) } else { None };
    if folder.file(SUMMARY).exists() {
        let done = state.as_ref().map_or(0, |s| s.manifest.episodes_done);
        report::keep_episodes(&folder.file(SUMMARY), done)?;
    }
    Ok((folder, settings, state))
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn dry_run(settings: &Settings) -> Result<()> {
    let scenario = settings.world()?;
    println!("{}", serde_json::to_string_pretty(settings)?);
    println!(
        "# base: the default HPA; the run will tune its down-scale window and target on training episodes"
    );
    // Measured on one core of a shared 2-core machine: 10 million requests a second and 0.2 ms a learner's step.
    let steps = scenario.training_episode().as_secs_f64() / scenario.control_interval().as_secs_f64();
    let per_hour = scenario.mean_load().per_second() * 3600.0 / 6e6;
    let simulated = match scenario.config().engine {
        Engine::Request => per_hour * scenario.training_episode().as_secs_f64() / 3600.0 / 2.0,
        Engine::Fluid => steps * 1e-5,
    };
    let train = settings.episodes as f64 * (steps * 2e-4 + simulated);
    let hours = scenario.evaluation_episode().as_secs_f64() / 3600.0;
    let validate = (CANDIDATES + 1) as f64 * settings.validation_seeds as f64 * per_hour / 2.0
        * scenario.training_episode().as_secs_f64()
        / 3600.0;
    // Four policies, and a search among 13 constants and 10 HPAs on 30 training episodes.
    let search = 23.0 * 30.0 * scenario.training_episode().as_secs_f64() / 3600.0;
    let compare = (settings.eval_seeds as f64 * 4.0 * hours + search) * per_hour / 2.0;
    println!("# about {:.0} s of training and {compare:.0} s of comparison on two cores", train + validate);
    Ok(())
}

/// Trains up to the configured number of episodes and returns the best candidate; `None` when stopped before.
fn learn(
    folder: &RunFolder,
    settings: &Settings,
    scenario: &Scenario,
    state: Option<&Checkpoint>,
    output: OutputArgs,
) -> Result<Option<Checkpoint>> {
    let steps = scenario.training_episode().as_secs() / scenario.control_interval().as_secs();
    let shape = PpoShape {
        features: feature_names().len(),
        initial_logits: settings.action_space.initial_logits(),
        total_steps: settings.episodes * steps,
    };
    let backend = Backend::parse(&settings.backend)?;
    let (config, seed) = (settings.ppo.clone(), settings.seed.child("learner"));
    let done = state.map_or(0, |s| s.manifest.episodes_done);
    let mut learner = match state {
        None => Ppo::new(config, shape, seed, backend)?,
        Some(state) => Ppo::resume(config, shape, seed, backend, state)?,
    };
    let train_world = Arc::new(scenario.on(Branch::Train));
    let tasks = (0..settings.ppo.num_envs)
        .map(|_| {
            Ok(EncodedTask::new(
                Simulator::new(Arc::clone(&train_world), scenario.training_episode())?,
                settings.base_policy()?,
                settings.action_space.clone(),
                scenario.weights(),
                scenario.control_interval(),
                settings.reward_scale,
            ))
        })
        .collect::<Result<Vec<SimTask>>>()?;

    let mut watch = Watch {
        folder,
        settings,
        scenario: Arc::new(scenario.on(Branch::Validate)),
        best: best_so_far(folder, state)?,
        bar: progress::bar(settings.episodes, "train", output),
        summary: SummaryWriter::open(&folder.file(SUMMARY), scenario.weights())?,
        stats: UpdateStats::new(),
        done,
        judged: done,
        stop: stop_on_interrupt()?,
        error: None,
    };
    watch.bar.set_position(done);
    if state.is_none() {
        // The start is a candidate too: where learning does not help, the base rule stays.
        watch.judge(learner.checkpoint(watch.info())?)?;
    }
    let seeds = |k| settings.seed.episode(Branch::Train, k);
    let report = train(&mut learner, tasks, seeds, done..settings.episodes, &mut watch)?;
    watch.bar.finish_and_clear();
    if let Some(error) = watch.error.take() {
        return Err(error);
    }
    if report.stopped {
        watch.save(&learner)?;
        return Ok(None);
    }
    watch.save(&learner)?;
    watch.stop.store(true, Ordering::Relaxed);
    Ok(Some(Checkpoint::load(&folder.file(MODEL))?))
}

/// The validation return of the best candidate of a run that goes on.
fn best_so_far(folder: &RunFolder, state: Option<&Checkpoint>) -> Result<Option<f64>> {
    let path = folder.file(MODEL);
    if state.is_none() || !path.exists() {
        return Ok(None);
    }
    Ok(Checkpoint::load(&path)?.manifest.validation_return)
}

/// A flag that Ctrl-C raises; training then stops at the next step. Where the flag is up already, by an
/// earlier Ctrl-C or because training is over and saved, Ctrl-C ends the program.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let interrupted = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(interrupted).context("Ctrl-C cannot be handled")?;
    Ok(flag)
}

/// Looks on during training: rows, progress, saved states.
struct Watch<'a> {
    folder: &'a RunFolder,
    settings: &'a Settings,
    /// Where candidates are judged.
    scenario: Arc<Scenario>,
    /// Validation return of the model in the folder.
    best: Option<f64>,
    bar: ProgressBar,
    summary: SummaryWriter,
    stats: UpdateStats,
    /// Episodes completed and written down.
    done: u64,
    /// How many of them the last candidate had.
    judged: u64,
    stop: Arc<AtomicBool>,
    error: Option<anyhow::Error>,
}

impl Watch<'_> {
    fn info(&self) -> CheckpointInfo {
        CheckpointInfo {
            scenario: self.scenario.name().to_owned(),
            interval: self.scenario.control_interval(),
            action_space: self.settings.action_space.clone(),
            seed: self.settings.seed,
            commit: COMMIT.to_owned(),
            episodes_done: self.done,
        }
    }

    /// Saves the state of training. A candidate that is due is judged first, so that a state never lacks
    /// one.
    fn save(&mut self, learner: &Ppo) -> Result<()> {
        let checkpoint = learner.checkpoint(self.info())?;
        let tenths = |episodes: u64| episodes * CANDIDATES / self.settings.episodes;
        if tenths(self.done) > tenths(self.judged) {
            self.judge(checkpoint.clone())?;
        }
        Ok(checkpoint.save(&self.folder.file(STATE))?)
    }

    /// Makes a candidate the run's model if it does better on validation episodes than all before.
    fn judge(&mut self, candidate: Checkpoint) -> Result<()> {
        self.judged = self.done;
        let earned = arena::validation_return(&self.scenario, &candidate, self.settings)?;
        if self.best.is_none_or(|best| earned > best) {
            self.best = Some(earned);
            let mut model = candidate.without_training_state();
            model.manifest.validation_return = Some(earned);
            model.save(&self.folder.file(MODEL))?;
        }
        Ok(())
    }
}

impl TrainObserver<SimTask, Ppo> for Watch<'_> {
    type Detail = EpisodeRecord;

    fn detail(&mut self, task: &SimTask) -> EpisodeRecord {
        task.environment().record().clone()
    }

    fn episode(&mut self, summary: &EpisodeSummary, record: EpisodeRecord) {
        match self.summary.add(summary, &record, &self.stats) {
            Ok(earned) => {
                let figure = |name| self.stats.get(name).copied().unwrap_or(f64::NAN);
                let speed = summary.steps as f64 * self.bar.per_sec();
                self.bar.set_message(format!(
                    "return {earned:.2} policy loss {:+.3} value loss {:.3} {speed:.0} steps/s",
                    figure("losses/policy_loss"),
                    figure("losses/value_loss"),
                ));
            }
            Err(error) => self.error = Some(error),
        }
        self.done = summary.episode + 1;
        self.bar.set_position(self.done);
    }

    fn update(&mut self, stats: &UpdateStats, _: u64, learner: &Ppo) {
        self.stats.clone_from(stats);
        if let Err(error) = self.save(learner) {
            self.error = Some(error);
        }
    }

    fn should_stop(&self) -> Stop {
        if self.error.is_some() || self.stop.load(Ordering::Relaxed) { Stop::Now } else { Stop::No }
    }
}
