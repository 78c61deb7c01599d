//! Decisions as numbers for Prometheus.

use crate::controller::{DecisionRecord, Effect};
use crate::shell::Journal;
use crate::target::TargetRef;
use autoscale_core::guard::Rung;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    namespace: Arc<str>,
    kind: Arc<str>,
    name: Arc<str>,
    by: &'static str,
    effect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Count {
    namespace: Arc<str>,
    kind: Arc<str>,
    name: Arc<str>,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    namespace: Arc<str>,
    kind: Arc<str>,
    name: Arc<str>,
}

/// Counts decisions and shows the last of each target. Clones share their numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    decisions: Family<Decided, Counter>,
    replicas: Family<Count, Gauge>,
    age: Family<Of, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing decided yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("autoscale");
        let (decisions, replicas, age) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "decisions",
            "Decisions by who made them and what was done about them",
            decisions.clone(),
        );
        registry.register("replicas", "Replicas: asked for now, wished for, granted", replicas.clone());
        registry.register_with_unit(
            "measurement_age",
            "Age of the newest measurement that the last decision was made on",
            Unit::Seconds,
            age.clone(),
        );
        Self { registry: Arc::new(registry), decisions, replicas, age }
    }

    /// What Prometheus scrapes.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}

impl Journal for Metrics {
    fn keep(&mut self, target: &TargetRef, record: &DecisionRecord) {
        let TargetRef { namespace, kind, name, .. } = target.clone();
        let by = match record.rung {
            Rung::Policy => "policy",
            Rung::Hold => "hold",
            Rung::Fallback => "fallback",
            Rung::HandsOff => "hands-off",
        };
        let effect = match record.effect {
            Effect::Written => "written",
            Effect::Unchanged => "unchanged",
            Effect::Shadow => "shadow",
            Effect::Blocked(_) => "blocked",
        };
        let of = Of { namespace, kind, name };
        if let Some(measurement) = &record.measurement {
            let age = record.at.since(measurement.at) + measurement.age;
            self.age.get_or_create(&of).set(age.as_secs_f64());
        }
        let Of { namespace, kind, name } = of;
        for (what, count) in [
            ("current", record.spec),
            ("wished", record.wish.target.or(record.spec)),
            ("granted", record.granted.replicas),
        ] {
            let labels = Count {
                namespace: Arc::clone(&namespace),
                kind: Arc::clone(&kind),
                name: Arc::clone(&name),
                what,
            };
            self.replicas.get_or_create(&labels).set(i64::from(count.get()));
        }
        self.decisions.get_or_create(&Decided { namespace, kind, name, by, effect }).inc();
    }
}
