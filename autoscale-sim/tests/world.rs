//! Properties of the world that hold for every policy and seed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use autoscale_core::contract::environment_is_sound;
use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Decision, Reason};
use autoscale_core::sample::ReadyStatus;
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::{RequestEnd, World};
use proptest::prelude::*;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(15);

/// How the small service differs from case to case.
#[derive(Clone, Copy, Debug)]
struct Case {
    dispatch: &'static str,
    discipline: &'static str,
    workers: u32,
    queue: u32,
    timeout_ms: u32,
    /// Lines of the scenario: what else may happen.
    trouble: &'static str,
}

const TROUBLE: [&str; 5] = [
    "",
    "[service.retries]\nattempts = 3",
    "[service.retries]\nattempts = 4\nbackoff_ms = 700\nbudget = 0.2\n[failures]\ncrashes_per_hour = 60",
    "[termination]\nendpoint_delay_s = 1\ngrace_s = 1\n[failures]\nevictions_per_hour = 120",
    "[nodes]\ncpu_milli = 1000\nprovisioning_median_s = 20\nempty_s = 30\ninterruptions_per_hour = 30\n\
     notice_s = 3\n[metrics]\nscrape_loss = 0.2\n[service.slow_start]\nrequests = 100\nfactor = 4",
];

fn cases() -> impl Strategy<Value = Case> {
    let dispatch = ["random", "round-robin", "least-outstanding", "power-of-two-choices"];
    let discipline = ["fifo", "processor-sharing"];
    (
        proptest::sample::select(dispatch.to_vec()),
        proptest::sample::select(discipline.to_vec()),
        1u32..4,
        0u32..30,
        400u32..3000,
        proptest::sample::select(TROUBLE.to_vec()),
    )
        .prop_map(|(dispatch, discipline, workers, queue, timeout_ms, trouble)| Case {
            dispatch,
            discipline,
            workers,
            queue,
            timeout_ms,
            trouble,
        })
}

/// A small, overloaded-at-times service with every way for a request to end.
fn scenario(case: Case) -> Arc<Scenario> {
    let Case { dispatch, discipline, workers, queue, timeout_ms, trouble } = case;
    let text = format!(
        r#"
name = "small"
limits = {{ min_replicas = 1, max_replicas = 12 }}
load = {{ kind = "mmpp", low_rps = 10, high_rps = 120, mean_low_s = 60, mean_high_s = 40 }}
noise = {{ relative_sd = 0.2 }}
[episode]
warmup_s = 30
[slo]
latency_ms = 400
[startup]
ready_median_s = 10
[service]
workers = {workers}
discipline = "{discipline}"
queue_capacity = {queue}
timeout_ms = {timeout_ms}
dispatch = "{dispatch}"
cpu_request_milli = 500
io_share = 0.3
demand = {{ distribution = "lognormal", mean_ms = 80, cv = 1.2 }}
{trouble}
"#
    );
    Arc::new(Scenario::from_toml(&text, "small").unwrap())
}

fn to(replicas: u32) -> Decision {
    Decision::scale_to(Replicas::new(replicas), Reason::rule("test"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_request_is_accounted_for_at_every_moment(
        seed in 0u64..1000, wishes in proptest::collection::vec(0u32..14, 24), case in cases(), period in 1u64..20,
    ) {
        let mut world = World::new(scenario(case), Duration::from_secs(240)).with_request_log();
        world.reset(Seed::root(seed), Cadence::every(Duration::from_secs(period)));
        let mut pod_seconds = 0.0;
        for wish in wishes.iter().cycle() {
            let outcome = world.step(to(*wish)).unwrap();
            pod_seconds += outcome.reward.pod_hours * 3600.0;
            let now = world.observe().now;
            let ledger = world.ledger();
            prop_assert_eq!(
                ledger.arrived,
                ledger.answered + ledger.refused + ledger.timed_out + ledger.lost + ledger.in_system
            );
            // The same books kept a second way, from the log of requests.
            let count = |end| world.requests().iter().filter(|r| r.end == end).count() as u64;
            prop_assert_eq!(ledger.arrived, world.requests().len() as u64 + ledger.in_system);
            prop_assert_eq!(ledger.answered, count(RequestEnd::Answered));
            prop_assert_eq!(ledger.timed_out, count(RequestEnd::TimedOut));
            prop_assert_eq!(ledger.refused, count(RequestEnd::Refused));
            prop_assert_eq!(ledger.lost, count(RequestEnd::Lost));
            prop_assert!(world.requests().iter().all(|r| r.left <= now), "nobody leaves in the future");
            if outcome.end.is_some() { break; }
        }
        let record = world.record();
        let requests = record.requests();
        prop_assert_eq!(requests.arrived, requests.in_time + requests.violations());
        prop_assert_eq!(requests.arrived, record.totals.arrivals);
        prop_assert_eq!(requests.violations(), record.totals.violations);
        prop_assert!((pod_seconds / 3600.0 - record.totals.pod_hours).abs() < 1e-9);
        let recorded: f64 = record.intervals.iter().map(|i| i.mean_pods * 15.0).sum();
        prop_assert!((recorded - pod_seconds).abs() < 1e-6, "pod-seconds are conserved");
    }

    #[test]
    fn pods_serve_from_ready_until_their_grace_is_over(
        seed in 0u64..1000, wishes in proptest::collection::vec(0u32..14, 24), case in cases(),
    ) {
        let scenario = scenario(case);
        let grace = Duration::from_secs_f64(scenario.config().termination.grace_s);
        let mut world = World::new(scenario, Duration::from_secs(240)).with_request_log();
        world.reset(Seed::root(seed), Cadence::every(Duration::from_secs(1)));
        let (mut answers, mut over) = (0, false);
        while !over {
            world.clear_requests();
            let seen = world.observe();
            let now = seen.now;
            let serving: Vec<String> = seen
                .pods
                .iter()
                .filter(|pod| pod.ready.unwrap().status == ReadyStatus::True)
                .filter(|pod| pod.deletion.is_none_or(|at| now < at + grace))
                .map(|pod| pod.name.to_string())
                .collect();
            let wish = wishes[(now.as_secs_f64() / 10.0) as usize % wishes.len()];
            over = world.step(to(wish)).unwrap().end.is_some();
            for request in world.requests().iter().filter(|r| r.end == RequestEnd::Answered) {
                answers += 1;
                let pod = format!("pod-{}", request.pod.unwrap());
                prop_assert!(serving.contains(&pod), "{pod} answered after {now:?}, when only {serving:?} served");
            }
        }
        prop_assert!(answers > 0);
    }

    #[test]
    fn nothing_ends_before_its_work_is_done(seed in 0u64..1000, case in cases()) {
        let scenario = scenario(case);
        let stretch = f64::from(case.workers) * 0.7;
        let mut world = World::new(Arc::clone(&scenario), Duration::from_secs(240)).with_request_log();
        world.reset(Seed::root(seed), Cadence::every(INTERVAL));
        while world.step(to(5)).unwrap().end.is_none() {}
        let attempts = scenario.config().service.retries.map_or(1, |r| r.attempts);
        for request in world.requests() {
            prop_assert!((1..=attempts).contains(&request.attempts));
            let took = request.left.since(request.arrived).as_secs_f64();
            if request.end == RequestEnd::Answered {
                // Workers share a core and wait for others 30 % of the time; 1 µs is the resolution of times.
                let least = request.demand.as_secs_f64() * (0.3 + 0.7 * stretch.max(1.0));
                prop_assert!(took >= least - 2e-6, "{request:?} in {took} s");
                if attempts == 1 {
                    prop_assert!(took <= f64::from(case.timeout_ms) / 1000.0 + 2e-6);
                }
            }
        }
        for measured in world.observe().history {
            let rates = [measured.arrival_rate, measured.error_rate, measured.timeout_rate];
            prop_assert!(rates.iter().all(|r| r.per_second().is_finite()));
            prop_assert!(measured.in_flight.is_finite() && measured.queued <= measured.in_flight);
        }
    }

    #[test]
    fn two_policies_on_one_seed_meet_the_same_world(
        seed in 0u64..1000, wishes in proptest::collection::vec(1u32..13, 16), case in cases(),
    ) {
        let scenario = scenario(case);
        let run = |wishes: &[u32]| {
            let mut world = World::new(Arc::clone(&scenario), Duration::from_secs(240)).with_request_log();
            world.reset(Seed::root(seed), Cadence::every(INTERVAL));
            let mut startups = BTreeMap::new();
            for &wish in wishes {
                world.step(to(wish)).unwrap();
                for pod in world.observe().pods {
                    if let (Some(started), Some(ready), true) = (pod.started, pod.ready, pod.is_serving())
                        && ready.last_transition > started
                    {
                        startups.entry(pod.name.to_string()).or_insert(ready.last_transition.since(started));
                    }
                }
            }
            let met: BTreeMap<u64, _> =
                world.requests().iter().map(|r| (r.ordinal, (r.arrived, r.demand))).collect();
            (met, startups)
        };
        let (mine, my_startups) = run(&wishes);
        let (theirs, their_startups) = run(&[3; 16]);
        prop_assert!(mine.len() > 1000);
        for (ordinal, request) in &mine {
            prop_assert!(theirs.get(ordinal).is_none_or(|other| other == request));
        }
        // What crashes starts again, at times of its own.
        if !case.trouble.contains("crashes") {
            for (name, lag) in &my_startups {
                if let Some(other) = their_startups.get(name) {
                    // Times are rounded to the microsecond relative to when the pod was created.
                    prop_assert!(lag.abs_diff(*other) <= Duration::from_micros(4), "{name}: {lag:?} {other:?}");
                }
            }
        }
    }
}

#[test]
fn the_environment_keeps_its_contract() {
    let length = Duration::from_secs(300);
    for name in Scenario::builtin_names() {
        let scenario = Arc::new(Scenario::builtin(name).unwrap());
        environment_is_sound(World::new(Arc::clone(&scenario), length), Cadence::every(INTERVAL));
        environment_is_sound(World::new(scenario, length), Cadence::every(Duration::from_secs(2)));
    }
}

/// A digest of episodes that a person can read in a diff.
fn episodes() -> String {
    let scenario = Arc::new(Scenario::builtin("match-day").unwrap());
    let lines: Vec<String> = (0..4u64)
        .into_par_iter()
        .map(|k| {
            let mut world = World::new(Arc::clone(&scenario), Duration::from_secs(600));
            world.reset(Seed::root(k), Cadence::every(INTERVAL));
            let mut line = String::new();
            for step in 0.. {
                let outcome = world.step(to(4 + (step * 7) % 11)).unwrap();
                if outcome.end.is_some() {
                    break;
                }
            }
            let record = world.record();
            let last = world.observe().history.last().unwrap();
            let p99 = record.latency_histogram().quantile(0.99).unwrap();
            write!(
                line,
                "{k} {:?} pod_hours {:.6} p99 {:.4} seen {:.3} rps {:.4} cpu",
                record.requests(),
                record.totals.pod_hours,
                p99.as_secs_f64(),
                last.arrival_rate.per_second(),
                last.cpu_utilization.unwrap().fraction(),
            )
            .unwrap();
            line
        })
        .collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_same_seed_gives_the_same_episode_on_one_and_two_threads() {
    let on =
        |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(episodes);
    let one = on(1);
    if std::env::var_os("AUTOSCALE_REWRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/episodes.txt");
        std::fs::write(path, &one).unwrap();
    }
    assert_eq!(one, on(2));
    assert_eq!(
        one,
        include_str!("golden/episodes.txt"),
        "if the world changed on purpose, rewrite: AUTOSCALE_REWRITE_GOLDEN=1"
    );
}

#[test]
fn a_snapshot_goes_on_as_the_original_does() {
    let scenario = Arc::new(Scenario::builtin("match-day").unwrap());
    let mut world = World::new(scenario, Duration::from_secs(600));
    world.reset(Seed::root(3), Cadence::every(INTERVAL));
    for _ in 0..10 {
        world.step(to(9)).unwrap();
    }
    let mut branch = world.clone();
    loop {
        let (a, b) = (world.step(to(12)).unwrap(), branch.step(to(12)).unwrap());
        assert_eq!(a, b);
        if a.end.is_some() {
            break;
        }
    }
    assert_eq!(world.record(), branch.record());
}

#[test]
fn cpu_use_follows_from_the_load_and_may_pass_the_request() {
    let text = Scenario::builtin_source("constant").unwrap();
    for (rps, expected) in [(100.0, 100.0 * 0.0224 / (8.0 * 0.5)), (270.0, 270.0 * 0.0224 / (8.0 * 0.5))] {
        let text = text
            .replace("rps = 200", &format!("rps = {rps}"))
            .replace("relative_sd = 0.055", "relative_sd = 0.0");
        let scenario = Scenario::from_toml(&text, "constant").unwrap();
        let mut world = World::new(Arc::new(scenario), Duration::from_secs(1200));
        world.reset(Seed::root(1), Cadence::every(INTERVAL));
        while world.step(to(8)).unwrap().end.is_none() {}
        let seen: Vec<f64> = world.observe().history[40..]
            .iter()
            .filter_map(|m| m.cpu_utilization)
            .map(autoscale_core::units::Utilization::fraction)
            .collect();
        let mean = seen.iter().sum::<f64>() / seen.len() as f64;
        assert!((mean / expected - 1.0).abs() < 0.04, "{rps} rps: {mean} against {expected}");
    }
}

#[test]
fn requests_in_the_system_are_rate_times_response_time() {
    // Little's law, which knows nothing of dispatch or discipline: the mean of the ledger's snapshots is arrivals
    // per second times the mean time in the system.
    let text = Scenario::builtin_source("constant").unwrap();
    for (dispatch, discipline) in
        [("random", "fifo"), ("least-outstanding", "fifo"), ("power-of-two-choices", "processor-sharing")]
    {
        let text = text.replace(
            "dispatch = \"random\"",
            &format!("dispatch = \"{dispatch}\"\ndiscipline = \"{discipline}\""),
        );
        let scenario = Arc::new(Scenario::from_toml(&text, "constant").unwrap());
        let mut world = World::new(scenario, Duration::from_secs(3600)).with_request_log();
        world.reset(Seed::root(1), Cadence::every(Duration::from_secs(1)));
        let (mut in_system, mut seconds) = (0, 0.0);
        while world.step(to(9)).unwrap().end.is_none() {
            in_system += world.ledger().in_system;
            seconds += 1.0;
        }
        let of_episode = world.requests().iter().filter(|r| r.left.as_secs_f64() > 0.0);
        let time: f64 = of_episode.map(|r| r.left.since(r.arrived).as_secs_f64()).sum();
        let (found, law) = (in_system as f64 / seconds, time / 3600.0);
        assert!(
            (found / law - 1.0).abs() < 0.02,
            "{dispatch}, {discipline}: {found} in the system, {law} by the law"
        );
    }
}
