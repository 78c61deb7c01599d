//! What is shipped in `deploy/` is what the code says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use autoscale_core::guard::Rung;
use autoscale_core::limits::LimitsConfig;
use autoscale_core::measurement::{LatencySummary, Measurement, ReplicaCounts};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, Timestamp};
use autoscale_core::validate::Validate;
use autoscale_live::controller::{
    Block, Collected, Command, Controller, ControllerConfig, Deciders, Effect, Generation, Input, Percentile,
    SloConfig, Workload,
};
use autoscale_live::demo::service::{Service, ServiceConfig};
use autoscale_live::journal::Metrics;
use autoscale_live::shell::Journal;
use autoscale_live::spec::{definition, read};
use autoscale_live::target::TargetRef;
use autoscale_policies::fixed::Fixed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The one object of that kind.
fn object(name: &str, kind: &str) -> Value {
    let mut found = documents(name).into_iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("{name}: no {kind}"));
    assert!(found.next().is_none(), "{name}: two of kind {kind}");
    object
}

/// YAML has no two kinds of numbers.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(all) => all.iter().map(plain).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_definition_is_the_codes() {
    let expected = plain(&serde_json::to_value(definition()).unwrap());
    let cure = "autoscale controller --definition | scripts/render-deploy crd";
    for name in ["chart/crds/learnedautoscalers.yaml", "autoscale.yaml"] {
        let shipped = plain(&object(name, "CustomResourceDefinition"));
        assert!(shipped == expected, "{name} is not what the code says; cure: {cure}");
    }
}

#[test]
fn charts_and_images_have_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (chart, rendered) in [("chart", "autoscale.yaml"), ("demo", "demo-service.yaml")] {
        let about = documents(&format!("{chart}/Chart.yaml")).remove(0);
        assert_eq!((&about["version"], &about["appVersion"]), (&json!(version), &json!(version)), "{chart}");
        let pod = &object(rendered, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], format!("autoscale:{version}"), "{rendered}");
    }
}

#[test]
fn pods_have_no_rights_on_their_nodes() {
    for name in ["autoscale.yaml", "demo-service.yaml"] {
        let pod = &object(name, "Deployment")["spec"]["template"]["spec"];
        let (of_pod, of_container) = (&pod["securityContext"], &pod["containers"][0]["securityContext"]);
        assert_eq!(of_pod["runAsNonRoot"], true, "{name}");
        assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        let expected = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
        });
        assert_eq!(of_container, &expected, "{name}");
    }
}

/// The controller finds a service's series by the label `app`, and Prometheus takes it from the pod's.
#[test]
fn the_demo_is_scraped_as_the_workload_that_its_autoscaler_names() {
    let name = "demo-service.yaml";
    let deployment = object(name, "Deployment");
    let pod = &deployment["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["app"], deployment["metadata"]["name"]);
    let port = &pod["spec"]["containers"][0]["ports"][0]["containerPort"];
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], port.to_string());
    assert_eq!(deployment["spec"].get("replicas"), None, "they are the scaler's");
    let autoscaler = read(&object(name, "LearnedAutoscaler").to_string()).unwrap().remove(0).autoscaler;
    assert_eq!(deployment["metadata"]["name"], *autoscaler.target().name);
    assert_eq!(deployment["metadata"]["namespace"], *autoscaler.target().namespace);
}

/// What both programs show of themselves after a decision and before any request.
fn exported() -> String {
    let fixed = || Box::new(Fixed::new(Replicas::new(3), Duration::from_secs(1)));
    let limits = LimitsConfig { min_replicas: 1, max_replicas: 9, max_step_up: None, max_step_down: None };
    let deciders = Deciders { name: "fixed".into(), policy: fixed(), fallback: None };
    let slo = SloConfig { percentile: Percentile::P95, latency_s: 0.2 };
    let config = ControllerConfig { slo: Some(slo), ..ControllerConfig::within(limits) };
    let mut controller = Controller::new(config.validate().unwrap(), deciders, Seed::root(0));
    let spec = Replicas::new(2);
    let workload = Workload { generation: Generation::new(1), spec, status: spec, rival: None, owner: None };
    controller.handle(Timestamp::ZERO, Input::Workload(workload));
    let commands = controller.handle(Timestamp::ZERO, Input::Wake);
    let Some(&Command::Collect(round)) = commands.iter().find(|c| matches!(c, Command::Collect(_))) else {
        panic!("it asks for measurements first: {commands:?}");
    };
    let measurement = Measurement {
        at: Timestamp::ZERO,
        age: Duration::from_secs(5),
        arrival_rate: RequestRate::ZERO,
        cpu_utilization: None,
        memory_bytes: 0,
        in_flight: 0.0,
        queued: 0.0,
        latency: Some(LatencySummary::default()),
        error_rate: RequestRate::ZERO,
        timeout_rate: RequestRate::ZERO,
        replicas: ReplicaCounts::default(),
    };
    let collected =
        Collected { round, measurement: Some(measurement), pods: Some(Vec::new()), series: Vec::new() };
    let mut metrics = Metrics::new();
    let target = TargetRef::deployment("shop", "web");
    for command in controller.handle(Timestamp::ZERO, Input::Collected(collected)) {
        if let Command::Record(record) = command {
            metrics.keep(&target, &record);
        }
    }
    metrics.page() + &Service::new(ServiceConfig::default()).unwrap().page()
}

/// All expressions in dashboards and alerts, with where they are.
fn expressions() -> Vec<String> {
    fn gather(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(all) => all.iter().for_each(|value| gather(value, found)),
            Value::Object(all) => {
                for (key, value) in all {
                    match value.as_str() {
                        Some(text) if ["expr", "definition"].contains(&key.as_str()) => {
                            found.push(text.to_owned());
                        }
                        _ => gather(value, found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    gather(&serde_json::from_str(&text("grafana/autoscale.json")).unwrap(), &mut found);
    let panels = found.len();
    gather(&documents("prometheus/alerts.yaml").remove(0), &mut found);
    assert!(panels > 10 && found.len() > panels + 5, "both have some: {found:?}");
    found
}

/// Names of series that an expression selects: what stands before a brace.
fn selected(expression: &str) -> impl Iterator<Item = &str> {
    let names = expression.split('{').collect::<Vec<_>>();
    let before = names.len() - 1;
    names.into_iter().take(before).map(|part| {
        let begin = part.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        &part[begin.map_or(0, |k| k + 1)..]
    })
}

/// The values that an expression compares a label with.
fn compared<'a>(expression: &'a str, label: &str) -> BTreeSet<&'a str> {
    let mut values = BTreeSet::new();
    for operator in ["=", "=~", "!=", "!~"] {
        for begin in ["{", ", "] {
            for (at, found) in expression.match_indices(&format!("{begin}{label}{operator}\"")) {
                let value = expression[at + found.len()..].split('"').next().unwrap();
                values.extend(value.split('|'));
            }
        }
    }
    values
}

/// As it stands in a record of decisions, and as a label.
fn called(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value).unwrap() {
        Value::String(name) => name,
        Value::Object(of) => of.into_iter().next().unwrap().0,
        other => panic!("{other} is no name"),
    }
}

#[test]
fn dashboards_and_alerts_ask_for_what_there_is() {
    let page = exported();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let rungs = [Rung::Policy, Rung::Hold, Rung::Fallback, Rung::HandsOff].map(called);
    let at = Timestamp::ZERO;
    let blocks = [
        Block::Standby,
        Block::Disabled,
        Block::Rival("hpa".into()),
        Block::Owned("helm".into()),
        Block::Contested { until: at },
        Block::InFlight,
        Block::Busy { until: at },
    ];
    let effects = [Effect::Written, Effect::Unchanged, Effect::Shadow].map(called);
    let effects = effects.into_iter().chain(blocks.map(called)).collect::<Vec<_>>();
    let counts = ["current", "wished", "granted"].map(str::to_owned);
    for count in &counts {
        assert!(page.contains(&format!("what=\"{count}\"")), "{count} is none of\n{page}");
    }
    let mut asked = BTreeSet::new();
    for expression in expressions() {
        for name in selected(&expression) {
            assert!(name == "up" || names.contains(name), "{expression}: nobody exports {name}: {names:?}");
            asked.insert(name.to_owned());
        }
        for (label, allowed) in [("by", &rungs[..]), ("effect", &effects), ("what", &counts)] {
            for value in compared(&expression, label) {
                assert!(allowed.iter().any(|name| name == value), "{expression}: {label} is never {value:?}");
            }
        }
    }
    for name in names.iter().filter(|name| name.starts_with("autoscale_")) {
        assert!(asked.contains(*name), "{name} is shown nowhere");
    }
}
