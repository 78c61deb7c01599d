//! `autoscale train`.

mod estimate;
mod watch;

use crate::algorithm::AnyLearner;
use crate::arena;
use crate::args::{Log, OutputArgs, TrainArgs};
use crate::interrupt;
use crate::plot;
use crate::report;
use crate::run_folder::{COMPARISON, MODEL, Replace, RunFolder, STATE, SUMMARY, UPDATES};
use crate::settings::{Base, Settings, warn_of_overlap, warn_of_repeats};
use anyhow::{Context, Result, bail};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::encoded::EncodedTask;
use autoscale_agents::features::feature_names;
use autoscale_agents::learner::{Setup, Trainable};
use autoscale_agents::trainer::{Progress, Stepping, train};
use autoscale_core::seed::Branch;
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::Scenario;
use clap::ValueEnum;
use estimate::Estimate;
use std::sync::Arc;
use watch::{COMMIT, Watch};

type SimTask = EncodedTask<Simulator>;

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let (folder, settings, state) = if let Some(name) = &args.resume {
        resume(&name.display().to_string())?
    } else {
        let settings = Settings::from_args(args)?;
        if args.dry_run {
            return dry_run(&settings, args.output);
        }
        (start(args, &settings)?, settings, None)
    };
    let log = args.log.iter().filter_map(ValueEnum::to_possible_value);
    let log: Vec<String> = log.map(|log| format!(" --log {}", log.get_name())).collect();
    interrupt::catch(format!(
        "stopped; go on with:\n  autoscale train --resume {}{}",
        folder.path().display(),
        log.concat()
    ))?;
    let world = settings.world()?;
    warn_of_overlap(&world, &world, args.output);
    warn_of_repeats(&world, world.training_episode().max(world.evaluation_episode()), args.output);
    let reporting = Reporting { log: &args.log, output: args.output };
    match complete(&folder, settings, state.as_ref(), reporting)? {
        Completed::Yes => Ok(()),
        Completed::No => interrupt::leave(),
    }
}

/// What is said and written while a run trains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporting<'a> {
    pub(super) log: &'a [Log],
    pub(super) output: OutputArgs,
}

/// Whether a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    Yes,
    No,
}

/// Does what is left of a run to do: finds the HPA that is its base, trains, compares, and writes all down.
pub(super) fn complete(
    folder: &RunFolder,
    mut settings: Settings,
    state: Option<&Checkpoint>,
    reporting: Reporting<'_>,
) -> Result<Completed> {
    let (scenario, output) = (settings.world()?, reporting.output);
    find_base(folder, &mut settings, &scenario, output)?;
    let settings = &settings;
    let Some(model) = learn(folder, settings, &scenario, state, reporting)? else {
        return Ok(Completed::No);
    };
    // It may have come with the last update, when all is saved, too.
    if interrupt::raised() {
        return Ok(Completed::No);
    }
    plot::rewards(folder.path(), &report::returns(&folder.file(SUMMARY))?)?;
    if !output.quiet {
        eprintln!("{}", chosen(&model, settings));
    }
    let comparison = arena::run(&scenario, &model, settings, settings.seed, settings.eval_seeds, output)?;
    comparison.write(folder.path())?;
    comparison.print(output)?;
    if !output.quiet {
        eprintln!("everything is in {}", folder.path().display());
    }
    Ok(Completed::Yes)
}

/// Which candidate became the model, in words.
fn chosen(model: &Checkpoint, settings: &Settings) -> String {
    let model = &model.manifest;
    if model.counters.steps > 0 {
        let done = model.episodes_done;
        return format!(
            "trained; of all candidates the policy after {done} episodes did best on validation episodes"
        );
    }
    let start = match (&settings.from, &settings.base, &settings.action_space) {
        (Some(from), ..) => format!("the policy of {}", from.display()),
        (None, base, ActionSpace::Residual { .. }) => format!("{} itself", base.words()),
        (None, ..) => "the untrained policy".to_owned(),
    };
    match (settings.stop_at, model.validation_return) {
        (Some(enough), Some(earned)) if earned >= enough => format!(
            "not trained: the start has a return of {earned:.3} an hour on validation episodes, and --stop-at asks for \
             {enough}; the model is the start, {start}"
        ),
        _ => {
            format!("trained; nothing did better on validation episodes than the start: the model is {start}")
        }
    }
}

/// Opens the folder of a new run and writes down what it is made of, so that it can be resumed from now on.
fn start(args: &TrainArgs, settings: &Settings) -> Result<RunFolder> {
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    let label = format!("{}-{}", settings.algorithm.name(), settings.world()?.name());
    let folder = RunFolder::create(args.out.as_deref(), &label, replace)?;
    folder.describe(settings.seed, settings)?;
    folder.point_latest()?;
    Ok(folder)
}

/// Finds the tuned HPA that a run is based on, unless it has one: it was found before, or is that of the run whose policy
/// this one begins with.
fn find_base(
    folder: &RunFolder,
    settings: &mut Settings,
    scenario: &Scenario,
    output: OutputArgs,
) -> Result<()> {
    if settings.base == Base::TunedHpa && settings.tuned_hpa.is_none() {
        settings.tuned_hpa = Some(arena::tuned_hpa(scenario, settings.seed, output)?);
        let mut manifest = folder.manifest::<Settings>()?;
        manifest.config = settings.clone();
        folder.write_manifest(&manifest)?;
    }
    Ok(())
}

/// Opens a run to go on with, and drops from its tables what its state does not hold.
pub(super) fn resume(name: &str) -> Result<(RunFolder, Settings, Option<Checkpoint>)> {
    let folder = RunFolder::open(name)?;
    let settings = Settings::of_run(&folder)?;
    let path = folder.file(STATE);
    let state = if path.exists() { Some(Checkpoint::load(&path)?) } else { None };
    if state.is_none() {
        // A run that was killed early has saved none; one that was compared has.
        if folder.file(COMPARISON).exists() {
            bail!("{name}: the run is finished, but its {STATE} is missing: it cannot be resumed");
        }
        eprintln!("{name}: nothing was saved yet; it begins anew");
    }
    if state.as_ref().is_some_and(|state| state.manifest.commit != COMMIT) {
        eprintln!(
            "warning: {name}: begun by another version of this program; it will not end with the same bytes"
        );
    }
    let (done, steps) =
        state.as_ref().map_or((0, 0), |s| (s.manifest.episodes_done, s.manifest.counters.steps));
    for (name, column, below) in [(SUMMARY, "episode", done), (UPDATES, "global_step", steps + 1)] {
        if folder.file(name).exists() {
            report::keep_rows(&folder.file(name), column, below)?;
        }
    }
    Ok((folder, settings, state))
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn dry_run(settings: &Settings, output: OutputArgs) -> Result<()> {
    let scenario = settings.world()?;
    let mut shown = serde_json::to_value(settings)?;
    if output.json {
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    // It is TOML, of many lines.
    let toml = shown.as_object_mut().and_then(|shown| shown.remove("scenario"));
    println!("{}", serde_json::to_string_pretty(&shown)?);
    println!("# scenario:\n{}", toml.as_ref().and_then(|toml| toml.as_str()).unwrap_or_default());
    if settings.base == Base::TunedHpa {
        println!("# tuned_hpa: the run will find its down-scale window and target on training episodes");
    }
    println!("# {}", Estimate::of(settings, &scenario));
    Ok(())
}

/// Trains up to the configured number of episodes and returns the best candidate; `None` when stopped before.
fn learn(
    folder: &RunFolder,
    settings: &Settings,
    scenario: &Scenario,
    state: Option<&Checkpoint>,
    reporting: Reporting<'_>,
) -> Result<Option<Checkpoint>> {
    let steps = scenario.training_episode().as_secs() / scenario.control_interval().as_secs();
    let setup = Setup {
        features: feature_names().len(),
        privileged: settings.privileged,
        initial_logits: settings.action_space.initial_logits(),
        total_steps: settings.episodes * steps,
    };
    let backend = Backend::parse(&settings.backend)?;
    match settings.algorithm.learner(setup, settings.seed.child("learner"), backend)? {
        AnyLearner::Ppo(learner) => drive(learner, folder, settings, scenario, state, reporting),
        AnyLearner::A2c(learner) => drive(learner, folder, settings, scenario, state, reporting),
        AnyLearner::Dqn(learner) => drive(learner, folder, settings, scenario, state, reporting),
    }
}

fn drive<L: Trainable>(
    mut learner: L,
    folder: &RunFolder,
    settings: &Settings,
    scenario: &Scenario,
    state: Option<&Checkpoint>,
    reporting: Reporting<'_>,
) -> Result<Option<Checkpoint>> {
    let progress = match state {
        Some(state) => state.resume(&mut learner)?,
        None => Progress::fresh(settings.episodes),
    };
    if let (None, Some(from)) = (state, &settings.from) {
        begin_with(&mut learner, from, settings)?;
    }
    let training = Arc::new(scenario.on(Branch::Train));
    // Copied, for it takes long to prepare.
    let world = Simulator::new(Arc::clone(&training), training.training_episode())?;
    let tasks = (0..settings.algorithm.num_envs()).map(|_| task(settings, &training, world.clone()));
    let tasks = tasks.collect::<Result<Vec<SimTask>>>()?;
    let mut watch = Watch::new(folder, settings, scenario, state, reporting)?;
    if state.is_none() {
        watch.begin(&learner)?;
    }
    let seeds = |k| settings.seed.episode(Branch::Train, k);
    let report = train(&mut learner, tasks, seeds, progress, Stepping::Parallel, &mut watch)?;
    if !watch.finish(report.stopped)? {
        return Ok(None);
    }
    Ok(Some(Checkpoint::load(&folder.file(MODEL))?))
}

/// A world of the scenario for the learner.
fn task(settings: &Settings, scenario: &Scenario, world: Simulator) -> Result<SimTask> {
    let task = EncodedTask::new(
        world,
        settings.base_policy()?,
        settings.action_space.clone(),
        scenario.weights(),
        scenario.control_interval(),
        settings.reward_scale,
    );
    Ok(if settings.privileged > 0 { task.with_foresight() } else { task })
}

/// Takes over the policy of another run.
fn begin_with(learner: &mut impl Trainable, from: &std::path::Path, settings: &Settings) -> Result<()> {
    let before = Checkpoint::load(&from.join(MODEL))?;
    let ours = &settings.action_space;
    if &before.manifest.action_space != ours || before.manifest.algorithm != learner.algorithm() {
        bail!("{}: its policy has other actions or another algorithm", from.display());
    }
    let unfit = |reason: String| anyhow::anyhow!("{}: {reason}", from.display());
    learner.load_weights(&before.arrays).map_err(unfit).context("--from")
}
