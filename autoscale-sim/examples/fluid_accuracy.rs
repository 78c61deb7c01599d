//! The fluid engine against the request engine: response times and verdicts of every control interval against the
//! mean over replications, and what five policies cost. Prints Markdown tables.
//!
//! `cargo run --release -p autoscale-sim --example fluid_accuracy`

#![expect(clippy::print_stdout, reason = "the tables are the result")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::Policy;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::run_episode;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Replicas, RequestRate, Utilization};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::clairvoyant::clairvoyant_schedule;
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::{Dispatch, Engine, Scenario, ScenarioConfig};
use rand::RngExt;
use rayon::prelude::*;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL_S: u64 = 15;
const INTERVAL: Duration = Duration::from_secs(INTERVAL_S);
const LENGTH: Duration = Duration::from_secs(3600);
const REPLICATIONS: u64 = 20;
/// An interval counts as congested from this utilisation on.
const CONGESTED: f64 = 0.8;
/// An interval violates the objective when a larger share of its requests does.
const VERDICT: f64 = 0.05;
/// The first minute belongs to the scale-up to the wanted count.
const SKIPPED: usize = 4;

type Failure = Box<dyn Error + Send + Sync>;

/// What an interval shows.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    p95: f64,
    violations: f64,
    utilisation: f64,
}

fn episode(scenario: &Arc<Scenario>, seed: Seed, mut policy: impl Policy) -> Result<EpisodeRecord, Failure> {
    let mut world = Simulator::new(Arc::clone(scenario), LENGTH)?;
    run_episode(&mut world, &mut policy, seed, &mut ());
    Ok(world.record().clone())
}

/// The scenario with this dispatch, for each engine.
fn engines(name: &str, dispatch: Dispatch) -> Result<[Arc<Scenario>; 2], Failure> {
    let source = Scenario::builtin_source(name).ok_or("no such scenario")?;
    let mut config = ScenarioConfig::from_toml(source, name)?;
    config.service.dispatch = dispatch;
    both(&config.check(name, Path::new(""))?)
}

fn both(scenario: &Scenario) -> Result<[Arc<Scenario>; 2], Failure> {
    let with = |engine| scenario.with_engine(engine).map(Arc::new);
    Ok([with(Engine::Request)?, with(Engine::Fluid)?])
}

/// The same under exactly these rates, whatever the seed.
fn replay(
    name: &str,
    dispatch: Dispatch,
    rates: &[RequestRate],
    folder: &Path,
) -> Result<[Arc<Scenario>; 2], Failure> {
    let mut csv = "time_s,rps\n".to_owned();
    for (k, rate) in rates.iter().enumerate() {
        writeln!(csv, "{},{}", k as u64 * INTERVAL_S, rate.per_second())?;
    }
    std::fs::write(folder.join("load.csv"), csv)?;
    let source = Scenario::builtin_source(name).ok_or("no such scenario")?;
    let mut config = ScenarioConfig::from_toml(source, name)?;
    config.service.dispatch = dispatch;
    config.load = None;
    config.noise.relative_sd = 0.0;
    config.trace = Some(autoscale_sim::load::TraceConfig::new("load.csv".into()));
    config.episode.warmup_s = 0;
    both(&config.check(name, folder)?)
}

/// Means over replications of what each interval shows.
fn figures<P: Policy>(
    scenario: &Arc<Scenario>,
    policy: impl Fn() -> P + Sync,
) -> Result<Vec<Figures>, Failure> {
    let capacity = scenario.pod_capacity().per_second();
    let runs: Vec<Vec<Figures>> = (1..=REPLICATIONS)
        .into_par_iter()
        .map(|seed| {
            let record = episode(scenario, Seed::root(seed), policy())?;
            let figures = record.intervals.iter().map(|interval| {
                let ended = interval.requests.in_time + interval.requests.violations();
                Figures {
                    p95: interval.latency.map_or(0.0, |l| l.p95.as_secs_f64()),
                    violations: interval.requests.violations() as f64 / ended.max(1) as f64,
                    utilisation: interval.offered.per_second() / (interval.mean_ready * capacity),
                }
            });
            Ok(figures.collect())
        })
        .collect::<Result<_, Failure>>()?;
    let mean = |k: usize, read: fn(&Figures) -> f64| {
        runs.iter().map(|run| read(&run[k])).sum::<f64>() / runs.len() as f64
    };
    let all = (0..runs[0].len()).map(|k| Figures {
        p95: mean(k, |f| f.p95),
        violations: mean(k, |f| f.violations),
        utilisation: mean(k, |f| f.utilisation),
    });
    Ok(all.collect())
}

/// Errors of p95 in calm and congested intervals, and how many verdicts agree of how many.
#[derive(Default)]
struct Errors {
    calm: Vec<f64>,
    congested: Vec<f64>,
    agree: usize,
}

impl Errors {
    fn add(&mut self, truth: &[Figures], found: &[Figures]) {
        for (truth, found) in truth.iter().zip(found).skip(SKIPPED) {
            let error = (found.p95 / truth.p95 - 1.0).abs();
            if truth.utilisation < CONGESTED {
                self.calm.push(error);
            } else {
                self.congested.push(error);
            }
            self.agree += usize::from((found.violations > VERDICT) == (truth.violations > VERDICT));
        }
    }

    fn row(&self) -> String {
        let median = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).map_or("-".to_owned(), |v| format!("{:.1} %", 100.0 * v))
        };
        let n = self.calm.len() + self.congested.len();
        let agree = 100.0 * self.agree as f64 / n as f64;
        format!("{} | {} | {n} | {agree:.1} %", median(&self.calm), median(&self.congested))
    }
}

fn intervals(dispatch: Dispatch) -> Result<(), Failure> {
    println!("## {dispatch}: interval by interval\n");
    println!(
        "| scenario | busy on average | pods | p95 error, calm | congested | intervals | verdicts agree |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (mut constant, mut changing) = (Errors::default(), Errors::default());
    for name in Scenario::builtin_names() {
        let original = Arc::new(Scenario::builtin(name).ok_or("no such scenario")?);
        let seed = Seed::root(7);
        let path = episode(&original, seed, Fixed::new(Replicas::ONE, INTERVAL))?;
        let offered: Vec<RequestRate> = path.intervals.iter().map(|i| i.offered).collect();
        let mean = offered.iter().map(|r| r.per_second()).sum::<f64>() / offered.len() as f64;
        let folder = tempfile::tempdir()?;
        let [request, fluid] = replay(name, dispatch, &offered, folder.path())?;
        for busy in [0.5, 0.7, 0.9] {
            let pods = Replicas::from_ceil(mean / original.pod_capacity().per_second() / busy);
            let policy = || Fixed::new(pods, INTERVAL);
            let (truth, found) = (figures(&request, policy)?, figures(&fluid, policy)?);
            let mut errors = Errors::default();
            errors.add(&truth, &found);
            constant.add(&truth, &found);
            println!("| {name} | {busy} | {} | {} |", pods.get(), errors.row());
        }
        let busy = Utilization::from_fraction(0.8);
        let plan = clairvoyant_schedule(&original, seed, LENGTH, busy);
        let policy = || Schedule::new(plan.clone(), INTERVAL);
        let (truth, found) = (figures(&request, policy)?, figures(&fluid, policy)?);
        let mut errors = Errors::default();
        errors.add(&truth, &found);
        changing.add(&truth, &found);
        println!("| {name} | | changing | {} |", errors.row());
    }
    println!("| all | | constant | {} |", constant.row());
    println!("| all | | changing | {} |\n", changing.row());
    Ok(())
}

const POLICIES: [&str; 5] = ["constant", "HPA 50 %", "HPA 80 %", "clairvoyant", "random"];

/// Mean costs of an episode under each of the policies.
fn costs(scenario: &Arc<Scenario>) -> Result<[f64; 5], Failure> {
    let need = scenario.mean_load().per_second() / scenario.pod_capacity().per_second();
    let hpa = |target| {
        Hpa::new(HpaConfig { target_utilization_percent: target, ..HpaConfig::default() })
            .map_err(|e| Failure::from(e.to_string()))
    };
    let (fifty, eighty) = (hpa(50)?, hpa(80)?);
    let clairvoyant = |seed| clairvoyant_schedule(scenario, seed, LENGTH, Utilization::from_fraction(0.65));
    let random = |seed: Seed| -> Vec<Replicas> {
        let mut stream = seed.child("random-policy").stream();
        let most = (4.0 * need) as u32;
        (0..LENGTH.as_secs() / INTERVAL_S).map(|_| Replicas::new(stream.random_range(1..=most))).collect()
    };
    let run = |seed, policy: usize| match policy {
        0 => episode(scenario, seed, Fixed::new(Replicas::from_ceil(2.0 * need), INTERVAL)),
        1 => episode(scenario, seed, fifty.clone()),
        2 => episode(scenario, seed, eighty.clone()),
        3 => episode(scenario, seed, Schedule::new(clairvoyant(seed), INTERVAL)),
        _ => episode(scenario, seed, Schedule::new(random(seed), INTERVAL)),
    };
    let mut means = [0.0; 5];
    for (policy, mean) in means.iter_mut().enumerate() {
        let all: Vec<f64> = (0..REPLICATIONS)
            .into_par_iter()
            .map(|k| {
                let record = run(Seed::root(1).episode(Branch::Test, k), policy)?;
                Ok(-scenario.weights().price(&record.totals).total())
            })
            .collect::<Result<_, Failure>>()?;
        *mean = all.iter().sum::<f64>() / all.len() as f64;
    }
    Ok(means)
}

fn ranking(costs: &[f64; 5]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|&a, &b| costs[a].total_cmp(&costs[b]));
    order
}

fn policies(dispatch: Dispatch) -> Result<(), Failure> {
    println!("## {dispatch}: what five policies cost an hour, by requests / as a flow\n");
    println!("| scenario | {} | ranking |", POLICIES.join(" | "));
    println!("|---|---|---|---|---|---|---|");
    for name in Scenario::builtin_names() {
        let [request, fluid] = engines(name, dispatch)?;
        let (truth, found) = (costs(&request)?, costs(&fluid)?);
        let cells: Vec<String> = truth.iter().zip(&found).map(|(t, f)| format!("{t:.2} / {f:.2}")).collect();
        let same = if ranking(&truth) == ranking(&found) { "the same" } else { "**differs**" };
        println!("| {name} | {} | {same} |", cells.join(" | "));
    }
    println!();
    Ok(())
}

fn main() -> Result<(), Failure> {
    for dispatch in [Dispatch::Random, Dispatch::LeastOutstanding] {
        intervals(dispatch)?;
        policies(dispatch)?;
    }
    Ok(())
}
