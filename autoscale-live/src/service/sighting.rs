//! One look at all targets: Prometheus, the pods, and what they use. Prometheus is asked for all of them in one go, the metrics
//! API by namespace; whose namespace has answered is decided on while others are being asked.

use crate::shell::{Sighting, Source};
use crate::source::{Collector, ServiceMetrics, UsageSource};
use crate::target::TargetRef;
use crate::target::kubernetes::{ANSWER_WITHIN, late};
use crate::target::usage::{Samples, UsageError, usage};
use crate::target::watch::Watch;
use autoscale_core::measurement::{Measurement, ReplicaCounts, cpu_utilization, memory_bytes};
use autoscale_core::sample::{PodPhase, PodSample, UsageSample};
use autoscale_core::units::{Replicas, Timestamp};
use futures_util::{FutureExt, StreamExt, stream};
use kube::Client;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Namespaces whose samples are asked for at the same time.
const AT_ONCE: usize = 4;

/// How long a pod may have been ready without a sample of what it uses; at least as long as what a rate is taken over.
const SAMPLED_WITHIN: Duration = Duration::from_secs(120);

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
        let sampled_within = SAMPLED_WITHIN.max(self.collector.window());
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
            let of_usage = format!("usage in {namespace}");
            let (samples, mut sampling) = match samples {
                Ok(samples) => (samples, Some(Sampling::within(sampled_within))),
                Err(fault) => {
                    faults.push((of_usage.clone(), fault.into()));
                    (Arc::default(), None)
                }
            };
            let mut sightings = Vec::with_capacity(here.len());
            for k in here {
                let target = &targets[k];
                let metrics = metrics.of(k).map_err(|fault| {
                    faults.push((format!("metrics of {target}"), fault.to_string().into()));
                });
                let sighting = self.sighting(target, metrics.ok(), &samples);
                if let Some(sampling) = &mut sampling {
                    sampling.count(sighting.pods.as_deref().unwrap_or_default(), at);
                }
                sightings.push((target.clone(), sighting));
            }
            faults.extend(sampling.and_then(|sampling| sampling.fault()).map(|fault| (of_usage, fault)));
            // Nobody waits for it when the shell is gone.
            let _ = tell.send(sightings).await;
            faults
        });
        let faults: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults.into_iter().flatten().collect();
    }
}

/// Pods that should have been measured by now.
#[derive(Debug)]
struct Sampling {
    within: Duration,
    due: usize,
    missing: usize,
    /// One of those that have no sample, or none of either CPU or memory.
    one: Option<Arc<str>>,
}

impl Sampling {
    fn within(within: Duration) -> Self {
        Self { within, due: 0, missing: 0, one: None }
    }

    fn count(&mut self, pods: &[PodSample], at: Timestamp) {
        let due = |pod: &&PodSample| {
            pod.is_serving() && pod.ready.is_some_and(|ready| at.since(ready.last_transition) >= self.within)
        };
        for pod in pods.iter().filter(due) {
            self.due += 1;
            let whole = |usage: &UsageSample| usage.cpu().is_some() && usage.memory().is_some();
            if !pod.usage.as_ref().is_some_and(whole) {
                self.missing += 1;
                self.one.get_or_insert_with(|| Arc::clone(&pod.name));
            }
        }
    }

    /// That some have no sample, which is a sign of labels that do not fit, most of all when none has.
    fn fault(&self) -> Option<Arc<str>> {
        let one = self.one.as_ref()?;
        let Self { missing, due, .. } = self;
        let within = self.within.as_secs();
        let told = format!(
            "{missing} of {due} pods that have been ready for {within} s have no sample of CPU and memory, {one} for instance"
        );
        Some(told.into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::sample::{ContainerUsage, ReadyCondition, ReadyStatus, ResourceList};
    use autoscale_core::units::Milli;

    fn pod(name: &str, ready_since: i64) -> PodSample {
        let last_transition = Timestamp::from_secs(ready_since);
        PodSample {
            name: name.into(),
            phase: PodPhase::Running,
            created: Timestamp::ZERO,
            started: None,
            ready: Some(ReadyCondition { status: ReadyStatus::True, last_transition }),
            deletion: None,
            containers: Arc::default(),
            pod_level_requests: None,
            usage: None,
        }
    }

    fn sampled(pod: PodSample) -> PodSample {
        measured(pod, ResourceList { cpu: Some(Milli::new(1)), memory: Some(Milli::new(1)) })
    }

    fn measured(pod: PodSample, usage: ResourceList) -> PodSample {
        let (timestamp, window) = (pod.created, Duration::from_secs(15));
        let containers = vec![ContainerUsage { name: "app".into(), usage }];
        PodSample { usage: Some(UsageSample { timestamp, window, containers }), ..pod }
    }

    #[test]
    fn pods_that_nobody_measures_are_told_of_once_they_should_have_been() {
        let told = |pods: &[PodSample]| {
            let mut sampling = Sampling::within(Duration::from_secs(120));
            sampling.count(pods, Timestamp::from_secs(1000));
            sampling.fault()
        };
        assert_eq!(told(&[sampled(pod("old", 100)), pod("young", 881)]), None);
        let half = measured(pod("half", 100), ResourceList { cpu: None, memory: Some(Milli::new(1)) });
        let fault = told(&[sampled(pod("web-1", 100)), half, pod("web-2", 880), pod("web-3", 100)]).unwrap();
        assert!(fault.starts_with("3 of 4 pods that have been ready for 120 s have no sample"), "{fault}");
        assert!(fault.contains("half for instance"), "{fault}");
        let mut gone = pod("gone", 100);
        gone.deletion = Some(Timestamp::from_secs(990));
        assert_eq!(told(&[gone]), None);
    }
}
