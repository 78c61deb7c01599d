//! The controller's command as a person meets it, as far as there is no cluster.

use assert_cmd::Command;
use std::path::Path;

const WEB: &str = "
apiVersion: autoscaleai.dev/v1alpha1
kind: LearnedAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {name: web}
  maxReplicas: 40
  policy: {horizontalPodAutoscaler: {}}
";

fn autoscale(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoscale"));
    command.current_dir(folder).arg("controller").args(words);
    command
}

#[test]
fn the_definition_is_one_that_kubectl_can_apply() {
    let folder = tempfile::tempdir().unwrap();
    let done = autoscale(folder.path(), &["--definition"]).assert().success();
    let definition: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    assert_eq!(definition["kind"], "CustomResourceDefinition");
    assert_eq!(definition["metadata"]["name"], "learnedautoscalers.autoscaleai.dev");
    assert!(definition["spec"]["versions"][0]["subresources"]["status"].is_object());
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    assert!(!text.contains("uint"), "the API server warns of formats that it does not know");
}

#[test]
fn a_dry_run_says_who_would_decide() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.yaml"), WEB).unwrap();
    let words = ["--config", "web.yaml", "--prometheus", "http://127.0.0.1:1", "--dry-run"];
    let done = autoscale(folder.path(), &words).assert().success();
    let said = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(
        said.starts_with("shop/Deployment/web is watched (shadow) by hpa\nthe files are good; "),
        "{said}"
    );
    std::fs::write(
        folder.path().join("lost.yaml"),
        WEB.replace("horizontalPodAutoscaler: {}", "model: {path: nowhere}"),
    )
    .unwrap();
    let far = "horizontalPodAutoscaler: {behavior: {scaleUp: {stabilizationWindowSeconds: 5000}}}";
    std::fs::write(folder.path().join("far.yaml"), WEB.replace("horizontalPodAutoscaler: {}", far)).unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "url: http://127.0.0.1:1\nwindowSeconds: 0\n").unwrap();
    for (words, part) in [
        (&["--config", "none.yaml", "--prometheus", "http://127.0.0.1:1"][..], "none.yaml"),
        (
            &["--config", "lost.yaml", "--prometheus", "http://127.0.0.1:1", "--dry-run"],
            "spec.policy.model.path",
        ),
        (&["--prometheus", "http://127.0.0.1:1"], "--config"),
        (&["--watch"], "--prometheus"),
        (&["--watch", "--dry-run", "--prometheus", "http://127.0.0.1:1"], "cannot be used with"),
        (
            &["--config", "web.yaml", "--namespace", "shop", "--prometheus", "http://127.0.0.1:1"],
            "cannot be used with",
        ),
        (&["--namespace", "shop", "--prometheus", "http://127.0.0.1:1"], "--watch"),
        (&["--definition", "--watch"], "cannot be used with"),
        (
            &["--config", "web.yaml", "--prometheus", "bad.yaml", "--dry-run"],
            "error: bad.yaml: line 2: windowSeconds: 0 is",
        ),
        (
            &["--config", "far.yaml", "--prometheus", "http://127.0.0.1:1", "--dry-run"],
            "error: far.yaml: line 8: spec.policy.\
            horizontalPodAutoscaler.behavior.scaleUp.stabilizationWindowSeconds: 5000 is not allowed; expected 0 to 3600",
        ),
        (
            &["--config", "web.yaml", "--prometheus", "http://127.0.0.1:1", "--dry-run=server"],
            "no connection to a cluster",
        ),
    ] {
        let mut command = autoscale(folder.path(), words);
        let refused =
            command.env("KUBECONFIG", "nowhere").env_remove("KUBERNETES_SERVICE_HOST").assert().failure();
        let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(said.contains(part) && !said.contains("is watched"), "{words:?}: {said}");
    }
}

#[test]
fn a_system_without_certificates_can_ask_in_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.yaml"), WEB).unwrap();
    let asking = |prometheus| {
        let words = ["--config", "web.yaml", "--prometheus", prometheus, "--dry-run"];
        let mut command = autoscale(folder.path(), &words);
        command.env("SSL_CERT_FILE", "/dev/null").env_remove("SSL_CERT_DIR");
        command.assert()
    };
    asking("http://127.0.0.1:1").success();
    let refused = asking("https://127.0.0.1:1").failure();
    let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(said.contains("url: https://127.0.0.1:1") && said.contains("caFile"), "{said}");
}

#[test]
fn the_shipped_flags_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/autoscale.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let flags = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let words: Vec<&str> = flags.filter(|word| word.starts_with("--")).collect();
    assert!(words.contains(&"--lease=autoscale/autoscale") && words.len() == 6, "{words:?}");
    let mut command = autoscale(folder.path(), &words);
    command.env("KUBECONFIG", "nowhere").env("HOME", folder.path()).env_remove("KUBERNETES_SERVICE_HOST");
    let refused = command.assert().failure();
    let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(said.contains("no connection to a cluster"), "all is well but that there is no cluster: {said}");
}
