//! From flags and files to what a run is made of.

use crate::args::{Algorithm, Space, TrainArgs, WorldArgs};
use anyhow::{Context, Result, bail};
use autoscale_agents::actions::ActionSpace;
use autoscale_agents::backend::Backend;
use autoscale_agents::ppo::PpoConfig;
use autoscale_core::policy::Policy;
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::Validate;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::trace::Trace;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// The rule that a residual action multiplies: the HPA as it comes.
    pub(crate) base: HpaConfig,
    /// Rewards are divided by this for the learner; tables show them undivided.
    pub(crate) reward_scale: f64,
    pub(crate) ppo: PpoConfig,
    /// The scenario as TOML.
    pub(crate) scenario: String,
    /// A trace in place of the scenario's load.
    pub(crate) trace: Option<TraceSettings>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceSettings {
    pub(crate) path: PathBuf,
    /// Mean that it is scaled to.
    pub(crate) mean_rps: f64,
}

impl Settings {
    pub(crate) fn from_args(args: &TrainArgs) -> Result<Self> {
        let (scenario, trace) = world(&args.world)?;
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
            scenario: scenario.to_toml(),
            trace,
        })
    }

    /// The world of a run: its scenario under its trace, if it has one.
    pub(crate) fn world(&self) -> Result<Arc<Scenario>> {
        let scenario = Scenario::from_toml(&self.scenario, "manifest")?;
        with_trace(scenario, self.trace.as_ref()).map(Arc::new)
    }

    /// The rule that the policy was or will be trained over.
    pub(crate) fn base_policy(&self) -> Result<Box<dyn Policy + Send>> {
        Ok(Box::new(Hpa::new(self.base.clone()).context("the base rule of the run")?))
    }
}

/// Reads scenario and trace as given on the command line; the trace is read to find bad ones early.
fn world(args: &WorldArgs) -> Result<(Scenario, Option<TraceSettings>)> {
    let scenario = scenario(&args.scenario)?;
    let trace = match &args.trace {
        None => None,
        Some(path) => {
            let mean = args.target_mean_rps.unwrap_or(scenario.mean_load().per_second());
            RequestRate::new(mean).context("--target-mean-rps")?;
            let path =
                fs::canonicalize(path).with_context(|| format!("{}: cannot be read", path.display()))?;
            Some(TraceSettings { path, mean_rps: mean })
        }
    };
    Ok((scenario, trace))
}

/// Scenario and trace as given on the command line, as one world.
pub(crate) fn world_of(args: &WorldArgs) -> Result<Arc<Scenario>> {
    let (scenario, trace) = world(args)?;
    with_trace(scenario, trace.as_ref()).map(Arc::new)
}

fn with_trace(scenario: Scenario, trace: Option<&TraceSettings>) -> Result<Scenario> {
    let Some(settings) = trace else { return Ok(scenario) };
    let trace = Trace::read(&settings.path)?;
    let scaled = trace.scaled_to_mean(RequestRate::new(settings.mean_rps)?);
    Ok(scenario.with_trace(scaled.with_context(|| settings.path.display().to_string())?))
}

/// A built-in scenario by name, or a file.
pub(crate) fn scenario(name_or_file: &str) -> Result<Scenario> {
    if let Some(scenario) = Scenario::builtin(name_or_file) {
        return Ok(scenario);
    }
    let path = Path::new(name_or_file);
    if !path.exists() {
        let names: Vec<_> = Scenario::builtin_names().collect();
        bail!("{name_or_file}: neither a file nor a built-in scenario; built in are {}", names.join(", "));
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("{}: cannot be read as text", path.display()))?;
    Ok(Scenario::from_toml(&text, name_or_file)?)
}
