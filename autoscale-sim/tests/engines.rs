//! Two engines, one world: on the same seed, the fluid engine shows, does and costs what the request engine does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how far apart they are")]

use autoscale_core::contract::environment_is_sound;
use autoscale_core::environment::{Environment, Outcome};
use autoscale_core::histogram::LogHistogram;
use autoscale_core::measurement::Measurement;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_core::rollout::{StepSink, run_episode};
use autoscale_core::sample::PodSample;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::{Replicas, Utilization};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::clairvoyant::clairvoyant_schedule;
use autoscale_sim::engine::{Detail, Simulator};
use autoscale_sim::scenario::{Dispatch, Engine, Scenario};
use proptest::prelude::*;
use rand::RngExt;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

fn both(name: &str) -> [Arc<Scenario>; 2] {
    let scenario = Scenario::builtin(name).unwrap();
    [Engine::Request, Engine::Fluid].map(|engine| Arc::new(scenario.with_engine(engine).unwrap()))
}

fn episode(scenario: &Arc<Scenario>, seed: Seed, mut policy: impl Policy) -> EpisodeRecord {
    let mut world = Simulator::new(Arc::clone(scenario), HOUR).unwrap();
    run_episode(&mut world, &mut policy, seed, &mut ());
    world.record().clone()
}

#[test]
fn the_fluid_world_is_sound() {
    let [_, fluid] = both("match-day");
    for cadence in [Cadence::every(INTERVAL), Cadence::every(Duration::from_secs(2))] {
        environment_is_sound(Simulator::new(Arc::clone(&fluid), Duration::from_secs(600)).unwrap(), cadence);
    }
}

/// The pods that a policy saw at each decision.
#[derive(Default)]
struct Seen(Vec<Vec<PodSample>>);

impl StepSink for Seen {
    fn decided(&mut self, observation: &Observation<'_>, _: &Decision) {
        self.0.push(observation.pods.to_vec());
    }
    fn stepped(&mut self, _: &Outcome) {}
}

#[test]
fn what_is_left_out_changes_nothing_that_happens() {
    for (name, sync_period_s) in [("match-day", 15), ("match-day", 7), ("flash-crowd", 2)] {
        let [_, fluid] = both(name);
        let world = Simulator::new(fluid, HOUR).unwrap();
        let run = |detail: Detail| {
            let mut world = world.clone().with_detail(detail);
            let (mut hpa, mut seen) =
                (Hpa::new(HpaConfig { sync_period_s, ..HpaConfig::default() }).unwrap(), Seen::default());
            run_episode(&mut world, &mut hpa, Seed::root(5), &mut seen);
            (world, seen.0)
        };
        let (whole, pods) = run(Detail::All);
        assert!(whole.record().scale_events.len() > 5, "{name}");
        assert!(whole.record().intervals.iter().all(|interval| interval.latency.is_some()), "{name}");
        let mut without = whole.record().clone();
        for interval in &mut without.intervals {
            (interval.latency, interval.histogram) = (None, LogHistogram::new());
        }
        for detail in [Detail::NoResponseTimes, Detail::ResourceMetrics] {
            let (world, seen) = run(detail);
            assert_eq!(*world.record(), without, "{name}, {detail:?}");
            assert!(seen == pods, "{name}, {detail:?}, every {sync_period_s} s");
            let history = if detail == Detail::ResourceMetrics { &[] } else { whole.observe().history };
            assert_eq!(world.observe().history, history, "{name}, {detail:?}");
        }
    }
}

#[test]
fn what_is_asked_for_on_the_way_holds_from_the_next_episode_on() {
    let [_, fluid] = both("match-day");
    let hold = Decision::hold(Reason::rule("hold"));
    let cadence = Cadence::every(INTERVAL);
    let mut world = Simulator::new(fluid, Duration::from_secs(600)).unwrap();
    world.reset(Seed::root(5), cadence);
    for (next, empty) in [(Detail::ResourceMetrics, false), (Detail::All, true), (Detail::All, false)] {
        world = world.with_detail(next);
        world.step(hold).unwrap();
        assert_eq!(world.observe().history.is_empty(), empty, "{next:?}");
        world.reset(Seed::root(5), cadence);
    }
}

/// Scrapes rarer and more often than the engine's steps are long, under both kinds of dispatch.
#[test]
fn a_flow_stays_as_it_is_to_the_last_bit() {
    let line = |(dispatch, scrape_interval_s): (Dispatch, u32)| {
        let mut config = Scenario::builtin("match-day").unwrap().config().clone();
        config.engine = Engine::Fluid;
        (config.service.dispatch, config.metrics.scrape_interval_s) = (dispatch, scrape_interval_s);
        let scenario = Arc::new(config.check("golden", Path::new("")).unwrap());
        let mut world = Simulator::new(scenario, HOUR).unwrap();
        let mut hpa = Hpa::new(HpaConfig::default()).unwrap();
        run_episode(&mut world, &mut hpa, Seed::root(9), &mut ());
        let (record, last) = (world.record(), world.observe().history.last().unwrap().clone());
        let latency = record.latency_histogram();
        format!(
            "{dispatch}, every {scrape_interval_s} s: {:?} {:?} {last:?}\n",
            record.totals,
            latency.mean()
        )
    };
    let dispatches = [Dispatch::Random, Dispatch::LeastOutstanding];
    let lines: String =
        dispatches.into_iter().flat_map(|dispatch| [(dispatch, 15), (dispatch, 2)]).map(line).collect();
    if std::env::var_os("AUTOSCALE_REWRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/flows.txt");
        std::fs::write(path, &lines).unwrap();
    }
    assert_eq!(
        lines,
        include_str!("golden/flows.txt"),
        "if the engine changed on purpose, rewrite: AUTOSCALE_REWRITE_GOLDEN=1"
    );
}

#[test]
fn a_branch_goes_on_as_its_trunk_does() {
    let [_, fluid] = both("match-day");
    let hpa = Hpa::new(HpaConfig::default()).unwrap();
    let mut world = Simulator::new(fluid, HOUR).unwrap();
    world.reset(Seed::root(5), hpa.cadence());
    let step = |world: &mut Simulator, policy: &mut Hpa| {
        let decision = policy.decide(&world.observe());
        world.step(decision).unwrap()
    };
    let mut trunk_policy = hpa;
    for _ in 0..100 {
        step(&mut world, &mut trunk_policy);
    }
    let (mut branch, mut branch_policy) = (world.clone(), trunk_policy.clone());
    for _ in 0..100 {
        assert_eq!(step(&mut world, &mut trunk_policy), step(&mut branch, &mut branch_policy));
    }
    assert_eq!(world.observe().history, branch.observe().history);
    assert_eq!(world.record(), branch.record());
}

/// Pods come and go at the same times, whatever requests do.
#[test]
fn pods_live_alike() {
    let [request, fluid] = both("match-day");
    let seed = Seed::root(3);
    let counts: Vec<Replicas> = [12, 20, 20, 14, 9, 30, 18, 5].iter().map(|&n| Replicas::new(n)).collect();
    let plan: Vec<Replicas> = counts.iter().flat_map(|&n| [n; 30]).collect();
    let run = |scenario| episode(scenario, seed, Schedule::new(plan.clone(), INTERVAL));
    let (truth, flow) = (run(&request), run(&fluid));
    assert_eq!(truth.initial_replicas, flow.initial_replicas);
    assert_eq!(truth.scale_events, flow.scale_events);
    for (truth, flow) in truth.intervals.iter().zip(&flow.intervals) {
        assert_eq!(truth.start, flow.start);
        assert_eq!(
            (truth.replicas.ready, truth.replicas.starting),
            (flow.replicas.ready, flow.replicas.starting)
        );
        assert!((truth.offered.per_second() - flow.offered.per_second()).abs() < 1e-6);
        assert!((truth.mean_ready - flow.mean_ready).abs() < 1e-9);
        // How long a draining pod still works is random.
        assert!((truth.mean_pods - flow.mean_pods).abs() < 1.5, "{} {}", truth.mean_pods, flow.mean_pods);
    }
}

type Read = fn(&Measurement) -> f64;

/// What a policy sees: without bias over an hour, and interval by interval as close as the noise of single requests
/// allows.
#[test]
fn metrics_look_alike() {
    let mut worlds = both("match-day").map(|s| Simulator::new(s, HOUR).unwrap());
    for world in &mut worlds {
        world.reset(Seed::root(4), Cadence::every(INTERVAL));
    }
    for n in [14, 14, 20, 16, 12, 18].iter().flat_map(|&n| [n; 40]) {
        for world in &mut worlds {
            world.step(Decision::scale_to(Replicas::new(n), Reason::rule("plan"))).unwrap();
        }
    }
    // Without the first of the warm-up, when there is nothing to see yet.
    let [truth, flow] = [0, 1].map(|k| &worlds[k].observe().history[10..]);
    let figures: [(&str, Read, f64, f64); 5] = [
        ("arrival rate", |m| m.arrival_rate.per_second(), 0.01, 0.02),
        ("CPU", |m| m.cpu_utilization.unwrap().fraction(), 0.01, 0.04),
        ("p95", |m| m.latency.unwrap().p95.as_secs_f64(), 0.02, 0.04),
        ("memory", |m| m.memory_bytes as f64, 0.01, 0.01),
        // Gauges are single moments.
        ("in flight", |m| m.in_flight, 0.05, 0.5),
    ];
    for (name, read, most_bias, most_apart) in figures {
        let mean = |all: &[Measurement]| all.iter().map(read).sum::<f64>() / all.len() as f64;
        let bias = mean(flow) / mean(truth) - 1.0;
        let pairs = truth.iter().zip(flow);
        let apart = pairs.map(|(t, f)| (read(f) - read(t)).abs()).sum::<f64>() / truth.len() as f64;
        let apart = apart / mean(truth);
        println!("{name}: bias {bias:.4}, apart {apart:.4}");
        assert!(bias.abs() <= most_bias, "{name}: bias {bias}");
        assert!(apart <= most_apart, "{name}: {apart} apart");
    }
}

/// Gauges show single moments in both: a policy that learns from a flow must not find in them what no cluster shows.
#[test]
fn gauges_scatter_alike() {
    // Enough that the load alone moves them little.
    const CALM: Replicas = Replicas::new(24);
    for dispatch in [Dispatch::Random, Dispatch::LeastOutstanding] {
        let mut config = Scenario::builtin("match-day").unwrap().config().clone();
        config.service.dispatch = dispatch;
        let scenario = config.check("match-day", Path::new("")).unwrap();
        let worlds = [Engine::Request, Engine::Fluid].map(|engine| {
            let scenario = Arc::new(scenario.with_engine(engine).unwrap());
            let mut world = Simulator::new(scenario, 4 * HOUR).unwrap();
            world.reset(Seed::root(4), Cadence::every(INTERVAL));
            for _ in 0..4 * 240 {
                world.step(Decision::scale_to(CALM, Reason::rule("plan"))).unwrap();
            }
            world
        });
        let [truth, flow] = [0, 1].map(|k| &worlds[k].observe().history[10..]);
        let figures: [(&str, Read); 2] = [("in flight", |m| m.in_flight), ("queued", |m| m.queued)];
        for (name, read) in figures {
            // From one interval to the next.
            let change = |all: &[Measurement]| {
                let changes = all.windows(2).map(|m| read(&m[1]) - read(&m[0]));
                let squares = changes.map(|change| change * change);
                (squares.sum::<f64>() / (all.len() - 1) as f64).sqrt()
            };
            let (t, f) = (change(truth), change(flow));
            println!("{name}, {dispatch}: {t:.2} by requests, {f:.2} as a flow");
            // Of one queue for all pods, next to nothing waits.
            assert!((f - t).abs() < 0.1 * t + 0.1, "{name}, {dispatch}: {f} against {t}");
        }
    }
}

/// A timeout that nobody ever reaches changes nothing.
#[test]
fn a_very_long_timeout_is_as_good_as_none() {
    for dispatch in [Dispatch::Random, Dispatch::LeastOutstanding] {
        let run = |timeout_ms| {
            let mut config = Scenario::builtin("constant").unwrap().config().clone();
            (config.service.dispatch, config.service.timeout_ms, config.engine) =
                (dispatch, timeout_ms, Engine::Fluid);
            let scenario = Arc::new(config.check("constant", Path::new("")).unwrap());
            episode(&scenario, Seed::root(1), Fixed::new(Replicas::new(9), INTERVAL))
        };
        let (with, without) = (run(Some(3_600_000.0)), run(None));
        for (with, without) in with.intervals.iter().zip(&without.intervals) {
            assert_eq!(with.requests, without.requests, "{dispatch}");
            let p99 = |i: &IntervalRecord| i.latency.unwrap().p99.as_secs_f64();
            assert!((p99(with) / p99(without) - 1.0).abs() < 0.01, "{dispatch}");
        }
    }
}

/// Mean cost of an hour over seeds.
fn cost<P: Policy>(scenario: &Arc<Scenario>, make: impl Fn(Seed) -> P + Sync) -> f64 {
    let cost = |k| {
        let seed = Seed::root(1).episode(Branch::Validate, k);
        -scenario.weights().price(&episode(scenario, seed, make(seed)).totals).total()
    };
    (0..6u64).into_par_iter().map(cost).sum::<f64>() / 6.0
}

/// Costs of a constant count, two HPAs, one that knows the load ahead, and random counts.
fn costs(scenario: &Arc<Scenario>) -> [f64; 5] {
    let hpa = |target| {
        let config = HpaConfig { target_utilization_percent: target, ..HpaConfig::default() };
        Hpa::new(config).unwrap()
    };
    let (fifty, eighty) = (hpa(50), hpa(80));
    let knowing = |seed| {
        let busy = Utilization::from_fraction(0.65);
        Schedule::new(clairvoyant_schedule(scenario, seed, HOUR, busy), INTERVAL)
    };
    let random = |seed: Seed| {
        let mut stream = seed.child("random-policy").stream();
        let counts = (0..240).map(|_| Replicas::new(stream.random_range(1..=24)));
        Schedule::new(counts.collect(), INTERVAL)
    };
    [
        cost(scenario, |_| Fixed::new(Replicas::new(12), INTERVAL)),
        cost(scenario, |_| fifty.clone()),
        cost(scenario, |_| eighty.clone()),
        cost(scenario, knowing),
        cost(scenario, random),
    ]
}

#[test]
fn policies_cost_and_rank_alike() {
    for (name, dispatch) in [
        ("match-day", Dispatch::Random),
        ("bursts", Dispatch::Random),
        ("week", Dispatch::LeastOutstanding),
        ("step", Dispatch::LeastOutstanding),
    ] {
        let mut config = Scenario::builtin(name).unwrap().config().clone();
        config.service.dispatch = dispatch;
        let scenario = config.check(name, Path::new("")).unwrap();
        let [truth, flow] = [Engine::Request, Engine::Fluid]
            .map(|engine| costs(&Arc::new(scenario.with_engine(engine).unwrap())));
        println!("{name}, {dispatch}: {truth:.2?} {flow:.2?}");
        for (t, f) in truth.iter().zip(&flow) {
            assert!((f / t - 1.0).abs() < 0.06, "{name}: {f} against {t}");
        }
        // Whichever is clearly dearer by requests is dearer as a flow.
        for (a, b) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))) {
            assert!(truth[a] < 1.03 * truth[b] || flow[a] > flow[b], "{name}: {a} and {b}");
        }
    }
}

#[test]
fn what_flows_cannot_express_is_refused_by_name() {
    let text = Scenario::builtin_source("match-day").unwrap().replacen(
        "engine = \"request\"",
        "engine = \"fluid\"",
        1,
    );
    Scenario::from_toml(&text, "f").unwrap();
    for (from, to, parts) in [
        (
            "discipline = \"fifo\"",
            "discipline = \"processor-sharing\"",
            ["service.discipline: processor-sharing", "fifo"],
        ),
        (
            "dispatch = \"random\"",
            "dispatch = \"round-robin\"",
            ["service.dispatch: round-robin", "least-outstanding"],
        ),
        (
            "[service.demand]",
            "retries = { attempts = 2 }\n[service.demand]",
            ["service.retries: present", "absence"],
        ),
        (
            "[load]",
            "[failures]\ncrashes_per_hour = 0.5\n[load]",
            ["failures.crashes_per_hour: 0.5", "0 in the fluid"],
        ),
        ("scrape_loss = 0 ", "scrape_loss = 0.1 ", ["metrics.scrape_loss: 0.1", "0 in the fluid"]),
    ] {
        assert!(text.contains(from), "{from}");
        let message = Scenario::from_toml(&text.replacen(from, to, 1), "f").unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn flows_are_finite_and_nothing_gets_lost(
        seed in 0u64..1000,
        wishes in proptest::collection::vec(0u32..40, 30),
        dispatch in proptest::sample::select(vec!["random", "least-outstanding"]),
        workers in 1u32..6,
        queue in proptest::option::of(0u32..60),
        timeout_ms in proptest::option::of(400u32..5000),
        (cv, ready_s, period) in (0.2f64..3.0, 0.5f64..60.0, 1u64..40),
    ) {
        let optional = |name: &str, v: Option<u32>| v.map_or(String::new(), |v| format!("{name} = {v}"));
        let text = format!(
            r#"
name = "small"
engine = "fluid"
limits = {{ min_replicas = 1, max_replicas = 30 }}
load = {{ kind = "mmpp", low_rps = 10, high_rps = 600, mean_low_s = 60, mean_high_s = 40 }}
noise = {{ relative_sd = 0.2 }}
[episode]
warmup_s = 30
[slo]
latency_ms = 400
[startup]
ready_median_s = {ready_s}
cpu_factor = 1.5
[service]
workers = {workers}
{}
{}
dispatch = "{dispatch}"
cpu_request_milli = 500
demand = {{ distribution = "gamma", mean_ms = 80, cv = {cv} }}
"#,
            optional("queue_capacity", queue),
            optional("timeout_ms", timeout_ms),
        );
        let scenario = Arc::new(Scenario::from_toml(&text, "small").unwrap());
        let mut world = Simulator::new(scenario, Duration::from_secs(600)).unwrap();
        world.reset(Seed::root(seed), Cadence::every(Duration::from_secs(period)));
        let mut pod_hours = 0.0;
        for &wish in wishes.iter().cycle() {
            let outcome = world.step(Decision::scale_to(Replicas::new(wish), Reason::rule("test"))).unwrap();
            pod_hours += outcome.reward.pod_hours;
            if outcome.end.is_some() {
                break;
            }
        }
        let record = world.record();
        let requests = record.requests();
        prop_assert_eq!(requests.arrived, requests.in_time + requests.violations());
        let offered: f64 = record.intervals.iter().map(|i| i.offered.per_second() * 15.0).sum();
        prop_assert!((requests.arrived as f64 - offered).abs() < 2.0 + 1e-3 * offered, "{requests:?} of {offered}");
        let recorded: f64 = record.intervals.iter().map(|i| i.mean_pods * 15.0).sum();
        prop_assert!((recorded / 3600.0 - pod_hours).abs() < 1e-9);
        for interval in &record.intervals {
            let answered = interval.requests.in_time + interval.requests.late;
            prop_assert!(interval.histogram.count().abs_diff(answered) <= 3, "{answered} answered");
            if let Some(l) = interval.latency {
                prop_assert!(l.p50 <= l.p90 && l.p90 <= l.p95 && l.p95 <= l.p99);
                if let Some(timeout) = timeout_ms {
                    prop_assert!(l.p99 <= Duration::from_millis(u64::from(timeout)));
                }
            }
        }
        for seen in world.observe().history {
            prop_assert!(seen.in_flight.is_finite() && seen.in_flight >= -1e-6);
            prop_assert!(seen.queued <= seen.in_flight + 1e-6);
            prop_assert!(seen.cpu_utilization.is_none_or(|u| u.fraction() < 3.0));
        }
    }
}
