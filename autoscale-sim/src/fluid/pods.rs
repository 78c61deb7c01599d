//! The lives of pods, from one change to the next. Start-up times are the request engine's own.

use super::model::Pooling;
use super::station::{FluidStation, Glance};
use crate::episode::PodStatus;
use crate::pod::{Delays, PodModel};
use crate::probe::Kubelet;
use crate::scenario::ScenarioConfig;
use autoscale_core::measurement::ReplicaCounts;
use autoscale_core::sample::ReadyStatus;
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::Replicas;
use rand::RngExt;
use std::ops::Range;
use std::sync::Arc;

/// Pods of the start have been up for this long, so that no rule takes them for new.
const INITIAL_POD_AGE_S: f64 = 3600.0;

/// When a pod does what. Times are seconds on the world's clock; what happens at one is seen at the next whole
/// second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    created: f64,
    pub(super) started: f64,
    pub(super) ready: f64,
    /// The first whole second in which it is.
    pub(super) ready_second: u32,
    /// Whole seconds from and until when requests arrive.
    pub(super) serves: u32,
    pub(super) stops: u32,
    /// When its deletion was asked for.
    deleted: Option<u32>,
    /// When it is gone.
    pub(super) gone: u32,
    /// CPU-seconds that a pod that has always served had used when this one began to.
    cpu_before: f64,
}

impl Life {
    fn is_ready(&self, now: u32) -> bool {
        self.deleted.is_none() && self.ready <= f64::from(now)
    }

    pub(super) fn serves_at(&self, now: u32) -> bool {
        self.serves <= now && now < self.stops
    }

    /// The last second up to `at` in which its counters could grow; before it serves, the one when it begins to.
    pub(super) fn clamp(&self, at: u32) -> u32 {
        at.min(self.stops).max(self.serves)
    }

    /// CPU-seconds used until the whole second `now`, when one that has always served used `served` until then.
    pub(super) fn cpu_used(&self, now: u32, startup_cpu: f64, served: impl Fn(u32) -> f64) -> f64 {
        let starting = (self.ready.min(f64::from(now)) - self.started.max(0.0)).max(0.0);
        let serving = if now > self.serves { served(now.min(self.stops)) - self.cpu_before } else { 0.0 };
        startup_cpu * starting + serving.max(0.0)
    }
}

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct FluidPod {
    name: Arc<str>,
    pub(super) life: Life,
    /// Prometheus scrapes it so many seconds after each whole interval.
    pub(super) scrape_phase: u32,
    /// What its gauges showed when it was last scraped.
    pub(super) gauges: Glance,
    /// Draws of its gauges.
    glances: Seed,
    pub(super) kubelet: Kubelet,
    /// Draws of this pod's own.
    pub(super) stream: Stream,
}

impl FluidPod {
    fn status(&self, now: u32) -> PodStatus<'_> {
        let life = &self.life;
        let was_ready = life.ready <= f64::from(life.deleted.unwrap_or(now));
        PodStatus {
            name: &self.name,
            created: life.created,
            started: (life.started <= f64::from(now)).then_some(life.started),
            ready: if was_ready {
                (ReadyStatus::True, life.ready)
            } else {
                (ReadyStatus::False, life.created)
            },
            deletion: life.deleted.map(f64::from),
            kubelet: &self.kubelet,
        }
    }
}

/// The pods of the workload.
#[derive(Clone, Debug)]
pub(super) struct FluidPods {
    seed: Seed,
    model: PodModel,
    scrape_interval: u32,
    pooling: Pooling,
    /// How long a pod that is gone stays in the answers of Prometheus.
    memory: u32,
    grace: u32,
    /// In order of creation.
    pods: Vec<FluidPod>,
    created: u64,
    remembered: Vec<FluidPod>,
}

impl FluidPods {
    pub(super) fn new(seed: Seed, config: &ScenarioConfig) -> Self {
        Self {
            seed,
            model: PodModel::new(config),
            scrape_interval: config.metrics.scrape_interval_s,
            pooling: Pooling::of(config.service.dispatch),
            memory: config.metrics.scrape_interval_s + config.metrics.rate_window_s,
            grace: config.termination.grace_s.ceil() as u32,
            pods: Vec::new(),
            created: 0,
            remembered: Vec::new(),
        }
    }

    pub(super) fn model(&self) -> &PodModel {
        &self.model
    }

    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    pub(super) fn all_mut(&mut self) -> &mut [FluidPod] {
        &mut self.pods
    }

    /// Starts with pods that have long been ready.
    pub(super) fn start(&mut self, replicas: Replicas) {
        self.reconcile(replicas, 0, 0.0);
        for pod in &mut self.pods {
            let long_ago = -INITIAL_POD_AGE_S;
            let life = &mut pod.life;
            (life.created, life.started, life.ready) = (long_ago, long_ago, long_ago);
            (life.ready_second, life.serves) = (0, 0);
        }
    }

    /// Brings the pods to `replicas` as a `ReplicaSet` does: those that are not ready go first, newer ones before
    /// older ones; ready ones drain, and take `work_s` to finish what they have once nothing arrives any more.
    pub(super) fn reconcile(&mut self, replicas: Replicas, now: u32, work_s: f64) {
        let want = replicas.get() as usize;
        let have = self.active();
        for _ in have..want {
            self.create(now);
        }
        for _ in want..have {
            let active = |pod: &FluidPod| pod.life.deleted.is_none();
            let unready = |pod: &FluidPod| active(pod) && !pod.life.is_ready(now);
            if let Some(index) = self.pods.iter().rposition(unready) {
                self.pods.remove(index);
            } else if let Some(pod) = self.pods.iter_mut().rev().find(|pod| active(pod)) {
                let life = &mut pod.life;
                life.deleted = Some(now);
                life.stops = now + self.model.drain_endpoint_s.ceil() as u32;
                life.gone = (life.stops + work_s.ceil() as u32).min(now + self.grace).max(now + 1);
            }
        }
    }

    fn create(&mut self, now: u32) {
        let mut stream = self.seed.child("pod").nth(self.created).stream();
        let delays = Delays::draw(&self.model, &mut stream);
        let created = f64::from(now);
        let started = created + delays.start;
        let ready = started + delays.ready;
        let life = Life {
            created,
            started,
            ready,
            ready_second: ready.ceil() as u32,
            serves: (ready + self.model.startup.endpoint_delay_s).ceil() as u32,
            stops: u32::MAX,
            deleted: None,
            gone: u32::MAX,
            cpu_before: 0.0,
        };
        let scrape_phase = stream.random_range(0..self.scrape_interval);
        let name = format!("pod-{}", self.created).into();
        let (gauges, glances) = (Glance::default(), self.seed.child("glance").nth(self.created));
        let kubelet = Kubelet::default();
        self.pods.push(FluidPod { name, life, scrape_phase, gauges, glances, kubelet, stream });
        self.created += 1;
    }

    /// Pods that are not on their way out.
    pub(super) fn active(&self) -> usize {
        self.pods.iter().filter(|pod| pod.life.deleted.is_none()).count()
    }

    /// Pods that requests arrive at.
    pub(super) fn serving(&self, now: u32) -> Replicas {
        Replicas::new(self.pods.iter().filter(|pod| pod.life.serves_at(now)).count() as u32)
    }

    /// The second `now` is reached: pods are gone, and others begin to serve. `cpu_s` is what one that has always
    /// served has used.
    pub(super) fn tick(&mut self, now: u32, cpu_s: f64) {
        for pod in self.pods.iter_mut().filter(|pod| pod.life.serves == now) {
            pod.life.cpu_before = cpu_s;
        }
        self.remembered.extend(self.pods.extract_if(.., |pod| pod.life.gone <= now));
        self.remembered.retain(|pod| pod.life.gone + self.memory > now);
    }

    /// The next second after `now` in which something changes that is counted or served.
    pub(super) fn next_change(&self, now: u32) -> u32 {
        let times = self.pods.iter().flat_map(|pod| {
            let Life { ready_second, serves, stops, gone, .. } = pod.life;
            [ready_second, serves, stops, gone]
        });
        times.filter(|&at| at > now).min().unwrap_or(u32::MAX)
    }

    pub(super) fn counts(&self, desired: Replicas, now: u32) -> ReplicaCounts {
        let mut counts = ReplicaCounts { desired, ..ReplicaCounts::default() };
        for pod in &self.pods {
            let count = match pod.life {
                life if life.is_ready(now) => &mut counts.ready,
                Life { deleted: None, .. } => &mut counts.starting,
                _ => &mut counts.draining,
            };
            *count = Replicas::new(count.get() + 1);
        }
        counts
    }

    pub(super) fn statuses(&self, now: u32) -> impl Iterator<Item = PodStatus<'_>> {
        self.pods.iter().map(move |pod| pod.status(now))
    }

    /// Prometheus scrapes the pods that are due in these seconds.
    pub(super) fn scrape(&mut self, seconds: Range<u32>, station: &FluidStation) {
        let interval = self.scrape_interval;
        let first = seconds.start % interval;
        for pod in &mut self.pods {
            let wait = (pod.scrape_phase + interval - first) % interval;
            let mut due = (seconds.start + wait..seconds.end).step_by(interval as usize);
            // What an earlier scrape has shown is forgotten by the next.
            let Some(second) = due.rfind(|&second| pod.life.serves_at(second)) else { continue };
            let draws = u64::from(second);
            let mut own = pod.glances.nth(draws).stream();
            let rounding = own.random();
            let u = match self.pooling {
                Pooling::Apart => own.random(),
                // Who looks at one queue in the same second sees the same.
                Pooling::Together => self.seed.child("common-glance").nth(draws).stream().random(),
            };
            pod.gauges = station.glance(u, rounding);
        }
    }

    /// All that Prometheus still knows.
    pub(super) fn scraped(&self) -> impl Iterator<Item = &FluidPod> {
        self.pods.iter().chain(&self.remembered)
    }
}
