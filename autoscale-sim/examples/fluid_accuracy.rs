//! The fluid engine's kernel against requests: the same load path, a constant number of pods, response times and
//! violations of every control interval against the mean over replications. Prints a Markdown table.
//!
//! `cargo run --release -p autoscale-sim --example fluid_accuracy`

#![expect(clippy::print_stdout, reason = "the table is the result")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_sim::fluid::{FluidFlow, FluidModel, FluidStation};
use autoscale_sim::scenario::{Dispatch, Scenario, ScenarioConfig};
use autoscale_sim::world::World;
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

/// What an interval shows.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    p95: f64,
    violations: f64,
}

fn episode(scenario: &Arc<Scenario>, seed: u64, pods: u32) -> World {
    let mut world = World::new(Arc::clone(scenario), LENGTH);
    world.reset(Seed::root(seed), Cadence::every(INTERVAL));
    let decision = Decision::scale_to(Replicas::new(pods), Reason::rule("accuracy"));
    while world.step(decision).is_ok_and(|outcome| outcome.end.is_none()) {}
    world
}

/// The same service under exactly these rates.
fn replay(
    name: &str,
    dispatch: Dispatch,
    rates: &[RequestRate],
    folder: &Path,
) -> Result<Scenario, Box<dyn Error>> {
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
    Ok(config.check(name, folder)?)
}

fn requests(scenario: &Arc<Scenario>, pods: u32) -> Vec<Figures> {
    let runs: Vec<Vec<Figures>> = (1..=REPLICATIONS)
        .into_par_iter()
        .map(|seed| {
            let world = episode(scenario, seed, pods);
            let figures = world.record().intervals.iter().map(|interval| {
                let ended = interval.requests.in_time + interval.requests.violations();
                Figures {
                    p95: interval.latency.map_or(0.0, |l| l.p95.as_secs_f64()),
                    violations: interval.requests.violations() as f64 / ended.max(1) as f64,
                }
            });
            figures.collect()
        })
        .collect();
    (0..runs[0].len())
        .map(|k| {
            let mean = |read: fn(&Figures) -> f64| {
                runs.iter().map(|run| read(&run[k])).sum::<f64>() / runs.len() as f64
            };
            Figures { p95: mean(|f| f.p95), violations: mean(|f| f.violations) }
        })
        .collect()
}

/// The kernel's figures.
fn fluid(scenario: &Scenario, rates: &[RequestRate], pods: u32) -> Result<Vec<Figures>, Box<dyn Error>> {
    let model = FluidModel::new(scenario)?;
    let mut station = FluidStation::new(&model, Replicas::new(pods));
    let mut flow = FluidFlow::new(&model);
    let figures: Vec<Figures> = rates
        .iter()
        .map(|&rate| {
            flow.clear();
            station.advance(&model, &[rate; INTERVAL_S as usize], &mut flow);
            Figures {
                p95: flow.latency(&model).map_or(0.0, |l| l.p95.as_secs_f64()),
                violations: 1.0 - flow.in_time(&model) / flow.arrived.max(1e-9),
            }
        })
        .collect();
    Ok(figures)
}

fn median(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).map_or("-".to_owned(), |v| format!("{:.1} %", 100.0 * v))
}

fn main() -> Result<(), Box<dyn Error>> {
    for dispatch in [Dispatch::Random, Dispatch::LeastOutstanding] {
        constant_pods(dispatch)?;
    }
    Ok(())
}

fn constant_pods(dispatch: Dispatch) -> Result<(), Box<dyn Error>> {
    println!("{dispatch}:\n");
    println!(
        "| scenario | busy on average | pods | p95 error, calm | congested | intervals | verdicts agree |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (mut calm, mut congested, mut agree, mut all) = (Vec::new(), Vec::new(), 0, 0);
    for name in Scenario::builtin_names() {
        let original = Arc::new(Scenario::builtin(name).ok_or("no such scenario")?);
        for busy in [0.5, 0.7, 0.9] {
            let capacity = original.pod_capacity().per_second();
            let offered: Vec<RequestRate> =
                episode(&original, 7, 1).record().intervals.iter().map(|i| i.offered).collect();
            let mean = offered.iter().map(|r| r.per_second()).sum::<f64>() / offered.len() as f64;
            let pods = (mean / capacity / busy).ceil() as u32;
            let folder = tempfile::tempdir()?;
            let scenario = Arc::new(replay(name, dispatch, &offered, folder.path())?);
            let truth = requests(&scenario, pods);
            let found = fluid(&scenario, &offered, pods)?;
            let (mut own_calm, mut own_congested, mut own_agree) = (Vec::new(), Vec::new(), 0);
            // The first minute belongs to the start from empty pods.
            for ((truth, found), rate) in truth.iter().zip(&found).zip(&offered).skip(4) {
                let error = (found.p95 / truth.p95 - 1.0).abs();
                let utilisation = rate.per_second() / (f64::from(pods) * capacity);
                if utilisation < CONGESTED {
                    own_calm.push(error);
                } else {
                    own_congested.push(error);
                }
                own_agree += usize::from((found.violations > VERDICT) == (truth.violations > VERDICT));
            }
            let n = own_calm.len() + own_congested.len();
            calm.extend(&own_calm);
            congested.extend(&own_congested);
            agree += own_agree;
            all += n;
            println!(
                "| {name} | {busy} | {pods} | {} | {} | {n} | {:.1} % |",
                median(own_calm),
                median(own_congested),
                100.0 * own_agree as f64 / n as f64
            );
        }
    }
    println!(
        "| all | | | {} | {} | {all} | {:.1} % |",
        median(calm),
        median(congested),
        100.0 * agree as f64 / all as f64
    );
    Ok(())
}
