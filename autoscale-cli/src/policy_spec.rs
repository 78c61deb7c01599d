//! Policies by name, as given on the command line.

use crate::rule::{Rule, RuleKind, Space};
use crate::run_folder::{MANIFEST, MODEL, RunFolder};
use crate::settings::{self, Settings};
use anyhow::{Context, Result, bail};
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::learned::LearnedPolicy;
use autoscale_core::policy::Policy;
use autoscale_core::units::{Replicas, Utilization};
use autoscale_eval::suite::PolicyFactory;
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig, HpaSpec};
use autoscale_policies::keda::{Keda, KedaConfig, KedaPolicy};
use autoscale_policies::kpa::{KpaConfig, KpaPolicy};
use autoscale_policies::phpa::{Phpa, PhpaConfig};
use autoscale_policies::random::RandomPolicy;
use autoscale_policies::schedule::Schedule;
use autoscale_sim::clairvoyant::clairvoyant_schedule;
use autoscale_sim::scenario::Scenario;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A policy that can be named.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PolicySpec {
    /// The default HPA.
    Hpa,
    /// The HPA of a manifest.
    Manifest(String),
    /// Always as many pods.
    Constant(u32),
    /// A random count, each interval anew.
    Random,
    /// A schedule that knows the load ahead and keeps pods this busy, in percent.
    Clairvoyant(u32),
    /// A rule as it comes, or as a file of `autoscale tune` has it.
    Rule(RuleKind, Option<String>),
    /// KEDA with a trigger on the rate of requests.
    Keda,
    /// Knative's autoscaler, at 70 % of a pod's workers.
    Kpa,
    /// The predictive HPA with its linear model.
    Phpa,
    /// A trained run.
    Model(String),
}

/// The targets of KEDA and Knative's autoscaler as a share of what a pod can do.
const BUSY: f64 = 0.7;

/// What can be written for a policy.
pub(crate) const POLICIES: &str = "hpa, hpa:FILE.yaml, predictive, square-root, lcp or cron (each with :FILE.toml), \
    keda, kpa, phpa, constant:N, random, clairvoyant, clairvoyant:PERCENT or model:RUN";

impl FromStr for PolicySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once(':').map_or((text, None), |(n, a)| (n, Some(a)));
        let number = |a: &str, low: u32, high: u32| {
            let n = a.parse().ok().filter(|n| (low..=high).contains(n));
            n.ok_or_else(|| format!("{name}:{a}: expected a whole number of {low} to {high}"))
        };
        match (name, argument) {
            ("hpa", None) => Ok(Self::Hpa),
            ("hpa", Some(file)) if !file.is_empty() => Ok(Self::Manifest(file.to_owned())),
            ("keda", None) => Ok(Self::Keda),
            ("kpa", None) => Ok(Self::Kpa),
            ("phpa", None) => Ok(Self::Phpa),
            ("random", None) => Ok(Self::Random),
            ("constant", Some(n)) => Ok(Self::Constant(number(n, 0, 1_000_000)?)),
            ("clairvoyant", None) => Ok(Self::Clairvoyant(65)),
            ("clairvoyant", Some(n)) => Ok(Self::Clairvoyant(number(n, 1, 100)?)),
            ("model", Some(run)) if !run.is_empty() => Ok(Self::Model(run.to_owned())),
            (_, argument) if argument != Some("") => {
                let rules = [RuleKind::Predictive, RuleKind::SquareRoot, RuleKind::Lcp, RuleKind::Cron];
                let rule = rules.into_iter().find(|kind| kind.to_string() == name);
                let rule = rule.map(|kind| Self::Rule(kind, argument.map(str::to_owned)));
                rule.ok_or_else(|| format!("expected {POLICIES}"))
            }
            _ => Err(format!("expected {POLICIES}")),
        }
    }
}

impl fmt::Display for PolicySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hpa => f.write_str("hpa"),
            Self::Manifest(file) => write!(f, "hpa:{file}"),
            Self::Constant(n) => write!(f, "constant:{n}"),
            Self::Random => f.write_str("random"),
            Self::Clairvoyant(percent) => write!(f, "clairvoyant:{percent}"),
            Self::Keda => f.write_str("keda"),
            Self::Kpa => f.write_str("kpa"),
            Self::Phpa => f.write_str("phpa"),
            Self::Rule(kind, None) => kind.fmt(f),
            Self::Rule(kind, Some(file)) => write!(f, "{kind}:{file}"),
            Self::Model(run) => write!(f, "model:{run}"),
        }
    }
}

impl PolicySpec {
    /// A word for names of folders.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Hpa | Self::Manifest(_) => "hpa",
            Self::Constant(_) => "constant",
            Self::Random => "random",
            Self::Clairvoyant(_) => "clairvoyant",
            Self::Keda => "keda",
            Self::Kpa => "kpa",
            Self::Phpa => "phpa",
            Self::Rule(kind, _) => match kind {
                RuleKind::Hpa => "hpa",
                RuleKind::Predictive => "predictive",
                RuleKind::SquareRoot => "square-root",
                RuleKind::Lcp => "lcp",
                RuleKind::Cron => "cron",
            },
            Self::Model(_) => "model",
        }
    }

    /// With `{scenario}` in names of files and runs replaced by that of a scenario.
    pub(crate) fn in_scenario(&self, scenario: &str) -> Self {
        let named = |text: &String| text.replace("{scenario}", scenario);
        match self {
            Self::Manifest(file) => Self::Manifest(named(file)),
            Self::Rule(kind, file) => Self::Rule(*kind, file.as_ref().map(named)),
            Self::Model(run) => Self::Model(named(run)),
            other => other.clone(),
        }
    }

    /// The files that decide what it does.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        Ok(match self {
            Self::Manifest(file) | Self::Rule(_, Some(file)) => vec![PathBuf::from(file)],
            Self::Model(run) => {
                let folder = RunFolder::open(run)?;
                vec![folder.file(MANIFEST), folder.file(MODEL)]
            }
            _ => Vec::new(),
        })
    }

    /// What makes the policy for each episode of the scenario that has this length; files are read and schedules fitted
    /// here, once.
    pub(crate) fn prepare(
        &self,
        scenario: &Arc<Scenario>,
        length: Duration,
    ) -> Result<PolicyFactory<'static>> {
        fn cloning(policy: impl Policy + Clone + Send + Sync + 'static) -> PolicyFactory<'static> {
            Box::new(move |_| Box::new(policy.clone()))
        }
        let interval = scenario.control_interval();
        Ok(match self {
            Self::Hpa => cloning(Hpa::new(HpaConfig::default())?),
            Self::Manifest(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.clone())?;
                let spec = HpaSpec::from_yaml(&text).with_context(|| file.clone())?;
                cloning(Hpa::from_spec(spec)?)
            }
            Self::Constant(n) => {
                let (asked, limits) = (Replicas::new(*n), scenario.limits());
                let granted = asked.clamp(limits.min(), limits.max());
                if granted != asked {
                    let (name, least, most) = (scenario.name(), limits.min(), limits.max());
                    eprintln!("warning: {self}: {name} allows {least} to {most} replicas; it gets {granted}");
                }
                cloning(Fixed::new(asked, interval))
            }
            Self::Random => cloning(RandomPolicy::new(interval)),
            Self::Clairvoyant(percent) => {
                let busy = Utilization::from_fraction(f64::from(*percent) / 100.0);
                let scenario = Arc::clone(scenario);
                Box::new(move |seed| {
                    let schedule = clairvoyant_schedule(&scenario, seed, length, busy);
                    Box::new(Schedule::new(schedule, interval))
                })
            }
            Self::Keda => {
                let limits = scenario.limits();
                let keda = Keda::new(KedaConfig {
                    threshold: scenario.pod_capacity().per_second() * BUSY,
                    min_replica_count: limits.min().get(),
                    max_replica_count: limits.max().get(),
                    ..KedaConfig::default()
                })?;
                cloning(KedaPolicy::new(keda))
            }
            Self::Kpa => {
                let total = f64::from(scenario.config().service.workers);
                let config = KpaConfig { target: total * BUSY, total, ..KpaConfig::default() };
                cloning(KpaPolicy::new(config)?)
            }
            Self::Phpa => cloning(Phpa::new(PhpaConfig::default())?),
            Self::Rule(kind, None) => making(Space::new(*kind, scenario).standard(), scenario)?,
            Self::Rule(kind, Some(file)) => {
                let text = std::fs::read_to_string(file).with_context(|| file.clone())?;
                let rule: Rule = toml::from_str(&text).with_context(|| file.clone())?;
                if rule.kind() != *kind {
                    bail!("{file}: policy: {}; expected {kind}", rule.kind());
                }
                making(rule, scenario).with_context(|| file.clone())?
            }
            Self::Model(run) => {
                let model = Model::open(run)?;
                model.policy(scenario)?;
                let scenario = Arc::clone(scenario);
                Box::new(move |_| Box::new(model.policy(&scenario).expect("made once above")))
            }
        })
    }
}

/// A trained run, read.
pub(crate) struct Model {
    /// What its folder is called.
    pub(crate) run: String,
    pub(crate) settings: Settings,
    pub(crate) checkpoint: Checkpoint,
}

impl Model {
    /// Of the run in this folder, or of the `latest`.
    pub(crate) fn open(run: &str) -> Result<Self> {
        let folder = RunFolder::open(run)?;
        let (settings, checkpoint) = Settings::with_model(&folder)?;
        let path = std::path::absolute(folder.path())?;
        let run = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { run, settings, checkpoint })
    }

    /// Its policy, if it decides as often as the scenario asks.
    pub(crate) fn policy(&self, scenario: &Scenario) -> Result<LearnedPolicy> {
        settings::same_interval(scenario, &self.checkpoint)?;
        Ok(LearnedPolicy::new(&self.checkpoint, self.settings.base_policy()?)?)
    }
}

/// Makes what a rule stands for.
fn making(rule: Rule, scenario: &Arc<Scenario>) -> Result<PolicyFactory<'static>> {
    rule.make(scenario)?;
    let scenario = Arc::clone(scenario);
    Ok(Box::new(move |_| rule.make(&scenario).expect("made once above")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip_and_bad_ones_are_explained() {
        for text in [
            "hpa",
            "hpa:shop.yaml",
            "constant:7",
            "random",
            "clairvoyant:80",
            "model:runs/x",
            "predictive",
            "lcp:a.toml",
        ] {
            assert_eq!(text.parse::<PolicySpec>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        for (text, part) in
            [("constant", "constant:N"), ("constant:x", "whole number"), ("clairvoyant:0", "1 to 100")]
        {
            let said = text.parse::<PolicySpec>().unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
