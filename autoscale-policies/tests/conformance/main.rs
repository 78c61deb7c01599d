//! Decisions of real autoscalers, replayed: every case of every file in a folder.
//!
//! The folder is that of `AUTOSCALE_CASES` if it is set. Else it is `experiments/hpa-oracle/cases`, decisions of the
//! real controller that the project made itself, and `../shared/hpa-cases` beside the project where there is one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what was compared")]

mod json;
mod kpa;
mod parts;
mod phpa;
mod reconcile;
mod replicas;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a case says is wrong, if anything.
type Verdict = Result<(), String>;

/// The check for cases of this kind; `None` for kinds that nothing here emulates.
fn check(operation: &str) -> Option<fn(&Value) -> Verdict> {
    Some(match operation {
        "replicas" => replicas::check,
        "linear" => phpa::check_linear,
        "holt_winters" => phpa::check_holt_winters,
        "kpa" => kpa::check,
        "group_pods" => parts::check_groups,
        "calculate_requests" => parts::check_requests,
        "utilization_ratio" | "usage_ratio" => parts::check_ratio,
        "convert_with_rules" | "stabilize_default" | "stabilize_behavior" | "behavior_rate"
        | "behavior_limit" => parts::check_normalizer,
        "store_scale_event" => parts::check_events,
        "normalize" => reconcile::check_normalize,
        "reconcile" => reconcile::check_reconcile,
        _ => return None,
    })
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("AUTOSCALE_CASES") {
        return vec![folder.into()];
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let beside = project.join("../shared/hpa-cases");
    if !beside.is_dir() {
        println!("no further decisions of real autoscalers at {}", beside.display());
    }
    [project.join("experiments/hpa-oracle/cases"), beside].into_iter().filter(|f| f.is_dir()).collect()
}

#[test]
fn decisions_are_those_of_the_real_autoscalers() {
    let (mut failures, mut passes) = (0, 0);
    for folder in folders() {
        println!("{}:", folder.display());
        let (passed, failed) = replay(&folder);
        passes += passed;
        failures += failed;
    }
    assert_eq!(failures, 0, "cases failed");
    assert!(passes > 0, "no case was found");
}

/// How many cases of a folder pass and fail.
fn replay(folder: &Path) -> (usize, usize) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let (mut passes, mut failures) = (0, 0);
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let content: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let (mut passed, mut failed, mut unknown) = (0, 0, 0);
        for case in json::list(&content["cases"]) {
            let Some(check) = check(case["op"].as_str().unwrap_or("kpa")) else {
                unknown += 1;
                continue;
            };
            match check(case) {
                Ok(()) => passed += 1,
                Err(wrong) => {
                    failed += 1;
                    println!("{name}: {}: {wrong}", case["name"].as_str().unwrap());
                }
            }
        }
        let rest =
            if unknown > 0 { format!(", {unknown} of kinds that are not emulated") } else { String::new() };
        println!("{name}: {passed} passed, {failed} failed{rest}");
        passes += passed;
        failures += failed;
    }
    (passes, failures)
}
