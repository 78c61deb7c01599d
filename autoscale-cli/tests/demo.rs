//! The demo as a person meets it.

use assert_cmd::Command;
use std::net::TcpListener;
use std::path::Path;

fn autoscale(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder).arg("demo").args(words);
    command
}

#[test]
fn a_service_under_the_load_of_a_trace_says_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), "time_s,rps\n0,40\n60,80\n120,0\n").unwrap();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let words = ["--address", &address, "--work", "sleep", "--cost-ms", "5", "--workers", "8"];
    let trace = ["--trace", "t.csv", "--time-warp", "60", "--json"];
    let done = autoscale(folder.path(), &[&words[..], &trace].concat()).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    let due = report["due"].as_u64().unwrap();
    // 120 on average; five standard deviations of a Poisson count.
    assert!((65..=175).contains(&due), "{report}");
    let kinds = ["answered", "refused", "failed", "timed_out", "broken", "unsent"];
    assert_eq!(kinds.iter().map(|kind| report[kind].as_u64().unwrap()).sum::<u64>(), due, "{report}");
    assert!(report["answered"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (words, part) in [
        (&["--address", &address][..], address.as_str()),
        (&["--workers", "0"], "workers: 0"),
        (&["--cost-ms", "-1"], "meanMs: -1"),
        (&["--rps", "-1", "--url", "http://127.0.0.1:1/"], "--rps"),
        (&["--url", "ftp://127.0.0.1/"], "url: ftp://127.0.0.1/"),
        (&["--trace", "none.csv"], "none.csv"),
        (&["--no-load", "--rps", "3"], "cannot be used with"),
    ] {
        let refused = autoscale(folder.path(), words).assert().failure();
        let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(said.contains(part), "{words:?}: {said}");
    }
}

/// The flags that the shipped manifest gives the program, but for the address.
#[test]
fn the_shipped_flags_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo-service.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let flags = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let flags = flags.filter(|word| word.starts_with("--") && !word.starts_with("--address"));
    let words: Vec<&str> = ["--address", &address].into_iter().chain(flags).collect();
    assert!(words.contains(&"--no-load") && words.len() == 6, "{words:?}");
    let refused = autoscale(folder.path(), &words).assert().failure();
    let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(said.contains(&address), "all is well but that the address is taken: {said}");
}
