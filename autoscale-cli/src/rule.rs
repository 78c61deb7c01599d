//! Rule-based policies as data: what can be tuned, drawn at random, written to a file and read back.

use crate::run_folder::TUNED;
use anyhow::{Context, Result};
use autoscale_core::policy::Policy;
use autoscale_core::seed::{Branch, Seed, Stream};
use autoscale_core::units::{RequestRate, TimeOfWeek};
use autoscale_policies::cron::{CronConfig, CronFit, CronPolicy, Weekends};
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
    /// KEDA's cron triggers, a schedule fitted to training episodes.
    Cron,
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hpa => "hpa",
            Self::Predictive => "predictive",
            Self::SquareRoot => "square-root",
            Self::Lcp => "lcp",
            Self::Cron => "cron",
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

/// A schedule, and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CronRule {
    pub(crate) fit: CronFit,
    pub(crate) schedule: CronConfig,
}

/// A rule with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "policy")]
pub(crate) enum Rule {
    Hpa(HpaRule),
    Predictive(PredictiveConfig),
    SquareRoot(SquareRootConfig),
    Lcp(LcpConfig),
    Cron(CronRule),
}

/// Where rules of a kind come from: the kind, the scenario, and what of the scenario's load is known.
pub(crate) struct Space<'a> {
    kind: RuleKind,
    scenario: &'a Scenario,
    /// The load of training episodes, minute by minute; only a schedule is fitted to it.
    record: Vec<(TimeOfWeek, RequestRate)>,
}

/// A schedule is fitted to so much load, in seconds: four weeks.
const RECORDED_S: u64 = 28 * 86_400;

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

/// Half of the time the least that is possible.
fn minimum(least: u32, peak: u32, draw: &mut Stream) -> u32 {
    let raised = draw.random::<f64>() < 0.5;
    let highest = f64::from(peak.max(least + 1));
    if raised { between(draw, f64::from(least.max(1)), highest).round() as u32 } else { least }
}

const SLOTS: [u32; 7] = [5, 10, 15, 30, 60, 120, 1440];
const LEADS_S: [f64; 5] = [0.0, 60.0, 120.0, 300.0, 600.0];
const WINDOWS_UP: [u32; 6] = [0, 0, 0, 15, 30, 60];
const WINDOWS_DOWN: [u32; 8] = [0, 15, 30, 60, 120, 180, 300, 600];
/// How often a parameter is the other's where two rules are mixed.
const OTHERS: f64 = 0.35;
/// How often it is a little more or less than it was.
const NEAR: f64 = 0.25;
/// How often a direction keeps the rules that it has without `behavior`.
const STANDARD: f64 = 0.3;
const TOLERANCES: [Option<f64>; 6] = [None, None, Some(0.0), Some(0.02), Some(0.05), Some(0.2)];

impl<'a> Space<'a> {
    /// The rules of this kind for the scenario. What they are fitted to are its training episodes.
    pub(crate) fn new(kind: RuleKind, scenario: &'a Scenario) -> Self {
        let record = if kind == RuleKind::Cron {
            let (of_training, length) = (scenario.on(Branch::Train), scenario.training_episode());
            let root = Seed::root(0).child("recorded-load");
            let episodes = RECORDED_S.div_ceil(length.as_secs().max(1));
            let loads =
                (0..episodes).map(|k| of_training.recorded_load(root.episode(Branch::Train, k), length));
            loads.flatten().collect()
        } else {
            Vec::new()
        };
        Self { kind, scenario, record }
    }

    /// The rule as it comes.
    pub(crate) fn standard(&self) -> Rule {
        let (scenario, kind) = (self.scenario, self.kind);
        match kind {
            RuleKind::Hpa => Rule::Hpa(HpaRule {
                min_replicas: scenario.limits().min().get(),
                target_percent: 80,
                behavior: Behavior::default(),
            }),
            RuleKind::Predictive => {
                let startup_s = rounded(scenario.config().startup.typical_s(), 1.0);
                Rule::Predictive(PredictiveConfig { startup_s, ..PredictiveConfig::default() })
            }
            RuleKind::SquareRoot => Rule::SquareRoot(SquareRootConfig::default()),
            RuleKind::Lcp => Rule::Lcp(LcpConfig::default()),
            RuleKind::Cron => self.fitted(CronFit::default()),
        }
    }

    /// A rule with random parameters; an HPA's `minReplicas` go up to `peak`.
    pub(crate) fn draw(&self, peak: u32, draw: &mut Stream) -> Rule {
        let scenario = self.scenario;
        match self.kind {
            RuleKind::Hpa => Rule::Hpa(HpaRule::draw(scenario.limits().min().get(), peak, draw)),
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
                Rule::Predictive(PredictiveConfig {
                    target_utilization: rounded(draw.random_range(0.2..=0.95), 100.0),
                    min_replicas: minimum(scenario.limits().min().get(), peak, draw),
                    startup_s: rounded(startup, 1.0),
                    forecast,
                    stabilization_s: f64::from(one(draw, &WINDOWS_DOWN)),
                })
            }
            RuleKind::SquareRoot => Rule::SquareRoot(SquareRootConfig {
                beta: rounded(draw.random_range(0.0..=12.0), 10.0),
                stabilization_s: f64::from(one(draw, &WINDOWS_DOWN)),
            }),
            RuleKind::Lcp => Rule::Lcp(LcpConfig {
                target_utilization: rounded(draw.random_range(0.1..=0.95), 100.0),
                start_s: rounded(between(draw, 10.0, 3600.0), 1.0),
            }),
            RuleKind::Cron => self.fitted(CronFit {
                slot_minutes: one(draw, &SLOTS),
                weekends: one(draw, &[Weekends::Alike, Weekends::Apart]),
                quantile: rounded(1.0 - 0.5 * draw.random::<f64>().powi(2), 1000.0),
                target_utilization: rounded(draw.random_range(0.2..=0.95), 100.0),
                lead_s: one(draw, &LEADS_S),
            }),
        }
    }

    /// The schedule that this makes of the recorded load.
    fn fitted(&self, fit: CronFit) -> Rule {
        let limits = self.scenario.limits();
        let service = self.scenario.config().service.workers;
        let capacity = PodCapacity::new(self.scenario.pod_capacity(), service);
        let schedule = capacity.and_then(|pod| fit.fit(&self.record, pod, (limits.min(), limits.max())));
        Rule::Cron(CronRule { fit, schedule: schedule.expect("what is drawn is in range") })
    }

    /// A rule that has each of its parameters from one or, now and then, from another.
    pub(crate) fn mixed(&self, own: &Rule, other: &Rule, draw: &mut Stream) -> Rule {
        let step = between(draw, 0.8, 1.25);
        let near = |value: u32| (f64::from(value) * step).round() as u32;
        let mut chance = || draw.random::<f64>();
        match (own.clone(), other) {
            (Rule::Hpa(mut own), Rule::Hpa(other)) => {
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
                Rule::Hpa(own)
            }
            (Rule::Predictive(mut own), Rule::Predictive(other)) => {
                if chance() < OTHERS {
                    let middle = f64::midpoint(own.target_utilization, other.target_utilization);
                    own.target_utilization = rounded(middle, 100.0);
                }
                if chance() < OTHERS {
                    own.startup_s = other.startup_s;
                }
                match chance() {
                    u if u < OTHERS => own.min_replicas = other.min_replicas,
                    u if u < OTHERS + NEAR => own.min_replicas = near(own.min_replicas),
                    _ => {}
                }
                if chance() < OTHERS {
                    own.forecast = other.forecast;
                }
                if chance() < OTHERS {
                    own.stabilization_s = other.stabilization_s;
                }
                Rule::Predictive(own)
            }
            (Rule::SquareRoot(mut own), Rule::SquareRoot(other)) => {
                if chance() < OTHERS {
                    own.beta = rounded(f64::midpoint(own.beta, other.beta), 10.0);
                }
                if chance() < OTHERS {
                    own.stabilization_s = other.stabilization_s;
                }
                Rule::SquareRoot(own)
            }
            (Rule::Lcp(mut own), Rule::Lcp(other)) => {
                if chance() < OTHERS {
                    let middle = f64::midpoint(own.target_utilization, other.target_utilization);
                    own.target_utilization = rounded(middle, 100.0);
                }
                if chance() < OTHERS {
                    own.start_s = other.start_s;
                }
                Rule::Lcp(own)
            }
            (Rule::Cron(own), Rule::Cron(other)) => {
                let (mut fit, other) = (own.fit, other.fit);
                if chance() < OTHERS {
                    fit.slot_minutes = other.slot_minutes;
                }
                if chance() < OTHERS {
                    fit.weekends = other.weekends;
                }
                if chance() < OTHERS {
                    fit.quantile = rounded(f64::midpoint(fit.quantile, other.quantile), 1000.0);
                }
                if chance() < OTHERS {
                    let middle = f64::midpoint(fit.target_utilization, other.target_utilization);
                    fit.target_utilization = rounded(middle, 100.0);
                }
                if chance() < OTHERS {
                    fit.lead_s = other.lead_s;
                }
                self.fitted(fit)
            }
            (own, _) => own,
        }
    }
}

impl Rule {
    /// Which rule it is.
    pub(crate) const fn kind(&self) -> RuleKind {
        match self {
            Self::Hpa(_) => RuleKind::Hpa,
            Self::Predictive(_) => RuleKind::Predictive,
            Self::SquareRoot(_) => RuleKind::SquareRoot,
            Self::Lcp(_) => RuleKind::Lcp,
            Self::Cron(_) => RuleKind::Cron,
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
            Self::Cron(cron) => Box::new(CronPolicy::new(cron.schedule.clone())?),
        })
    }

    /// Name and content of the file that holds it: a manifest of an HPA, TOML of the others.
    pub(crate) fn file(&self, scenario: &Scenario) -> Result<(&'static str, String)> {
        Ok(match self {
            Self::Hpa(hpa) => (TUNED[0], hpa.manifest(scenario)),
            other => (TUNED[1], toml::to_string_pretty(other)?),
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
        let min_replicas = minimum(least, peak, draw);
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
                "target {:.0} %, min {}, start-up {} s, {}, down {} s",
                100.0 * c.target_utilization,
                c.min_replicas,
                c.startup_s,
                forecast(&c.forecast),
                c.stabilization_s
            ),
            Self::SquareRoot(c) => write!(f, "β {}, down {} s", c.beta, c.stabilization_s),
            Self::Cron(c) => write!(
                f,
                "slots of {} min, {}quantile {}, target {:.0} %, {} s ahead",
                c.fit.slot_minutes,
                if c.fit.weekends == Weekends::Apart { "weekends apart, " } else { "" },
                c.fit.quantile,
                100.0 * c.fit.target_utilization,
                c.fit.lead_s
            ),
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
        for &kind in RuleKind::value_variants() {
            let space = Space::new(kind, &scenario);
            assert!(space.standard().make(&scenario).is_ok());
            for _ in 0..200 {
                let rule = space.draw(40, &mut draw);
                let other = space.draw(40, &mut draw);
                let rule = space.mixed(&rule, &other, &mut draw);
                assert!(rule.make(&scenario).is_ok(), "{rule}");
                let (name, text) = rule.file(&scenario).expect("it can be written");
                if name == "tuned.toml" {
                    assert_eq!(toml::from_str::<Rule>(&text).expect("it can be read"), rule);
                }
            }
        }
    }
}
