//! Learning goes on: what the controller recorded of a service is a load that its policy learns from.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use assert_cmd::Command;
use autoscale_core::limits::LimitsConfig;
use autoscale_core::measurement::{Measurement, ReplicaCounts};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, Timestamp};
use autoscale_core::validate::Validate;
use autoscale_live::controller::{
    Collected, Command as Order, Controller, ControllerConfig, Deciders, Generation, Input, Workload,
};
use autoscale_live::journal::JsonLines;
use autoscale_live::shell::Journal;
use autoscale_live::target::TargetRef;
use autoscale_policies::fixed::Fixed;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// A small world, so that the test takes seconds.
const SMALL: &str = "
name = \"small\"
load = { kind = \"constant\", rps = 60 }
limits = { min_replicas = 1, max_replicas = 12 }
episode = { training_s = 300, evaluation_s = 300, warmup_s = 60 }
[service]
workers = 2
dispatch = \"random\"
cpu_request_milli = 500
io_share = 0.6
demand = { distribution = \"exponential\", mean_ms = 80 }
";

const PERIOD: Duration = Duration::from_secs(15);

/// Two hours of a load that goes up and down, in requests per second.
fn rate(at: Timestamp) -> f64 {
    200.0 + 100.0 * (at.as_secs_f64() / 900.0).sin()
}

fn measurement(at: Timestamp) -> Measurement {
    Measurement {
        at,
        age: Duration::from_secs(5),
        arrival_rate: RequestRate::new(rate(at)).unwrap(),
        cpu_utilization: None,
        memory_bytes: 0,
        in_flight: 0.0,
        queued: 0.0,
        latency: None,
        error_rate: RequestRate::ZERO,
        timeout_rate: RequestRate::ZERO,
        replicas: ReplicaCounts::default(),
    }
}

/// Lets a controller decide for two hours and keeps its records.
fn record(path: &Path) {
    let target = TargetRef::deployment("shop", "web");
    let limits = LimitsConfig { min_replicas: 1, max_replicas: 40, max_step_up: None, max_step_down: None };
    let fixed = || Box::new(Fixed::new(Replicas::new(5), PERIOD));
    let deciders = Deciders { name: "fixed".into(), policy: fixed(), fallback: Some(fixed()) };
    let setup = ControllerConfig::within(limits).validate().unwrap();
    let mut controller = Controller::new(setup, deciders, Seed::root(1));
    let mut journal = JsonLines::new(File::create(path).unwrap());
    let five = Replicas::new(5);
    let workload =
        Workload { generation: Generation::new(1), spec: five, status: five, rival: None, owner: None };
    let start = Timestamp::from_secs(1_800_000_000);
    controller.handle(start, Input::Workload(workload));
    for k in 0..480 {
        let now = start + PERIOD * k;
        let mut orders = controller.handle(now, Input::Wake);
        while let Some(order) = orders.pop() {
            match order {
                Order::Collect(round) => {
                    let (measurement, pods) = (Some(measurement(now)), Some(Vec::new()));
                    let collected = Collected { round, measurement, pods, series: Vec::new() };
                    orders.extend(controller.handle(now, Input::Collected(collected)));
                }
                Order::Record(record) => journal.keep(&target, &record),
                _ => {}
            }
        }
    }
}

fn autoscale(folder: &Path, words: &[&str]) -> String {
    let done =
        Command::new(env!("CARGO_BIN_EXE_autoscale")).current_dir(folder).args(words).assert().success();
    String::from_utf8(done.get_output().stdout.clone()).unwrap()
}

#[test]
fn a_policy_goes_on_learning_from_what_its_controller_recorded() {
    let folder = tempfile::tempdir().unwrap();
    record(&folder.path().join("decisions.jsonl"));
    let import = ["trace", "import", "decisions.jsonl", "--out", "recorded.csv", "--json", "--quiet"];
    let report: serde_json::Value = serde_json::from_str(&autoscale(folder.path(), &import)).unwrap();
    assert_eq!((&report["format"], &report["span_s"]), (&"decisions".into(), &7200.0.into()));
    let csv = std::fs::read_to_string(folder.path().join("recorded.csv")).unwrap();
    let second: f64 = csv.lines().nth(2).unwrap().split(',').nth(1).unwrap().parse().unwrap();
    let start = Timestamp::from_secs(1_800_000_060);
    let expected = (0..4).map(|k| rate(start + PERIOD * k)).sum::<f64>() / 4.0;
    assert!((second - expected).abs() < 1e-6, "{second} is not {expected}");

    let small = ["train", "--envs", "2", "--eval-seeds", "2", "--quiet", "--episodes", "4"];
    std::fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let first = ["--scenario", "small.toml", "--algo", "a2c", "--out", "first"];
    autoscale(folder.path(), &[&small[..], &first].concat());
    let second = [
        "--scenario",
        "small.toml",
        "--from",
        "first",
        "--trace",
        "recorded.csv",
        "--out",
        "second",
        "--log",
        "csv",
    ];
    autoscale(folder.path(), &[&small[..], &second].concat());
    // The model of a run may be its start; that its weights were moved, updates say.
    let updates = std::fs::read_to_string(folder.path().join("second/updates.csv")).unwrap();
    let mut updates = updates.lines();
    let loss = updates.next().unwrap().split(',').position(|name| name == "losses/value_loss").unwrap();
    let losses: Vec<f64> = updates.map(|row| row.split(',').nth(loss).unwrap().parse().unwrap()).collect();
    assert!(!losses.is_empty() && losses.iter().all(|loss| *loss > 0.0), "it has learnt: {losses:?}");
    let manifest = std::fs::read_to_string(folder.path().join("second/manifest.json")).unwrap();
    assert!(manifest.contains("recorded.csv"), "{manifest}");
}
