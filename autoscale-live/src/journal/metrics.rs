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
use std::sync::atomic::{AtomicUsize, Ordering};
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

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<BTreeMap<TargetRef, Numbers>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetRef, Numbers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts decisions and shows the last of each target. Clones share their numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    numbers: Shared,
    /// Of the last page: megabytes, with thousands of targets.
    length: Arc<AtomicUsize>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing decided yet.
    pub fn new() -> Self {
        let numbers = Shared::default();
        let mut registry = Registry::with_prefix("autoscale");
        registry.register_collector(Box::new(numbers.clone()));
        Self { registry: Arc::new(registry), numbers, length: Arc::default() }
    }

    /// What Prometheus scrapes.
    pub fn page(&self) -> String {
        // Room for it at once: while it grew by doubling it would be there twice.
        let last = self.length.load(Ordering::Relaxed);
        let mut page = String::with_capacity(last + last / 16);
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &self.registry);
        self.length.store(page.len(), Ordering::Relaxed);
        page
    }
}

impl Collector for Shared {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.lock();
        let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
        let help = "Decisions by who made them and what was done about them, or what stood against that";
        let mut metric = to.encode_descriptor("decisions", help, None, counter)?;
        for (target, numbers) in &*all {
            for &((by, effect), count) in &numbers.decisions {
                sample(&mut metric, target, &[("by", by), ("effect", effect)], &ConstCounter::new(count))?;
            }
        }
        let help = "Replicas: asked for now, wished for, granted";
        let mut metric = to.encode_descriptor("replicas", help, None, gauge)?;
        for (target, numbers) in &*all {
            for (what, count) in WHAT.into_iter().zip(numbers.replicas) {
                sample(&mut metric, target, &[("what", what)], &ConstGauge::new(i64::from(count)))?;
            }
        }
        let help = "Age of the newest measurement that the last decision was made on";
        let mut metric = to.encode_descriptor("measurement_age", help, Some(&Unit::Seconds), gauge)?;
        for (target, numbers) in &*all {
            if let Some(age) = numbers.age {
                sample(&mut metric, target, &[], &ConstGauge::new(age))?;
            }
        }
        let help = "Whether the service was within its objective at the last decision";
        let mut metric = to.encode_descriptor("within_slo", help, None, gauge)?;
        for (target, numbers) in &*all {
            if let Some(within) = numbers.within_slo {
                sample(&mut metric, target, &[], &ConstGauge::new(i64::from(within)))?;
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
        let mut all = self.numbers.lock();
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
        self.numbers.lock().remove(target);
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
