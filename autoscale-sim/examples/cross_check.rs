//! The cases of `experiments/cross-check/cases.json` in this simulator, as CSV: one line per case, bin and figure,
//! over independent replications. `cargo run --release -p autoscale-sim --example cross_check > ours.csv`

#![expect(clippy::print_stdout, reason = "the table is the result")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;
use autoscale_sim::scenario::{Scenario, ScenarioConfig};
use autoscale_sim::world::{RequestEnd, World};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[derive(Deserialize)]
struct Settings {
    replications: u64,
    bin_s: u64,
    step_s: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    workers: u32,
    demand: serde_json::Value,
    queue_capacity: Option<u32>,
    timeout_ms: Option<u32>,
    rates: Vec<f64>,
    /// Pods in each step; always one when absent.
    replicas: Option<Vec<u32>>,
}

impl Case {
    /// Pods that come and go at once, and whose load is that of the case from its first second on.
    fn scenario(&self, step_s: u64, folder: &Path) -> Result<Scenario, Box<dyn Error>> {
        let mut trace = "time_s,rps\n".to_owned();
        for (k, rate) in self.rates.iter().enumerate() {
            writeln!(trace, "{},{rate}", k as u64 * step_s)?;
        }
        std::fs::write(folder.join("load.csv"), trace)?;
        let length = self.rates.len() as u64 * step_s;
        let demand = toml::Value::try_from(&self.demand)?;
        let optional =
            |name: &str, value: Option<u32>| value.map_or(String::new(), |v| format!("{name} = {v}\n"));
        let text = format!(
            r#"
name = "cross-check"
limits = {{ min_replicas = 1, max_replicas = {most} }}
trace = {{ path = "load.csv" }}
[episode]
control_interval_s = {step_s}
training_s = {length}
evaluation_s = {length}
warmup_s = 0
drain_s = 60
[startup]
scheduling_median_s = 0.001
scheduling_sigma = 0
image_cached = 1
ready_median_s = 0.001
ready_sigma = 0
endpoint_delay_s = 0
[termination]
endpoint_delay_s = 0
grace_s = 3600
[service]
workers = {workers}
dispatch = "random"
cpu_request_milli = 1000
cpu_limit_milli = {limit}
demand = {demand}
{queue}{timeout}"#,
            most = if self.replicas.is_some() { 50 } else { 1 },
            workers = self.workers,
            limit = 1000 * self.workers,
            queue = optional("queue_capacity", self.queue_capacity),
            timeout = optional("timeout_ms", self.timeout_ms),
        );
        Ok(ScenarioConfig::from_toml(&text, &self.name)?.check(&self.name, folder)?)
    }

    /// Figures of one replication by bin of arrival.
    fn figures(
        &self,
        scenario: &Arc<Scenario>,
        settings: &Settings,
        seed: u64,
    ) -> BTreeMap<(usize, usize), f64> {
        let length = Duration::from_secs(self.rates.len() as u64 * settings.step_s);
        let mut world = World::new(Arc::clone(scenario), length).with_request_log();
        world.reset(Seed::root(seed), Cadence::every(Duration::from_secs(settings.step_s)));
        let bins = (length.as_secs() / settings.bin_s) as usize;
        let (mut answered, mut refused, mut timed_out) =
            (vec![Vec::new(); bins], vec![0u32; bins], vec![0u32; bins]);
        for step in 0.. {
            let replicas = self.replicas.as_ref().map_or(1, |replicas| replicas[step]);
            let decision = Decision::scale_to(Replicas::new(replicas), Reason::rule("cross-check"));
            if world.step(decision).is_ok_and(|outcome| outcome.end.is_some()) {
                break;
            }
        }
        for request in world.requests() {
            let bin = (request.arrived.as_secs_f64() as u64 / settings.bin_s) as usize;
            match request.end {
                RequestEnd::Answered => answered[bin].push(request.left.since(request.arrived).as_secs_f64()),
                RequestEnd::TimedOut => timed_out[bin] += 1,
                RequestEnd::Refused | RequestEnd::Lost => refused[bin] += 1,
            }
        }
        let mut figures = BTreeMap::new();
        for (bin, times) in answered.iter_mut().enumerate() {
            times.sort_by(f64::total_cmp);
            let n = times.len();
            let arrived = n as f64 + f64::from(refused[bin]) + f64::from(timed_out[bin]);
            figures.insert((bin, 0), times.iter().sum::<f64>() / n as f64);
            figures.insert((bin, 1), times[((n as f64 * 0.95).ceil() as usize).max(1) - 1]);
            if self.queue_capacity.is_some() {
                figures.insert((bin, 2), f64::from(refused[bin]) / arrived);
                figures.insert((bin, 3), f64::from(timed_out[bin]) / arrived);
            }
        }
        figures
    }
}

const FIGURES: [&str; 4] = ["mean response [s]", "p95 response [s]", "refused [1]", "timed out [1]"];

fn main() -> Result<(), Box<dyn Error>> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/cross-check/cases.json");
    let settings: Settings = serde_json::from_str(&std::fs::read_to_string(cases)?)?;
    println!("case,bin,figure,mean,standard_error");
    for case in &settings.cases {
        let folder = tempfile::tempdir()?;
        let scenario = Arc::new(case.scenario(settings.step_s, folder.path())?);
        let mut found: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
        for seed in 1..=settings.replications {
            for (key, value) in case.figures(&scenario, &settings, seed) {
                found.entry(key).or_default().push(value);
            }
        }
        for ((bin, figure), values) in found {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
            println!("{},{bin},{},{mean:.9},{:.6e}", case.name, FIGURES[figure], (variance / n).sqrt());
        }
    }
    Ok(())
}
