//! What a policy would have done, from records of what another one did.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use assert_cmd::Command;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A service of the `step` scenario that the HPA scaled for an hour, as a controller in shadow would have recorded it.
/// Response times are told `slower` times as long as they were.
fn recorded(folder: &Path, slower: f64) -> String {
    let rows = std::fs::read_to_string(folder.join("simulated/episode.csv")).unwrap();
    let mut rows = rows.lines();
    let names: Vec<&str> = rows.next().unwrap().split(',').collect();
    let mut lines = String::new();
    for row in rows {
        let row: BTreeMap<&str, f64> =
            names.iter().copied().zip(row.split(',').map(|cell| cell.parse().unwrap_or(f64::NAN))).collect();
        let ms = |name: &str| {
            let nanos = row[name] * slower * 1e6;
            json!({ "secs": (nanos / 1e9) as u64, "nanos": (nanos % 1e9) as u32 })
        };
        let latency = json!({
            "mean": ms("latency_mean_ms"), "p50": ms("latency_p50_ms"), "p90": ms("latency_p90_ms"),
            "p95": ms("latency_p95_ms"), "p99": ms("latency_p99_ms"),
        });
        let line = json!({
            "target": { "namespace": "shop", "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "version": 1,
            "at": (1_800_000_000.0 + row["start_s"]) as u64 * 1_000_000,
            "spec": row["replicas_desired"],
            "measurement": { "arrival_rate": row["arrived"] / 15.0, "latency": latency },
        });
        lines += &format!("{line}\n").replace(".0,", ",");
    }
    lines
}

fn autoscale(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder).args(words);
    command
}

fn shadow(folder: &Path, out: &str) -> Value {
    let words =
        ["shadow", "decisions.jsonl", "--scenario", "step", "--policies", "constant:30", "--seeds", "3"];
    let done = autoscale(folder, &words).args(["--json", "--quiet", "--out", out]).assert().success();
    serde_json::from_slice(&done.get_output().stdout).unwrap()
}

#[test]
fn a_simulated_past_agrees_with_its_simulation_and_another_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let simulate =
        ["simulate", "--scenario", "step", "--policy", "hpa", "--hours", "1", "--out", "simulated"];
    autoscale(folder, &simulate).arg("--quiet").assert().success();
    std::fs::write(folder.join("decisions.jsonl"), recorded(folder, 1.0)).unwrap();
    let found = shadow(folder, "first");
    assert_eq!(found["target"], "shop/Deployment/web");
    assert_eq!(found["agrees"], true, "{found:#}");
    let number = |value: &Value| value.as_f64().unwrap();
    let (measured, simulated) = (&found["measured"], &found["simulated"]["recorded"]);
    assert!((number(&measured["replicas"]) - number(&simulated["replicas"])).abs() < 0.1, "{found:#}");
    let other = &found["simulated"]["constant:30"];
    assert!(number(&other["within_slo"]) > number(&simulated["within_slo"]), "{found:#}");
    assert_eq!((number(&other["replicas"]), number(&other["changes"])), (30.0, 0.0));
    for file in ["shadow.txt", "comparison.csv", "recorded.csv", "final_replicas.png", "manifest.json"] {
        assert!(folder.join("first").join(file).is_file(), "{file}");
    }

    std::fs::write(folder.join("decisions.jsonl"), recorded(folder, 3.0)).unwrap();
    let found = shadow(folder, "second");
    assert_eq!(found["agrees"], false, "{found:#}");
    let text = std::fs::read_to_string(folder.join("second/shadow.txt")).unwrap();
    assert!(text.contains("does NOT agree"), "{text}");

    std::fs::write(folder.join("junk.jsonl"), "\nhello\n").unwrap();
    for (words, part) in [
        (&["shadow", "none.jsonl", "--scenario", "step"][..], "none.jsonl"),
        (&["shadow", "junk.jsonl", "--scenario", "step"], "junk.jsonl:2: no decision record"),
        (&["shadow", "decisions.jsonl"], "--scenario"),
        (
            &["shadow", "decisions.jsonl", "--scenario", "step", "--target", "a/b/c", "--policies", "hpa"],
            "--target a/b/c",
        ),
        (
            &["shadow", "decisions.jsonl", "--scenario", "step", "--policies", "hpa", "--out", "first"],
            "--force",
        ),
    ] {
        let refused = autoscale(folder, words).assert().failure();
        let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(said.contains(part), "{words:?}: {said}");
    }
}
