//! One look at all targets: Prometheus, the pods, and what they use.

use crate::shell::{Sighting, Source};
use crate::source::{Collector, ServiceMetrics};
use crate::target::TargetRef;
use crate::target::usage::usage;
use crate::target::watch::Watch;
use autoscale_core::measurement::{Measurement, ReplicaCounts, cpu_utilization, memory_bytes};
use autoscale_core::sample::{PodPhase, PodSample, UsageSample};
use autoscale_core::units::{Replicas, Timestamp};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What could not be seen at the last look, by whose it is or where it was asked for.
pub(super) type Faults = Arc<Mutex<BTreeMap<String, Arc<str>>>>;

/// Looks.
pub(super) struct Sights {
    collector: Collector,
    client: Client,
    watch: Arc<Watch>,
    faults: Faults,
}

impl Sights {
    pub(super) fn new(collector: Collector, client: Client, watch: Arc<Watch>) -> Self {
        Self { collector, client, watch, faults: Faults::default() }
    }

    /// What could not be seen, kept up to date.
    pub(super) fn faults(&self) -> Faults {
        Arc::clone(&self.faults)
    }

    /// Usage samples by namespace and pod; none where the metrics API has none to give.
    async fn usage(
        &self,
        targets: &[TargetRef],
        faults: &mut BTreeMap<String, Arc<str>>,
    ) -> BTreeMap<Arc<str>, BTreeMap<Arc<str>, UsageSample>> {
        let namespaces: BTreeSet<Arc<str>> =
            targets.iter().map(|target| Arc::clone(&target.namespace)).collect();
        let mut all = BTreeMap::new();
        for namespace in namespaces {
            match usage(&self.client, &namespace).await {
                Ok(samples) => _ = all.insert(namespace, samples),
                Err(fault) => _ = faults.insert(format!("usage in {namespace}"), fault.to_string().into()),
            }
        }
        all
    }
}

impl Source for Sights {
    async fn collect(&self, targets: Vec<TargetRef>, at: Timestamp) -> BTreeMap<TargetRef, Sighting> {
        let mut faults = BTreeMap::new();
        let (metrics, mut usage) =
            tokio::join!(self.collector.collect(&targets, at), self.usage(&targets, &mut faults));
        for (target, metrics) in &metrics {
            if let Err(fault) = metrics {
                faults.insert(format!("metrics of {target}"), fault.to_string().into());
            }
        }
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
        let sighting = |(target, metrics): (TargetRef, Result<ServiceMetrics, _>)| {
            let samples = usage.entry(Arc::clone(&target.namespace)).or_default();
            let pods = self.watch.pods(&target).map(|mut pods| {
                for pod in &mut pods {
                    pod.usage = samples.get(&pod.name).cloned();
                }
                pods
            });
            let seen = |metrics| pods.as_deref().map(|pods| measurement(&metrics, pods));
            let measurement = metrics.ok().and_then(seen);
            (target, Sighting { measurement, pods, series: Vec::new() })
        };
        metrics.into_iter().map(sighting).collect()
    }
}

/// What Prometheus and the API server show together. What was asked for is the controller's to know.
fn measurement(metrics: &ServiceMetrics, pods: &[PodSample]) -> Measurement {
    let count =
        |which: fn(&PodSample) -> bool| Replicas::new(pods.iter().filter(|pod| which(pod)).count() as u32);
    let &ServiceMetrics { at, age, arrival_rate, error_rate, timeout_rate, in_flight, queued, latency } =
        metrics;
    Measurement {
        at,
        age,
        arrival_rate,
        cpu_utilization: cpu_utilization(pods),
        memory_bytes: memory_bytes(pods),
        in_flight,
        queued,
        latency,
        error_rate,
        timeout_rate,
        replicas: ReplicaCounts {
            desired: Replicas::ZERO,
            ready: count(PodSample::is_serving),
            starting: count(|pod| {
                let alive = matches!(pod.phase, PodPhase::Pending | PodPhase::Running);
                alive && pod.deletion.is_none() && !pod.is_serving()
            }),
            draining: count(|pod| pod.deletion.is_some()),
        },
    }
}
