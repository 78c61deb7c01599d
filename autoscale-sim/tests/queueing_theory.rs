//! The simulator against queueing theory: 20 independent replications a configuration, seeds 1 to 20, at run
//! lengths where three standard errors are at most 1 %. Every figure must be within three standard errors;
//! 40 independent ones would all be within 4.5 with 99 %, so this is stricter than it need be, at these seeds.
//!
//! `AUTOSCALE_ORACLE_LENGTH=10 cargo test -p autoscale-sim --test queueing_theory -- --nocapture` runs ten times
//! as long.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how close simulation and theory are")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::seed::Seed;
use autoscale_sim::oracle::{
    erlang_b, mg1_mean_wait, mm1_response_quantile, mmc_mean_wait, mmc_wait_quantile, mmck,
};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::{RequestEnd, World};
use rayon::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Arrivals per second.
const RATE: f64 = 1000.0;
const REPLICATIONS: u64 = 20;
const STANDARD_ERRORS: f64 = 3.0;

/// Pods of some workers each, requests spread at random.
#[derive(Clone, Copy)]
struct Station {
    pods: u32,
    workers: u32,
    discipline: &'static str,
    /// Offered load per worker.
    busy: f64,
    demand: &'static str,
    cv: Option<f64>,
    queue: Option<u32>,
    /// Simulated time of a replication.
    length_s: u64,
}

const MM: Station = Station {
    pods: 1,
    workers: 1,
    discipline: "fifo",
    busy: 0.5,
    demand: "exponential",
    cv: None,
    queue: None,
    length_s: 600,
};

impl Station {
    fn service(&self) -> Duration {
        Duration::from_secs_f64(self.busy * f64::from(self.workers * self.pods) / RATE)
    }

    fn scenario(&self) -> Arc<Scenario> {
        let Self { pods, workers, discipline, demand, .. } = self;
        let mean_ms = self.service().as_secs_f64() * 1000.0;
        let cv = self.cv.map_or(String::new(), |cv| format!(", cv = {cv}"));
        let queue = self.queue.map_or(String::new(), |q| format!("queue_capacity = {q}"));
        let text = format!(
            r#"
name = "oracle"
limits = {{ min_replicas = {pods}, max_replicas = {pods} }}
load = {{ kind = "constant", rps = {RATE} }}
[episode]
warmup_s = 60
[service]
workers = {workers}
discipline = "{discipline}"
{queue}
dispatch = "random"
cpu_request_milli = 1000
cpu_limit_milli = {limit}
demand = {{ distribution = "{demand}", mean_ms = {mean_ms}{cv} }}
"#,
            limit = workers * 1000
        );
        Arc::new(Scenario::from_toml(&text, "oracle").unwrap())
    }
}

/// What one replication shows.
struct Figures {
    /// Seconds, of those answered.
    mean_wait: f64,
    mean_response: f64,
    p95_wait: f64,
    p95_response: f64,
    /// A share.
    refused: f64,
}

/// A figure with its name and what theory says.
type Check = (&'static str, fn(&Figures) -> f64, f64);

fn mean_wait(theory: Duration) -> Check {
    ("mean wait [s]", |f| f.mean_wait, theory.as_secs_f64())
}

fn mean_response(theory: Duration) -> Check {
    ("mean response [s]", |f| f.mean_response, theory.as_secs_f64())
}

fn p95_wait(theory: Duration) -> Check {
    ("p95 wait [s]", |f| f.p95_wait, theory.as_secs_f64())
}

fn p95_response(theory: Duration) -> Check {
    ("p95 response [s]", |f| f.p95_response, theory.as_secs_f64())
}

fn refused(theory: f64) -> Check {
    ("refused [1]", |f| f.refused, theory)
}

fn p95(values: &mut [f32]) -> f64 {
    let rank = ((values.len() as f64 * 0.95).ceil() as usize).clamp(1, values.len()) - 1;
    f64::from(*values.select_nth_unstable_by(rank, f32::total_cmp).1)
}

fn replicate(scenario: &Arc<Scenario>, seed: u64, length: Duration) -> Figures {
    let mut world = World::new(Arc::clone(scenario), length).with_request_log();
    world.reset(Seed::root(seed), Cadence::every(Duration::from_secs(60)));
    world.clear_requests();
    let (mut waits, mut responses, mut sum) = (Vec::new(), Vec::new(), 0.0);
    let (mut arrived, mut refused) = (0u64, 0u64);
    loop {
        let end = world.step(Decision::hold(Reason::rule("oracle"))).unwrap().end;
        for request in world.requests() {
            arrived += 1;
            if request.end == RequestEnd::Refused {
                refused += 1;
                continue;
            }
            let response = request.left.as_secs_f64() - request.arrived.as_secs_f64();
            let wait = response - request.demand.as_secs_f64();
            sum += wait;
            waits.push(wait as f32);
            responses.push(response as f32);
        }
        world.clear_requests();
        if end.is_some() {
            return Figures {
                mean_wait: sum / waits.len() as f64,
                mean_response: responses.iter().copied().map(f64::from).sum::<f64>() / responses.len() as f64,
                p95_wait: p95(&mut waits),
                p95_response: p95(&mut responses),
                refused: refused as f64 / arrived as f64,
            };
        }
    }
}

/// Runs the replications of `station` and says where a figure disagrees.
fn disagreements(name: &str, station: &Station, checks: &[Check]) -> Vec<String> {
    let scale: u64 = std::env::var_os("AUTOSCALE_ORACLE_LENGTH")
        .map_or(1, |scale| scale.to_str().and_then(|s| s.parse().ok()).expect("a whole number"));
    let (scenario, length) = (station.scenario(), Duration::from_secs(station.length_s * scale));
    let runs: Vec<Figures> =
        (1..=REPLICATIONS).into_par_iter().map(|seed| replicate(&scenario, seed, length)).collect();
    let mut wrong = Vec::new();
    for &(figure, read, theory) in checks {
        let values: Vec<f64> = runs.iter().map(read).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|m| (m - mean) * (m - mean)).sum::<f64>() / (n - 1.0);
        let error = (variance / n).sqrt();
        let off = (mean - theory) / error;
        let line = format!(
            "{name:<28} {figure:<17} simulated {mean:.6}, theory {theory:.6}, {off:+.2} standard errors of {:.3} %",
            100.0 * error / theory
        );
        println!("{line}");
        if STANDARD_ERRORS * error > 0.01 * theory || off.abs() > STANDARD_ERRORS {
            wrong.push(line);
        }
    }
    wrong
}

/// The short set.
fn configurations() -> Vec<(String, Station, Vec<Check>)> {
    let mut all = Vec::new();
    for (workers, busy, length_s) in [
        (1, 0.5, 600),
        (1, 0.8, 1500),
        (1, 0.9, 3600),
        (2, 0.6, 600),
        (2, 0.8, 1500),
        (8, 0.6, 1800),
        (8, 0.8, 1500),
        (64, 0.9, 12_000),
    ] {
        let station = Station { workers, busy, length_s, ..MM };
        let s = station.service();
        let mut checks = vec![mean_wait(mmc_mean_wait(workers, s, busy))];
        if workers == 1 {
            checks.push(p95_response(mm1_response_quantile(s, busy, 0.95)));
        }
        if workers < 8 || busy > 0.7 {
            checks.push(p95_wait(mmc_wait_quantile(workers, s, busy, 0.95)));
        }
        all.push((format!("M/M/{workers} at {busy}"), station, checks));
    }
    for (demand, cv, busy, length_s) in [
        ("deterministic", 0.0, 0.6, 600),
        ("deterministic", 0.0, 0.8, 900),
        ("gamma", 0.5, 0.7, 900),
        ("gamma", 2.0, 0.5, 1500),
        ("lognormal", 1.0, 0.7, 1500),
        ("lognormal", 1.5, 0.5, 2400),
    ] {
        let cv_field = (demand != "deterministic").then_some(cv);
        let station = Station { demand, cv: cv_field, busy, length_s, ..MM };
        let theory = mg1_mean_wait(station.service(), busy, cv);
        all.push((format!("M/G/1 {demand} cv {cv} at {busy}"), station, vec![mean_wait(theory)]));
    }
    for (workers, room, busy) in [(1, 4, 0.8), (2, 10, 0.9), (8, 8, 1.2), (4, 2, 2.0)] {
        let station = Station { workers, busy, queue: Some(room), length_s: 1200, ..MM };
        let (loss, wait) = mmck(workers, room, station.service(), busy);
        let name = format!("M/M/{workers}/{} at {busy}", workers + room);
        all.push((name, station, vec![refused(loss), mean_wait(wait)]));
    }
    for (workers, busy, demand, cv) in [
        (1, 0.5, "exponential", None),
        (8, 0.9, "exponential", None),
        (8, 0.9, "gamma", Some(2.0)),
        (8, 0.9, "deterministic", None),
        (64, 0.95, "lognormal", Some(1.0)),
    ] {
        let station = Station { workers, busy, demand, cv, queue: Some(0), length_s: 1200, ..MM };
        let theory = erlang_b(workers, busy * f64::from(workers));
        all.push((format!("M/{demand}/{workers}/{workers} at {busy}"), station, vec![refused(theory)]));
    }
    all.extend(processor_sharing());
    // Pods with queues of their own, requests spread at random: a Poisson stream split stays Poisson.
    for (pods, workers, busy) in [(4, 1, 0.7), (10, 2, 0.6)] {
        let station = Station { pods, workers, busy, length_s: 1200, ..MM };
        let theory = mmc_mean_wait(workers, station.service(), busy);
        all.push((format!("{pods} x M/M/{workers} at {busy}"), station, vec![mean_wait(theory)]));
    }
    all
}

/// The mean response of M/G/1-PS depends on the mean demand alone (Kleinrock 1967); with c workers and exponential
/// demand the number in system, and by Little's law the mean response, is that of M/M/c first come, first served.
fn processor_sharing() -> Vec<(String, Station, Vec<Check>)> {
    let sharing = Station { discipline: "processor-sharing", ..MM };
    let mut all = Vec::new();
    for (demand, cv, busy, length_s) in [
        ("exponential", None, 0.5, 600),
        ("exponential", None, 0.8, 2400),
        ("deterministic", None, 0.8, 1800),
        ("lognormal", Some(1.5), 0.7, 2400),
        ("gamma", Some(2.0), 0.5, 1200),
    ] {
        let station = Station { busy, demand, cv, length_s, ..sharing };
        let theory = station.service().div_f64(1.0 - busy);
        let cv = cv.map_or(String::new(), |cv| format!(" cv {cv}"));
        all.push((format!("M/G/1-PS {demand}{cv} at {busy}"), station, vec![mean_response(theory)]));
    }
    let station = Station { workers: 4, busy: 0.8, length_s: 1800, ..sharing };
    let theory = station.service() + mmc_mean_wait(4, station.service(), 0.8);
    all.push(("M/M/4-PS at 0.8".to_owned(), station, vec![mean_response(theory)]));
    all
}

#[test]
fn the_simulator_agrees_with_queueing_theory() {
    let all = configurations();
    let wrong: Vec<String> =
        all.iter().flat_map(|(name, station, checks)| disagreements(name, station, checks)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Mean number in system per pod, by Little's law, of `pods` single workers under a way of dispatching.
fn mean_in_system(dispatch: &str, pods: u32, busy: f64) -> f64 {
    let station = Station { pods, workers: 1, busy, ..MM };
    let text = station.scenario().to_toml().replace("\"random\"", &format!("\"{dispatch}\""));
    let scenario = Arc::new(Scenario::from_toml(&text, "dispatch").unwrap());
    let figures: Vec<Figures> = (1..=REPLICATIONS)
        .into_par_iter()
        .map(|seed| replicate(&scenario, seed, Duration::from_secs(300)))
        .collect();
    let wait = figures.iter().map(|f| f.mean_wait).sum::<f64>() / figures.len() as f64;
    busy * (1.0 + wait / station.service().as_secs_f64())
}

#[test]
fn two_choices_are_as_good_as_theory_says() {
    // With many pods the share of pods with at least i requests tends to ρ^(2^i − 1): Mitzenmacher, "The power
    // of two choices in randomized load balancing", IEEE TPDS 12(10), 2001, corollary 1; the mean is their sum.
    let busy: f64 = 0.9;
    let theory: f64 = (1..12).map(|i| libm::pow(busy, libm::exp2(f64::from(i)) - 1.0)).sum();
    let found = mean_in_system("power-of-two-choices", 100, busy);
    println!("two choices: {found:.4} in a pod, {theory:.4} with endlessly many pods");
    // The limit is approached from above; 100 pods are within a few percent of it.
    assert!((0.995..1.03).contains(&(found / theory)), "{found} against {theory}");
    let least = mean_in_system("least-outstanding", 100, busy);
    let random = mean_in_system("random", 100, busy);
    assert!(least < found && found < random / 2.0, "{least} {found} {random}");
}
