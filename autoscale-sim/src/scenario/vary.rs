//! Domain randomisation: constants that are drawn anew for each episode.

use super::{Scenario, ScenarioConfig};
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::validate::{ConfigError, in_range};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use toml::{Table, Value};

/// Parts of a scenario whose constants may vary: the world. What is asked of a policy stays.
const PARTS: [&str; 8] =
    ["service", "startup", "termination", "failures", "nodes", "metrics", "load", "noise"];
/// Draws that break a rule of the scenario are drawn again this often; then the written values hold.
const MOST_DRAWS: u64 = 100;

/// A constant that each episode draws by its seed. Exactly one law must be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// Path of the field, such as `startup.ready_median_s`; it must have a value in the scenario, which is
    /// taken as typical.
    pub field: String,
    /// Any value between two is as likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform: Option<[f64; 2]>,
    /// Any factor between two values above zero is as likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_uniform: Option<[f64; 2]>,
    /// One of these, each as likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Vec<f64>>,
}

/// A checked law.
#[derive(Clone, Debug, PartialEq)]
enum Law {
    Uniform(f64, f64),
    LogUniform(f64, f64),
    Choice(Vec<f64>),
}

impl Law {
    fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::Uniform(low, high) => low + (high - low) * stream.random::<f64>(),
            Self::LogUniform(low, high) => low * libm::pow(high / low, stream.random::<f64>()),
            Self::Choice(values) => values[stream.random_range(0..values.len())],
        }
    }

    /// Values that must all be allowed.
    fn extremes(&self) -> Vec<f64> {
        match self {
            Self::Uniform(low, high) | Self::LogUniform(low, high) => vec![*low, *high],
            Self::Choice(values) => values.clone(),
        }
    }
}

impl Variation {
    fn law(&self) -> Result<Law, ConfigError> {
        let ordered =
            |field: &str, [low, high]: [f64; 2]| in_range(field, high, low, f64::MAX).map(|high| (low, high));
        match (self.uniform, self.log_uniform, &self.choice) {
            (Some(range), None, None) => {
                let (low, high) = ordered("uniform", range)?;
                Ok(Law::Uniform(low, high))
            }
            (None, Some(range), None) => {
                in_range("log_uniform", range[0], f64::MIN_POSITIVE, f64::MAX)?;
                let (low, high) = ordered("log_uniform", range)?;
                Ok(Law::LogUniform(low, high))
            }
            (None, None, Some(values)) if !values.is_empty() => Ok(Law::Choice(values.clone())),
            _ => Err(ConfigError::new("field", &self.field, "exactly one of uniform, log_uniform, choice")),
        }
    }
}

/// All variations of a scenario, ready to be drawn.
#[derive(Clone, Debug)]
pub(super) struct Vary {
    written: Table,
    laws: Vec<(Vec<String>, Law)>,
}

impl Vary {
    /// Checks the variations of `config`: fields, laws, and that the scenario allows the extremes.
    pub(super) fn new(
        config: &ScenarioConfig,
        check: impl Fn(&ScenarioConfig) -> Result<(), ConfigError>,
    ) -> Result<Option<Self>, ConfigError> {
        if config.vary.is_empty() {
            return Ok(None);
        }
        // A configuration that was read from TOML can be written as TOML.
        let written = Table::try_from(config).unwrap_or_default();
        let mut vary = Self { written, laws: Vec::new() };
        for (index, variation) in config.vary.iter().enumerate() {
            let within = |e: ConfigError| e.within(&format!("vary[{index}]"));
            let law = variation.law().map_err(within)?;
            let path: Vec<String> = variation.field.split('.').map(str::to_owned).collect();
            let wrong = |expected: &str| within(ConfigError::new("field", &variation.field, expected));
            if !path.first().is_some_and(|part| PARTS.contains(&part.as_str())) {
                return Err(wrong(&format!("a field of one of {}", PARTS.join(", "))));
            }
            for value in law.extremes() {
                let mut written = vary.written.clone();
                set(&mut written, &path, value).ok_or_else(|| wrong("a number in this scenario"))?;
                let config = ScenarioConfig::deserialize(written).map_err(|e| wrong(e.message()))?;
                check(&config).map_err(within)?;
            }
            vary.laws.push((path, law));
        }
        Ok(Some(vary))
    }

    /// The configuration of the episode with this seed.
    fn draw(&self, seed: Seed, check: impl Fn(&ScenarioConfig) -> bool) -> Option<ScenarioConfig> {
        (0..MOST_DRAWS).find_map(|attempt| {
            let mut written = self.written.clone();
            for (index, (path, law)) in self.laws.iter().enumerate() {
                let mut stream = seed.child("vary").nth(attempt).nth(index as u64).stream();
                set(&mut written, path, law.draw(&mut stream))?;
            }
            ScenarioConfig::deserialize(written).ok().filter(&check)
        })
    }
}

/// Puts `value` where `path` leads if there is a number; whole numbers stay whole.
fn set(table: &mut Table, path: &[String], value: f64) -> Option<()> {
    let (key, rest) = path.split_first()?;
    match (table.get_mut(key)?, rest) {
        (Value::Table(inner), [_, ..]) => return set(inner, rest, value),
        (Value::Integer(whole), []) => *whole = value.round() as i64,
        (Value::Float(float), []) => *float = value,
        _ => return None,
    }
    Some(())
}

impl Scenario {
    /// The scenario of the episode with this seed: itself, unless constants vary.
    pub fn episode(&self, seed: Seed) -> Cow<'_, Self> {
        let drawn = self.vary.as_ref().and_then(|vary| {
            let config = vary.draw(seed, |config| self.with_config(config.clone()).is_ok())?;
            self.with_config(config).ok()
        });
        drawn.map_or(Cow::Borrowed(self), Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(vary: &str) -> Result<Scenario, String> {
        let text = format!(
            r#"
name = "small"
limits = {{ min_replicas = 1, max_replicas = 9 }}
load = {{ kind = "constant", rps = 10 }}
[service]
workers = 2
dispatch = "random"
timeout_ms = 2000
cpu_request_milli = 500
demand = {{ distribution = "exponential", mean_ms = 50 }}
{vary}"#
        );
        Scenario::from_toml(&text, "small.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn each_episode_draws_its_constants_by_its_seed() {
        let text = "[[vary]]\nfield = \"startup.ready_median_s\"\nlog_uniform = [10.0, 120.0]\n\
                    [[vary]]\nfield = \"service.workers\"\nuniform = [1, 4]\n\
                    [[vary]]\nfield = \"load.rps\"\nchoice = [10, 30]\n";
        let scenario = scenario(text).unwrap();
        let drawn: Vec<_> = (0..400).map(|k| scenario.episode(Seed::root(k))).collect();
        assert_eq!(drawn[7].config(), scenario.episode(Seed::root(7)).config());
        let ready = |s: &Scenario| s.config().startup.ready_median_s;
        assert!(drawn.iter().all(|s| (10.0..=120.0).contains(&ready(s))));
        // Half of the draws lie below the geometric mean.
        let low = drawn.iter().filter(|s| ready(s) < 1200f64.sqrt()).count();
        assert!((160..240).contains(&low), "{low}");
        let with = |workers| drawn.iter().filter(|s| s.config().service.workers == workers).count();
        assert!((1..=4).all(|workers| with(workers) > 20) && (1..=4).map(with).sum::<usize>() == 400);
        let busy = drawn.iter().filter(|s| s.mean_load().per_second() > 20.0).count();
        assert!((160..240).contains(&busy), "{busy}");
    }

    #[test]
    fn what_cannot_vary_is_refused_by_name() {
        for (text, part) in [
            ("field = \"limits.max_replicas\"\nuniform = [1, 4]", "vary[0].field: limits.max_replicas"),
            ("field = \"service.wokers\"\nuniform = [1, 4]", "vary[0].field: service.wokers"),
            ("field = \"service.workers\"\nuniform = [0, 4]", "vary[0].service.workers: 0"),
            ("field = \"service.workers\"\nuniform = [4, 1]", "vary[0].uniform: 1"),
            ("field = \"service.workers\"\nlog_uniform = [0, 1]", "vary[0].log_uniform: 0"),
            ("field = \"service.workers\"", "exactly one of"),
            ("field = \"service.timeout_ms\"\nchoice = [2000, 20]", "vary[0].service.timeout_ms: 20"),
        ] {
            let message = scenario(&format!("[[vary]]\n{text}\n")).unwrap_err();
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}
