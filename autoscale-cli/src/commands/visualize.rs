//! `autoscale visualize`: one episode replayed on a dashboard, in the terminal or into a file.

use crate::args::visualize::VisualizeArgs;
use crate::args::{DEFAULT_SCENARIO, WorldArgs};
use crate::dashboard::{self, Episode, Format, Heading, Minds, Playback, Totals};
use crate::policy_spec::{Model, PolicySpec};
use crate::progress;
use crate::settings;
use anyhow::{Context, Result, bail};
use autoscale_core::seed::{Branch, Seed};
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::Scenario;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn run(args: &VisualizeArgs) -> Result<()> {
    let file = destination(args)?;
    let shown = match &args.policy {
        None => PolicySpec::Model(args.model.clone()),
        Some(spec) => spec.clone(),
    };
    let model = opened(&shown)?;
    let scenario = settings::on_engine(world(args, model.as_ref())?, Some(args.engine))?;
    let stage = Stage::new(args, &scenario);
    let run = model.as_ref().map_or_else(String::new, |model| format!(", model of run {}", model.run));
    let policy = stage.play(&shown, model.as_ref(), "--policy")?;
    let mut baseline = None;
    if let Some(spec) = &args.baseline {
        let mut episode = stage.play(spec, opened(spec)?.as_ref(), "--baseline")?;
        if episode.policy == policy.policy {
            episode.policy.push_str(" (baseline)");
        }
        baseline = Some(episode);
    }
    let heading = Heading {
        scenario: stage.scenario.name().to_owned(),
        episode: format!("validation episode {} of seed {}{run}", args.episode, args.seed),
    };
    let playback = Playback::new(heading, policy, baseline, args.speed);
    let Some((path, format)) = file else { return dashboard::show(playback) };
    let frames = dashboard::write(&path, format, &playback, args.size)?;
    print(args, &path, frames, &playback)
}

/// Where the picture goes, if not to the terminal; what cannot be is refused before the episode is simulated.
fn destination(args: &VisualizeArgs) -> Result<Option<(PathBuf, Format)>> {
    let Some(path) = &args.out else {
        if args.output.json {
            bail!("--json: the terminal shows the dashboard; write it with --out FILE.png or FILE.gif");
        }
        if !std::io::stdout().is_terminal() {
            bail!("standard output is not a terminal; write a picture with --out FILE.png or FILE.gif");
        }
        return Ok(None);
    };
    let format = Format::of(path)?;
    if path.exists() && !args.force {
        bail!("--out: {}: is there already; choose another, or replace it with --force", path.display());
    }
    Ok(Some((path.clone(), format)))
}

/// The model that a policy is, if it is one.
fn opened(spec: &PolicySpec) -> Result<Option<Model>> {
    match spec {
        PolicySpec::Model(run) => Model::open(run).map(Some),
        _ => Ok(None),
    }
}

/// The world that was asked for, or the model's own.
fn world(args: &VisualizeArgs, model: Option<&Model>) -> Result<Scenario> {
    let named = |scenario: &str| {
        settings::world(&WorldArgs { scenario: scenario.to_owned(), load: args.load.clone() })
    };
    match (&args.scenario, model) {
        (Some(scenario), _) => named(scenario),
        (None, Some(model)) => model.settings.world_under(&args.load),
        (None, None) => named(DEFAULT_SCENARIO),
    }
}

/// The episode that all policies play.
struct Stage<'a> {
    args: &'a VisualizeArgs,
    scenario: Arc<Scenario>,
    length: Duration,
    seed: Seed,
}

impl<'a> Stage<'a> {
    fn new(args: &'a VisualizeArgs, scenario: &Scenario) -> Self {
        let scenario = Arc::new(scenario.on(Branch::Validate));
        let length =
            args.hours.map_or(scenario.evaluation_episode(), |h| Duration::from_secs_f64(h * 3600.0));
        let seed = Seed::root(args.seed).episode(Branch::Validate, args.episode);
        Self { args, scenario, length, seed }
    }

    fn play(&self, spec: &PolicySpec, model: Option<&Model>, flag: &'static str) -> Result<Episode> {
        let (name, mind) = if let Some(model) = model {
            let (policy, checkpoint) = (model.policy(&self.scenario)?, &model.checkpoint);
            (checkpoint.manifest.algorithm.clone(), Minds::open(policy, checkpoint))
        } else {
            let make = spec.prepare(&self.scenario, self.length).context(flag)?;
            (short(spec), Minds::Closed(make(self.seed)))
        };
        let mut world = Simulator::new(Arc::clone(&self.scenario), self.length)?;
        let bar = progress::bar(self.length.as_secs(), "simulate", self.args.output);
        let tell = |time: Duration| bar.set_position(time.as_secs());
        let episode = dashboard::play(name, mind, &mut world, self.seed, &self.scenario.weights(), &tell);
        bar.finish_and_clear();
        Ok(episode)
    }
}

/// A name that fits into a legend: of a file only its own name.
fn short(spec: &PolicySpec) -> String {
    let text = spec.to_string();
    let file = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    match text.split_once(':') {
        Some((rule, path)) => format!("{rule}:{}", file(path).unwrap_or_default()),
        None => text,
    }
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(args: &VisualizeArgs, path: &Path, frames: u32, playback: &Playback) -> Result<()> {
    let end = |episode: &Episode| episode.moments.last().map_or_else(Totals::default, |moment| moment.totals);
    if args.output.json {
        let episodes = std::iter::once(&playback.policy).chain(&playback.baseline);
        let policies: Vec<_> =
            episodes.map(|e| serde_json::json!({ "policy": e.policy, "totals": end(e) })).collect();
        let report = serde_json::json!({
            "file": path, "frames": frames, "scenario": playback.heading.scenario, "policies": policies,
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if !args.output.quiet {
        eprintln!("{} is written; frames: {frames}", path.display());
    }
    Ok(())
}
