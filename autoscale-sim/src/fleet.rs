//! The pods of the workload and the nodes they run on: what `ReplicaSet` controller, scheduler, node autoscaler
//! and kubelets do.

use crate::draw;
use crate::pod::{Leaving, Phase, Pod, PodModel};
use crate::probe::Prometheus;
use crate::request::{Attempt, Fate};
use crate::scenario::{NodesConfig, ScenarioConfig};
use autoscale_core::measurement::ReplicaCounts;
use autoscale_core::seed::Seed;
use autoscale_core::units::Replicas;

/// Pods of the start have been up for this long, so that no rule takes them for new.
const INITIAL_POD_AGE_S: f64 = 3600.0;

/// A node. Times are seconds on the world's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    ordinal: u64,
    /// From when on it takes pods.
    up: f64,
    /// When the notice of its interruption comes.
    noticed: f64,
    /// Since when it has no pods.
    empty_since: Option<f64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    seed: Seed,
    model: PodModel,
    grace: f64,
    nodes_config: Option<NodesConfig>,
    room: usize,
    /// In order of creation.
    pods: Vec<Pod>,
    pods_created: u64,
    nodes: Vec<Node>,
    nodes_created: u64,
    /// Indices of the pods that proxies send requests to.
    endpoints: Vec<usize>,
}

impl Fleet {
    pub(crate) fn new(config: &ScenarioConfig, seed: Seed) -> Self {
        Self {
            seed,
            model: PodModel::new(config),
            grace: config.termination.grace_s,
            nodes_config: config.nodes,
            room: config.nodes.map_or(usize::MAX, |nodes| nodes.room(config.service.cpu_request_milli)),
            pods: Vec::new(),
            pods_created: 0,
            nodes: Vec::new(),
            nodes_created: 0,
            endpoints: Vec::new(),
        }
    }

    pub(crate) fn model(&self) -> &PodModel {
        &self.model
    }

    pub(crate) fn pods(&self) -> &[Pod] {
        &self.pods
    }

    pub(crate) fn pods_mut(&mut self) -> &mut [Pod] {
        &mut self.pods
    }

    /// Indices of the pods that proxies send requests to, as of the last tick.
    pub(crate) fn endpoints(&self) -> &[usize] {
        &self.endpoints
    }

    /// Index of the pod with this ordinal, if it is still there.
    pub(crate) fn find(&self, ordinal: u64) -> Option<usize> {
        self.pods.binary_search_by_key(&ordinal, |pod| pod.ordinal).ok()
    }

    /// Requests in the pod with this index at `now`, in the second that began at `second`.
    pub(crate) fn outstanding(&mut self, pod: usize, now: f64, second: f64) -> usize {
        self.pods[pod].outstanding(&self.model, now, second)
    }

    /// An attempt arrives at the pod with this index: see [`Pod::admit`].
    pub(crate) fn admit(&mut self, pod: usize, attempt: Attempt, second: f64) -> (Fate, Option<f64>) {
        self.pods[pod].admit(&self.model, attempt, second)
    }

    /// The client of an attempt gives up: see [`Pod::abandon`].
    pub(crate) fn abandon(&mut self, pod: usize, attempt: &Attempt, now: f64, second: f64) -> bool {
        self.pods[pod].abandon(&self.model, attempt, now, second)
    }

    /// Ends the second that began at `second`: see [`Pod::end_second`]. `answered` hears which pod answered.
    pub(crate) fn end_second(&mut self, second: f64, mut answered: impl FnMut(u64, &Leaving)) {
        for pod in &mut self.pods {
            let ordinal = pod.ordinal;
            pod.end_second(&self.model, second, |answer| answered(ordinal, answer));
        }
    }

    /// Starts with `replicas` pods that have long been ready.
    pub(crate) fn start(&mut self, replicas: Replicas, prometheus: &Prometheus) {
        if let Some(config) = self.nodes_config {
            let needed = (replicas.get() as usize).div_ceil(self.room).max(config.min_nodes as usize);
            for _ in 0..needed.min(config.max_nodes as usize) {
                self.create_node(&config, 0.0, 0.0);
            }
        }
        for _ in 0..replicas.get() {
            self.create_pod(0.0, prometheus);
        }
        self.bind(0.0);
        for pod in self.pods.iter_mut().filter(|pod| pod.started < f64::INFINITY) {
            pod.make_old(&self.model, 0.0, INITIAL_POD_AGE_S);
        }
        self.find_endpoints(0.0);
    }

    /// Brings the pods to `replicas` as a `ReplicaSet` does: pods that are not ready go first, newer ones before
    /// older ones; ready ones drain.
    pub(crate) fn reconcile(&mut self, replicas: Replicas, now: f64, prometheus: &mut Prometheus) {
        let want = replicas.get() as usize;
        let have = self.pods.iter().filter(|pod| !pod.is_draining()).count();
        for _ in have..want {
            self.create_pod(now, prometheus);
        }
        for _ in want..have {
            let newest = |test: fn(&Pod) -> bool| self.pods.iter().rposition(test);
            if let Some(index) = newest(Pod::is_unready) {
                let pod = self.pods.remove(index);
                prometheus.forget(pod.exporter, now as u64);
            } else if let Some(index) = newest(|pod| pod.phase == Phase::Ready) {
                self.pods[index].terminate(now, self.grace);
            }
        }
        self.bind(now);
        self.find_endpoints(now);
    }

    fn create_pod(&mut self, now: f64, prometheus: &Prometheus) {
        let pod = Pod::new(&self.model, self.seed, self.pods_created, now, prometheus.exporter());
        self.pods_created += 1;
        self.pods.push(pod);
    }

    fn create_node(&mut self, config: &NodesConfig, ordered: f64, delay_share: f64) {
        let ordinal = self.nodes_created;
        self.nodes_created += 1;
        let mut stream = self.seed.child("node").nth(ordinal).stream();
        let delay =
            config.provisioning_median_s * draw::lognormal(0.0, config.provisioning_sigma, &mut stream);
        let life = draw::exponential(&mut stream) * 3600.0 / config.interruptions_per_hour;
        let up = ordered + delay * delay_share;
        self.nodes.push(Node { ordinal, up, noticed: up + life, empty_since: None });
    }

    /// Binds pending pods, the oldest first, to the fullest node that has room, and orders nodes for the rest.
    fn bind(&mut self, now: f64) {
        let Some(config) = self.nodes_config else {
            for pod in self.pods.iter_mut().filter(|pod| pod.started == f64::INFINITY) {
                pod.bind(None, now);
            }
            return;
        };
        let on = |pods: &[Pod], node: &Node| pods.iter().filter(|p| p.node == Some(node.ordinal)).count();
        let mut homeless = 0;
        for index in 0..self.pods.len() {
            if self.pods[index].started < f64::INFINITY {
                continue;
            }
            let open = self.nodes.iter().filter(|node| node.up <= now && now < node.noticed);
            let used = open.map(|node| (on(&self.pods, node), node.ordinal));
            match used.filter(|&(used, _)| used < self.room).max_by_key(|&(used, ordinal)| (used, !ordinal)) {
                Some((_, ordinal)) => self.pods[index].bind(Some(ordinal), now),
                None => homeless += 1,
            }
        }
        let coming = self.nodes.iter().filter(|node| node.up > now).count();
        for _ in coming..usize::div_ceil(homeless, self.room) {
            if self.nodes.len() < config.max_nodes as usize {
                self.create_node(&config, now, 1.0);
            }
        }
    }

    /// Lets lives go on to the whole second `now`. Attempts whose pod dies are put into `lost`.
    pub(crate) fn tick(&mut self, now: f64, prometheus: &mut Prometheus, lost: &mut Vec<Attempt>) {
        self.interrupt_nodes(now);
        for pod in &mut self.pods {
            pod.live(&self.model, now, lost);
            if pod.is_evicted(now) {
                pod.terminate(now, self.grace);
            }
        }
        for index in (0..self.pods.len()).rev() {
            let pod = &mut self.pods[index];
            let Phase::Draining { killed, .. } = pod.phase else { continue };
            let idle = pod.in_system() == 0 && pod.outstanding(&self.model, now, now) == 0;
            if now >= killed || (idle && !pod.is_endpoint(&self.model, now)) {
                let mut pod = self.pods.remove(index);
                pod.abort(lost);
                prometheus.forget(pod.exporter, now as u64);
            }
        }
        self.find_endpoints(now);
    }

    fn interrupt_nodes(&mut self, now: f64) {
        let Some(config) = self.nodes_config else { return };
        for node in &mut self.nodes {
            let mut own = self.pods.iter_mut().filter(|pod| pod.node == Some(node.ordinal)).peekable();
            if node.up > now || own.peek().is_some() {
                node.empty_since = None;
            } else {
                node.empty_since.get_or_insert(now);
            }
            if now >= node.noticed {
                own.filter(|pod| !pod.is_draining())
                    .for_each(|pod| pod.terminate(now, self.grace.min(config.notice_s)));
            }
        }
        let mut spare = self.nodes.len().saturating_sub(config.min_nodes as usize);
        self.nodes.retain(|node| {
            let empty = node.empty_since.is_some_and(|since| now >= since + config.empty_s);
            let ended = now >= node.noticed + config.notice_s;
            let goes = ended || (empty && spare > 0);
            spare -= usize::from(goes && spare > 0);
            !goes
        });
        // Interrupted nodes are replaced up to the fewest.
        for _ in self.nodes.len()..config.min_nodes as usize {
            self.create_node(&config, now, 1.0);
        }
    }

    fn find_endpoints(&mut self, now: f64) {
        let (model, pods) = (&self.model, &self.pods);
        self.endpoints.clear();
        self.endpoints.extend((0..pods.len()).filter(|&index| pods[index].is_endpoint(model, now)));
    }

    /// Pods that exist, those that are ready, those on their way, those that go.
    pub(crate) fn counts(&self, desired: Replicas) -> ReplicaCounts {
        let count =
            |test: fn(&Pod) -> bool| Replicas::new(self.pods.iter().filter(|pod| test(pod)).count() as u32);
        ReplicaCounts {
            desired,
            ready: count(|pod| pod.phase == Phase::Ready),
            starting: count(Pod::is_unready),
            draining: count(Pod::is_draining),
        }
    }
}
