//! One look at all targets: Prometheus, the pods, and what they use. Prometheus is asked for all of them in one go, the metrics
//! API by namespace; whose namespace has answered is decided on while others are being asked.

use crate::shell::{Sighting, Source};
use crate::source::{Collector, ServiceMetrics, UsageSource};
use crate::target::TargetRef;
use crate::target::kubernetes::{ANSWER_WITHIN, late};
use crate::target::usage::{Samples, UsageError, usage};
use crate::target::watch::Watch;
use autoscale_core::measurement::{Measurement, ReplicaCounts, cpu_utilization, memory_bytes};
use autoscale_core::sample::{PodPhase, PodSample};
use autoscale_core::units::{Replicas, Timestamp};
use futures_util::{FutureExt, StreamExt, stream};
use kube::Client;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Namespaces whose samples are asked for at the same time.
const AT_ONCE: usize = 4;

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

    /// What the metrics API says of a namespace.
    async fn samples(&self, namespace: &str, deadline: Instant) -> Result<Arc<Samples>, String> {
        let samples = timeout_at(deadline, usage(&self.client, namespace)).await;
        let samples = samples.unwrap_or_else(|_| Err(UsageError::Failed(late())));
        samples.map(Arc::new).map_err(|fault| fault.to_string())
    }

    /// A target with its pods and what they use.
    fn sighting(&self, target: &TargetRef, metrics: Option<ServiceMetrics>, samples: &Samples) -> Sighting {
        let pods = self.watch.pods(target).map(|mut pods| {
            for pod in &mut pods {
                pod.usage = samples.get(&pod.name).cloned();
            }
            pods
        });
        let seen = |metrics| pods.as_deref().map(|pods| measurement(&metrics, pods));
        let measurement = metrics.and_then(seen);
        Sighting { measurement, pods, series: Vec::new() }
    }
}

impl Source for Sights {
    async fn collect(
        &self,
        targets: Vec<TargetRef>,
        at: Timestamp,
        tell: mpsc::Sender<Vec<(TargetRef, Sighting)>>,
    ) {
        let mut namespaces: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (k, target) in targets.iter().enumerate() {
            namespaces.entry(Arc::clone(&target.namespace)).or_default().push(k);
        }
        // One for all of them, or a metrics API that says nothing would keep the last of them from being decided on at all.
        let deadline = Instant::now() + ANSWER_WITHIN;
        let metrics = async { Arc::new(self.collector.collect(&targets, at).await) }.shared();
        let names: Vec<Arc<str>> = namespaces.keys().cloned().collect();
        let used = async { self.collector.usage(&names, at).await }.shared();
        let looks = namespaces.into_iter().map(async |(namespace, here)| {
            let samples = async {
                match self.collector.usage_source() {
                    UsageSource::MetricsApi => self.samples(&namespace, deadline).await,
                    UsageSource::Prometheus => match used.clone().await {
                        Ok(samples) => Ok(samples.get(&namespace).cloned().unwrap_or_default()),
                        Err(fault) => Err(fault.to_string()),
                    },
                }
            };
            let (samples, metrics) = tokio::join!(samples, metrics.clone());
            let mut faults = Vec::new();
            let samples = samples.unwrap_or_else(|fault| {
                faults.push((format!("usage in {namespace}"), fault.into()));
                Arc::default()
            });
            let mut sightings = Vec::with_capacity(here.len());
            for k in here {
                let target = &targets[k];
                let metrics = metrics.of(k).map_err(|fault| {
                    faults.push((format!("metrics of {target}"), fault.to_string().into()));
                });
                sightings.push((target.clone(), self.sighting(target, metrics.ok(), &samples)));
            }
            // Nobody waits for it when the shell is gone.
            let _ = tell.send(sightings).await;
            faults
        });
        let faults: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults.into_iter().flatten().collect();
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
