//! The request-level world: truth.
//!
//! Time advances in buckets of one second. Within a bucket every request is simulated by itself, at its exact
//! time; pods and nodes change their state between buckets. Whatever is random depends on the seed, a purpose and
//! an ordinal only (request, pod, sample), never on the order of events, so two policies on one seed meet identical
//! arrivals, demands and start-up times.

pub use crate::request::{Ledger, RequestEnd, RequestTrace};

use crate::arrivals::Arrivals;
use crate::balancer::Balancer;
use crate::books::Books;
use crate::clients::{Clients, Patience};
use crate::fleet::Fleet;
use crate::pod::{Leaving, Phase, Pod};
use crate::probe::{Gauges, MetricsServer, Prometheus};
use crate::request::{Attempt, Fate, Request};
use crate::scenario::Scenario;
use autoscale_core::environment::{Environment, EpisodeEnd, EpisodeOver, Outcome};
use autoscale_core::limits::Granted;
use autoscale_core::measurement::{Measurement, cpu_utilization, memory_bytes};
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, WorkloadStatus};
use autoscale_core::record::{EPISODE_RECORD_VERSION, EpisodeRecord, IntervalRecord, ScaleEvent};
use autoscale_core::reward::RewardTerms;
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, PodPhase, PodSample, ReadyCondition, ReadyStatus, ResourceList,
};
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::{Milli, Replicas, RequestRate, Timestamp};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The replicas of the start are sized so that the first minute's load keeps them this busy.
const INITIAL_LOAD: f64 = 0.5;
/// The pods' only container.
const CONTAINER: &str = "app";

/// A simulated service under a scaling policy.
#[derive(Clone, Debug)]
pub struct World {
    /// What it was made of.
    scenario: Arc<Scenario>,
    /// What holds in this episode.
    episode: Arc<Scenario>,
    containers: Arc<[ContainerSpec]>,
    container: Arc<str>,
    length: u32,

    seed: Seed,
    period: u32,
    /// Seconds since the start of the warm-up.
    clock: u32,
    rates: Arc<[f64]>,
    arrivals: Arrivals,
    demands: Stream,
    offsets: Vec<f64>,

    spec: Replicas,
    last_write: LastWrite,
    fleet: Fleet,
    balancer: Balancer,
    clients: Clients,
    lost: Vec<Attempt>,
    leaving: Vec<Leaving>,

    metrics_server: MetricsServer,
    prometheus: Prometheus,
    samples: Vec<PodSample>,
    history: Vec<Measurement>,

    books: Books,
    terms: RewardTerms,
    record: EpisodeRecord,
}

impl World {
    /// A world of `scenario` with episodes of `length` (whole seconds, at least one control interval).
    /// Call [`Environment::reset`] before anything else: until then the world is at the start of an
    /// episode of seed 0.
    pub fn new(scenario: Arc<Scenario>, length: Duration) -> Self {
        let config = scenario.config();
        let container: Arc<str> = CONTAINER.into();
        let interval = config.episode.control_interval_s;
        let length = (length.as_secs() as u32).div_ceil(interval).max(1) * interval;
        let seed = Seed::root(0);
        let mut world = Self {
            containers: containers(&scenario, &container),
            container,
            length,
            seed,
            period: interval,
            clock: 0,
            rates: Arc::new([]),
            arrivals: Arrivals::new(seed),
            demands: seed.stream(),
            offsets: Vec::new(),
            spec: Replicas::ONE,
            last_write: LastWrite::Never,
            fleet: Fleet::new(config, seed),
            balancer: Balancer::new(&config.service, seed),
            clients: Clients::new(&config.service, seed),
            lost: Vec::new(),
            leaving: Vec::new(),
            metrics_server: MetricsServer::new(&config.metrics, seed),
            prometheus: Prometheus::new(&config.metrics),
            samples: Vec::new(),
            history: Vec::new(),
            books: Books::new(f64::from(config.episode.warmup_s), scenario.slo()),
            terms: RewardTerms::default(),
            record: empty_record(&scenario, seed),
            episode: Arc::clone(&scenario),
            scenario,
        };
        world.reset(seed, Cadence::every(Duration::from_secs(u64::from(interval))));
        world
    }

    /// Keeps every request from the next reset on, to be read by [`Self::requests`].
    #[must_use]
    pub fn with_request_log(mut self) -> Self {
        self.books.keep_log();
        self
    }

    /// The requests that have left the system so far, in order of leaving, by the second; empty without
    /// [`Self::with_request_log`].
    pub fn requests(&self) -> &[RequestTrace] {
        self.books.log()
    }

    /// Forgets the requests so far, so that the log of a long run stays small.
    pub fn clear_requests(&mut self) {
        self.books.clear_log();
    }

    /// The scenario that it simulates, as written; an episode's own constants may vary.
    pub fn scenario(&self) -> &Arc<Scenario> {
        &self.scenario
    }

    /// The books at this moment. Requests in the system are counted on their own, where they are.
    pub fn ledger(&self) -> Ledger {
        let in_pods: usize = self.fleet.pods().iter().map(Pod::in_system).sum();
        Ledger {
            in_system: (in_pods + self.clients.backing_off().count()) as u64,
            retries: self.clients.retried(),
            ..self.books.ledger
        }
    }

    fn warmup(&self) -> u32 {
        self.episode.config().episode.warmup_s
    }

    fn interval(&self) -> u32 {
        self.episode.config().episode.control_interval_s
    }

    fn timestamp(&self, clock: f64) -> Timestamp {
        Timestamp::from_secs_f64(clock - f64::from(self.warmup()))
    }

    fn over(&self) -> bool {
        self.clock >= self.warmup() + self.length
    }

    /// Simulates one second.
    fn second(&mut self) {
        let second = f64::from(self.clock);
        self.balancer.prepare(&self.fleet);
        self.give_up(second);
        let rate = self.rates[self.clock as usize];
        let mut offsets = std::mem::take(&mut self.offsets);
        self.arrivals.second(rate, &mut offsets);
        for &offset in &offsets {
            let now = second + offset;
            self.clients_act(second, now);
            let request = Request {
                ordinal: self.books.ledger.arrived,
                first: now,
                demand: self.episode.demand().draw(&mut self.demands),
                attempt: 1,
            };
            self.books.arrived(now);
            self.clients.ask();
            self.attempt(second, now, request);
        }
        self.offsets = offsets;
        self.clients_act(second, second + 1.0);
        self.end_second(rate);
    }

    /// Clients give up in the second that begins, as far as that was known before it.
    fn give_up(&mut self, second: f64) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for pod in self.fleet.pods_mut() {
            pod.timeouts(&mut leaving);
        }
        for Leaving { attempt, at } in leaving.drain(..) {
            self.fail(attempt.request, at, RequestEnd::TimedOut);
        }
        self.leaving = leaving;
        debug_assert!(self.clients.next_patience() >= second, "nobody was forgotten");
    }

    /// Clients give up or try again, in order of time, before `until`.
    fn clients_act(&mut self, second: f64, until: f64) {
        loop {
            let (retry, patience) = (self.clients.next_retry(), self.clients.next_patience());
            if retry.min(patience) >= until {
                return;
            }
            if patience <= retry {
                let Some(Patience { until, pod, attempt }) = self.clients.lose_patience() else { return };
                // Without its pod the attempt was lost before.
                let pod = self.fleet.find(pod);
                if pod.is_some_and(|pod| self.fleet.abandon(pod, &attempt, until, second)) {
                    self.fail(attempt.request, until, RequestEnd::TimedOut);
                }
            } else {
                let Some(request) = self.clients.retry() else { return };
                self.attempt(second, retry.max(second), request);
            }
        }
    }

    /// A client asks, for the first time or again, at `now` in the second that began at `second`.
    fn attempt(&mut self, second: f64, now: f64, request: Request) {
        let Some(pod) = self.balancer.pick(&mut self.fleet, request.attempt, now, second) else {
            self.fail(request, now, RequestEnd::Refused);
            return;
        };
        let attempt = Attempt { request, arrived: now };
        let (fate, busy_until) = self.fleet.admit(pod, attempt, second);
        self.balancer.taken(&mut self.fleet, pod, busy_until);
        match fate {
            Fate::Refused => self.fail(request, now, RequestEnd::Refused),
            Fate::TimedOut { at } if at < second + 1.0 => self.fail(request, at, RequestEnd::TimedOut),
            Fate::Open => {
                let until = now + self.fleet.model().timeout_s;
                if until < f64::INFINITY {
                    let pod = self.fleet.pods()[pod].ordinal;
                    self.clients.wait(Patience { until, pod, attempt });
                }
            }
            Fate::TimedOut { .. } | Fate::Answered { .. } => {}
        }
    }

    /// An attempt failed at `now`: its client tries again, or the request has ended.
    fn fail(&mut self, request: Request, now: f64, end: RequestEnd) {
        if !self.clients.try_again(request, now) {
            self.books.left(&request, now, end);
        }
    }

    fn end_second(&mut self, rate: f64) {
        let second = f64::from(self.clock);
        if self.clock >= self.warmup() {
            let pods = self.fleet.pods().len() as f64;
            let gathered = &mut self.books.gathered;
            self.terms.pod_hours += pods / 3600.0;
            gathered.offered += rate;
            gathered.pod_seconds += pods;
            gathered.ready_seconds += f64::from(self.fleet.counts(self.spec).ready.get());
        }
        let books = &mut self.books;
        self.fleet.end_second(second, |l| books.left(&l.attempt.request, l.at, RequestEnd::Answered));

        self.clock += 1;
        let now = f64::from(self.clock);
        let mut lost = std::mem::take(&mut self.lost);
        self.fleet.tick(now, &mut self.prometheus, &mut lost);
        for attempt in lost.drain(..) {
            self.fail(attempt.request, now, RequestEnd::Lost);
        }
        self.lost = lost;
        self.fleet.reconcile(self.spec, now, &mut self.prometheus);
        self.measure();
        if (i64::from(self.clock) - i64::from(self.warmup())).rem_euclid(i64::from(self.interval())) == 0 {
            self.end_interval();
        }
    }

    /// Kubelets sample, metrics-server reads, Prometheus scrapes.
    fn measure(&mut self) {
        let service = &self.episode.config().service;
        let (clock, now) = (u64::from(self.clock), f64::from(self.clock));
        let model = *self.fleet.model();
        for pod in self.fleet.pods_mut() {
            let in_flight = pod.outstanding(&model, now, now);
            let gauges = Gauges { in_flight, queued: pod.queued(now) };
            let memory = mib(service.memory_mib + service.memory_per_request_mib * in_flight as f64);
            let Pod { kubelet, exporter, stream, .. } = pod;
            self.metrics_server.tick(kubelet, clock, pod.started, stream, || (pod.cpu_used, memory));
            if pod.ready <= now {
                self.prometheus.tick(exporter, clock, stream, || gauges);
            }
        }
    }

    /// Closes a control interval: one measurement, and within the episode one record.
    fn end_interval(&mut self) {
        self.sample_pods();
        let seen = self.prometheus.aggregates(u64::from(self.clock), self.fleet.pods());
        let replicas = self.fleet.counts(self.spec);
        self.history.push(Measurement {
            at: self.timestamp(f64::from(self.clock)),
            age: seen.age,
            arrival_rate: seen.arrival_rate,
            cpu_utilization: cpu_utilization(&self.samples),
            memory_bytes: memory_bytes(&self.samples),
            in_flight: seen.in_flight,
            queued: seen.queued,
            latency: seen.latency,
            error_rate: seen.error_rate,
            timeout_rate: seen.timeout_rate,
            replicas,
        });
        if self.clock <= self.warmup() {
            return;
        }
        if self.over() {
            self.settle();
        }
        let length = f64::from(self.interval());
        let gathered = &mut self.books.gathered;
        let (latency, histogram) = gathered.latency();
        self.terms.arrivals += gathered.counts.arrived;
        self.terms.violations += gathered.counts.violations();
        let (requests, offered) = (gathered.counts, gathered.offered);
        let (mean_pods, mean_ready) = (gathered.pod_seconds / length, gathered.ready_seconds / length);
        gathered.begin_anew();
        self.record.intervals.push(IntervalRecord {
            start: self.timestamp(f64::from(self.clock) - length),
            offered: RequestRate::new(offered / length).unwrap_or_default(),
            requests,
            latency,
            histogram,
            replicas,
            mean_pods,
            mean_ready,
        });
    }

    /// Works out what becomes of the requests in the system at the end of the episode when nothing else
    /// arrives, until the drain ends.
    fn settle(&mut self) {
        let end = f64::from(self.clock + self.episode.config().episode.drain_s);
        let model = *self.fleet.model();
        let Self { fleet, books, clients, .. } = self;
        for pod in fleet.pods() {
            for (request, settled) in pod.settle(&model, end) {
                match settled {
                    Some((at, how)) => books.count(&request, at, how),
                    None => books.unfinished(&request),
                }
            }
        }
        clients.backing_off().for_each(|request| books.unfinished(request));
    }

    /// Renews what the API server and the metrics API say of each pod.
    fn sample_pods(&mut self) {
        let origin = f64::from(self.warmup());
        let mut samples = std::mem::take(&mut self.samples);
        samples.truncate(self.fleet.pods().len());
        for (index, pod) in self.fleet.pods().iter().enumerate() {
            if samples.get(index).is_none_or(|sample| sample.name != pod.name) {
                samples.truncate(index);
                samples.push(self.new_sample(pod));
            }
            let sample = &mut samples[index];
            let pending = pod.phase == Phase::Pending;
            let (status, since) = match pod.phase {
                Phase::Crashed { since, .. } => (ReadyStatus::False, since),
                Phase::Ready => (ReadyStatus::True, pod.ready),
                // Deletion leaves the condition as it is.
                Phase::Draining { since, .. } if pod.ready <= since => (ReadyStatus::True, pod.ready),
                Phase::Pending | Phase::Starting | Phase::Draining { .. } => {
                    (ReadyStatus::False, pod.created)
                }
            };
            sample.phase = if pending { PodPhase::Pending } else { PodPhase::Running };
            sample.started = (!pending).then(|| self.timestamp(pod.started));
            sample.ready = Some(ReadyCondition { status, last_transition: self.timestamp(since) });
            sample.deletion = match pod.phase {
                Phase::Draining { since, .. } => Some(self.timestamp(since)),
                _ => None,
            };
            self.metrics_server.show(&pod.kubelet, &self.container, pod.started, origin, &mut sample.usage);
        }
        self.samples = samples;
    }

    fn new_sample(&self, pod: &Pod) -> PodSample {
        PodSample {
            name: Arc::clone(&pod.name),
            phase: PodPhase::Pending,
            created: self.timestamp(pod.created),
            started: None,
            ready: None,
            deletion: None,
            containers: Arc::clone(&self.containers),
            pod_level_requests: None,
            usage: None,
        }
    }

    /// Simulates `seconds`, or what is left of the episode.
    fn advance(&mut self, seconds: u32) {
        let end = (self.clock + seconds).min(self.warmup() + self.length);
        while self.clock < end {
            self.second();
        }
        self.sample_pods();
    }
}

impl Environment for World {
    fn reset(&mut self, seed: Seed, cadence: Cadence) {
        self.episode = match self.scenario.episode(seed) {
            Cow::Borrowed(_) => Arc::clone(&self.scenario),
            Cow::Owned(drawn) => Arc::new(drawn),
        };
        let scenario = Arc::clone(&self.episode);
        let config = scenario.config();
        self.seed = seed;
        self.period = (cadence.period.as_secs_f64().round() as u32).max(1);
        self.clock = 0;
        self.rates = scenario.load_path(seed, self.length).into();
        self.arrivals = Arrivals::new(seed);
        self.demands = seed.child("demand").stream();
        self.fleet = Fleet::new(config, seed);
        self.balancer = Balancer::new(&config.service, seed);
        self.clients = Clients::new(&config.service, seed);
        self.metrics_server = MetricsServer::new(&config.metrics, seed);
        self.prometheus = Prometheus::new(&config.metrics);
        self.samples.clear();
        self.history.clear();
        self.books.begin_anew();
        self.terms = RewardTerms::default();
        self.record = empty_record(&scenario, seed);
        self.containers = containers(&scenario, &self.container);

        let first_minute = &self.rates[..self.rates.len().min(60)];
        let load = first_minute.iter().sum::<f64>() / first_minute.len() as f64;
        let wanted = Replicas::from_ceil(load / (scenario.pod_capacity().per_second() * INITIAL_LOAD));
        self.spec = wanted.clamp(scenario.limits().min(), scenario.limits().max());
        self.last_write = LastWrite::Never;
        self.record.initial_replicas = self.spec;
        self.fleet.start(self.spec, &self.prometheus);
        self.advance(self.warmup() + cadence.phase.as_secs() as u32);
    }

    fn observe(&self) -> Observation<'_> {
        let active = self.fleet.pods().iter().filter(|pod| !pod.is_draining()).count();
        Observation {
            now: self.timestamp(f64::from(self.clock)),
            workload: WorkloadStatus {
                spec: self.spec,
                status: Replicas::new(active as u32),
                last_write: self.last_write,
            },
            pods: &self.samples,
            series: &[],
            history: &self.history,
            limits: self.episode.limits(),
        }
    }

    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        if self.over() {
            return Err(EpisodeOver);
        }
        let Granted { replicas, bound } = self.episode.limits().grant(self.spec, decision.target);
        if replicas != self.spec {
            self.terms.churn += replicas.abs_diff(self.spec);
            let at = self.timestamp(f64::from(self.clock));
            self.record.scale_events.push(ScaleEvent { at, from: self.spec, to: replicas, bound });
            self.spec = replicas;
            self.last_write = LastWrite::Succeeded;
            self.fleet.reconcile(replicas, f64::from(self.clock), &mut self.prometheus);
        }
        self.advance(self.period);
        let reward = std::mem::take(&mut self.terms);
        self.record.totals += reward;
        let end = self.over().then_some(EpisodeEnd::Truncated);
        Ok(Outcome { granted: Granted { replicas, bound }, reward, end })
    }

    fn record(&self) -> &EpisodeRecord {
        &self.record
    }
}

/// What the pods' specification says of their containers.
fn containers(scenario: &Scenario, name: &Arc<str>) -> Arc<[ContainerSpec]> {
    let requests = ResourceList {
        cpu: Some(scenario.cpu_request()),
        memory: Some(Milli::from_units_ceil(mib(scenario.config().service.memory_mib))),
    };
    Arc::new([ContainerSpec { name: Arc::clone(name), kind: ContainerKind::Main, requests }])
}

fn mib(mebibytes: f64) -> f64 {
    mebibytes * 1_048_576.0
}

fn empty_record(scenario: &Scenario, seed: Seed) -> EpisodeRecord {
    EpisodeRecord {
        version: EPISODE_RECORD_VERSION,
        seed,
        interval: scenario.control_interval(),
        slo: scenario.slo(),
        pod_capacity: scenario.pod_capacity(),
        replica_range: (scenario.limits().min(), scenario.limits().max()),
        initial_replicas: Replicas::ZERO,
        intervals: Vec::new(),
        scale_events: Vec::new(),
        totals: RewardTerms::default(),
    }
}
