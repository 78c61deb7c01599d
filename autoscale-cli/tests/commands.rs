//! The program as a person meets it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use assert_cmd::Command;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;

fn autoscale(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder);
    command
}

/// Runs a command that must fail and returns what it said.
fn refusal(folder: &Path, args: &[&str]) -> String {
    let output = autoscale(folder).args(args).assert().failure().get_output().stderr.clone();
    String::from_utf8(output).unwrap()
}

/// A small world, so that tests take seconds.
fn small_world(folder: &Path) {
    let text = "name = \"small\"\n\
        load = { kind = \"step\", before_rps = 20, after_rps = 60, at_s = 120 }\n\
        limits = { min_replicas = 1, max_replicas = 12 }\n\
        [episode]\ntraining_s = 300\nevaluation_s = 300\nwarmup_s = 60\n\
        [service]\nworkers = 2\ndispatch = \"random\"\ncpu_request_milli = 500\nio_share = 0.6\n\
        demand = { distribution = \"exponential\", mean_ms = 80 }\n";
    fs::write(folder.join("small.toml"), text).unwrap();
}

fn train(folder: &Path, more: &[&str]) -> Command {
    let mut command = autoscale(folder);
    command
        .args(["train", "--scenario", "small.toml", "--envs", "2", "--eval-seeds", "2", "--quiet"])
        .args(more);
    command
}

#[test]
fn a_bad_trace_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t.csv"), "time_s,rps\n0,1\n60,-4\n").unwrap();
    let said = refusal(folder.path(), &["train", "--trace", "t.csv"]);
    for part in ["t.csv:3", "column rps", "-4"] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    assert!(!folder.path().join("runs").exists(), "nothing is left behind");
    fs::write(folder.path().join("t.csv"), "time_s,rps\n0,1\n60,4\n").unwrap();
    fs::write(folder.path().join("zero.csv"), "time_s,rps\n0,0\n60,0\n").unwrap();
    for (args, part) in [
        (
            &["t.csv", "--target-mean-rps", "0"][..],
            "trace.target_mean_rps: 0 is not allowed; expected a rate above 0",
        ),
        (&["zero.csv"], "trace.target_mean_rps: 200 is not allowed; expected a trace that is not zero"),
        (&["missing.csv"], "(os error 2); expected a CSV file"),
    ] {
        let said = refusal(folder.path(), &[&["train", "--trace"], args].concat());
        assert!(said.contains(part) && said.matches("os error").count() < 2, "{said}");
    }
}

#[test]
fn a_backend_that_was_not_compiled_in_is_named_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    if cfg!(not(feature = "wgpu")) {
        let said = refusal(folder.path(), &["train", "--backend", "wgpu"]);
        assert!(said.contains("cargo run --features wgpu"), "{said}");
    }
}

#[test]
fn a_dry_run_prints_the_configuration_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = autoscale(folder.path()).args(["train", "--dry-run"]).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\"episodes\": 200"));
    let (_, scenario) = said.split_once("# scenario:\n").unwrap();
    let scenario: Vec<&str> = scenario.lines().take_while(|line| !line.starts_with('#')).collect();
    autoscale_sim::scenario::Scenario::from_toml(&scenario.join("\n"), "the dry run").unwrap();
    let output = autoscale(folder.path()).args(["train", "--dry-run", "--json"]).output().unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(settings["scenario"].as_str().unwrap().contains("match-day"), "{settings}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_run_leaves_everything_and_is_evaluated_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    train(folder.path(), &["--episodes", "5", "--out", "run"]).assert().success();
    let run = folder.path().join("run");
    for name in [
        "manifest.json",
        "model.safetensors",
        "training_summary.csv",
        "episode_rewards.png",
        "final_latency.png",
        "final_replicas.png",
        "comparison.csv",
    ] {
        assert!(fs::metadata(run.join(name)).unwrap().len() > 0, "{name}");
    }
    let summary = fs::read_to_string(run.join("training_summary.csv")).unwrap();
    let episodes: Vec<&str> = summary.lines().skip(1).map(|l| l.split(',').next().unwrap()).collect();
    assert_eq!(episodes, ["0", "1", "2", "3", "4"]);
    let comparison = fs::read_to_string(run.join("comparison.csv")).unwrap();
    assert!(comparison.starts_with("policy,metric,unit,estimate,low,high\n"));

    let before = fs::read(run.join("model.safetensors")).unwrap();
    let out = ["train", "--scenario", "small.toml", "--out", "run"];
    assert!(refusal(folder.path(), &out).contains("--force"));
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), before);

    let evaluate = ["evaluate", "--model", "latest", "--scenario", "small.toml", "--seeds", "2", "--json"];
    let output = autoscale(folder.path()).args(evaluate).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["against"]["hpa"].as_array().unwrap().len() > 10);

    let evaluate = ["evaluate", "--policies", "hpa,constant:99", "--scenario", "small.toml", "--seeds", "2"];
    let again = [&evaluate[..], &["--out", "compared"]].concat();
    let said = autoscale(folder.path()).args(&again).output().unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("constant:99: small allows 1 to 12 replicas; it gets 12"), "{said}");
    assert!(refusal(folder.path(), &again).contains("--force"));
    autoscale(folder.path()).args(&again).arg("--force").assert().success();

    // The same training again gives the same bytes.
    train(folder.path(), &["--episodes", "5", "--out", "again"]).assert().success();
    assert_eq!(fs::read(folder.path().join("again/model.safetensors")).unwrap(), before);

    fs::write(run.join("model.safetensors"), &before[..before.len() / 2]).unwrap();
    let evaluate = ["evaluate", "--model", "run", "--scenario", "small.toml"];
    assert!(refusal(folder.path(), &evaluate).contains("not a complete checkpoint"));
}

/// A number that is another one each time. What fails says which one it was.
fn drawn(from: std::ops::Range<usize>) -> usize {
    let random = std::hash::RandomState::new().build_hasher().finish() as usize;
    from.start + random % from.len()
}

/// Killed without warning at three moments, early, in the midst and late, whatever it was doing then.
#[test]
fn a_killed_run_is_resumed_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    for algorithm in ["ppo", "a2c", "dqn"] {
        // DQN saves every thousand steps, which are fifty of these episodes.
        let (steps, episodes) = match algorithm {
            "dqn" => ("learning_starts=100", 160),
            _ => ("num_steps=20", 60),
        };
        let third = episodes / 3;
        let kills = [1..third, third..2 * third, 2 * third..episodes * 5 / 6].map(drawn);
        let count = episodes.to_string();
        let args = [
            "--algo",
            algorithm,
            "--set",
            steps,
            "--episodes",
            &count,
            "--validate-every",
            "10",
            "--log",
            "csv",
        ];
        let whole = format!("{algorithm}-whole");
        let more = ["--validation-seeds", "2", "--out", &whole];
        train(folder.path(), &args).args(more).assert().success();
        let whole = folder.path().join(whole);
        for (k, rows) in kills.into_iter().enumerate() {
            let name = format!("{algorithm}-{rows}");
            let run = folder.path().join(&name);
            let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_autoscale"))
                .current_dir(folder.path())
                .args(["train", "--scenario", "small.toml", "--envs", "2", "--eval-seeds", "2", "--quiet"])
                .args(["--validation-seeds", "2"])
                .args(args)
                .args(["--out", &name])
                .spawn()
                .unwrap();
            let written = || fs::read_to_string(run.join("training_summary.csv")).unwrap_or_default();
            while written().lines().count() <= rows && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            assert!(child.try_wait().unwrap().is_none(), "{name}: it ended before it could be killed");
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(k == 0 || run.join("state.safetensors").exists(), "{name}: nothing to resume from");
            // A kill in the midst of a row: it is cut off, and looks like an early episode.
            fs::write(run.join("training_summary.csv"), written() + "2").unwrap();
            autoscale(folder.path())
                .args(["train", "--quiet", "--log", "csv", "--resume", &name])
                .assert()
                .success();
            let summary = written();
            let rows: Vec<&str> = summary.lines().skip(1).map(|l| l.split(',').next().unwrap()).collect();
            assert_eq!(rows, (0..episodes).map(|k| k.to_string()).collect::<Vec<_>>(), "{name}");
            let bytes = |folder: &Path, file| fs::read(folder.join(file)).unwrap();
            for file in ["model.safetensors", "state.safetensors", "training_summary.csv", "comparison.csv"] {
                assert!(bytes(&run, file) == bytes(&whole, file), "{name}: {file} differs");
            }
        }
    }
}

/// Runs a command, sends it what Ctrl-C sends once `reached`, and returns what it said.
#[cfg(target_os = "linux")]
fn interrupted(folder: &Path, args: &[&str], reached: &dyn Fn() -> bool) -> String {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_autoscale"))
        .current_dir(folder)
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Bit 1 of the mask of caught signals is SIGINT.
    let catches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0
    };
    while !(catches() && reached()) {
        std::thread::yield_now();
    }
    assert!(child.try_wait().unwrap().is_none(), "{args:?}: it ended before it could be interrupted");
    let kill = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{args:?}: {said}");
    said
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_in_any_phase_says_how_to_go_on_and_leaves_no_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    // Two hours an episode: every phase takes a second or so.
    let text = fs::read_to_string(folder.path().join("small.toml")).unwrap();
    let text = text.replace("training_s = 300", "training_s = 7200");
    fs::write(folder.path().join("long.toml"), text).unwrap();
    let run = folder.path().join("run");
    let there = |name: &str| run.join(name).exists();
    let rows = || fs::read_to_string(run.join("training_summary.csv")).unwrap_or_default().lines().count();

    let train = ["train", "--scenario", "long.toml", "--episodes", "4", "--envs", "2", "--eval-seeds", "2"];
    let train = [&train[..], &["--validation-seeds", "2", "--out", "run"]].concat();
    let said = interrupted(folder.path(), &train, &|| there("manifest.json"));
    assert!(said.contains("autoscale train --resume run\n"), "{said}");
    assert!(!fs::read_to_string(run.join("manifest.json")).unwrap().contains("tuned_hpa"), "in the search");

    let resume = ["train", "--resume", "run", "--log", "csv"];
    let said = interrupted(folder.path(), &resume, &|| rows() > 1);
    assert!(said.contains("autoscale train --resume run --log csv\n"), "{said}");
    let said = interrupted(folder.path(), &resume, &|| there("episode_rewards.png"));
    assert!(said.contains("autoscale train --resume run --log csv\n"), "{said}");
    assert!(!there("comparison.csv"), "in the comparison");
    autoscale(folder.path()).args(resume).arg("--quiet").assert().success();
    assert!(there("comparison.csv"));
    assert_eq!(rows(), 5);

    let said = interrupted(folder.path(), &["tune", "--scenario", "long.toml"], &|| true);
    assert!(said.contains("nothing was kept"), "{said}");
    let left: Vec<_> = fs::read_dir(folder.path().join("runs")).unwrap().collect();
    assert_eq!(left.len(), 1, "only `latest`: {left:?}");

    let text = "[train]\nscenario = \"long.toml\"\nepisodes = 4\n[grid]\nseed = [1, 2]\n";
    fs::write(folder.path().join("sweep.toml"), text).unwrap();
    let runs = || {
        let inside = fs::read_dir(folder.path().join("out")).into_iter().flatten();
        inside.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let begun = || runs().iter().any(|run| run.join("manifest.json").exists());
    let said = interrupted(folder.path(), &["sweep", "sweep.toml", "--out", "out"], &begun);
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(!folder.path().join("out/trials.csv").exists());
}

#[test]
fn a_model_that_is_its_start_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    let args = ["train", "--scenario", "small.toml", "--envs", "2", "--eval-seeds", "2", "--episodes", "2"];
    let output = autoscale(folder.path()).args(args).args(["--stop-at", "-1e9"]).output().unwrap();
    let (table, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(said.contains("not trained: ") && said.contains("the start, the tuned HPA itself"), "{said}");
    let against = table.split("hpa-tuned").nth(2).unwrap();
    assert_eq!(against.matches("identical").count(), 3, "{table}");
}

#[test]
fn training_goes_on_from_a_policy_stops_when_it_is_good_enough_and_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    let first = ["--episodes", "6", "--algo", "a2c", "--set", "net.gru=8", "--critic", "foresight"];
    train(folder.path(), &first).args(["--log", "csv,tensorboard", "--out", "first"]).assert().success();
    let first = folder.path().join("first");
    let updates = fs::read_to_string(first.join("updates.csv")).unwrap();
    assert!(updates.starts_with("global_step,charts/SPS,"), "{updates}");
    assert!(updates.contains("losses/policy_loss") && updates.lines().count() > 1, "{updates}");
    let names = fs::read_dir(&first).unwrap().map(|entry| entry.unwrap().file_name());
    let events: Vec<_> = names.filter(|name| name.to_string_lossy().contains("tfevents")).collect();
    assert_eq!(events.len(), 1);

    // Any return is good enough: the start is, and no episode is trained on.
    let more = ["--from", "first", "--stop-at", "-1e9", "--episodes", "4", "--out", "second"];
    train(folder.path(), &more).assert().success();
    let second = folder.path().join("second");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(second.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["config"]["algorithm"]["a2c"]["net"]["gru"], 8);
    assert_eq!(manifest["config"]["privileged"], 5);
    let weights = |run: &Path| {
        let bytes = fs::read(run.join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(weights(&first) == weights(&second), "it began with the same policy");

    for (args, part) in [
        (&["--resume", "first"][..], "cannot be used with '--resume <RUN>'"),
        (&["--set", "gama=1"], "unknown field `gama`"),
        (&["--algo", "dqn", "--critic", "foresight"], "dqn has no critic"),
        (&["--set", "net.trunk=shared", "--critic", "foresight"], "net.trunk=separate"),
        (&["--from", "nowhere"], "nowhere"),
        (&["--from", "first", "--algo", "ppo"], "cannot be used with"),
    ] {
        let said = String::from_utf8(train(folder.path(), args).output().unwrap().stderr).unwrap();
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

#[test]
fn a_sweep_is_a_table_of_runs_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    let text = "[train]\nscenario = \"small.toml\"\nepisodes = 3\neval-seeds = 2\nvalidation-seeds = 2\nenvs = 2\n\
        [grid]\nalgo = [\"ppo\", \"a2c\", \"ppo\"]\nset = [[], [\"gamma=0.5\", \"net.trunk=shared\"]]\n\
        [random]\ndraws = 2\n[random.set]\nlearning_rate = { log = [1e-4, 1e-2] }\n";
    fs::write(folder.path().join("sweep.toml"), text).unwrap();
    let sweep = || autoscale(folder.path()).args(["sweep", "sweep.toml", "--out", "out"]).output().unwrap();
    let output = sweep();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = folder.path().join("out/trials.csv");
    let rows = fs::read_to_string(&table).unwrap();
    let mut csv = csv::Reader::from_reader(rows.as_bytes());
    let header = csv.headers().unwrap().clone();
    for name in
        ["algo", "set", "learning_rate", "run", "validation_return", "model estimate", "model-minus-hpa low"]
    {
        assert!(header.iter().any(|column| column == name), "{header:?} lacks {name}");
    }
    // What is named twice is trained once.
    assert_eq!(csv.records().count(), 12);
    assert!(fs::metadata(folder.path().join("out/trials.parquet")).unwrap().len() > 0);

    // One run is lost and one cut short: both are done again, and nothing else is.
    let mut runs: Vec<_> =
        fs::read_dir(folder.path().join("out")).unwrap().map(|e| e.unwrap().path()).collect();
    runs.retain(|path| path.is_dir());
    runs.sort();
    assert_eq!(runs.len(), 8);
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("a2c-small-1-");
    assert_eq!(runs.iter().filter(|path| named(path)).count(), 4, "{runs:?}");
    fs::remove_dir_all(&runs[0]).unwrap();
    fs::remove_file(runs[1].join("comparison.csv")).unwrap();
    let untouched = fs::metadata(runs[2].join("model.safetensors")).unwrap().modified().unwrap();
    assert!(sweep().status.success());
    assert_eq!(fs::read_to_string(&table).unwrap(), rows);
    assert_eq!(fs::metadata(runs[2].join("model.safetensors")).unwrap().modified().unwrap(), untouched);

    for (text, part) in [
        ("[grid]\nalgo = [\"sarsa\"]", "invalid value 'sarsa'"),
        ("[grid]\nset = [[\"gama=1\"]]", "unknown field `gama`"),
        ("[train]\nout = \"x\"", "the sweep's own business"),
        ("[griddle]\n", "unknown field `griddle`"),
        ("[grid]\nseed = []", "grid.seed: [] is not allowed; expected at least one value"),
        ("[train]\nseed = []", "train.seed: [] is not allowed; expected at least one value"),
        ("[random]\ndraws = 0\n[random.set]", "random.draws: 0 is not allowed; expected at least 1"),
    ] {
        fs::write(folder.path().join("bad.toml"), text).unwrap();
        let said = refusal(folder.path(), &["sweep", "bad.toml", "--out", "bad"]);
        assert!(said.contains("bad.toml") && said.contains(part), "{said}");
    }
}

#[test]
fn a_trace_split_by_day_is_part_of_a_scenario_file_and_of_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    let rows: Vec<String> = (0..96).map(|h| format!("{},{}", h * 3600, 20 + h % 24)).collect();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/t.csv"), format!("time_s,rps\n{}\n", rows.join("\n"))).unwrap();
    let text = fs::read_to_string(folder.path().join("small.toml")).unwrap();
    let (name, rest) = text.split_once('\n').unwrap();
    let rest = rest.split_once('\n').unwrap().1;
    let traced = format!("{name}\ntrace = {{ path = \"t.csv\", test_every_days = 4 }}\n{rest}");
    fs::write(folder.path().join("sub/traced.toml"), traced).unwrap();

    let run = ["train", "--scenario", "sub/traced.toml", "--episodes", "2", "--eval-seeds", "2"];
    autoscale(folder.path()).args(run).args(["--quiet", "--out", "run"]).assert().success();
    let manifest = fs::read_to_string(folder.path().join("run/manifest.json")).unwrap();
    assert!(manifest.contains("test_every_days = 4"), "{manifest}");
    let resume = ["train", "--quiet", "--resume", "../run"];
    autoscale(&folder.path().join("sub")).args(resume).assert().success();

    let wrong = ["train", "--scenario", "small.toml", "--trace", "sub/t.csv", "--test-every-days", "5"];
    let said = refusal(folder.path(), &wrong);
    assert!(said.contains("test_every_days: 5") && said.contains("4 whole days"), "{said}");
}

#[test]
fn an_episode_is_simulated_and_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    let simulate = ["simulate", "--scenario", "small.toml", "--hours", "0.25", "--out", "look", "--json"];
    let output = autoscale(folder.path()).args(simulate).output().unwrap();
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(figures["mean_pods"].as_f64().unwrap() >= 1.0, "{figures}");
    let csv = fs::read_to_string(folder.path().join("look/episode.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 60, "a row a control interval of 15 s");
    let parquet = fs::read(folder.path().join("look/episode.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    assert!(folder.path().join("look/episode.png").exists());
    assert!(refusal(folder.path(), &simulate).contains("--force"));
    let said = refusal(folder.path(), &["evaluate", "--model", "look"]);
    assert!(said.contains("look: expected a run of `autoscale train`, but this is what"), "{said}");
    assert!(refusal(folder.path(), &["simulate", "--policy", "constant:x"]).contains("whole number"));
}

#[test]
fn an_episode_becomes_a_picture_and_an_animation_of_always_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    train(folder.path(), &["--episodes", "2", "--out", "run"]).assert().success();
    let visualize = |more: &[&str]| {
        let mut command = autoscale(folder.path());
        command
            .args(["visualize", "--model", "run", "--baseline", "hpa", "--size", "80x24", "--json"])
            .args(more);
        command.output().unwrap()
    };
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let end = u32::from_be_bytes;
    for (first, second) in [("a.png", "b.png"), ("a.gif", "b.gif")] {
        let output = visualize(&["--out", first, "--speed", "100"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["scenario"], &report["policies"][1]["policy"]), (&"small".into(), &"hpa".into()));
        assert!(report["policies"][0]["totals"]["pod_hours"].as_f64().unwrap() > 0.05, "{report}");
        // 300 s at 10 s a frame, and the start.
        assert_eq!(report["frames"], if first == "a.gif" { 31 } else { 1 });
        assert!(visualize(&["--out", second, "--speed", "100"]).status.success());
        assert_eq!(read(first), read(second), "{first}");
    }
    let (png, gif) = (read("a.png"), read("a.gif"));
    assert_eq!(&png[..4], b"\x89PNG");
    assert_eq!((end(png[16..20].try_into().unwrap()), end(png[20..24].try_into().unwrap())), (800, 480));
    assert_eq!((&gif[..6], &gif[6..10]), (&b"GIF89a"[..], &[32, 3, 224, 1][..]));

    for (args, part) in [
        (&["visualize", "--policy", "hpa"][..], "--out FILE.png"),
        (&["visualize", "--policy", "hpa", "--json"], "--out FILE.png"),
        (
            &["visualize", "--policy", "hpa", "--out", "a.jpg"],
            "a.jpg: expected a file that ends in .png or .gif",
        ),
        (&["visualize", "--policy", "hpa", "--out", "a.png"], "--force"),
        (&["visualize", "--policy", "hpa", "--model", "run"], "cannot be used with"),
        (&["visualize", "--policy", "hpa", "--speed", "0"], "1 to 1000000"),
        (&["visualize", "--policy", "hpa", "--out", "c.png", "--size", "20x20"], "80x24 to 300x100"),
        (
            &["visualize", "--model", "run", "--out", "c.gif", "--speed", "1"],
            "--speed: 1 would make 3000 frames",
        ),
    ] {
        let said = refusal(folder.path(), args);
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    assert_eq!(read("a.png"), png, "what was refused changed nothing");
    assert!(!folder.path().join("c.gif").exists() && !folder.path().join("c.partial").exists());
}

#[test]
fn a_log_becomes_a_trace_a_description_and_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let line = |k: u32| {
        let (hour, minute) = (k / 3600, k / 60 % 60);
        format!("h - - [10/Oct/2000:{hour:02}:{minute:02}:{:02} +0200] \"GET / HTTP/1.0\" 200 1\n", k % 60)
    };
    let log: String = (0..7200).step_by(3).map(line).collect();
    fs::write(folder.path().join("access.log"), format!("broken\n{log}")).unwrap();
    let import = ["trace", "import", "access.log", "--out", "t.csv"];
    let output = autoscale(folder.path()).args(import).arg("--json").assert().success().get_output().clone();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["read"], &report["skipped"][0]["count"]), (&2401.into(), &1.into()));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["common-log (guessed", "access.log:1", "2000-10-09T22:00:00Z", "0.3333 requests/s"] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    assert!(refusal(folder.path(), &import).contains("--force"));
    autoscale(folder.path()).args(import).args(["--force", "--quiet"]).assert().success().stderr("");
    let bad = ["trace", "import", "access.log", "--out", "u.csv", "--format", "azure-llm"];
    assert!(refusal(folder.path(), &bad).contains("access.log:1: header: \"broken\""));
    assert!(!folder.path().join("u.csv").exists() && !folder.path().join("u.partial").exists());

    let output = autoscale(folder.path()).args(["trace", "describe", "t.csv"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for part in ["mean                 0.3333 requests/s", "day_correlation           -", "needs two days"] {
        assert!(said.contains(part), "{said} lacks {part:?}");
    }

    let simulate = ["simulate", "--trace", "t.csv", "--engine", "fluid", "--out", "look"];
    let output = autoscale(folder.path()).args(simulate).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("t.csv: the trace is 7200 s long and an episode 10800 s"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("match-day with t.csv under hpa: 3 h"));

    let rubbish = "rubbish\n".repeat(2401);
    fs::write(folder.path().join("none.log"), format!("{log}{rubbish}")).unwrap();
    let said =
        refusal(folder.path(), &["trace", "import", "none.log", "--format", "common-log", "--out", "u.csv"]);
    assert!(said.contains("none.log:2401: line: \"rubbish\"") && said.contains("host ident user"), "{said}");

    let none = ["trace", "fit", "t.csv", "--out", "My Load.toml", "--target-mean-rps", "0"];
    assert!(
        refusal(folder.path(), &none)
            .contains("--target-mean-rps: 0 is not allowed; expected a rate above 0")
    );
    let fit = ["trace", "fit", "t.csv", "--out", "My Load.toml", "--target-mean-rps", "50"];
    autoscale(folder.path()).args(fit).assert().success();
    let text = fs::read_to_string(folder.path().join("My Load.toml")).unwrap();
    assert!(text.contains("name = \"my-load\"") && text.contains("mean_rps = 50.0"), "{text}");
    autoscale(folder.path()).args(["scenario", "check", "My Load.toml"]).assert().success();
    assert!(refusal(folder.path(), &fit).contains("--force"));
}

#[test]
fn a_rule_is_tuned_and_what_comes_out_is_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    small_world(folder.path());
    for (rule, file) in [("hpa", "tuned.yaml"), ("predictive", "tuned.toml"), ("cron", "tuned.toml")] {
        let run = |more: &[&str]| {
            let mut command = autoscale(folder.path());
            command.args(["tune", "--policy", rule, "--scenario", "small.toml", "--budget", "756"]);
            command.args(["--validation-seeds", "3", "--out", rule]).args(more);
            command.output().unwrap()
        };
        let output = run(&["--json"]);
        let judged: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let judged = judged.as_array().unwrap().clone();
        let cost = |wanted: &str| {
            let of = |j: &&serde_json::Value| (j["origin"] == "grid") == (wanted == "grid");
            let costs = judged.iter().filter(of).map(|j| j["cost"].as_f64().unwrap());
            costs.fold(f64::INFINITY, f64::min)
        };
        // Refused if and only if a plain grid is more than 1 % better.
        let beaten = cost("grid") < 0.99 * cost("found");
        assert_eq!(output.status.success(), !beaten);
        let tuned = folder.path().join(rule).join(file);
        assert_eq!(tuned.exists(), !beaten);
        for name in ["front.csv", "front.png", "manifest.json"] {
            assert!(folder.path().join(rule).join(name).exists(), "{name}");
        }
        assert!(
            judged.iter().any(|j| j["origin"] == "default") && judged.iter().any(|j| j["on_front"] == true)
        );
        assert!(String::from_utf8(run(&[]).stderr).unwrap().contains("holds a run already"));
        if !beaten {
            let policies = format!("hpa,{rule}:{}", tuned.display());
            let args =
                ["evaluate", "--scenario", "small.toml", "--seeds", "3", "--optimum", "12", "--policies"];
            let output = autoscale(folder.path()).args(args).arg(policies).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            for part in ["(optimum)", "(bound)", "cost against hpa", file] {
                assert!(text.contains(part), "{text} lacks {part}");
            }
        }
    }
    assert!(
        refusal(folder.path(), &["tune", "--budget", "10"])
            .contains("budget: 10 is not allowed; expected at least 324")
    );
    assert!(refusal(folder.path(), &["evaluate", "--policies", "hpa,best"]).contains("expected hpa"));
}
