//! `docs/running-on-kubernetes.md`, typed in and read by a shell: each command succeeds, and shows what the text says.

use super::plane::{Plane, autoscale, pods_spec, program, spec_with, target};
use autoscale_core::units::Timestamp;
use autoscale_live::shell::{Clock, SystemClock};
use axum::Json;
use axum::routing::post;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use std::fmt::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/running-on-kubernetes.md");

/// What is typed in takes no longer than this, on a slow machine either.
const TYPING: Duration = Duration::from_secs(600);

/// A world in which a policy is trained within seconds, and decides every three.
const SMALL: &str = "
name = \"small\"
load = { kind = \"constant\", rps = 60 }
limits = { min_replicas = 1, max_replicas = 12 }
episode = { control_interval_s = 3, training_s = 300, evaluation_s = 300, warmup_s = 60 }
[service]
workers = 2
dispatch = \"random\"
cpu_request_milli = 500
io_share = 0.6
demand = { distribution = \"exponential\", mean_ms = 80 }
";

/// Commands that are typed in together, and what the text says they show.
struct Step {
    typed: String,
    shown: Vec<String>,
}

/// The fenced blocks at the left margin between two headings (to the end, without the second): what to type in and what that
/// shows; and files by the name in their first line.
fn read(begin: &str, end: Option<&str>) -> (Vec<Step>, Vec<(String, String)>) {
    let text = std::fs::read_to_string(TEXT).unwrap();
    let (mut steps, mut files) = (Vec::<Step>::new(), Vec::new());
    let mut lines = text.lines().skip_while(|line| *line != begin).take_while(|line| Some(*line) != end);
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "sh" => steps.push(Step { typed: block.join("\n"), shown: Vec::new() }),
            "text" => {
                let step = steps.last_mut().expect("what is shown follows what is typed");
                step.shown = block.into_iter().map(str::to_owned).collect();
            }
            "yaml" => {
                let name = block[0].strip_prefix("# ").expect("a file's first line is its name");
                files.push((name.to_owned(), block.join("\n")));
            }
            other => panic!("a block of {other}"),
        }
    }
    (steps, files)
}

/// Whether a line has these parts in this order, with anything between them.
fn fits(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default().trim_start();
    let Some(mut rest) = line.trim_start().strip_prefix(first) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    pattern.ends_with('…') || rest.trim().is_empty()
}

/// Answers for Prometheus: some number for `shop/web` whatever is asked, another one each second.
async fn prometheus() -> String {
    let answer = async || {
        let now = SystemClock.now().since(Timestamp::ZERO).as_secs();
        let sample: Value = json!([now, (now % 50).to_string()]);
        let series = json!([{ "metric": { "namespace": "shop", "app": "web" }, "value": sample }]);
        Json(json!({ "status": "success", "data": { "resultType": "vector", "result": series } }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/api/v1/query", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn train(folder: &Path) {
    std::fs::write(folder.join("small.toml"), SMALL).unwrap();
    let words = ["--algo", "a2c", "--episodes", "2", "--envs", "2", "--eval-seeds", "2", "--quiet"];
    let train = Command::new(autoscale())
        .current_dir(folder)
        .args(["train", "--scenario", "small.toml", "--out", "runs/web"])
        .args(words)
        .output()
        .unwrap();
    assert!(train.status.success(), "{}", String::from_utf8_lossy(&train.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_text_says_to_type_shows_what_it_says() {
    // Its own: on the one that tests share the definition may be there already.
    let plane = Plane::start("walkthrough", &[]);
    let namespaces: Api<Namespace> = Api::all(plane.client().await);
    let shop = serde_json::from_value(json!({ "metadata": { "name": "shop" } })).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();
    let web = target("shop", "Deployment");
    plane.apply("team", &web, &spec_with(3)).await;
    plane.apply("team", &web, &pods_spec()).await;
    plane.kubectl(&["-n", "shop", "scale", "deployment", "web", "--replicas=3"]);
    plane.kubectl(&["-n", "shop", "autoscale", "deployment", "web", "--cpu=80%", "--min=2", "--max=40"]);

    let folder = tempfile::tempdir().unwrap();
    train(folder.path());
    let (mut steps, files) = read("## From a checkpoint to shadow", None);
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let prometheus = prometheus().await;
    for step in &mut steps {
        step.typed = step.typed.replace("http://localhost:9090", &prometheus);
    }
    type_in(&plane, folder.path(), &steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_to_install_it_do() {
    for (name, begin, end) in [
        ("helm", "### By Helm", "### By plain kubectl"),
        ("kubectl", "### By plain kubectl", "### What else there is"),
    ] {
        let plane = Plane::start(name, &[]);
        let namespaces: Api<Namespace> = Api::all(plane.client().await);
        for name in ["shop", "depot"] {
            let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
        let (steps, _) = read(begin, Some(end));
        assert!(!steps.is_empty(), "{begin}");
        let folder = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        symlink(shipped, folder.path().join("deploy")).unwrap();
        type_in(&plane, folder.path(), &steps).await;
    }
}

/// Puts what is typed in within reach of a shell.
fn tools(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    symlink(autoscale(), folder.join("autoscale")).unwrap();
    symlink(std::env::var("HELM").expect(".ci/cluster says where Helm is"), folder.join("helm")).unwrap();
    let kubectl = folder.join("kubectl");
    std::fs::write(&kubectl, format!("#!/bin/sh\nexec '{}' kubectl \"$@\"\n", program().display())).unwrap();
    std::fs::set_permissions(kubectl, PermissionsExt::from_mode(0o755)).unwrap();
}

/// All steps in this order, by one shell in this folder.
async fn type_in(plane: &Plane, folder: &Path, steps: &[Step]) {
    tools(&folder.join("bin"));
    let mut script = "set -emuo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for Step { typed, .. } in steps {
        writeln!(script, "echo '@@'\n{typed}").unwrap();
    }
    std::fs::write(folder.join("script"), script).unwrap();
    let said = folder.join("said");
    let out = std::fs::File::create(&said).unwrap();
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut shell = tokio::process::Command::new("bash")
        .arg("script")
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .env("KUBECONFIG", plane.kubeconfig())
        .stdin(std::process::Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let done = tokio::time::timeout(TYPING, shell.wait()).await;
    let said = std::fs::read_to_string(said).unwrap();
    let Ok(done) = done else {
        // Told to end, it ends all that it began, too.
        let _ = Command::new("kill").arg(shell.id().unwrap_or_default().to_string()).status();
        let _ = tokio::time::timeout(Duration::from_secs(10), shell.wait()).await;
        panic!("after {TYPING:?} it still runs:\n{said}");
    };
    let done = done.unwrap();
    assert!(done.success(), "{done}:\n{said}");
    let answers: Vec<&str> = said.split("@@\n").skip(1).collect();
    assert_eq!(answers.len(), steps.len(), "{said}");
    for (step, answer) in steps.iter().zip(answers) {
        for pattern in &step.shown {
            assert!(
                answer.lines().any(|line| fits(line, pattern)),
                "{}\nshould show\n{pattern}\nand shows\n{answer}",
                step.typed
            );
        }
    }
}

#[test]
fn no_block_of_commands_is_left_out() {
    let text = std::fs::read_to_string(TEXT).unwrap();
    let all = text.lines().filter(|line| *line == "```sh").count();
    let typed = |begin, end| read(begin, end).0.len();
    let run = typed("### By Helm", Some("### By plain kubectl"))
        + typed("### By plain kubectl", Some("### What else there is"))
        + typed("## From a checkpoint to shadow", None);
    assert_eq!(all, run);
}

#[test]
fn a_pattern_fits_with_anything_between_its_parts() {
    assert!(fits("web   web   shadow   3", "web…web…shadow…3"));
    assert!(fits("{\"at\":1,\"by\":\"policy\"}", "{…\"by\":…"));
    assert!(!fits("web   web   active   3", "web…web…shadow…3"));
    assert!(!fits("ok and more", "ok"));
}
