//! How fast the simulator is, on one core unless said otherwise. `limit/kiefer_wolfowitz` is a loop that does
//! nothing but queue: figures mean the same on any machine as shares of it.

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_sim::engine::Simulator;
use autoscale_sim::fluid::{FluidFlow, FluidModel, FluidStation};
use autoscale_sim::scenario::{Engine, Scenario};
use autoscale_sim::station::Station;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_distr::Exp1;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(15);
const EPISODE: Duration = Duration::from_secs(3600);
const BATCH: u32 = 100_000;

/// M/M/8 at 0.8 as tight as it can be written: the earliest of eight times, by a scan.
fn kiefer_wolfowitz(free_at: &mut [f64; 8], now: &mut f64, random: &mut Pcg64Mcg, requests: u32) -> f64 {
    let mut exponential = |mean: f64| -> f64 { mean * random.sample::<f64, _>(Exp1) };
    let mut waited = 0.0;
    for _ in 0..requests {
        *now += exponential(1.0);
        let demand = exponential(6.4);
        let mut earliest = 0;
        for k in 1..8 {
            if free_at[k] < free_at[earliest] {
                earliest = k;
            }
        }
        let start = free_at[earliest].max(*now);
        waited += start - *now;
        free_at[earliest] = start + demand;
    }
    waited
}

fn engine(c: &mut Criterion) {
    let mut limit = c.benchmark_group("limit");
    limit.throughput(Throughput::Elements(u64::from(BATCH)));
    let (mut free_at, mut now, mut random) = ([0.0; 8], 0.0, Pcg64Mcg::seed_from_u64(1));
    limit.bench_function("kiefer_wolfowitz", |b| {
        b.iter(|| black_box(kiefer_wolfowitz(&mut free_at, &mut now, &mut random, BATCH)));
    });
    limit.finish();

    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    let rate = RequestRate::new(100.0).expect("a rate");
    let mut station = Station::new(8, rate, Duration::from_millis(64), Seed::root(1));
    group.bench_function("mm8_fcfs", |b| b.iter(|| black_box(station.serve(BATCH))));

    // Pods with queues of their own, random dispatch, lognormal demand; a step is 15 s at 2,000 requests/s.
    let mut running = Running::new(Engine::Request, 2000, "random", LOGNORMAL, "");
    group.throughput(Throughput::Elements(2000 * INTERVAL.as_secs()));
    group.bench_function("pods_general", |b| b.iter(|| running.hold()));

    // The probabilities of a pod's queue over 15 s of a load that changes by the second, and what comes of it.
    let model = FluidModel::new(&running.scenario).expect("nothing that it cannot express");
    let mut station = FluidStation::new(&model, Replicas::new(running.replicas));
    let mut flow = FluidFlow::new(&model);
    let swing = |second: u64| RequestRate::new(2000.0 + 100.0 * (second % 2) as f64).expect("a rate");
    let rates: Vec<RequestRate> = (0..INTERVAL.as_secs()).map(swing).collect();
    group.throughput(Throughput::Elements(1));
    group.bench_function("fluid_interval", |b| {
        b.iter(|| {
            flow.clear();
            station.advance(&model, &rates, &mut flow);
            black_box(flow.latency(&model))
        });
    });
    group.finish();
}

const EXPONENTIAL: &str = r#"{ distribution = "exponential", mean_ms = 56 }"#;
const LOGNORMAL: &str = r#"{ distribution = "lognormal", mean_ms = 56, cv = 1.0 }"#;
const LIFECYCLE: &str = "
[startup]
ready_median_s = 30
probe_period_s = 5
cpu_factor = 1.5
[nodes]
cpu_milli = 16000
[failures]
crashes_per_hour = 0.1
[service.retries]
attempts = 2
budget = 0.1
";

/// A world in the middle of its work.
struct Running {
    scenario: Arc<Scenario>,
    world: Simulator,
    steps: u32,
    replicas: u32,
}

impl Running {
    /// Pods of four workers, busy to 60 %, under a constant load with noise.
    fn new(engine: Engine, rps: u32, dispatch: &str, demand: &str, more: &str) -> Self {
        let replicas = (f64::from(rps) * 0.056 / 4.0 / 0.6).ceil() as u32;
        let text = format!(
            r#"
name = "bench"
engine = "{engine}"
limits = {{ min_replicas = 1, max_replicas = {most} }}
load = {{ kind = "constant", rps = {rps} }}
noise = {{ relative_sd = 0.05 }}
[episode]
warmup_s = 60
[service]
workers = 4
queue_capacity = 200
dispatch = "{dispatch}"
timeout_ms = 2000
cpu_request_milli = 1000
io_share = 0.5
demand = {demand}
{more}
"#,
            most = 2 * replicas,
        );
        let scenario = Arc::new(Scenario::from_toml(&text, "bench").expect("a valid scenario"));
        let world = Simulator::new(Arc::clone(&scenario), EPISODE).expect("nothing that it cannot express");
        let mut running = Self { scenario, world, steps: 0, replicas };
        running.begin();
        running.to(replicas);
        for _ in 0..20 {
            running.hold();
        }
        running
    }

    fn begin(&mut self) {
        self.world.reset(Seed::root(1), Cadence::every(INTERVAL));
    }

    fn to(&mut self, replicas: u32) {
        let decision = Decision::scale_to(Replicas::new(replicas), Reason::rule("bench"));
        if self.world.step(decision).expect("reset after each end").end.is_some() {
            self.begin();
        }
    }

    fn hold(&mut self) {
        self.to(self.replicas);
    }

    /// A step whose decision adds or removes a pod now and then.
    fn scale(&mut self) {
        self.steps += 1;
        self.to(self.replicas + u32::from(self.steps % 20 >= 10));
    }
}

fn environment(c: &mut Criterion) {
    let mut group = c.benchmark_group("env_step");
    group.throughput(Throughput::Elements(1));
    for rps in [200, 600, 2000] {
        let mut running = Running::new(Engine::Request, rps, "round-robin", EXPONENTIAL, "");
        group.bench_function(format!("request/{rps}"), |b| b.iter(|| running.hold()));
    }
    for rps in [200, 600, 2000] {
        let mut running = Running::new(Engine::Request, rps, "least-outstanding", LOGNORMAL, LIFECYCLE);
        group.bench_function(format!("full/{rps}"), |b| b.iter(|| running.scale()));
    }
    for (id, dispatch) in [("fluid", "random"), ("fluid_pooled", "least-outstanding")] {
        for rps in [200, 600, 2000] {
            let mut running = Running::new(Engine::Fluid, rps, dispatch, LOGNORMAL, "");
            group.bench_function(format!("{id}/{rps}"), |b| b.iter(|| running.scale()));
        }
    }
    group.finish();
}

fn world(c: &mut Criterion) {
    let mut group = c.benchmark_group("world");
    let running = Running::new(Engine::Request, 200, "random", LOGNORMAL, "");
    group.bench_function("branch", |b| b.iter(|| black_box(running.world.clone())));

    // Rollouts of many worlds: the figure of two threads over that of one is the scaling.
    group.sample_size(10);
    let mut worlds: Vec<Running> =
        (0..8).map(|_| Running::new(Engine::Request, 200, "random", LOGNORMAL, "")).collect();
    let steps = 20;
    group.throughput(Throughput::Elements(8 * steps));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        group.bench_function(format!("rollouts/{threads}_threads"), |b| {
            b.iter(|| {
                pool.install(|| {
                    worlds.par_iter_mut().for_each(|running| (0..steps).for_each(|_| running.hold()));
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, engine, environment, world);
criterion_main!(benches);
