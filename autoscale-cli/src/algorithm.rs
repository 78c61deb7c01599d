//! Which learner, with its configuration; every parameter can be set by name.

use anyhow::{Context, Result, anyhow, bail};
use autoscale_agents::a2c::{A2c, A2cConfig};
use autoscale_agents::backend::Backend;
use autoscale_agents::dqn::{Dqn, DqnConfig};
use autoscale_agents::learner::{Setup, SetupError};
use autoscale_agents::net::NetConfig;
use autoscale_agents::ppo::{Ppo, PpoConfig};
use autoscale_core::seed::Seed;
use autoscale_core::validate::Validate;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The learning algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    /// Proximal policy optimisation (Schulman et al. 2017).
    Ppo,
    /// Advantage actor-critic (Mnih et al. 2016).
    A2c,
    /// Deep Q-network, double and dueling, three steps at once (Hessel et al. 2018).
    Dqn,
}

/// An algorithm with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlgorithmConfig {
    Ppo(PpoConfig),
    A2c(A2cConfig),
    Dqn(DqnConfig),
}

/// A learner of some kind.
pub(crate) enum AnyLearner {
    Ppo(Ppo),
    A2c(A2c),
    Dqn(Dqn),
}

impl AlgorithmConfig {
    pub(crate) fn standard(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Ppo => Self::Ppo(PpoConfig::default()),
            Algorithm::A2c => Self::A2c(A2cConfig::default()),
            Algorithm::Dqn => Self::Dqn(DqnConfig::default()),
        }
    }

    /// The same with `name=value` set, names with dots between levels: `treatment.mask_actions=false`.
    pub(crate) fn with(&self, settings: &[String]) -> Result<Self> {
        let mut whole = serde_json::to_value(self)?;
        for setting in settings {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| anyhow!("--set {setting}: expected NAME=VALUE, for instance gamma=0.97"))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            let path = std::iter::once(self.name()).chain(name.split('.'));
            let mut place = &mut whole;
            for part in path {
                if place.is_null() {
                    *place = Value::Object(serde_json::Map::new());
                }
                let Value::Object(object) = place else {
                    bail!("--set {setting}: {part} is within something that has no parts");
                };
                place = object.entry(part).or_insert(Value::Null);
            }
            *place = value;
            // At once, so that a message names the setting that caused it.
            let checked = serde_json::from_value::<Self>(whole.clone());
            let checked = checked.map_err(|error| anyhow!("{}", plain(&error.to_string())));
            let checked = checked.and_then(|config| config.check());
            checked.with_context(|| format!("--set {setting}"))?;
        }
        Ok(serde_json::from_value(whole)?)
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.clone() {
            Self::Ppo(config) => config.validate().map(drop)?,
            Self::A2c(config) => config.validate().map(drop)?,
            Self::Dqn(config) => config.validate().map(drop)?,
        }
        Ok(())
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Ppo(_) => "ppo",
            Self::A2c(_) => "a2c",
            Self::Dqn(_) => "dqn",
        }
    }

    pub(crate) const fn num_envs(&self) -> usize {
        match self {
            Self::Ppo(config) => config.num_envs,
            Self::A2c(config) => config.num_envs,
            Self::Dqn(config) => config.num_envs,
        }
    }

    /// The networks.
    pub(crate) fn net(&self) -> NetConfig {
        match self {
            Self::Ppo(config) => config.net.clone(),
            Self::A2c(config) => config.net.clone(),
            Self::Dqn(config) => config.net(),
        }
    }

    /// A fresh learner.
    pub(crate) fn learner(
        &self,
        setup: Setup,
        seed: Seed,
        backend: Backend,
    ) -> Result<AnyLearner, SetupError> {
        Ok(match self.clone() {
            Self::Ppo(config) => AnyLearner::Ppo(Ppo::new(config, setup, seed, backend)?),
            Self::A2c(config) => AnyLearner::A2c(A2c::new(config, setup, seed, backend)?),
            Self::Dqn(config) => AnyLearner::Dqn(Dqn::new(config, setup, seed, backend)?),
        })
    }
}

/// A message of serde without the names of Rust's types.
fn plain(message: &str) -> String {
    let types = ["usize", "u64", "u32"].map(|name| (name, "a whole number of at least 0"));
    let types = types.into_iter().chain([("f64", "a number")]);
    types.fold(message.to_owned(), |said, (name, words)| {
        said.replace(&format!("expected {name}"), &format!("expected {words}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_set_by_name_and_mistakes_are_explained() {
        let set = |algorithm, settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&s| s.to_owned()).collect();
            AlgorithmConfig::standard(algorithm).with(&settings)
        };
        let changed = set(
            Algorithm::Ppo,
            &["gamma=0.9", "net.trunk=shared", "target_kl=null", "net.gru=8", "treatment.mask_actions=false"],
        );
        let AlgorithmConfig::Ppo(ppo) = changed.expect("in range") else { panic!("another algorithm") };
        assert!((ppo.gamma - 0.9).abs() < 1e-12 && ppo.target_kl.is_none() && ppo.net.gru == Some(8));
        assert!(!ppo.treatment.mask_actions);
        let read = serde_json::to_string(&AlgorithmConfig::Ppo(ppo.clone())).expect("it can be written");
        let read: AlgorithmConfig = serde_json::from_str(&read).expect("it can be read");
        assert_eq!(read, AlgorithmConfig::Ppo(ppo), "what is absent stays so");
        let dqn = set(Algorithm::Dqn, &["priorities.alpha=0.5", "hidden=[32,32]"]).expect("in range");
        let AlgorithmConfig::Dqn(dqn) = dqn else { panic!("another algorithm") };
        assert_eq!((dqn.hidden, dqn.priorities.is_some()), (vec![32, 32], true));
        for (setting, part) in [
            ("gama=0.9", "unknown field `gama`"),
            ("gamma", "NAME=VALUE"),
            ("gamma=2", "gamma: 2 is not allowed; expected 0 to 1"),
            ("gamma=high", "expected a number"),
            ("num_envs=-1", "expected a whole number of at least 0"),
            ("net.gru=wide", "expected a whole number of at least 0"),
            ("learning_rate=0", "learning_rate: 0 is not allowed; expected 0.000000001 to 1"),
            ("gamma.x=1", "no parts"),
            ("net.trunk=both", "unknown variant `both`"),
        ] {
            let message = format!("{:#}", set(Algorithm::A2c, &[setting]).expect_err(setting));
            assert!(message.contains(part) && message.contains(setting), "{message}");
        }
    }
}
