//! Scenarios: raw TOML to a checked [`Scenario`]. Only checked ones run.

mod lifecycle;
mod metrics;
mod preset;
mod service;
mod vary;

pub use lifecycle::{FailuresConfig, NodesConfig, StartupConfig, TerminationConfig};
pub use metrics::MetricsConfig;
pub use service::{Discipline, Dispatch, RetriesConfig, ServiceConfig, SlowStartConfig};
pub use vary::Variation;

use crate::arrivals::{LoadConfig, NoiseConfig};
use crate::fluid;
use crate::load::{Load, Superposed, TraceConfig, TraceLoadError, Windows};
use crate::service::Demand;
use crate::trace::Trace;
use autoscale_core::limits::{LimitsConfig, ScalingLimits};
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Milli, RequestRate, TimeOfWeek};
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use vary::Vary;

/// A scenario file that cannot be used.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It is not TOML, lacks a field, has an unknown one, or a value of the wrong type.
    #[error("{origin}: {field}: {message}")]
    Syntax {
        /// The file or the built-in's name.
        origin: String,
        /// Path of the field.
        field: String,
        /// What is wrong there, with line and column.
        message: String,
    },
    /// Its trace cannot be used.
    #[error("{origin}: trace: {error}")]
    Trace {
        /// The file or the built-in's name.
        origin: String,
        /// The trace's file and line, or the field, its value and the range.
        error: TraceLoadError,
    },
    /// A value is out of range.
    #[error("{origin}: {error}")]
    Value {
        /// The file or the built-in's name.
        origin: String,
        /// The field, its value and the range.
        error: ConfigError,
    },
}

/// A scenario as it is written in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioConfig {
    /// Name: lower-case letters, digits and hyphens.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// How requests are simulated.
    #[serde(default)]
    pub engine: Engine,
    /// Lengths of things.
    #[serde(default)]
    pub episode: EpisodeConfig,
    /// The objective.
    #[serde(default)]
    pub slo: SloConfig,
    /// `minReplicas` and `maxReplicas`.
    pub limits: LimitsConfig,
    /// Prices of pods, violations and churn.
    #[serde(default)]
    pub prices: RewardWeights,
    /// What a pod does.
    pub service: ServiceConfig,
    /// How long a pod takes to become ready.
    #[serde(default)]
    pub startup: StartupConfig,
    /// How a pod ends.
    #[serde(default)]
    pub termination: TerminationConfig,
    /// What goes wrong by itself.
    #[serde(default)]
    pub failures: FailuresConfig,
    /// The nodes that pods run on; room for all pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesConfig>,
    /// The metrics pipeline.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// A generated load; either this or `trace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadConfig>,
    /// A recorded load; either this or `load`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceConfig>,
    /// Loads on top of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superpose: Vec<Superposed>,
    /// Over-dispersion on top of all; none by default. A trace may have enough of its own.
    #[serde(default)]
    pub noise: NoiseConfig,
    /// Constants that each episode draws anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<Variation>,
}

/// How requests are simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// One by one: the truth.
    #[default]
    Request,
    /// As probabilities, which is many times faster: see [`crate::fluid`] for what it cannot express.
    Fluid,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Fluid => "fluid",
        })
    }
}

/// Lengths of episodes and of their parts, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpisodeConfig {
    /// A learner decides this often; also the unit of records. 1 to 600.
    pub control_interval_s: u32,
    /// Length of a training episode, a multiple of the control interval.
    pub training_s: u32,
    /// Length of an evaluation episode, a multiple of the control interval.
    pub evaluation_s: u32,
    /// Simulated before an episode at its initial replicas. 0 to 3,600.
    pub warmup_s: u32,
    /// Simulated after an episode without arrivals. 0 to 3,600.
    pub drain_s: u32,
}

impl Default for EpisodeConfig {
    fn default() -> Self {
        Self { control_interval_s: 15, training_s: 3600, evaluation_s: 10_800, warmup_s: 180, drain_s: 30 }
    }
}

/// The service-level objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloConfig {
    /// A request is late when it takes longer end to end, in milliseconds.
    pub latency_ms: f64,
}

impl Default for SloConfig {
    fn default() -> Self {
        Self { latency_ms: 500.0 }
    }
}

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    config: ScenarioConfig,
    limits: ScalingLimits,
    demand: Demand,
    load: Load,
    vary: Option<Vary>,
    /// Where relative paths start.
    folder: Arc<Path>,
    /// Whose part of a split trace episodes come from; all of it when absent.
    branch: Option<Branch>,
}

const BUILTIN: [(&str, &str); 10] = [
    ("match-day", include_str!("../scenarios/match-day.toml")),
    ("constant", include_str!("../scenarios/constant.toml")),
    ("diurnal", include_str!("../scenarios/diurnal.toml")),
    ("step", include_str!("../scenarios/step.toml")),
    ("bursts", include_str!("../scenarios/bursts.toml")),
    ("week", include_str!("../scenarios/week.toml")),
    ("batches", include_str!("../scenarios/batches.toml")),
    ("ramp", include_str!("../scenarios/ramp.toml")),
    ("flash-crowd", include_str!("../scenarios/flash-crowd.toml")),
    ("bursty", include_str!("../scenarios/bursty.toml")),
];

impl ScenarioConfig {
    /// Reads TOML text; `origin` names it in errors.
    ///
    /// # Errors
    /// Names the field, or the line and column of a syntax error.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        let syntax = |field: String, message: String| ScenarioError::Syntax {
            origin: origin.to_owned(),
            field,
            message: message.trim().to_owned(),
        };
        let deserializer =
            toml::Deserializer::parse(text).map_err(|e| syntax("syntax".to_owned(), e.to_string()))?;
        let table: Result<toml::Table, _> = text.parse();
        if let Ok(mut table) = table
            && let Some(preset) = table.remove("preset")
        {
            if !preset.as_str().is_some_and(|name| preset::apply(name, &mut table)) {
                return Err(syntax(
                    "preset".to_owned(),
                    format!("{preset}; expected one of {}", preset::names()),
                ));
            }
            return serde_path_to_error::deserialize(table)
                .map_err(|e| syntax(e.path().to_string(), e.inner().to_string()));
        }
        serde_path_to_error::deserialize(deserializer)
            .map_err(|e| syntax(e.path().to_string(), e.inner().to_string()))
    }

    /// Checks all ranges, and reads the trace if there is one. `origin` names the scenario in errors; a
    /// relative path of the trace starts at `folder`.
    ///
    /// # Errors
    /// Names origin, field, value and allowed range, or file and line of a bad trace.
    pub fn check(self, origin: &str, folder: &Path) -> Result<Scenario, ScenarioError> {
        let value = |error| ScenarioError::Value { origin: origin.to_owned(), error };
        let (limits, demand) = self.check_all(folder).map_err(value)?;
        let located = |e| match e {
            TraceLoadError::Setting(error) => value(error),
            error @ TraceLoadError::File(_) => ScenarioError::Trace { origin: origin.to_owned(), error },
        };
        let load = self.read_load(folder).map_err(located)?;
        let vary = Vary::new(&self, |config| config.check_all(folder).map(|_| ())).map_err(value)?;
        Ok(Scenario { config: self, limits, demand, load, vary, folder: folder.into(), branch: None })
    }

    /// All its loads together.
    fn read_load(&self, folder: &Path) -> Result<Load, TraceLoadError> {
        let window = |length: u32| u64::from(length) + u64::from(self.episode.warmup_s);
        let windows =
            Windows { training: window(self.episode.training_s), test: window(self.episode.evaluation_s) };
        let own = one_load(self.load.as_ref(), self.trace.as_ref(), folder, windows)?;
        if self.superpose.is_empty() {
            return Ok(own);
        }
        let mut loads = vec![(own, 1.0)];
        for (k, other) in self.superpose.iter().enumerate() {
            let within = |e: TraceLoadError| match e {
                TraceLoadError::Setting(e) => e.within(&format!("superpose[{k}]")).into(),
                file @ TraceLoadError::File(_) => file,
            };
            let load =
                one_load(other.load.as_ref(), other.trace.as_ref(), folder, windows).map_err(within)?;
            let weight = in_range("weight", other.weight, 0.0, 1000.0).map_err(|e| within(e.into()))?;
            loads.push((load, weight));
        }
        Ok(Load::Sum(loads))
    }

    fn check_all(&self, folder: &Path) -> Result<(ScalingLimits, Demand), ConfigError> {
        let name_ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 60 || !self.name.chars().all(name_ok) {
            let expected = "1 to 60 lower-case letters, digits and hyphens";
            return Err(ConfigError::new("name", format!("{:?}", self.name), expected));
        }
        self.episode.check().map_err(|e| e.within("episode"))?;
        in_range("slo.latency_ms", self.slo.latency_ms, 1.0, 600_000.0)?;
        let limits = self.limits.validate().map_err(|e| e.within("limits"))?;
        self.prices.validate().map_err(|e| e.within("prices"))?;
        self.service.check(self.slo).map_err(|e| e.within("service"))?;
        let demand = self.service.demand.check(folder).map_err(|e| e.within("service.demand"))?;
        self.startup.check().map_err(|e| e.within("startup"))?;
        self.termination.check().map_err(|e| e.within("termination"))?;
        self.failures.check().map_err(|e| e.within("failures"))?;
        if let Some(nodes) = &self.nodes {
            nodes.check(self.service.cpu_request_milli).map_err(|e| e.within("nodes"))?;
        }
        self.metrics.check().map_err(|e| e.within("metrics"))?;
        if let Some(load) = &self.load {
            load.check().map_err(|e| e.within("load"))?;
        }
        self.noise.check().map_err(|e| e.within("noise"))?;
        if self.engine == Engine::Fluid {
            fluid::check(self)?;
        }
        Ok((limits, demand))
    }
}

/// Exactly one of a generated and a recorded load.
fn one_load(
    load: Option<&LoadConfig>,
    trace: Option<&TraceConfig>,
    folder: &Path,
    windows: Windows,
) -> Result<Load, TraceLoadError> {
    match (load, trace) {
        (Some(load), None) => {
            load.check().map_err(|e| e.within("load"))?;
            Ok(Load::Generated(load.clone()))
        }
        (None, Some(trace)) => trace.load(folder, windows).map_err(|e| match e {
            TraceLoadError::Setting(e) => e.within("trace").into(),
            file @ TraceLoadError::File(_) => file,
        }),
        (None, None) => Err(ConfigError::new("load", "absent", "a [load] or a [trace]").into()),
        (Some(_), Some(_)) => {
            Err(ConfigError::new("trace", "present", "either a [load] or a [trace]").into())
        }
    }
}

impl EpisodeConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let step = u64::from(self.control_interval_s);
        count_in_range("control_interval_s", step, 1, 600)?;
        for (field, value) in [("training_s", self.training_s), ("evaluation_s", self.evaluation_s)] {
            count_in_range(field, u64::from(value), step, 30 * 86_400)?;
            if !value.is_multiple_of(self.control_interval_s) {
                let expected = format!("a multiple of control_interval_s ({step})");
                return Err(ConfigError::new(field, value, expected));
            }
        }
        count_in_range("warmup_s", u64::from(self.warmup_s), 0, 3600)?;
        count_in_range("drain_s", u64::from(self.drain_s), 0, 3600)?;
        Ok(())
    }
}

impl Scenario {
    /// Names of the built-in scenarios; the first is the default world.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|&(name, _)| name)
    }

    /// The TOML text of a built-in scenario, with comments.
    pub fn builtin_source(name: &str) -> Option<&'static str> {
        BUILTIN.iter().find(|&&(n, _)| n == name).map(|&(_, text)| text)
    }

    /// A built-in scenario.
    pub fn builtin(name: &str) -> Option<Self> {
        // The built-ins are checked by a test, so the second `None` is never taken.
        Self::from_toml(Self::builtin_source(name)?, name).ok()
    }

    /// Reads a scenario from TOML text; `origin` names it in errors, and a relative path of a trace starts
    /// at the working directory.
    ///
    /// # Errors
    /// Names origin, field, value and allowed range, or the line and column of a syntax error.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        ScenarioConfig::from_toml(text, origin)?.check(origin, Path::new(""))
    }

    /// The scenario as TOML.
    pub fn to_toml(&self) -> String {
        // A configuration that was read from TOML can be written as TOML.
        toml::to_string_pretty(&self.config).unwrap_or_default()
    }

    /// The same, with episodes from the part of a split trace that belongs to `branch`. Without a split
    /// nothing changes: then the branches of the seed tree alone keep episodes apart.
    #[must_use]
    pub fn on(&self, branch: Branch) -> Self {
        Self { branch: Some(branch), ..self.clone() }
    }

    /// The same, simulated by another engine.
    ///
    /// # Errors
    /// Names the field that the engine cannot express.
    pub fn with_engine(&self, engine: Engine) -> Result<Self, ConfigError> {
        let config = ScenarioConfig { engine, ..self.config.clone() };
        let check = |config: &ScenarioConfig| config.check_all(&self.folder).map(|_| ());
        check(&config)?;
        Ok(Self { vary: Vary::new(&config, check)?, config, ..self.clone() })
    }

    /// The same with another configuration of the same load source.
    pub(crate) fn with_config(&self, config: ScenarioConfig) -> Result<Self, ConfigError> {
        let (limits, demand) = config.check_all(&self.folder)?;
        let load = match (&config.load, &self.load) {
            (Some(own), Load::Sum(loads)) => {
                let mut loads = loads.clone();
                loads[0].0 = Load::Generated(own.clone());
                Load::Sum(loads)
            }
            (Some(own), _) => Load::Generated(own.clone()),
            (None, load) => load.clone(),
        };
        Ok(Self { config, limits, demand, load, vary: None, ..self.clone() })
    }

    /// The trace whose windows are its load, if it is not generated.
    pub fn trace(&self) -> Option<&Trace> {
        match &self.load {
            Load::Generated(_) | Load::Sum(_) => None,
            Load::Traced { trace, .. } => Some(trace),
        }
    }

    /// The configuration behind it.
    pub fn config(&self) -> &ScenarioConfig {
        &self.config
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// One line about it.
    pub fn description(&self) -> &str {
        &self.config.description
    }

    /// How often a learner decides.
    pub fn control_interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.episode.control_interval_s))
    }

    /// Length of a training episode.
    pub fn training_episode(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.episode.training_s))
    }

    /// Length of an evaluation episode.
    pub fn evaluation_episode(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.episode.evaluation_s))
    }

    /// Bounds on replicas.
    pub fn limits(&self) -> &ScalingLimits {
        &self.limits
    }

    /// The latency objective.
    pub fn slo(&self) -> Duration {
        Duration::from_secs_f64(self.config.slo.latency_ms / 1000.0)
    }

    /// Prices.
    pub fn weights(&self) -> RewardWeights {
        self.config.prices
    }

    /// CPU request of a pod.
    pub fn cpu_request(&self) -> Milli {
        Milli::new(i64::from(self.config.service.cpu_request_milli))
    }

    /// Requests per second that a ready pod serves when all its workers are always busy.
    pub fn pod_capacity(&self) -> RequestRate {
        let service = &self.config.service;
        let time = self.demand.mean_s() * service.stretch();
        RequestRate::new(f64::from(service.workers) / time).unwrap_or_default()
    }

    /// Mean load: of the trace if there is one, else of the generator.
    pub fn mean_load(&self) -> RequestRate {
        self.load.mean()
    }

    /// Mean offered rate of every second of the episode with this seed, its warm-up first.
    pub(crate) fn load_path(&self, seed: Seed, length: u32) -> Vec<f64> {
        let (noise, lead) = (&self.config.noise, self.config.episode.warmup_s);
        self.load.path(self.branch, noise, seed.child("load"), lead, length)
    }

    /// What the service's clock says when the episode with this seed begins, after its warm-up.
    pub(crate) fn begins(&self, seed: Seed, length: u32) -> TimeOfWeek {
        self.load.begins(self.branch, seed.child("load"), self.config.episode.warmup_s, length)
    }

    /// Mean offered rate of every whole minute of the episode with this seed, each with its begin: what somebody who
    /// fits a schedule would have recorded.
    pub fn recorded_load(&self, seed: Seed, length: Duration) -> Vec<(TimeOfWeek, RequestRate)> {
        let scenario = self.episode(seed);
        let seconds = length.as_secs() as u32;
        let path = scenario.load_path(seed, seconds);
        let begins = scenario.begins(seed, seconds);
        let minutes = path[scenario.config.episode.warmup_s as usize..].chunks_exact(60).enumerate();
        minutes
            .map(|(k, minute)| {
                let mean = minute.iter().sum::<f64>() / 60.0;
                let at = begins + Duration::from_secs(60 * k as u64);
                (at, RequestRate::new(mean).unwrap_or_default())
            })
            .collect()
    }

    pub(crate) fn demand(&self) -> &Demand {
        &self.demand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_are_valid_and_survive_a_round_trip() {
        for name in Scenario::builtin_names() {
            let text = Scenario::builtin_source(name).unwrap();
            let scenario = Scenario::from_toml(text, name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(scenario.name(), name);
            let again = Scenario::from_toml(&scenario.to_toml(), name).unwrap();
            assert_eq!(again.config(), scenario.config());
        }
    }

    #[test]
    fn the_default_world_is_as_described() {
        let scenario = Scenario::builtin("match-day").unwrap();
        let pods = 200.0 / scenario.pod_capacity().per_second() / 0.5;
        assert!((10.0..=20.0).contains(&pods), "{pods} pods at half load");
        assert_eq!(scenario.slo(), Duration::from_millis(500));
        // max_replicas is at least twice what the highest second of typical episodes needs.
        let highest = |k| scenario.load_path(Seed::root(k), 10_800).into_iter().fold(0.0, f64::max);
        let mut peaks: Vec<f64> = (0..100).map(highest).collect();
        peaks.sort_by(f64::total_cmp);
        let needed = peaks[94] / scenario.pod_capacity().per_second();
        assert!(f64::from(scenario.limits().max().get()) >= 2.0 * needed, "95 % of peaks need {needed}");
    }

    #[test]
    fn errors_name_origin_field_value_and_range() {
        let text = Scenario::builtin_source("match-day").unwrap();
        for (from, to, parts) in [
            ("workers = 2 ", "workers = 0 ", vec!["f.toml", "service.workers: 0", "1 to 1024"]),
            ("workers = 2 ", "wrokers = 2 ", vec!["f.toml", "service", "wrokers"]),
            ("workers = 2 ", "workers = \"two\" ", vec!["f.toml", "service.workers", "string"]),
            ("mean_ms = 56", "mean_ms = -1", vec!["service.demand.mean_ms: -1"]),
            (
                "min_replicas = 1",
                "min_replicas = 900",
                vec!["limits.min_replicas: 900", "max_replicas (150)"],
            ),
            ("timeout_ms = 2000", "timeout_ms = 100", vec!["service.timeout_ms: 100", "500 to"]),
            ("training_s = 3600", "training_s = 3601", vec!["episode.training_s: 3601", "multiple of"]),
            ("spike_high = 3.0", "spike_high = nan", vec!["load.spike_high: NaN", "1.5 to 100"]),
            ("[noise]", "[noise", vec!["f.toml", "line"]),
        ] {
            assert!(text.contains(from), "{from}");
            let message = Scenario::from_toml(&text.replacen(from, to, 1), "f.toml").unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{to}: {message:?} lacks {part:?}");
            }
        }
    }
}
