//! From flags and files to what a run is made of.

use crate::algorithm::AlgorithmConfig;
use crate::args::{BaseRule, Critic, EngineArg, LoadArgs, OutputArgs, Space, TrainArgs, WorldArgs};
use crate::rule::{Rule, RuleKind};
use crate::run_folder::{MODEL, RunFolder};
use anyhow::{Context, Result, bail};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::encoded::FORESEEN_S;
use autoscale_agents::net::Trunk;
use autoscale_core::policy::Policy;
use autoscale_core::record::RunManifest;
use autoscale_core::seed::Seed;
use autoscale_core::units::Utilization;
use autoscale_core::validate::in_range;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::ratio::RatioRule;
use autoscale_sim::arrivals::NoiseConfig;
use autoscale_sim::load::TraceConfig;
use autoscale_sim::scenario::{Scenario, ScenarioConfig};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a residual action multiplies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Base {
    /// The tuned HPA of the run.
    TunedHpa,
    Hpa,
    Predictive(Rule),
    /// At this share of the requests.
    Ratio(f64),
}

impl Base {
    /// What it is, in words.
    pub(crate) const fn words(&self) -> &'static str {
        match self {
            Self::TunedHpa => "the tuned HPA",
            Self::Hpa => "the HPA",
            Self::Predictive(_) => "the forecasting rule",
            Self::Ratio(_) => "the ratio rule",
        }
    }
}

/// Everything that decides what a training run does; the `config` of its manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) algorithm: AlgorithmConfig,
    pub(crate) episodes: u64,
    pub(crate) seed: Seed,
    pub(crate) eval_seeds: u64,
    pub(crate) backend: String,
    pub(crate) action_space: ActionSpace,
    pub(crate) base: Base,
    /// The HPA that does best on training episodes, where it is the base: found when the run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tuned_hpa: Option<HpaConfig>,
    /// Numbers of the future that the critic sees.
    pub(crate) privileged: usize,
    /// Rewards are divided by this for the learner; tables show them undivided.
    pub(crate) reward_scale: f64,
    /// The run that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<PathBuf>,
    /// Episodes between two snapshots that are judged.
    pub(crate) validate_every: u64,
    /// Validation episodes on which the model is chosen.
    pub(crate) validation_seeds: u64,
    /// The validation return at which it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_at: Option<f64>,
    /// The scenario as TOML.
    pub(crate) scenario: String,
}

impl Settings {
    pub(crate) fn from_args(args: &TrainArgs) -> Result<Self> {
        let scenario = on_engine(world(&args.world)?, args.engine)?;
        Backend::parse(&args.backend)?;
        let before: Option<Self> = match &args.from {
            None => None,
            Some(run) => Some(Self::with_model(&RunFolder::open(run)?)?.0),
        };
        let mut algorithm = match &before {
            None => AlgorithmConfig::standard(args.algo),
            Some(before) => before.algorithm.clone(),
        };
        if let Some(envs) = args.envs {
            algorithm = algorithm.with(&[format!("num_envs={envs}")]).context("--envs")?;
        }
        let limits = scenario.limits();
        let settings = Self {
            algorithm: algorithm.with(&args.set)?,
            episodes: args.episodes,
            seed: Seed::root(args.seed),
            eval_seeds: args.eval_seeds,
            backend: args.backend.clone(),
            action_space: match args.action_space {
                Space::Residual => ActionSpace::residual(),
                Space::Delta => ActionSpace::delta(4),
                Space::Target => ActionSpace::utilization(),
                Space::Absolute => ActionSpace::absolute(limits.min(), limits.max()),
            },
            base: match args.base {
                BaseRule::TunedHpa => Base::TunedHpa,
                BaseRule::Hpa => Base::Hpa,
                BaseRule::Predictive => {
                    Base::Predictive(crate::rule::Space::new(RuleKind::Predictive, &scenario).standard())
                }
                BaseRule::Ratio => Base::Ratio(RATIO_TARGET),
            },
            tuned_hpa: None,
            privileged: match args.critic {
                Critic::Blind => 0,
                Critic::Foresight => FORESEEN_S.len(),
            },
            reward_scale: in_range("--reward-scale", args.reward_scale, 1e-9, 1e9)?,
            from: None,
            validate_every: args.validate_every.unwrap_or((args.episodes / CANDIDATES).max(1)),
            validation_seeds: args.validation_seeds,
            stop_at: args.stop_at,
            scenario: scenario.to_toml(),
        };
        settings.check_critic()?;
        let Some(before) = before else { return Ok(settings) };
        let from = args.from.as_ref().map(|run| RunFolder::open(run)).transpose()?;
        Ok(Self {
            from: from.map(|folder| std::path::absolute(folder.path())).transpose()?,
            action_space: before.action_space,
            base: before.base,
            tuned_hpa: before.tuned_hpa,
            privileged: before.privileged,
            reward_scale: before.reward_scale,
            ..settings
        })
    }

    /// What the run in a folder is made of.
    pub(crate) fn of_run(folder: &RunFolder) -> Result<Self> {
        let manifest: RunManifest<serde_json::Value> = folder.manifest()?;
        if manifest.config.get("algorithm").is_none() {
            let (path, command) = (folder.path().display(), manifest.command);
            bail!("{path}: expected a run of `autoscale train`, but this is what `{command}` left");
        }
        Ok(folder.manifest()?.config)
    }

    /// The run in a folder with its model.
    pub(crate) fn with_model(folder: &RunFolder) -> Result<(Self, Checkpoint)> {
        let (settings, model) = (Self::of_run(folder)?, folder.file(MODEL));
        if !model.exists() {
            let path = folder.path().display();
            bail!("{path}: has no model yet; `autoscale train --resume {path}` goes on with it");
        }
        Ok((settings, Checkpoint::load(&model)?))
    }

    /// Whether the algorithm has a critic that may see more than the policy.
    fn check_critic(&self) -> Result<()> {
        if self.privileged > 0 && matches!(self.algorithm, AlgorithmConfig::Dqn(_)) {
            bail!("--critic foresight: dqn has no critic");
        }
        if self.privileged > 0 && self.algorithm.net().trunk == Trunk::Shared {
            bail!("--critic foresight: needs a network of its own, --set net.trunk=separate");
        }
        Ok(())
    }

    /// The world of a run.
    pub(crate) fn world(&self) -> Result<Scenario> {
        Ok(Scenario::from_toml(&self.scenario, "manifest")?)
    }

    /// The world of a run, under the trace if one is given.
    pub(crate) fn world_under(&self, load: &LoadArgs) -> Result<Scenario> {
        under_trace(self.world()?.config().clone(), Path::new(""), load, "manifest")
    }

    /// Whether the tuned HPA was searched for in this world: a run that began with another's policy has that one's.
    pub(crate) fn found_tuned_hpa_in(&self, scenario: &Scenario) -> bool {
        self.from.is_none() && scenario.to_toml() == self.scenario
    }

    /// The rule that the policy was or will be trained over.
    pub(crate) fn base_policy(&self) -> Result<Box<dyn Policy + Send>> {
        Ok(match &self.base {
            Base::TunedHpa => {
                let tuned = self.tuned_hpa.clone().context("tuned_hpa: the run has not found it")?;
                Box::new(Hpa::new(tuned).context("the base rule of the run")?)
            }
            Base::Hpa => Box::new(Hpa::new(HpaConfig::default())?),
            Base::Predictive(rule) => rule.make(&self.world()?).context("the base rule of the run")?,
            Base::Ratio(target) => {
                let interval = self.world()?.control_interval();
                Box::new(RatioRule::new(Utilization::from_fraction(*target), interval))
            }
        })
    }
}

/// Snapshots of training among which, and its start, the model is chosen by default.
const CANDIDATES: u64 = 10;
/// How busy the ratio rule as a base keeps pods.
const RATIO_TARGET: f64 = 0.7;

/// The scenario given on the command line, under its trace if one is given.
pub(crate) fn world(args: &WorldArgs) -> Result<Scenario> {
    let (config, folder) = scenario_config(&args.scenario)?;
    under_trace(config, &folder, &args.load, &args.scenario)
}

/// The scenario `name`, whose paths start at `folder`, under the trace if one is given.
fn under_trace(mut config: ScenarioConfig, folder: &Path, args: &LoadArgs, name: &str) -> Result<Scenario> {
    if let Some(path) = &args.trace {
        let mean = match (args.target_mean_rps, &config.load) {
            (Some(mean), _) => Some(mean),
            (None, Some(load)) => Some(load.mean().per_second()),
            (None, None) => config.trace.as_ref().and_then(|t| t.target_mean_rps),
        };
        let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
        config.trace = Some(TraceConfig {
            target_mean_rps: mean,
            test_every_days: args.test_every_days,
            ..TraceConfig::new(path)
        });
        config.load = None;
        // A trace brings its own.
        config.noise = NoiseConfig::default();
    } else if let Some(trace) = &mut config.trace {
        // The manifest must be understood from any folder.
        trace.path = std::path::absolute(folder.join(&trace.path))
            .with_context(|| trace.path.display().to_string())?;
    }
    Ok(config.check(name, Path::new(""))?)
}

/// The scenario on the engine that was asked for, if one was.
pub(crate) fn on_engine(scenario: Scenario, engine: Option<EngineArg>) -> Result<Scenario> {
    match engine {
        None => Ok(scenario),
        Some(engine) => {
            let name = scenario.name().to_owned();
            scenario.with_engine(engine.into()).with_context(|| format!("--engine: {name}"))
        }
    }
}

/// Says so where a policy is tested on what it was trained on: on a trace that both share, unless its days are split.
pub(crate) fn warn_of_overlap(trained: &Scenario, tested: &Scenario, output: OutputArgs) {
    let (Some(one), Some(other)) = (&trained.config().trace, &tested.config().trace) else { return };
    let split = one.test_every_days.is_some() && one.test_every_days == other.test_every_days;
    if one.path == other.path && !split && !output.quiet {
        eprintln!(
            "warning: {}: test episodes are cut from days that training sees; --test-every-days N keeps some apart",
            one.path.display()
        );
    }
}

/// Says so when an episode is longer than the trace that it is cut from.
pub(crate) fn warn_of_repeats(scenario: &Scenario, length: Duration, output: OutputArgs) {
    let (Some(trace), Some(config)) = (scenario.trace(), &scenario.config().trace) else { return };
    if trace.duration() < length && !output.quiet {
        eprintln!(
            "warning: {}: the trace is {} s long and an episode {} s; at its end it begins anew",
            config.path.display(),
            trace.duration().as_secs(),
            length.as_secs()
        );
    }
}

/// The configuration of a built-in scenario by name, or of a file, with the folder that paths in it start at.
fn scenario_config(name_or_file: &str) -> Result<(ScenarioConfig, PathBuf)> {
    if let Some(scenario) = Scenario::builtin(name_or_file) {
        return Ok((scenario.config().clone(), PathBuf::new()));
    }
    let path = Path::new(name_or_file);
    if !path.exists() {
        let names: Vec<_> = Scenario::builtin_names().collect();
        bail!("{name_or_file}: neither a file nor a built-in scenario; built in are {}", names.join(", "));
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("{}: cannot be read as text", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok((ScenarioConfig::from_toml(&text, name_or_file)?, folder))
}

/// A built-in scenario by name, or a file.
pub(crate) fn scenario(name_or_file: &str) -> Result<Scenario> {
    let (config, folder) = scenario_config(name_or_file)?;
    Ok(config.check(name_or_file, &folder)?)
}

/// Refuses a model that decides at another interval than the scenario's.
pub(crate) fn same_interval(scenario: &Scenario, checkpoint: &Checkpoint) -> Result<()> {
    if scenario.control_interval() != checkpoint.manifest.interval {
        bail!(
            "{}: control_interval_s is {} s, but the model decides every {} s; it must be the same",
            scenario.name(),
            scenario.control_interval().as_secs(),
            checkpoint.manifest.interval.as_secs()
        );
    }
    Ok(())
}
