//! The simulator against queueing theory: mean waits within three standard errors of 20 independent
//! replications, at a run length where three standard errors are at most 1 %.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how close simulation and theory are")]

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::seed::Seed;
use autoscale_sim::oracle::{mg1_mean_wait, mmc_mean_wait};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use rayon::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const RATE: f64 = 1000.0;

/// One pod of `servers` workers with an endless queue.
fn station(servers: u32, busy: f64, distribution: &str) -> Arc<Scenario> {
    let mean_ms = busy * f64::from(servers) / RATE * 1000.0;
    let text = format!(
        r#"
name = "oracle"
limits = {{ min_replicas = 1, max_replicas = 1 }}
load = {{ kind = "constant", rps = {RATE} }}
[episode]
warmup_s = 60
[service]
workers = {servers}
dispatch = "random"
cpu_request_milli = 1000
cpu_limit_milli = {limit}
demand = {{ distribution = "{distribution}", mean_ms = {mean_ms} }}
"#,
        limit = servers * 1000
    );
    Arc::new(Scenario::from_toml(&text, "oracle").unwrap())
}

/// Mean wait in the queue, in seconds, over one replication.
fn mean_wait(scenario: &Arc<Scenario>, seed: u64, length: Duration) -> f64 {
    let mut world = World::new(Arc::clone(scenario), length).with_request_log();
    world.reset(Seed::root(seed), Cadence::every(Duration::from_secs(60)));
    world.clear_requests();
    let (mut count, mut sum) = (0u64, 0.0);
    loop {
        let end = world.step(Decision::hold(Reason::rule("oracle"))).unwrap().end;
        for request in world.requests() {
            let response = request.left.as_secs_f64() - request.arrived.as_secs_f64();
            sum += response - request.demand.as_secs_f64();
            count += 1;
        }
        world.clear_requests();
        if end.is_some() {
            return sum / count as f64;
        }
    }
}

/// Asserts that the mean over seeds 1 to 20 agrees with `theory`.
fn agree(name: &str, scenario: &Arc<Scenario>, length_s: u64, theory: Duration) {
    let means: Vec<f64> = (1..=20u64)
        .into_par_iter()
        .map(|seed| mean_wait(scenario, seed, Duration::from_secs(length_s)))
        .collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean) * (m - mean)).sum::<f64>() / (n - 1.0);
    let three_errors = 3.0 * (variance / n).sqrt();
    let theory = theory.as_secs_f64();
    println!(
        "{name}: simulated {mean:.6} s, theory {theory:.6} s, three standard errors {:.2} %",
        100.0 * three_errors / theory
    );
    assert!(
        three_errors <= 0.01 * theory,
        "{name}: the run is too short: {:.2} %",
        100.0 * three_errors / theory
    );
    assert!((mean - theory).abs() <= three_errors, "{name}: {mean} against {theory} ± {three_errors}");
}

#[test]
fn mm1_mean_wait() {
    let (busy, service) = (0.5, Duration::from_secs_f64(0.5 / RATE));
    agree("M/M/1", &station(1, busy, "exponential"), 600, mmc_mean_wait(1, service, busy));
}

#[test]
fn mmc_mean_waits() {
    for (servers, busy, length_s) in [(2, 0.6, 600), (8, 0.6, 1800), (64, 0.85, 21_600)] {
        let service = Duration::from_secs_f64(busy * f64::from(servers) / RATE);
        let theory = mmc_mean_wait(servers, service, busy);
        agree(&format!("M/M/{servers}"), &station(servers, busy, "exponential"), length_s, theory);
    }
}

#[test]
fn md1_mean_wait() {
    let (busy, service) = (0.6, Duration::from_secs_f64(0.6 / RATE));
    agree("M/D/1", &station(1, busy, "deterministic"), 600, mg1_mean_wait(service, busy, 0.0));
}
