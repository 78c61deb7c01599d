//! The HPA in the cluster and the emulated one: the first scales Deployments on a metrics API that is fed from recorded
//! series, the second is given the same measurements at the same moments, and must decide the same each time.

mod comparison;
mod fleet;
mod metrics_api;
mod recorder;
mod series;
mod stage;
mod tls;

pub(super) use metrics_api::Source;
pub(super) use stage::Stage;

use super::plane::pods_spec_of;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_live::shell::{Clock, SystemClock};
use autoscale_live::target::TargetRef;
use autoscale_policies::hpa::{ControllerConfig, Hpa, HpaSpec, Legacy};
use comparison::{Sync, Verdict, compare, syncs};
use metrics_api::CPU;
use recorder::History;
use series::Series;
use stage::{SYNC, settings};
use std::time::Duration;

/// So many looks of each HPA are compared; less than [`ENOUGH`] are too few.
const LOOKS: u32 = 54;
const ENOUGH: usize = 40;

/// Settings that are not the controller's. Each must show in so many looks of all HPAs together.
const WRONG: [(&str, Change); 6] = [
    ("no tolerance", |settings| settings.tolerance = 0.0),
    ("three times the tolerance", |settings| settings.tolerance = 0.3),
    ("no stabilisation", |settings| settings.legacy.downscale_stabilization = Duration::ZERO),
    (DEFAULT_STABILISATION, |settings| settings.legacy = Legacy::default()),
    ("no initialisation", |settings| settings.readiness.cpu_initialization_period = Duration::ZERO),
    ("the default initialisation", |settings| settings.readiness = ControllerConfig::default().readiness),
];
type Change = fn(&mut ControllerConfig);
const DEFAULT_STABILISATION: &str = "the default stabilisation";
const MANY: usize = 10;

/// Levels of load, in pods that would be right, for so many seconds each.
type Levels = &'static [(u32, Option<f64>)];

const DAY: Levels =
    &[(12, Some(2.0)), (18, Some(5.0)), (16, Some(10.0)), (26, Some(4.5)), (20, Some(2.0)), (30, Some(6.5))];

/// An HPA, and for each metric the level that a pod is right for.
struct Case {
    name: &'static str,
    metrics: &'static [(&'static str, f64, Levels)],
    min_max: (i32, i32),
    /// The manifest's `metrics` and `behavior`.
    rules: &'static str,
}

/// What there is if nobody asks for more: a target, and the controller's own rules.
const PLAIN: Case = Case {
    name: "plain",
    metrics: &[(CPU, 0.15, DAY)],
    min_max: (2, 12),
    rules: "
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}
",
};

/// All that `behavior` has.
const RULED: Case = Case {
    name: "ruled",
    metrics: &[(CPU, 0.16, DAY)],
    min_max: (1, 14),
    rules: "
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 5
      policies:
        - {type: Pods, value: 2, periodSeconds: 7}
        - {type: Percent, value: 50, periodSeconds: 9}
    scaleDown:
      stabilizationWindowSeconds: 9
      selectPolicy: Min
      tolerance: 0.2
      policies:
        - {type: Pods, value: 2, periodSeconds: 5}
        - {type: Percent, value: 30, periodSeconds: 11}
",
};

/// An external metric, and a way down that leaves its window to the controller.
const QUEUE: Case = Case {
    name: "queue",
    metrics: &[("length", 10.0, DAY)],
    min_max: (1, 16),
    rules: "
  metrics:
    - type: External
      external:
        metric: {name: length, selector: {matchLabels: {app: queue}}}
        target: {type: AverageValue, averageValue: 10}
  behavior:
    scaleUp:
      policies:
        - {type: Pods, value: 3, periodSeconds: 5}
    scaleDown:
      policies:
        - {type: Percent, value: 50, periodSeconds: 5}
",
};

/// Two metrics, one of which cannot be measured for a while, so that nothing may go down.
const MIXED: Case = Case {
    name: "mixed",
    metrics: &[
        (CPU, 0.12, DAY),
        (
            "jobs",
            30.0,
            &[
                (26, Some(0.6)),
                (6, Some(1.3)),
                (24, Some(0.8)),
                (12, None),
                (20, Some(0.7)),
                (9, Some(1.2)),
                (20, Some(0.9)),
            ],
        ),
    ],
    min_max: (1, 12),
    rules: "
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: AverageValue, averageValue: 150m}}
    - type: External
      external:
        metric: {name: jobs, selector: {matchLabels: {app: mixed}}}
        target: {type: Value, value: 30}
",
};

impl Case {
    fn manifest(&self, namespace: &str) -> String {
        let Self { name, min_max: (min, max), rules, .. } = self;
        format!(
            "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  minReplicas: {min}
  maxReplicas: {max}{rules}"
        )
    }

    /// Deploys it, and its HPA.
    async fn begin(&self, stage: &Stage, namespace: &str, begun: Timestamp) {
        for &(metric, unit, levels) in self.metrics {
            let series = Series::record(begun, Seed::root(11).child(self.name).child(metric), unit, levels);
            let source: Source = Box::new(move |now| Box::pin(std::future::ready(series.at(now))));
            stage.metrics.serve(self.name, metric, source);
        }
        let deployment = TargetRef::deployment(namespace, self.name);
        let mut spec = pods_spec_of(self.name);
        spec["replicas"] = self.min_max.0.into();
        stage.plane.apply("tests", &deployment, &spec).await;
        stage.plane.apply_manifest(&self.manifest(namespace));
    }

    fn emulated(&self, settings: ControllerConfig) -> Hpa {
        Hpa::with_settings(HpaSpec::from_yaml(&self.manifest("any")).unwrap(), settings, SYNC).unwrap()
    }
}

/// What one HPA did.
struct Run {
    case: Case,
    history: History,
    syncs: Vec<Sync>,
}

impl Run {
    /// How an emulation with these settings compares.
    fn against(&self, settings: ControllerConfig) -> Verdict {
        compare(&self.history, &self.syncs, self.case.emulated(settings))
    }

    /// Nothing differs, and there was something that could.
    fn check(&self, Verdict { syncs, excused, differences, rules }: &Verdict) {
        let (name, counts) = (self.case.name, self.history.asked_for());
        assert!(differences.is_empty(), "{name}:\n{}", differences.join("\n"));
        assert!(*syncs >= ENOUGH, "{name}: {syncs} syncs");
        assert!(4 * excused <= *syncs, "{name}: {excused} of {syncs} agree on another moment only");
        let moves = |fits: fn(&[Replicas]) -> bool| counts.windows(2).filter(|pair| fits(pair)).count();
        assert!(moves(|pair| pair[0] < pair[1]) >= 2, "{name} goes up: {counts:?}");
        assert!(moves(|pair| pair[0] > pair[1]) >= 2, "{name} goes down: {counts:?}");
        let often = |rule| rules.get(rule).is_some_and(|&count| count > 1);
        assert!(often("ratio") && often("within-tolerance"), "{name}: {rules:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulated_hpa_decides_as_the_one_in_the_cluster_at_every_sync() {
    let stage = Stage::shared();
    let namespace = stage.plane.namespace("vivo").await;
    let cases = [PLAIN, RULED, QUEUE, MIXED];
    let begun = SystemClock.now();
    for case in &cases {
        case.begin(stage, &namespace, begun).await;
    }
    // Each look takes a little longer than the period.
    tokio::time::sleep((LOOKS + 1) * (SYNC + Duration::from_millis(50))).await;
    let runs = cases.map(|case| {
        let history = stage.recorder.of(case.name);
        let syncs = syncs(&stage.metrics.asked(case.name));
        Run { case, history, syncs }
    });

    let verdicts: Vec<Verdict> = runs.iter().map(|run| run.against(settings())).collect();
    for (run, verdict) in runs.iter().zip(&verdicts) {
        let Verdict { syncs, excused, differences, rules } = verdict;
        let (name, counts) = (run.case.name, run.history.asked_for());
        eprintln!(
            "{name}: {syncs} syncs, {excused} excused, {} differ; {rules:?}; {counts:?}",
            differences.len()
        );
    }
    let wrong = WRONG.map(|(what, change)| {
        let mut settings = settings();
        change(&mut settings);
        let differ = runs.each_ref().map(|run| (run.case.name, run.against(settings).differences.len()));
        eprintln!("{what}: {differ:?} differ");
        (what, differ)
    });

    for (run, verdict) in runs.iter().zip(verdicts) {
        run.check(&verdict);
    }
    for (what, differ) in wrong {
        let total: usize = differ.iter().map(|(_, count)| count).sum();
        assert!(total >= MANY, "{what}: {differ:?}");
        if what == DEFAULT_STABILISATION {
            // Its manifest has no window, so that the flag's is right and 300 s are not.
            assert!(!differ.contains(&(QUEUE.name, 0)), "{differ:?}");
        }
    }
}
