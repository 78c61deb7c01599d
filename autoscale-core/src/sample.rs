//! What a metrics API says of one pod, or of one series, with its age.

use crate::units::{Milli, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, but not all containers run yet: scheduling or pulling images.
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// The node does not answer.
    Unknown,
}

/// `status` of a pod's `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyStatus {
    /// The pod receives traffic.
    True,
    /// It does not (yet, or any more).
    False,
    /// Nobody knows; the HPA counts it as not False.
    Unknown,
}

/// A pod's `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyCondition {
    /// Whether the pod is ready.
    pub status: ReadyStatus,
    /// When the status last changed.
    pub last_transition: Timestamp,
}

/// CPU (millicores) and memory (thousandths of a byte), each only where stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceList {
    /// CPU, in millicores.
    pub cpu: Option<Milli>,
    /// Memory, in thousandths of a byte.
    pub memory: Option<Milli>,
}

/// Which part a container plays in the pod's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContainerKind {
    /// An ordinary container.
    Main,
    /// An init container with `restartPolicy: Always`: its request counts as a main container's does.
    Sidecar,
    /// Any other init container: its request does not count.
    Init,
}

/// A container of a pod's specification.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Main container, sidecar or init container.
    pub kind: ContainerKind,
    /// `resources.requests`.
    pub requests: ResourceList,
}

/// What the resource metrics API reports of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUsage {
    /// The container's name.
    pub name: Arc<str>,
    /// Its use: CPU averaged over the window, memory at the end of it.
    pub usage: ResourceList,
}

/// What the resource metrics API reports of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSample {
    /// End of the window that the sample describes.
    pub timestamp: Timestamp,
    /// Length of that window.
    pub window: Duration,
    /// One entry a container.
    pub containers: Vec<ContainerUsage>,
}

impl UsageSample {
    /// CPU over all containers; `None` when there is none or one lacks a value.
    pub fn cpu(&self) -> Option<Milli> {
        if self.containers.is_empty() {
            return None;
        }
        self.containers.iter().map(|c| c.usage.cpu.map(Milli::get)).sum::<Option<i64>>().map(Milli::new)
    }

    /// Memory over all containers; `None` when there is none or one lacks a value.
    pub fn memory(&self) -> Option<Milli> {
        if self.containers.is_empty() {
            return None;
        }
        self.containers.iter().map(|c| c.usage.memory.map(Milli::get)).sum::<Option<i64>>().map(Milli::new)
    }
}

/// One pod, as an autoscaler can see it: its object from the API server and its last usage sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSample {
    /// The pod's name.
    pub name: Arc<str>,
    /// Its phase.
    pub phase: PodPhase,
    /// When it was created.
    pub created: Timestamp,
    /// `status.startTime`: when a node's kubelet first acknowledged it.
    pub started: Option<Timestamp>,
    /// Its Ready condition, if it has one yet.
    pub ready: Option<ReadyCondition>,
    /// Its deletion timestamp, if it is being deleted.
    pub deletion: Option<Timestamp>,
    /// The containers of its specification; shared, since all pods of a workload have the same.
    pub containers: Arc<[ContainerSpec]>,
    /// Requests stated for the pod as a whole.
    pub pod_level_requests: Option<ResourceList>,
    /// The last usage sample; `None` while the metrics API has none.
    pub usage: Option<UsageSample>,
}

impl PodSample {
    /// Whether the Ready condition is True and the pod is not being deleted.
    pub fn is_serving(&self) -> bool {
        self.deletion.is_none() && self.ready.is_some_and(|r| r.status == ReadyStatus::True)
    }

    /// The CPU request of the whole pod; `None` when a container that counts states none.
    pub fn cpu_request(&self) -> Option<Milli> {
        if let Some(cpu) = self.pod_level_requests.and_then(|r| r.cpu) {
            return Some(cpu);
        }
        self.containers
            .iter()
            .filter(|c| c.kind != ContainerKind::Init)
            .map(|c| c.requests.cpu.map(Milli::get))
            .sum::<Option<i64>>()
            .map(Milli::new)
    }
}

/// The metric of requests in progress in all pods, as Knative's queue proxies report it: a [`Reading`] a second, for
/// policies that decide at least every five seconds.
pub const CONCURRENCY: &str = "concurrency";

/// The last known value of an object, external or custom metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The metric's name.
    pub metric: Arc<str>,
    /// The pod that it belongs to, for metrics of kind Pods.
    pub pod: Option<Arc<str>>,
    /// The value, in thousandths of its unit.
    pub value: Milli,
    /// When it was true.
    pub timestamp: Timestamp,
    /// The window it was averaged over, where one is known.
    pub window: Option<Duration>,
}

impl Reading {
    /// How old the value is at `now`.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.timestamp)
    }
}
