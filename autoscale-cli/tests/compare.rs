//! `autoscale compare` as a person meets it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use assert_cmd::Command;
use std::fs;
use std::path::Path;

/// Two small worlds and a folder to work in.
fn worlds() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, after) in [("small", 60), ("calm", 20)] {
        let text = format!(
            "name = \"{name}\"\n\
            load = {{ kind = \"step\", before_rps = 20, after_rps = {after}, at_s = 120 }}\n\
            limits = {{ min_replicas = 1, max_replicas = 12 }}\n\
            [episode]\ntraining_s = 300\nevaluation_s = 300\nwarmup_s = 60\n\
            [service]\nworkers = 2\ndispatch = \"random\"\ncpu_request_milli = 500\nio_share = 0.6\n\
            demand = {{ distribution = \"exponential\", mean_ms = 80 }}\n"
        );
        fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
    }
    folder
}

fn compare(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder).args(["compare", "--scenarios", "small.toml,calm.toml", "--seeds", "3"]);
    command.args(["--optimum", "2", "--quiet"]).args(more);
    command
}

fn refusal(command: &mut Command) -> String {
    String::from_utf8(command.assert().failure().get_output().stderr.clone()).unwrap()
}

/// All that must be the same whenever the same is compared.
const RESULTS: [&str; 7] = [
    "report.md",
    "report.html",
    "results.csv",
    "results.parquet",
    "differences.csv",
    "front.png",
    "timeline-small.png",
];

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    RESULTS.iter().map(|file| fs::read(folder.join(file)).unwrap()).collect()
}

#[test]
fn the_same_command_leaves_the_same_bytes_on_any_number_of_threads() {
    let folder = worlds();
    let policies = ["--policies", "hpa,predictive,two=constant:2"];
    for (threads, out) in [("1", "one"), ("2", "two")] {
        let mut command = compare(folder.path(), &policies);
        command.env("RAYON_NUM_THREADS", threads).args(["--out", out]).assert().success();
    }
    let (one, two) = (contents(&folder.path().join("one")), contents(&folder.path().join("two")));
    for ((file, one), two) in RESULTS.iter().zip(&one).zip(&two) {
        // The reports name the command, and with it the folder.
        let command = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("--out two", "--out one");
        assert!(one == two || command(one) == command(two), "{file} differs");
    }
    let table = String::from_utf8(one[2].clone()).unwrap();
    let rows = |part: &str| table.lines().filter(|line| line.contains(part)).count();
    assert_eq!(rows(",cost,"), 2 * 4 * 3, "two scenarios, three policies and the optimum, three episodes");
    let reactions = |scenario: &str| rows(&format!("{scenario},two,0,reaction_time,"));
    assert_eq!(
        (reactions("small"), reactions("calm")),
        (1, 0),
        "without a load step there is no reaction time"
    );
    assert!(table.contains("small,(optimum),2,regret,price/h,"));
}

#[test]
fn it_goes_on_where_it_was_killed_and_runs_only_what_is_new() {
    let folder = worlds();
    let journal = folder.path().join("out/episodes.jsonl");
    let run =
        |policies: &str| compare(folder.path(), &["--policies", policies, "--out", "out"]).assert().success();
    run("hpa,predictive");
    let whole = contents(&folder.path().join("out"));
    let text = fs::read_to_string(&journal).unwrap();
    assert_eq!(text.lines().count(), 2 * 3 * 3);
    // As a kill leaves it: some episodes, and half of one.
    let kept = text.lines().take(7).map(|line| line.len() + 1).sum::<usize>();
    fs::write(&journal, &text[..kept + 100]).unwrap();
    run("hpa,predictive");
    assert_eq!(contents(&folder.path().join("out")), whole);
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 18);
    // Those of before stay.
    run("hpa,predictive,kpa");
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 18 + 6);
    fs::write(&journal, "{\"key\": 1}\n").unwrap();
    let said = refusal(&mut compare(folder.path(), &["--out", "out"]));
    assert!(said.contains("episodes.jsonl:1") && said.contains("--out"), "{said}");
}

#[test]
fn what_cannot_be_run_is_named_and_the_rest_is_kept() {
    let folder = worlds();
    let said = |policies: &str, more: &[&str]| {
        let mut command = compare(folder.path(), &["--policies", policies, "--out", "out"]);
        refusal(command.args(more))
    };
    assert!(said("hpa,model", &[]).contains("model:RUN"));
    let missing = said("hpa,model:runs/none,mine=hpa:none.yaml", &[]);
    assert!(missing.contains("runs/none") && missing.contains("mine: none.yaml"), "{missing}");
    assert!(said("hpa,hpa", &[]).contains("hpa is there twice"));
    assert!(said("kpa", &[]).contains("kpa alone has nothing to be compared with"));
    assert!(said("hpa,kpa", &["--baseline", "keda"]).contains("there are hpa, kpa"));
    assert!(!folder.path().join("out").exists(), "nothing has run");
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/report.md"), "of my own").unwrap();
    let other = refusal(&mut compare(folder.path(), &["--policies", "hpa,kpa", "--out", "mine"]));
    assert!(other.contains("mine: holds something else than a comparison"), "{other}");
    assert_eq!(fs::read_dir(folder.path().join("mine")).unwrap().count(), 1);

    let manifest = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\n\
        spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}\n  maxReplicas: 9\n  metrics:\n\
        \x20 - type: Resource\n    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}\n";
    fs::write(folder.path().join("small.yaml"), manifest).unwrap();
    let said = said("hpa,tuned=hpa:{scenario}.yaml", &[]);
    assert!(said.contains("3 of 18 episodes") && said.contains("tuned on episode 0 of calm"), "{said}");
    assert!(said.contains("calm.yaml"), "{said}");
    let table = fs::read_to_string(folder.path().join("out/results.csv")).unwrap();
    assert!(table.contains("small,tuned,2,cost,") && !table.contains("calm,tuned,"));
    let report = fs::read_to_string(folder.path().join("out/report.md")).unwrap();
    assert!(report.contains("calm.yaml"), "the report names what failed");

    // The same of a model, whose training is told of in one scenario alone.
    let train = ["train", "--episodes", "2", "--eval-seeds", "2", "--envs", "2", "--quiet", "--scenario"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder.path()).args(train).args(["small.toml", "--out", "small"]).assert().success();
    let said =
        refusal(&mut compare(folder.path(), &["--policies", "hpa,ppo=model:{scenario}", "--out", "models"]));
    assert!(said.contains("3 of 18 episodes") && said.contains("ppo on episode 0 of calm"), "{said}");
    let report = fs::read_to_string(folder.path().join("models/report.md")).unwrap();
    assert!(report.contains("learning.png") && report.contains("Nothing is known of the training of calm."));
}

#[test]
fn other_requests_in_a_trace_are_another_comparison() {
    let folder = worlds();
    let path = |name: &str| folder.path().join(name);
    let traced = fs::read_to_string(path("calm.toml")).unwrap();
    let load = traced.lines().find(|line| line.starts_with("load")).unwrap();
    fs::write(path("calm.toml"), traced.replace(load, "trace = { path = \"t.csv\" }")).unwrap();
    let run = |rps: u32| {
        let rows: Vec<String> = (0..60).map(|k| format!("{},{rps}", 60 * k)).collect();
        fs::write(path("t.csv"), format!("time_s,rps\n{}\n", rows.join("\n"))).unwrap();
        compare(folder.path(), &["--policies", "hpa,constant:2", "--out", "out"]).assert().success();
        fs::read_to_string(path("out/episodes.jsonl")).unwrap().lines().count()
    };
    assert_eq!(
        (run(20), run(20), run(30)),
        (18, 18, 27),
        "three episodes of the trace and their optima are new"
    );
}
