//! `autoscale scenario` as a person meets it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use assert_cmd::Command;
use std::fs;
use std::path::Path;

fn autoscale(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder);
    command
}

fn refusal(folder: &Path, args: &[&str]) -> String {
    let output = autoscale(folder).args(args).assert().failure().get_output().stderr.clone();
    String::from_utf8(output).unwrap()
}

#[test]
fn scenarios_are_listed_shown_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let output = autoscale(folder.path()).args(["scenario", "list"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("match-day"));
    let shown = autoscale(folder.path()).args(["scenario", "show", "bursts"]).output().unwrap().stdout;
    fs::write(folder.path().join("mine.toml"), &shown).unwrap();
    autoscale(folder.path()).args(["scenario", "check", "mine.toml"]).assert().success();
    let broken = String::from_utf8(shown).unwrap().replace("workers = 2", "workers = 0");
    fs::write(folder.path().join("mine.toml"), broken).unwrap();
    let said = refusal(folder.path(), &["scenario", "check", "mine.toml"]);
    for part in ["mine.toml", "service.workers", "0", "1 to 1024"] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    fs::write(folder.path().join("mine.toml"), "name = ").unwrap();
    let said = refusal(folder.path(), &["scenario", "check", "mine.toml"]);
    assert!(said.contains("mine.toml: syntax: ") && said.matches("TOML").count() == 1, "{said}");
    assert!(refusal(folder.path(), &["scenario", "show", "none"]).contains("match-day"));
    assert!(refusal(folder.path(), &["train", "--scenario", "none"]).contains("neither a file nor"));
}

#[test]
fn a_reader_may_leave_early() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_autoscale"))
        .args(["scenario", "show", "match-day"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap()), (Some(141), String::new()));
}

#[test]
fn a_world_that_cannot_be_served_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let shown = autoscale(folder.path()).args(["scenario", "show", "match-day"]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    let warnings = |from: &str, to: &str| {
        assert!(shown.contains(from), "{from}");
        fs::write(folder.path().join("mine.toml"), shown.replacen(from, to, 1)).unwrap();
        let done = autoscale(folder.path()).args(["scenario", "check", "mine.toml"]).output().unwrap();
        assert!(done.status.success());
        String::from_utf8(done.stderr).unwrap()
    };
    assert_eq!(warnings("mean_rps", "mean_rps"), "");
    let crowded = warnings("mean_rps = ", "mean_rps = 20");
    assert!(crowded.starts_with("warning: match-day: limits.max_replicas: "), "{crowded}");
    let hurried = warnings("latency_ms = ", "latency_ms = 5 # ");
    assert!(hurried.contains("slo.latency_ms: 5 is less than the "), "{hurried}");
}
