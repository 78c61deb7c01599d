//! What happened to pods, scales and HPAs, and when it was seen. Workloads are told apart by name: a Deployment's, the
//! label `app` of its pods, the target of its HPA.

use super::stage::watched;
use autoscale_core::sample::PodSample;
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_live::shell::{Clock, SystemClock};
use autoscale_live::target::pod_sample;
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The counts of a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) spec: Replicas,
    pub(crate) status: Replicas,
}

/// All that is known of one workload, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pods: Vec<(Timestamp, Arc<str>, Option<PodSample>)>,
    counts: Vec<(Timestamp, Counts)>,
    statuses: Vec<(Timestamp, HorizontalPodAutoscalerStatus)>,
}

fn last_at<T>(log: &[(Timestamp, T)], at: Timestamp) -> Option<&T> {
    log.iter().rev().find(|(seen, _)| *seen <= at).map(|(_, what)| what)
}

impl History {
    /// Its pods as they were known at that moment, without usage.
    pub(super) fn pods_at(&self, at: Timestamp) -> Vec<PodSample> {
        let mut pods = BTreeMap::new();
        for (_, name, pod) in self.pods.iter().take_while(|(seen, ..)| *seen <= at) {
            match pod {
                Some(pod) => pods.insert(name, pod),
                None => pods.remove(name),
            };
        }
        pods.into_values().cloned().collect()
    }

    pub(super) fn counts_at(&self, at: Timestamp) -> Counts {
        last_at(&self.counts, at).copied().unwrap_or_default()
    }

    /// What its HPA showed.
    pub(super) fn status_at(&self, at: Timestamp) -> Option<&HorizontalPodAutoscalerStatus> {
        last_at(&self.statuses, at)
    }

    /// When pods changed, or how many of them are counted, within `reach` of that moment.
    pub(super) fn transitions(&self, at: Timestamp, reach: Duration) -> Vec<Timestamp> {
        let pods = self.pods.iter().map(|(seen, ..)| *seen);
        let counts = self.counts.iter().map(|(seen, _)| *seen);
        pods.chain(counts).filter(|&seen| seen > at - reach && seen < at + reach).collect()
    }

    /// All counts that were asked for, without repetitions.
    pub(crate) fn asked_for(&self) -> Vec<Replicas> {
        let mut asked: Vec<Replicas> = self.counts.iter().map(|(_, counts)| counts.spec).collect();
        asked.dedup();
        asked
    }
}

/// Copies are the same record.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<BTreeMap<String, History>>>);

impl Recorder {
    /// Records from now on, of the whole cluster.
    pub(super) fn start(client: &Client) -> Self {
        let recorder = Self::default();
        tokio::spawn(recorder.clone().follow(Api::<Pod>::all(client.clone()), Self::saw_pod));
        tokio::spawn(recorder.clone().follow(Api::<Deployment>::all(client.clone()), Self::saw_scale));
        let hpas = Api::<HorizontalPodAutoscaler>::all(client.clone());
        tokio::spawn(recorder.clone().follow(hpas, Self::saw_hpa));
        recorder
    }

    /// All of a workload up to now.
    pub(crate) fn of(&self, workload: &str) -> History {
        self.0.lock().unwrap().get(workload).cloned().unwrap_or_default()
    }

    pub(crate) fn counts(&self, workload: &str) -> Counts {
        let known = self.0.lock().unwrap();
        known
            .get(workload)
            .and_then(|history| history.counts.last())
            .map(|(_, counts)| *counts)
            .unwrap_or_default()
    }

    async fn follow<K>(self, api: Api<K>, saw: impl Fn(&Self, &K, bool))
    where
        K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        let mut events = std::pin::pin!(watched(api));
        while let Some(event) = events.next().await {
            match event {
                Event::Apply(object) | Event::InitApply(object) => saw(&self, &object, true),
                Event::Delete(object) => saw(&self, &object, false),
                Event::Init | Event::InitDone => {}
            }
        }
    }

    fn note(&self, workload: &str, what: impl FnOnce(Timestamp, &mut History)) {
        let mut known = self.0.lock().unwrap();
        what(SystemClock.now(), known.entry(workload.to_owned()).or_default());
    }

    fn saw_pod(&self, pod: &Pod, exists: bool) {
        let Some(workload) = pod.labels().get("app") else { return };
        let sample = exists.then(|| pod_sample(pod));
        let name: Arc<str> = pod.name_any().into();
        self.note(workload, |at, history| {
            // Much of an object may change that is nothing to an autoscaler.
            let last = history.pods.iter().rev().find(|(_, known, _)| *known == name);
            if last.is_none_or(|(.., known)| *known != sample) {
                history.pods.push((at, name, sample));
            }
        });
    }

    fn saw_scale(&self, deployment: &Deployment, _: bool) {
        let count = |replicas: Option<i32>| Replicas::new(replicas.unwrap_or(0).cast_unsigned());
        let counts = Counts {
            spec: count(deployment.spec.as_ref().and_then(|spec| spec.replicas)),
            status: count(deployment.status.as_ref().and_then(|status| status.replicas)),
        };
        self.note(&deployment.name_any(), |at, history| {
            if history.counts.last().is_none_or(|(_, known)| *known != counts) {
                history.counts.push((at, counts));
            }
        });
    }

    fn saw_hpa(&self, hpa: &HorizontalPodAutoscaler, _: bool) {
        let (Some(spec), Some(status)) = (&hpa.spec, &hpa.status) else { return };
        self.note(&spec.scale_target_ref.name, |at, history| history.statuses.push((at, status.clone())));
    }
}
