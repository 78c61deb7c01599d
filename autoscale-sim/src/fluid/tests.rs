//! The kernel against theory.

use super::model::gamma_cdf;
use super::*;
use crate::oracle::{erlang_b, mg1_mean_wait, mmc_mean_wait, mmc_wait_quantile, mmck};
use crate::scenario::Scenario;
use autoscale_core::units::{Replicas, RequestRate};
use std::time::Duration;

fn model(workers: u32, queue: Option<u32>, timeout_ms: Option<u32>, demand: &str) -> FluidModel {
    let optional = |name: &str, v: Option<u32>| v.map_or(String::new(), |v| format!("{name} = {v}\n"));
    let text = format!(
        r#"
name = "fluid"
limits = {{ min_replicas = 1, max_replicas = 9 }}
load = {{ kind = "constant", rps = 10 }}
[service]
workers = {workers}
dispatch = "random"
cpu_request_milli = 1000
cpu_limit_milli = 1000000
demand = {demand}
{}{}"#,
        optional("queue_capacity", queue),
        optional("timeout_ms", timeout_ms),
    );
    FluidModel::new(&Scenario::from_toml(&text, "fluid").unwrap()).unwrap()
}

const EXPONENTIAL: &str = "{ distribution = \"exponential\", mean_ms = 100 }";

/// The flow of a minute once a pod with this load per worker is in equilibrium.
fn settled(model: &FluidModel, busy: f64) -> FluidFlow {
    let rate = RequestRate::new(busy * model.workers as f64 * model.service_rate).unwrap();
    let mut station = FluidStation::new(model, Replicas::ONE);
    let mut flow = FluidFlow::new(model);
    for _ in 0..100 {
        station.advance(model, &[rate; 60], &mut flow);
    }
    flow.clear();
    station.advance(model, &[rate; 60], &mut flow);
    flow
}

fn close(name: &str, found: f64, expected: f64, share: f64) {
    assert!((found / expected - 1.0).abs() <= share, "{name}: {found} against {expected}");
}

#[test]
fn in_equilibrium_it_is_queueing_theory() {
    let service = Duration::from_millis(100);
    for (workers, busy) in [(1, 0.5), (1, 0.9), (2, 0.8), (4, 0.7), (8, 0.9)] {
        let model = model(workers, None, None, EXPONENTIAL);
        let latency = settled(&model, busy).latency(&model).unwrap();
        let theory = service + mmc_mean_wait(workers, service, busy);
        close("mean", latency.mean.as_secs_f64(), theory.as_secs_f64(), 0.005);
        if workers == 1 {
            let p95 = 0.1 / (1.0 - busy) * -libm::log(0.05);
            close("p95", latency.p95.as_secs_f64(), p95, 0.01);
        }
        assert!(latency.p95 > mmc_wait_quantile(workers, service, busy, 0.95));
    }
    for (workers, places, busy) in [(1, 4, 0.8), (2, 10, 0.9), (8, 8, 1.2), (4, 2, 2.0)] {
        let model = model(workers, Some(places), None, EXPONENTIAL);
        let flow = settled(&model, busy);
        let (loss, wait) = mmck(workers, places, service, busy);
        close("refused", flow.refused / flow.arrived, loss, 1e-3);
        let mean = flow.latency(&model).unwrap().mean.as_secs_f64();
        close("mean", mean, 0.1 + wait.as_secs_f64(), 0.005);
    }
    let model = model(8, Some(0), None, EXPONENTIAL);
    let flow = settled(&model, 0.9);
    close("Erlang B", flow.refused / flow.arrived, erlang_b(8, 7.2), 1e-3);
}

#[test]
fn one_worker_waits_as_pollaczek_and_khinchine_say() {
    for (demand, cv, busy) in [
        ("{ distribution = \"deterministic\", mean_ms = 100 }", 0.0, 0.8),
        ("{ distribution = \"gamma\", mean_ms = 100, cv = 0.5 }", 0.5, 0.7),
        ("{ distribution = \"gamma\", mean_ms = 100, cv = 2.0 }", 2.0, 0.7),
        ("{ distribution = \"lognormal\", mean_ms = 100, cv = 1.0 }", 1.0, 0.9),
    ] {
        let model = model(1, None, None, demand);
        let mean = settled(&model, busy).latency(&model).unwrap().mean.as_secs_f64();
        let theory = 0.1 + mg1_mean_wait(Duration::from_millis(100), busy, cv).as_secs_f64();
        // The demand's moments come from draws.
        close(demand, mean, theory, 0.02);
    }
}

#[test]
fn nothing_gets_lost_while_the_load_swings_and_pods_come_and_go() {
    let model = model(2, Some(100), Some(2000), EXPONENTIAL);
    let mut station = FluidStation::new(&model, Replicas::new(5));
    let mut flow = FluidFlow::new(&model);
    for second in 0..2000u32 {
        let rate = 100.0 + 90.0 * libm::sin(f64::from(second) / 100.0);
        station.advance(&model, &[RequestRate::new(rate).unwrap()], &mut flow);
        if second % 300 == 299 {
            station.scale(&model, Replicas::new(3 + (second / 300) % 5));
        }
        let sum: f64 = station.states.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "probabilities add up to {sum}");
        let least = station.states.iter().copied().fold(0.0, f64::min);
        // A narrow peak that moves many states in a step leaves a ripple behind.
        assert!(least > -0.01, "{least} at second {second}");
    }
    let ended = flow.answered(&model) + flow.timed_out(&model) + flow.refused;
    close("arrived", ended, flow.arrived, 1e-6);
    assert!(flow.in_time(&model) <= flow.answered(&model));
    assert!(flow.timed_out(&model) > 0.01 * flow.arrived);
}

#[test]
fn large_steps_are_as_good_as_small_ones() {
    let model = model(2, Some(100), None, EXPONENTIAL);
    let run = |parts: usize| {
        let mut station = FluidStation::new(&model, Replicas::ONE);
        let mut flow = FluidFlow::new(&model);
        for rate in [10.0, 15.0, 21.0, 12.0] {
            for _ in 0..8 * parts {
                station.step(&model, rate, 5.0 / parts as f64, &mut flow);
            }
        }
        (station.in_system(), flow.latency(&model).unwrap().p95.as_secs_f64())
    };
    let ((coarse, p95), (fine, exact)) = (run(1), run(100));
    close("in the system", coarse, fine, 0.01);
    close("p95", p95, exact, 0.01);
}

#[test]
fn the_gamma_distribution_is_right() {
    // Erlang with 3 stages, and the square of a normal variable at 1.
    close("Erlang 3", gamma_cdf(3.0, 2.5), 1.0 - libm::exp(-2.5) * (1.0 + 2.5 + 3.125), 1e-10);
    close("Erlang 3 tail", 1.0 - gamma_cdf(3.0, 20.0), libm::exp(-20.0) * (1.0 + 20.0 + 200.0), 1e-4);
    close("chi square", gamma_cdf(0.5, 0.5), 0.682_689_492_137, 1e-10);
}

#[test]
fn what_it_cannot_express_is_refused_by_name() {
    let text = Scenario::builtin_source("match-day").unwrap();
    for (from, to, field) in [
        ("discipline = \"fifo\"", "discipline = \"processor-sharing\"", "service.discipline"),
        ("dispatch = \"random\"", "dispatch = \"round-robin\"", "service.dispatch"),
        ("[service.demand]", "retries = { attempts = 2 }\n[service.demand]", "service.retries"),
    ] {
        assert!(text.contains(from));
        let scenario = Scenario::from_toml(&text.replace(from, to), "f").unwrap();
        assert_eq!(FluidModel::new(&scenario).unwrap_err().field, field);
    }
}
