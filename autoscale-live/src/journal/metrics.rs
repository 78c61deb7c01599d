//! Decisions as numbers for Prometheus.

use crate::controller::{Block, DecisionRecord, Effect, SloState};
use crate::shell::Journal;
use crate::target::TargetRef;
use autoscale_core::guard::Rung;
use autoscale_core::units::Replicas;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who made a decision, and what was done about it.
type Kind = (&'static str, &'static str);

/// What replicas are.
const WHAT: [&str; 3] = ["current", "wished", "granted"];

/// What is shown of a target. There may be thousands, each with a few kinds of decisions.
#[derive(Debug, Default)]
struct Numbers {
    /// Decisions by who made them and what was done about them.
    decisions: Vec<(Kind, u64)>,
    /// Replicas of the last decision, as [`WHAT`] has them.
    replicas: [u32; 3],
    /// Seconds; of the newest measurement when the last decision was made.
    age: Option<f64>,
    /// Whether the service was within its objective then.
    within_slo: Option<bool>,
}

type All = BTreeMap<TargetRef, Numbers>;

/// Counts decisions and shows the last of each target. Clones share their numbers.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<All>>);

/// Targets that are written of in one go. A page on ten thousand is megabytes, which are never there at once.
const AT_A_TIME: usize = 250;

/// What is shown, in the order of the page.
#[derive(Clone, Copy, Debug)]
enum Family {
    Decisions,
    Replicas,
    MeasurementAge,
    WithinSlo,
}

const FAMILIES: [Family; 4] =
    [Family::Decisions, Family::Replicas, Family::MeasurementAge, Family::WithinSlo];

/// One family of the targets after one and up to another one, of all there are where none is named.
#[derive(Debug)]
struct Part {
    metrics: Metrics,
    family: Family,
    after: Option<TargetRef>,
    upto: Option<TargetRef>,
}

impl Metrics {
    /// Nothing decided yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What Prometheus scrapes, piece by piece, each as it is when it is asked for.
    pub fn parts(&self) -> impl Iterator<Item = String> + Send + use<> {
        let (metrics, mut families) = (self.clone(), FAMILIES.into_iter());
        let mut place = families.next().map(|family| (family, None));
        let mut end = Some("# EOF\n".to_owned());
        std::iter::from_fn(move || {
            let Some((family, after)) = place.take() else { return end.take() };
            let upto = metrics.last_of_a_part(after.as_ref());
            place = match &upto {
                Some(_) => Some((family, upto.clone())),
                None => families.next().map(|family| (family, None)),
            };
            Some(Part { metrics: metrics.clone(), family, after, upto }.text())
        })
    }

    /// All of it.
    pub fn page(&self) -> String {
        self.parts().collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the part that comes after this target ends, if it is not the last one.
    fn last_of_a_part(&self, after: Option<&TargetRef>) -> Option<TargetRef> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.lock();
        all.range::<TargetRef, _>((after, Bound::Unbounded))
            .nth(AT_A_TIME - 1)
            .map(|(target, _)| target.clone())
    }
}

impl Part {
    fn text(self) -> String {
        let begins = self.after.is_none();
        let (mut text, mut registry) = (String::new(), Registry::with_prefix("autoscale"));
        registry.register_collector(Box::new(self));
        // Writing to a string does not fail.
        let _ = text::encode_registry(&mut text, &registry);
        if !begins {
            // What the family is stands at its head alone.
            let head: usize =
                text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum();
            text.drain(..head);
        }
        text
    }
}

impl Collector for Part {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.metrics.lock();
        let after = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let upto = self.upto.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let shown = all.range::<TargetRef, _>((after, upto));
        let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
        match self.family {
            Family::Decisions => {
                let help =
                    "Decisions by who made them and what was done about them, or what stood against that";
                let mut metric = to.encode_descriptor("decisions", help, None, counter)?;
                for (target, numbers) in shown {
                    for &((by, effect), count) in &numbers.decisions {
                        let labels = [("by", by), ("effect", effect)];
                        sample(&mut metric, target, &labels, &ConstCounter::new(count))?;
                    }
                }
            }
            Family::Replicas => {
                let help = "Replicas: asked for now, wished for, granted";
                let mut metric = to.encode_descriptor("replicas", help, None, gauge)?;
                for (target, numbers) in shown {
                    for (what, count) in WHAT.into_iter().zip(numbers.replicas) {
                        sample(&mut metric, target, &[("what", what)], &ConstGauge::new(i64::from(count)))?;
                    }
                }
            }
            Family::MeasurementAge => {
                let help = "Age of the newest measurement that the last decision was made on";
                let mut metric =
                    to.encode_descriptor("measurement_age", help, Some(&Unit::Seconds), gauge)?;
                for (target, numbers) in shown {
                    if let Some(age) = numbers.age {
                        sample(&mut metric, target, &[], &ConstGauge::new(age))?;
                    }
                }
            }
            Family::WithinSlo => {
                let help = "Whether the service was within its objective at the last decision";
                let mut metric = to.encode_descriptor("within_slo", help, None, gauge)?;
                for (target, numbers) in shown {
                    if let Some(within) = numbers.within_slo {
                        sample(&mut metric, target, &[], &ConstGauge::new(i64::from(within)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// One line of the page.
fn sample(
    metric: &mut MetricEncoder<'_>,
    target: &TargetRef,
    more: &[(&str, &str)],
    value: &impl EncodeMetric,
) -> fmt::Result {
    let mut labels =
        vec![("namespace", &*target.namespace), ("kind", &*target.kind), ("name", &*target.name)];
    labels.extend_from_slice(more);
    value.encode(metric.encode_family(&labels)?)
}

impl Journal for Metrics {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        let mut all = self.lock();
        if !all.contains_key(target) {
            all.insert(target.clone(), Numbers::default());
        }
        let Some(numbers) = all.get_mut(target) else { return };
        let kind = (by(record.rung), effect(&record.effect));
        if let Some((_, count)) = numbers.decisions.iter_mut().find(|(known, _)| *known == kind) {
            *count += 1;
        } else {
            numbers.decisions.reserve_exact(1);
            numbers.decisions.push((kind, 1));
        }
        let wished = record.wish.target.or(record.spec);
        numbers.replicas = [record.spec, wished, record.granted.replicas].map(Replicas::get);
        let age = |m: &autoscale_core::measurement::Measurement| record.at.since(m.at) + m.age;
        numbers.age = record.measurement.as_ref().map(|measurement| age(measurement).as_secs_f64());
        numbers.within_slo = match record.slo {
            SloState::Met => Some(true),
            SloState::Missed => Some(false),
            SloState::Unknown => None,
        };
    }

    fn forget(&mut self, target: &TargetRef) {
        self.lock().remove(target);
    }
}

fn by(rung: Rung) -> &'static str {
    match rung {
        Rung::Policy => "policy",
        Rung::Hold => "hold",
        Rung::Fallback => "fallback",
        Rung::HandsOff => "hands-off",
    }
}

fn effect(effect: &Effect) -> &'static str {
    match effect {
        Effect::Written => "written",
        Effect::Unchanged => "unchanged",
        Effect::Shadow => "shadow",
        Effect::Blocked(block) => match block {
            Block::Standby => "standby",
            Block::Disabled => "disabled",
            Block::Rival(_) => "rival",
            Block::Owned(_) => "owned",
            Block::Contested { .. } => "contested",
            Block::InFlight => "in-flight",
            Block::Busy { .. } => "busy",
        },
    }
}
