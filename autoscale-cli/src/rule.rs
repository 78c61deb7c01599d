//! Rule-based policies as data: what can be tuned, drawn at random, written to a file and read back.

use anyhow::{Context, Result};
use autoscale_core::policy::Policy;
use autoscale_core::seed::Stream;
use autoscale_policies::forecast::ForecastConfig;
use autoscale_policies::hpa::{
    Behavior, Hpa, HpaSpec, PolicyType, Range, ScalingPolicy, ScalingRules, SelectPolicy,
};
use autoscale_policies::lcp::{Lcp, LcpConfig};
use autoscale_policies::predictive::{Predictive, PredictiveConfig};
use autoscale_policies::service::PodCapacity;
use autoscale_policies::staffing::{SquareRoot, SquareRootConfig};
use autoscale_sim::scenario::Scenario;
use clap::ValueEnum;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleKind {
    /// The Horizontal Pod Autoscaler, one CPU target.
    Hpa,
    /// A forecast of the load over the time that a pod needs.
    Predictive,
    /// Square-root staffing on the measured rate.
    SquareRoot,
    /// Lazy capacity provisioning.
    Lcp,
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hpa => "hpa",
            Self::Predictive => "predictive",
            Self::SquareRoot => "square-root",
            Self::Lcp => "lcp",
        })
    }
}

/// An HPA with one CPU target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HpaRule {
    pub(crate) min_replicas: u32,
    pub(crate) target_percent: u32,
    pub(crate) behavior: Behavior,
}

/// A rule with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "policy")]
pub(crate) enum Rule {
    Hpa(HpaRule),
    Predictive(PredictiveConfig),
    SquareRoot(SquareRootConfig),
    Lcp(LcpConfig),
}

/// One of several values.
fn one<T: Copy>(draw: &mut Stream, of: &[T]) -> T {
    of[draw.random_range(0..of.len())]
}

/// A value between two, all orders of magnitude as likely.
fn between(draw: &mut Stream, low: f64, high: f64) -> f64 {
    low * (high / low).powf(draw.random::<f64>())
}

/// So many digits, so that files stay readable.
fn rounded(value: f64, digits: f64) -> f64 {
    (value * digits).round() / digits
}

const WINDOWS_UP: [u32; 6] = [0, 0, 0, 15, 30, 60];
const WINDOWS_DOWN: [u32; 8] = [0, 15, 30, 60, 120, 180, 300, 600];
/// How often a parameter is the other's where two rules are mixed.
const OTHERS: f64 = 0.35;
/// How often it is a little more or less than it was.
const NEAR: f64 = 0.25;
/// How often a direction keeps the rules that it has without `behavior`.
const STANDARD: f64 = 0.3;
const TOLERANCES: [Option<f64>; 6] = [None, None, Some(0.0), Some(0.02), Some(0.05), Some(0.2)];

impl Rule {
    /// The rule as it comes.
    pub(crate) fn standard(kind: RuleKind, scenario: &Scenario) -> Self {
        match kind {
            RuleKind::Hpa => Self::Hpa(HpaRule {
                min_replicas: scenario.limits().min().get(),
                target_percent: 80,
                behavior: Behavior::default(),
            }),
            RuleKind::Predictive => {
                let startup_s = rounded(scenario.config().startup.typical_s(), 1.0);
                Self::Predictive(PredictiveConfig { startup_s, ..PredictiveConfig::default() })
            }
            RuleKind::SquareRoot => Self::SquareRoot(SquareRootConfig::default()),
            RuleKind::Lcp => Self::Lcp(LcpConfig::default()),
        }
    }

    /// A rule with random parameters; an HPA's `minReplicas` go up to `peak`.
    pub(crate) fn draw(kind: RuleKind, scenario: &Scenario, peak: u32, draw: &mut Stream) -> Self {
        match kind {
            RuleKind::Hpa => Self::Hpa(HpaRule::draw(scenario.limits().min().get(), peak, draw)),
            RuleKind::Predictive => {
                let startup = scenario.config().startup.typical_s() * between(draw, 0.5, 3.0);
                let forecast = if draw.random::<f64>() < 0.4 {
                    ForecastConfig::Linear { window: draw.random_range(2..=20) }
                } else {
                    ForecastConfig::HoltWinters {
                        alpha: rounded(draw.random_range(0.2..=1.0), 100.0),
                        beta: rounded(draw.random_range(0.0..=0.6), 100.0),
                        gamma: 0.0,
                        damping: rounded(draw.random_range(0.6..=1.0), 100.0),
                        season: 0,
                    }
                };
                Self::Predictive(PredictiveConfig {
                    target_utilization: rounded(draw.random_range(0.2..=0.95), 100.0),
                    startup_s: rounded(startup, 1.0),
                    forecast,
                    stabilization_s: f64::from(one(draw, &WINDOWS_DOWN)),
                })
            }
            RuleKind::SquareRoot => Self::SquareRoot(SquareRootConfig {
                beta: rounded(draw.random_range(0.0..=12.0), 10.0),
                stabilization_s: f64::from(one(draw, &WINDOWS_DOWN)),
            }),
            RuleKind::Lcp => Self::Lcp(LcpConfig {
                target_utilization: rounded(draw.random_range(0.1..=0.95), 100.0),
                start_s: rounded(between(draw, 10.0, 3600.0), 1.0),
            }),
        }
    }

    /// A rule that has each of its parameters from this one or, now and then, from another of its kind.
    #[must_use]
    pub(crate) fn mixed(&self, other: &Self, draw: &mut Stream) -> Self {
        let step = between(draw, 0.8, 1.25);
        let mut chance = || draw.random::<f64>();
        match (self.clone(), other) {
            (Self::Hpa(mut own), Self::Hpa(other)) => {
                let near = |value: u32| (f64::from(value) * step).round() as u32;
                match chance() {
                    u if u < OTHERS => own.min_replicas = other.min_replicas,
                    u if u < OTHERS + NEAR => own.min_replicas = near(own.min_replicas).max(1),
                    _ => {}
                }
                match chance() {
                    u if u < OTHERS => {
                        own.target_percent = u32::midpoint(own.target_percent, other.target_percent);
                    }
                    u if u < OTHERS + NEAR => own.target_percent = near(own.target_percent).clamp(20, 95),
                    _ => {}
                }
                if chance() < OTHERS {
                    own.behavior.scale_up = other.behavior.scale_up.clone();
                }
                if chance() < OTHERS {
                    own.behavior.scale_down = other.behavior.scale_down.clone();
                }
                Self::Hpa(own)
            }
            (Self::Predictive(mut own), Self::Predictive(other)) => {
                if chance() < OTHERS {
                    let middle = f64::midpoint(own.target_utilization, other.target_utilization);
                    own.target_utilization = rounded(middle, 100.0);
                }
                if chance() < OTHERS {
                    own.startup_s = other.startup_s;
                }
                if chance() < OTHERS {
                    own.forecast = other.forecast;
                }
                if chance() < OTHERS {
                    own.stabilization_s = other.stabilization_s;
                }
                Self::Predictive(own)
            }
            (Self::SquareRoot(mut own), Self::SquareRoot(other)) => {
                if chance() < OTHERS {
                    own.beta = rounded(f64::midpoint(own.beta, other.beta), 10.0);
                }
                if chance() < OTHERS {
                    own.stabilization_s = other.stabilization_s;
                }
                Self::SquareRoot(own)
            }
            (Self::Lcp(mut own), Self::Lcp(other)) => {
                if chance() < OTHERS {
                    let middle = f64::midpoint(own.target_utilization, other.target_utilization);
                    own.target_utilization = rounded(middle, 100.0);
                }
                if chance() < OTHERS {
                    own.start_s = other.start_s;
                }
                Self::Lcp(own)
            }
            (own, _) => own,
        }
    }

    /// The policy.
    pub(crate) fn make(&self, scenario: &Scenario) -> Result<Box<dyn Policy + Send>> {
        let interval = scenario.control_interval();
        let capacity = || PodCapacity::new(scenario.pod_capacity(), scenario.config().service.workers);
        Ok(match self {
            Self::Hpa(hpa) => {
                let spec = HpaSpec::from_yaml(&hpa.manifest(scenario)).context("a manifest of our own")?;
                Box::new(Hpa::from_spec(spec)?)
            }
            Self::Predictive(config) => Box::new(Predictive::new(capacity()?, *config, interval)?),
            Self::SquareRoot(config) => Box::new(SquareRoot::new(capacity()?, *config, interval)?),
            Self::Lcp(config) => Box::new(Lcp::new(capacity()?, *config, scenario.weights(), interval)?),
        })
    }

    /// Name and content of the file that holds it: a manifest of an HPA, TOML of the others.
    pub(crate) fn file(&self, scenario: &Scenario) -> Result<(&'static str, String)> {
        Ok(match self {
            Self::Hpa(hpa) => ("tuned.yaml", hpa.manifest(scenario)),
            other => ("tuned.toml", toml::to_string_pretty(other)?),
        })
    }
}

impl HpaRule {
    fn draw(least: u32, peak: u32, draw: &mut Stream) -> Self {
        let percent =
            |value, period_seconds| ScalingPolicy { kind: PolicyType::Percent, value, period_seconds };
        let mut up = vec![percent(one(draw, &[50, 100, 200, 400, 900]), one(draw, &[15, 15, 30, 60]))];
        if draw.random::<f64>() < 0.6 {
            let value = one(draw, &[2, 4, 8, 16, 32]);
            up.push(ScalingPolicy {
                kind: PolicyType::Pods,
                value,
                period_seconds: one(draw, &[15, 15, 30, 60]),
            });
        }
        let down = vec![percent(one(draw, &[5, 10, 25, 50, 100, 100]), one(draw, &[15, 30, 60, 120]))];
        let mut rules = |windows: &[u32], policies| ScalingRules {
            stabilization_window_seconds: one(draw, windows),
            select_policy: SelectPolicy::Max,
            policies,
            tolerance: one(draw, &TOLERANCES),
        };
        let mut behavior =
            Behavior { scale_up: rules(&WINDOWS_UP, up), scale_down: rules(&WINDOWS_DOWN, down) };
        // What Kubernetes fills in is worth a try of its own, in either direction and in both.
        let both = draw.random::<f64>() < STANDARD;
        let [up, down] = [0; 2].map(|_| both || draw.random::<f64>() < STANDARD);
        if up {
            behavior.scale_up = Behavior::default().scale_up;
        }
        if down {
            behavior.scale_down = Behavior::default().scale_down;
        }
        let floor = draw.random::<f64>() < 0.5;
        let highest = f64::from(peak.max(least + 1));
        let min_replicas =
            if floor { between(draw, f64::from(least.max(1)), highest).round() as u32 } else { least };
        Self { min_replicas, target_percent: draw.random_range(20..=95), behavior }
    }

    fn manifest(&self, scenario: &Scenario) -> String {
        let most = scenario.limits().max().get();
        let range = Range { min: self.min_replicas.min(most) as i32, max: most as i32 };
        HpaSpec::cpu_manifest(scenario.name(), range, self.target_percent, &self.behavior)
    }
}

impl fmt::Display for Rule {
    /// Its parameters on a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forecast = |forecast: &ForecastConfig| match forecast {
            ForecastConfig::Linear { window } => format!("line through {window}"),
            ForecastConfig::HoltWinters { alpha, beta, damping, .. } => {
                format!("Holt α {alpha} β {beta} φ {damping}")
            }
        };
        match self {
            Self::Hpa(HpaRule { min_replicas, target_percent, behavior }) => {
                let rules = |rules: &ScalingRules| {
                    let policies: Vec<String> = rules
                        .policies
                        .iter()
                        .map(|p| match p.kind {
                            PolicyType::Percent => format!("{} %/{} s", p.value, p.period_seconds),
                            PolicyType::Pods => format!("{} pods/{} s", p.value, p.period_seconds),
                        })
                        .collect();
                    let tolerance = rules.tolerance.map_or(String::new(), |t| format!(" tolerance {t}"));
                    let window = rules.stabilization_window_seconds;
                    format!("{window} s, {}{tolerance}", policies.join(" or "))
                };
                let (up, down) = (rules(&behavior.scale_up), rules(&behavior.scale_down));
                write!(f, "target {target_percent} %, min {min_replicas}, up {up}; down {down}")
            }
            Self::Predictive(c) => write!(
                f,
                "target {:.0} %, start-up {} s, {}, down {} s",
                100.0 * c.target_utilization,
                c.startup_s,
                forecast(&c.forecast),
                c.stabilization_s
            ),
            Self::SquareRoot(c) => write!(f, "β {}, down {} s", c.beta, c.stabilization_s),
            Self::Lcp(c) => {
                write!(f, "target {:.0} %, a start costs {} s", 100.0 * c.target_utilization, c.start_s)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;

    #[test]
    fn whatever_is_drawn_can_be_made_and_written_and_read_back() {
        let scenario = Scenario::builtin("match-day").expect("built in");
        let mut draw = Seed::root(1).stream();
        for kind in [RuleKind::Hpa, RuleKind::Predictive, RuleKind::SquareRoot, RuleKind::Lcp] {
            assert!(Rule::standard(kind, &scenario).make(&scenario).is_ok());
            for _ in 0..200 {
                let rule = Rule::draw(kind, &scenario, 40, &mut draw);
                let other = Rule::draw(kind, &scenario, 40, &mut draw);
                let rule = rule.mixed(&other, &mut draw);
                assert!(rule.make(&scenario).is_ok(), "{rule}");
                let (name, text) = rule.file(&scenario).expect("it can be written");
                if name == "tuned.toml" {
                    assert_eq!(toml::from_str::<Rule>(&text).expect("it can be read"), rule);
                }
            }
        }
    }
}
