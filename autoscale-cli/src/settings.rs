//! From flags and files to what a run is made of.

use crate::args::{Algorithm, EngineArg, Space, TrainArgs, WorldArgs};
use anyhow::{Context, Result, bail};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::ppo::PpoConfig;
use autoscale_core::policy::Policy;
use autoscale_core::seed::Seed;
use autoscale_core::validate::Validate;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::arrivals::NoiseConfig;
use autoscale_sim::load::TraceConfig;
use autoscale_sim::scenario::{Scenario, ScenarioConfig};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that decides what a training run does; the `config` of its manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) algorithm: String,
    pub(crate) episodes: u64,
    pub(crate) seed: Seed,
    pub(crate) eval_seeds: u64,
    pub(crate) backend: String,
    pub(crate) action_space: ActionSpace,
    /// The rule that a residual action multiplies: the HPA, tuned on training episodes when the run begins.
    pub(crate) base: HpaConfig,
    /// Rewards are divided by this for the learner; tables show them undivided.
    pub(crate) reward_scale: f64,
    pub(crate) ppo: PpoConfig,
    /// Validation episodes on which the model is chosen.
    pub(crate) validation_seeds: u64,
    /// The scenario as TOML.
    pub(crate) scenario: String,
}

impl Settings {
    pub(crate) fn from_args(args: &TrainArgs) -> Result<Self> {
        let scenario = on_engine(world(&args.world)?, args.engine)?;
        Backend::parse(&args.backend)?;
        let mut ppo = PpoConfig::default();
        ppo.num_envs = args.envs.unwrap_or(ppo.num_envs);
        Ok(Self {
            algorithm: match args.algo {
                Algorithm::Ppo => "ppo".to_owned(),
            },
            episodes: args.episodes,
            seed: Seed::root(args.seed),
            eval_seeds: args.eval_seeds,
            backend: args.backend.clone(),
            action_space: match args.action_space {
                Space::Residual => ActionSpace::residual(),
                Space::Delta => ActionSpace::delta(4),
            },
            base: HpaConfig::default(),
            reward_scale: 0.1,
            ppo: ppo.validate().context("--envs")?,
            validation_seeds: args.validation_seeds,
            scenario: scenario.to_toml(),
        })
    }

    /// The world of a run.
    pub(crate) fn world(&self) -> Result<Scenario> {
        Ok(Scenario::from_toml(&self.scenario, "manifest")?)
    }

    /// The rule that the policy was or will be trained over.
    pub(crate) fn base_policy(&self) -> Result<Box<dyn Policy + Send>> {
        Ok(Box::new(Hpa::new(self.base.clone()).context("the base rule of the run")?))
    }
}

/// The scenario given on the command line, under its trace if one is given.
pub(crate) fn world(args: &WorldArgs) -> Result<Scenario> {
    let (mut config, folder) = scenario_config(&args.scenario)?;
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
    Ok(config.check(&args.scenario, Path::new(""))?)
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
