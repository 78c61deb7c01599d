use super::*;
use crate::hpa::{Controller, ControllerConfig, MetricSource, NoProposal, PodValues};
use autoscale_core::units::Timestamp;
use std::time::Duration;

const MANIFEST: &str = r#"apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: shop
  labels: { team: web }
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: shop
  minReplicas: 2
  maxReplicas: 20
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: 60
    - type: ContainerResource
      containerResource:
        name: memory
        container: app
        target: { type: AverageValue, averageValue: 100Mi }
    - type: Pods
      pods:
        metric: { name: requests_per_second }
        target: { type: AverageValue, averageValue: 1k }
    - type: External
      external:
        metric:
          name: queue_length
          selector: { matchLabels: { queue: orders } }
        target: { type: Value, value: "30" }
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 60
      policies:
        - { type: Percent, value: 10, periodSeconds: 60 }
      tolerance: 0.05
"#;

#[test]
fn a_manifest_loads_as_it_is() {
    let spec = HpaSpec::from_yaml(MANIFEST).unwrap();
    assert_eq!(spec.range, Range { min: 2, max: 20 });
    let milli = Milli::new;
    assert_eq!(
        spec.metrics,
        [
            MetricSpec::Resource {
                resource: Resource::Cpu,
                container: None,
                target: Some(ResourceTarget::Utilization(60)),
            },
            MetricSpec::Resource {
                resource: Resource::Memory,
                container: Some("app".into()),
                target: Some(ResourceTarget::AverageValue(milli(104_857_600_000))),
            },
            MetricSpec::Pods { name: "requests_per_second".into(), target: milli(1_000_000) },
            MetricSpec::External { name: "queue_length".into(), target: ValueTarget::Value(milli(30_000)) },
        ]
    );
    let behavior = spec.behavior.unwrap().defaulted(Duration::from_secs(300));
    assert_eq!(behavior.scale_down.stabilization_window_seconds, 60);
    assert!((behavior.scale_down.tolerance.unwrap() - 0.05).abs() < 1e-12);
    // The other direction is filled in.
    assert_eq!(behavior.scale_up, Behavior::default().scale_up);
}

#[test]
fn a_way_down_without_a_window_waits_as_long_as_the_controller_is_told_to() {
    let spec = HpaSpec::from_yaml(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  \
         scaleTargetRef: { kind: Deployment, name: shop }\n  maxReplicas: 20\n  metrics:\n    - type: External\n      \
         external: { metric: { name: queue }, target: { type: AverageValue, averageValue: 30 } }\n  \
         behavior: { scaleDown: { policies: [{ type: Pods, value: 1, periodSeconds: 60 }] } }\n",
    )
    .unwrap();
    let written = spec.behavior.as_ref().and_then(|behavior| behavior.scale_down.as_ref()).unwrap();
    assert_eq!(written.stabilization_window_seconds, None);
    for (flag, held) in [(300, 10), (15, 9)] {
        let mut settings = ControllerConfig::default();
        settings.legacy.downscale_stabilization = Duration::from_secs(flag);
        let mut hpa = Controller::new(spec.clone(), settings, 10).unwrap();
        let look = |at| hpa.reconcile((10, 10), &[], Timestamp::from_secs(at), &Empty).desired;
        assert_eq!([0, 14, 16].map(look), [10, 10, held], "with {flag} s");
    }
}

/// A queue without anything in it.
struct Empty;

impl MetricSource for Empty {
    fn per_pod(&self, _: &MetricSpec) -> Result<PodValues, NoProposal> {
        Err(NoProposal::InvalidMetric)
    }

    fn value(&self, _: &MetricSpec) -> Result<Milli, NoProposal> {
        Ok(Milli::new(0))
    }
}

#[test]
fn defaults_are_the_api_servers() {
    let text = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  \
                scaleTargetRef: { kind: Deployment, name: shop }\n  maxReplicas: 3\n";
    let spec = HpaSpec::from_yaml(text).unwrap();
    assert_eq!((spec.range, spec.behavior), (Range { min: 1, max: 3 }, None));
    let cpu = Some(ResourceTarget::Utilization(80));
    assert_eq!(
        spec.metrics,
        [MetricSpec::Resource { resource: Resource::Cpu, container: None, target: cpu }]
    );
}

#[test]
fn what_the_api_server_refuses_is_refused_by_line_field_and_reason() {
    for (from, to, line, path, reason) in [
        ("autoscaling/v2", "autoscaling/v1", 1, "apiVersion", "expected autoscaling/v2"),
        ("minReplicas: 2", "minReplicas: 0", 11, "spec.minReplicas", "expected 1 or more"),
        ("maxReplicas: 20", "maxReplicas: 1", 12, "spec.maxReplicas", "minReplicas (2)"),
        ("maxReplicas: 20", "maxReplicas: many", 12, "spec.maxReplicas", "many"),
        ("minReplicas: 2", "minimumReplicas: 2", 11, "spec.minimumReplicas", "unknown field"),
        ("type: Resource\n", "type: Pods\n", 14, "spec.metrics[0].resource", "must not be there"),
        ("type: Resource\n", "type: CPU\n", 14, "spec.metrics[0].type", "expected one of Resource"),
        (
            "averageUtilization: 60",
            "averageUtilization: 60\n          averageValue: 1",
            14,
            "spec.metrics[0].resource.target.averageValue",
            "must not be there",
        ),
        (
            "averageUtilization: 60",
            "averageUtilization: 0",
            14,
            "spec.metrics[0].resource.target.averageUtilization",
            "1 or more",
        ),
        (
            "averageValue: 1k",
            "averageValue: 1z",
            28,
            "spec.metrics[2].pods.target.averageValue",
            "no quantity",
        ),
        ("value: \"30\"", "value: \"0\"", 29, "spec.metrics[3].external.target.value", "positive"),
        ("value: 10, periodSeconds: 60", "value: 10, periodSeconds: 1801", 37, "periodSeconds", "1 to 1800"),
        ("tolerance: 0.05", "tolerance: -1", 37, "spec.behavior.scaleDown.tolerance", "0 to 100"),
        ("tolerance: 0.05", "selectPolicy: Most", 40, "spec.behavior.scaleDown.selectPolicy", "Most"),
    ] {
        assert!(MANIFEST.contains(from), "{from}");
        let error = HpaSpec::from_yaml(&MANIFEST.replacen(from, to, 1)).unwrap_err();
        let text = error.to_string();
        assert!(error.path.ends_with(path) || error.path == path, "{to}: {text:?} is not about {path}");
        assert!(error.reason.contains(reason), "{to}: {text:?} lacks {reason:?}");
        assert!(error.line.abs_diff(line) <= 1, "{to}: {text:?} is not near line {line}");
    }
}

#[test]
fn a_manifest_that_was_written_is_read_back() {
    let mut behavior = Behavior::default();
    behavior.scale_up.tolerance = Some(0.02);
    behavior.scale_down.stabilization_window_seconds = 45;
    behavior.scale_down.select_policy = SelectPolicy::Min;
    let range = Range { min: 3, max: 40 };
    let spec = HpaSpec::from_yaml(&HpaSpec::cpu_manifest("web", range, 65, &behavior)).unwrap();
    let target = Some(ResourceTarget::Utilization(65));
    let cpu = MetricSpec::Resource { resource: Resource::Cpu, container: None, target };
    assert_eq!((spec.range, spec.metrics, spec.behavior), (range, vec![cpu], Some(behavior.into())));
}
