//! The emulated HPA at the moments of the real one, with what that was told.
//!
//! The real one looks at pods that its watch has brought it, which a moment before or after a change may be the old ones or
//! the new ones. So within [`REACH`] of a change either will do; whoever decides as the cluster did on some of them goes on
//! as it then must, and all ways that fit are followed.

use super::metrics_api::{Answer, Asked};
use super::recorder::History;
use autoscale_core::limits::ScalingLimits;
use autoscale_core::policy::{LastWrite, Observation, Policy, Target, WorkloadStatus};
use autoscale_core::sample::{PodSample, Reading, UsageSample};
use autoscale_core::units::{Milli, Replicas, TimeOfWeek, Timestamp};
use autoscale_policies::hpa::{ConditionType, Hpa, Shown};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerStatus, MetricStatus, MetricValueStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// So long before and after a change either state will do.
const REACH: Duration = Duration::from_secs(2);
/// The real one takes the time again and again while it looks, and here it is that of its first request. So it may take
/// something to be older or younger than it is here by this, when nothing else fits.
const JITTER: Duration = Duration::from_millis(100);
/// So many ways to the same outcome are followed.
const MOST_WAYS: usize = 64;

/// One look of the real HPA: what it was told, and when.
pub(super) struct Sync {
    at: Timestamp,
    usage: BTreeMap<Arc<str>, UsageSample>,
    series: Vec<Reading>,
}

impl Sync {
    fn of(asked: &[Asked]) -> Self {
        let mut sync = Self { at: asked[0].at, usage: BTreeMap::new(), series: Vec::new() };
        for Asked { at, metric, answer } in asked {
            match answer {
                Answer::Usage(usage) => sync.usage.clone_from(usage),
                Answer::Value(value) => sync.series.push(Reading {
                    metric: metric.as_str().into(),
                    pod: None,
                    value: *value,
                    timestamp: *at,
                    window: None,
                }),
                Answer::Refused => {}
            }
        }
        sync
    }
}

/// The looks that requests belong to: each asks for each metric once, however long that takes.
pub(super) fn syncs(asked: &[Asked]) -> Vec<Sync> {
    let (mut syncs, mut begun) = (Vec::new(), 0);
    for (k, one) in asked.iter().enumerate() {
        if asked[begun..k].iter().any(|before| before.metric == one.metric) {
            syncs.push(Sync::of(&asked[begun..k]));
            begun = k;
        }
    }
    // The last one may not be over.
    syncs.extend((begun < asked.len()).then(|| Sync::of(&asked[begun..])));
    syncs
}

/// What a look led to: the count, and all that the HPA shows.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    replicas: Replicas,
    desired: i32,
    /// Type, status and reason.
    conditions: BTreeMap<String, (bool, String)>,
    metrics: Vec<Option<Shown>>,
}

impl Outcome {
    fn in_cluster(replicas: Replicas, status: &HorizontalPodAutoscalerStatus) -> Self {
        let conditions = status.conditions.iter().flatten().map(|condition| {
            (
                condition.type_.clone(),
                (condition.status == "True", condition.reason.clone().unwrap_or_default()),
            )
        });
        Self {
            replicas,
            desired: status.desired_replicas,
            conditions: conditions.collect(),
            metrics: status.current_metrics.iter().flatten().map(shown).collect(),
        }
    }
}

fn shown(metric: &MetricStatus) -> Option<Shown> {
    let resource = metric.resource.as_ref().map(|metric| &metric.current);
    let MetricValueStatus { average_utilization, average_value, value } =
        resource.or(metric.external.as_ref().map(|metric| &metric.current))?;
    let milli = |value: &Option<Quantity>| value.as_ref().map(milli);
    Some(match average_utilization {
        Some(percent) => Shown::Utilization { percent: *percent, average: milli(average_value)? },
        None => Shown::Value(milli(average_value).or(milli(value))?),
    })
}

/// Of a quantity as the controller writes one.
fn milli(Quantity(text): &Quantity) -> Milli {
    let number = |text: &str| text.parse::<i64>().expect("a whole number");
    Milli::new(text.strip_suffix('m').map_or_else(|| number(text) * 1000, number))
}

/// What the HPA may have looked at.
#[derive(PartialEq)]
struct World {
    pods: Vec<PodSample>,
    status: Replicas,
}

/// As it was, and then as it was or would be around that moment.
fn worlds(history: &History, at: Timestamp) -> Vec<World> {
    let mut worlds = Vec::new();
    for cut in [at, at - REACH].into_iter().chain(history.transitions(at, REACH)) {
        let world = World { pods: history.pods_at(cut), status: history.counts_at(cut).status };
        if !worlds.contains(&world) {
            worlds.push(world);
        }
    }
    worlds
}

/// The emulated HPA after some looks.
#[derive(Clone, PartialEq)]
struct Way {
    hpa: Hpa,
    /// What it last wrote.
    wrote: Option<Replicas>,
    /// Why it last decided so.
    rule: &'static str,
}

impl Way {
    fn look(&self, sync: &Sync, now: Timestamp, spec: Replicas, world: &World) -> (Self, Outcome) {
        let Self { mut hpa, wrote, .. } = self.clone();
        let mut pods = world.pods.clone();
        for pod in &mut pods {
            pod.usage = sync.usage.get(&pod.name).cloned();
        }
        let last_write = match wrote {
            None => LastWrite::Never,
            Some(wrote) if wrote == spec => LastWrite::Succeeded,
            Some(_) => LastWrite::Failed,
        };
        let decision = hpa.decide(&Observation {
            now,
            time_of_week: TimeOfWeek::MONDAY,
            workload: WorkloadStatus { spec, status: world.status, last_write },
            pods: &pods,
            series: &sync.series,
            history: &[],
            limits: &ScalingLimits::between(Replicas::ONE, Replicas::new(1000)).unwrap(),
        });
        let controller = hpa.controller();
        let mut conditions: BTreeMap<String, (bool, String)> = BTreeMap::new();
        for condition in controller.conditions() {
            conditions
                .insert(format!("{:?}", condition.kind), (condition.status, condition.reason.to_owned()));
        }
        let (mut wrote, mut desired) = (wrote, controller.status_replicas().1);
        if let Target::ScaleTo(replicas) = decision.target {
            // The policy hears with the next observation that it was written.
            let able = (true, "SucceededRescale".to_owned());
            conditions.insert(format!("{:?}", ConditionType::AbleToScale), able);
            (wrote, desired) = (Some(replicas), replicas.get().cast_signed());
        }
        let outcome = Outcome {
            replicas: decision.target.or(spec),
            desired,
            conditions,
            metrics: controller.current_metrics().to_vec(),
        };
        (Self { hpa, wrote, rule: decision.reason.rule }, outcome)
    }
}

/// How two HPAs compare.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) syncs: usize,
    /// Of these, how many agree on the pods of a moment before or after only, or by a clock that is a little off.
    pub(super) excused: usize,
    pub(super) differences: Vec<String>,
    /// How often the emulated one decided by which rule.
    pub(super) rules: BTreeMap<&'static str, usize>,
}

/// The ways without repetitions, not too many.
fn distinct(all: impl Iterator<Item = Way>) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for way in all {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways.truncate(MOST_WAYS);
    ways
}

/// Follows all looks whose outcome is known.
pub(super) fn compare(history: &History, syncs: &[Sync], hpa: Hpa) -> Verdict {
    let mut ways = vec![Way { hpa, wrote: None, rule: "" }];
    let mut verdict = Verdict::default();
    for (sync, next) in syncs.iter().zip(&syncs[1..]) {
        let spec = history.counts_at(sync.at).spec;
        let worlds = worlds(history, sync.at);
        let looks = |now: Timestamp, worlds: &[World]| {
            let each = |world| ways.iter().map(move |way| way.look(sync, now, spec, world));
            worlds.iter().flat_map(each).collect::<Vec<_>>()
        };
        let status = history.status_at(next.at).expect("the HPA shows something after a look");
        let real = Outcome::in_cluster(history.counts_at(next.at).spec, status);
        let is_real = |outcome: &Outcome| *outcome == real;
        let fitting = |looks: Vec<(Way, Outcome)>| {
            distinct(looks.into_iter().filter(|(_, outcome)| is_real(outcome)).map(|(way, _)| way))
        };
        let mut fit = fitting(looks(sync.at, &worlds));
        let as_recorded = looks(sync.at, &worlds[..1]);
        let agrees = as_recorded.iter().any(|(_, outcome)| is_real(outcome));
        if fit.is_empty() {
            let around = [sync.at + JITTER, sync.at - JITTER];
            fit = fitting(around.into_iter().flat_map(|now| looks(now, &worlds)).collect());
        }
        if fit.is_empty() {
            let (way, outcome) = as_recorded.into_iter().next().expect("there is always a way");
            let emulated = (way.rule, outcome);
            verdict
                .differences
                .push(format!("at {:?} with {spec} pods: {emulated:?}, really {real:?}", sync.at));
            fit.push(way);
        } else if !agrees {
            verdict.excused += 1;
        }
        verdict.syncs += 1;
        *verdict.rules.entry(fit[0].rule).or_default() += 1;
        ways = fit;
    }
    verdict
}
