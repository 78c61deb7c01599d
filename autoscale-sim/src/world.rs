//! The request-level world: truth.
//!
//! Time advances in buckets of one second. Within a bucket every request is simulated by itself, at its
//! exact arrival time; pods change their state between buckets. Whatever is random depends on the seed, a
//! purpose and an ordinal only (request, pod, sample), never on the order of events, so two policies on one
//! seed meet identical arrivals, demands and start-up times.

use crate::arrivals::Arrivals;
use crate::draw;
use crate::pod::{Fate, Phase, Pod, PodModel};
use crate::probe::{Counters, PodProbe, Probe, summarize};
use crate::scenario::{Dispatch, Scenario, StartupConfig};
use autoscale_core::environment::{Environment, EpisodeEnd, EpisodeOver, Outcome};
use autoscale_core::histogram::LogHistogram;
use autoscale_core::limits::Granted;
use autoscale_core::measurement::{Measurement, ReplicaCounts, cpu_utilization, memory_bytes};
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, WorkloadStatus};
use autoscale_core::record::{
    EPISODE_RECORD_VERSION, EpisodeRecord, IntervalRecord, RequestCounts, ScaleEvent,
};
use autoscale_core::reward::RewardTerms;
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, PodPhase, PodSample, ReadyCondition, ReadyStatus, ResourceList,
};
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::{Milli, Replicas, RequestRate, Timestamp};
use rand::RngExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Pods of the start have been up for this long, so that no rule takes them for new.
const INITIAL_POD_AGE_S: f64 = 3600.0;
/// The replicas of the start are sized so that the first minute's load keeps them this busy.
const INITIAL_LOAD: f64 = 0.5;
/// The pods' only container.
const CONTAINER: &str = "app";

/// One request, for tests and close looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestTrace {
    /// When it arrived.
    pub arrived: Timestamp,
    /// Its work in seconds on an idle worker.
    pub demand: Duration,
    /// When it left the system, as its client sees it.
    pub left: Timestamp,
    /// How.
    pub end: RequestEnd,
}

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// With an answer.
    Answered,
    /// The client gave up.
    TimedOut,
    /// At once, with an error.
    Refused,
}

/// The books of the world: arrived = answered + refused + timed out + in the system, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Requests that arrived, those of the warm-up included.
    pub arrived: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests whose client gave up.
    pub timed_out: u64,
    /// Requests whose client still waits.
    pub in_system: u64,
}

/// What leaves the system in one second.
#[derive(Clone, Debug, Default)]
struct Departures {
    latencies: Vec<f32>,
    timed_out: u64,
}

/// What is gathered over a control interval.
#[derive(Clone, Debug, Default)]
struct Gathered {
    counts: RequestCounts,
    latencies: Vec<f32>,
    offered: f64,
    pod_seconds: f64,
    ready_seconds: f64,
}

/// A simulated service under a scaling policy.
#[derive(Clone, Debug)]
pub struct World {
    scenario: Arc<Scenario>,
    model: PodModel,
    containers: Arc<[ContainerSpec]>,
    container: Arc<str>,
    length: u32,
    log: Option<Vec<RequestTrace>>,

    seed: Seed,
    period: u32,
    /// Seconds since the start of the warm-up.
    clock: u32,
    rates: Vec<f64>,
    arrivals: Arrivals,
    demands: Stream,
    dispatches: Stream,
    turn: usize,
    offsets: Vec<f64>,

    spec: Replicas,
    last_write: LastWrite,
    created: u64,
    pods: Vec<(Pod, PodProbe)>,
    /// Indices of the pods that receive requests.
    serving: Vec<usize>,
    departures: VecDeque<Departures>,
    counters: Counters,
    probe: Probe,

    terms: RewardTerms,
    gathered: Gathered,
    samples: Vec<PodSample>,
    history: Vec<Measurement>,
    record: EpisodeRecord,
}

impl World {
    /// A world of `scenario` with episodes of `length` (whole seconds, at least one control interval).
    /// Call [`Environment::reset`] before anything else: until then the world is at the start of an
    /// episode of seed 0.
    pub fn new(scenario: Arc<Scenario>, length: Duration) -> Self {
        let config = scenario.config();
        let model = PodModel::new(&config.service);
        let container: Arc<str> = CONTAINER.into();
        let requests = ResourceList {
            cpu: Some(scenario.cpu_request()),
            memory: Some(Milli::from_units_ceil(mib(config.service.memory_mib))),
        };
        let spec = ContainerSpec { name: Arc::clone(&container), kind: ContainerKind::Main, requests };
        let interval = config.episode.control_interval_s;
        let length = (length.as_secs() as u32).div_ceil(interval).max(1) * interval;
        let seed = Seed::root(0);
        let mut world = Self {
            model,
            containers: Arc::new([spec]),
            container,
            length,
            log: None,
            seed,
            period: interval,
            clock: 0,
            rates: Vec::new(),
            arrivals: Arrivals::new(seed),
            demands: seed.stream(),
            dispatches: seed.stream(),
            turn: 0,
            offsets: Vec::new(),
            spec: Replicas::ONE,
            last_write: LastWrite::Never,
            created: 0,
            pods: Vec::new(),
            serving: Vec::new(),
            departures: VecDeque::new(),
            counters: Counters::default(),
            probe: Probe::new(config.metrics, seed),
            terms: RewardTerms::default(),
            gathered: Gathered::default(),
            samples: Vec::new(),
            history: Vec::new(),
            record: empty_record(&scenario, seed),
            scenario,
        };
        world.reset(seed, Cadence::every(Duration::from_secs(u64::from(interval))));
        world
    }

    /// Keeps every request from the next reset on, to be read by [`Self::requests`].
    #[must_use]
    pub fn with_request_log(mut self) -> Self {
        self.log = Some(Vec::new());
        self
    }

    /// The requests so far, in order of arrival; empty without [`Self::with_request_log`].
    pub fn requests(&self) -> &[RequestTrace] {
        self.log.as_deref().unwrap_or_default()
    }

    /// Forgets the requests so far, so that the log of a long run stays small.
    pub fn clear_requests(&mut self) {
        if let Some(log) = &mut self.log {
            log.clear();
        }
    }

    /// The scenario that it simulates.
    pub fn scenario(&self) -> &Arc<Scenario> {
        &self.scenario
    }

    /// The books at this moment. Requests in the system are counted on their own: those whose departure
    /// lies ahead.
    pub fn ledger(&self) -> Ledger {
        let ahead = |d: &Departures| d.latencies.len() as u64 + d.timed_out;
        Ledger {
            arrived: self.counters.arrived,
            answered: self.counters.answered,
            refused: self.counters.refused,
            timed_out: self.counters.timed_out,
            in_system: self.departures.iter().map(ahead).sum(),
        }
    }

    fn warmup(&self) -> u32 {
        self.scenario.config().episode.warmup_s
    }

    fn interval(&self) -> u32 {
        self.scenario.config().episode.control_interval_s
    }

    fn timestamp(&self, clock: f64) -> Timestamp {
        Timestamp::from_secs_f64(clock - f64::from(self.warmup()))
    }

    fn in_episode(&self) -> bool {
        self.clock >= self.warmup()
    }

    fn over(&self) -> bool {
        self.clock >= self.warmup() + self.length
    }

    /// Creates the next pod. Its start-up times depend on its ordinal only.
    fn create_pod(&mut self) {
        let ordinal = self.created;
        self.created += 1;
        let startup = self.scenario.config().startup;
        let mut stream = self.seed.child("pod").nth(ordinal).stream();
        let (scheduling, ready) = draw_startup(&startup, &mut stream);
        let now = f64::from(self.clock);
        let name = format!("pod-{ordinal}").into();
        let pod = Pod::new(name, &self.model, now, now + scheduling, now + scheduling + ready, stream);
        self.pods.push((pod, PodProbe::default()));
    }

    /// Brings the pods to `spec.replicas` as a `ReplicaSet` does: pods that are not ready go first, newer
    /// ones before older ones; ready ones drain.
    fn reconcile(&mut self) {
        let want = self.spec.get() as usize;
        let have = self.pods.iter().filter(|(pod, _)| !pod.is_draining()).count();
        for _ in have..want {
            self.create_pod();
        }
        for _ in want..have {
            let unready = |p: &Pod| matches!(p.phase, Phase::Pending | Phase::Starting);
            let newest = |test: &dyn Fn(&Pod) -> bool| self.pods.iter().rposition(|(pod, _)| test(pod));
            if let Some(index) = newest(&unready) {
                self.pods.remove(index);
            } else if let Some(index) = newest(&|p| p.phase == Phase::Ready) {
                self.pods[index].0.phase = Phase::Draining { since: f64::from(self.clock) };
            }
        }
        self.find_serving();
    }

    fn find_serving(&mut self) {
        self.serving.clear();
        let ready = self.pods.iter().enumerate().filter(|(_, (pod, _))| pod.phase == Phase::Ready);
        self.serving.extend(ready.map(|(index, _)| index));
    }

    /// The pod that gets the next request, by its position among the serving ones.
    fn dispatch(&mut self, now: f64) -> Option<usize> {
        let draw: f64 = self.dispatches.random();
        let n = self.serving.len();
        if n == 0 {
            return None;
        }
        let position = match self.scenario.config().service.dispatch {
            Dispatch::Random => ((draw * n as f64) as usize).min(n - 1),
            Dispatch::RoundRobin => {
                self.turn = (self.turn + 1) % n;
                self.turn
            }
            Dispatch::LeastOutstanding => {
                // Ties go to the first at or after a drawn place, so that no pod is favoured.
                let first = ((draw * n as f64) as usize).min(n - 1);
                let pods = &mut self.pods;
                let serving = &self.serving;
                let rotated = (first..n).chain(0..first);
                rotated.min_by_key(|&k| pods[serving[k]].0.outstanding(now)).unwrap_or(first)
            }
            Dispatch::PowerOfTwoChoices => {
                // One draw decides the ordered pair of different pods; of equals the first.
                let pair = ((draw * (n * n.saturating_sub(1)) as f64) as usize) % (n * (n - 1)).max(1);
                let one = pair / (n - 1).max(1);
                let other = pair % (n - 1).max(1);
                let other = (other + usize::from(other >= one)).min(n - 1);
                let pods = &mut self.pods;
                let mut busy = |k: usize| pods[self.serving[k]].0.outstanding(now);
                if busy(other) < busy(one) { other } else { one }
            }
        };
        Some(self.serving[position])
    }

    /// Simulates one second.
    fn second(&mut self) {
        let second = f64::from(self.clock);
        for (pod, _) in &mut self.pods {
            // A pod that has drained in the second before is dropped at its end.
            pod.advance(second);
        }
        self.find_serving();
        let rate = self.rates[self.clock as usize];
        let mut offsets = std::mem::take(&mut self.offsets);
        self.arrivals.second(rate, &mut offsets);
        for &offset in &offsets {
            self.arrive(second, offset);
        }
        self.offsets = offsets;
        self.end_second(rate);
    }

    fn arrive(&mut self, second: f64, offset: f64) {
        let now = second + offset;
        let demand = self.scenario.demand().draw(&mut self.demands);
        let fate = match self.dispatch(now) {
            Some(pod) => self.pods[pod].0.admit(&self.model, now, demand, second),
            None => Fate::Refused,
        };
        self.counters.arrived += 1;
        let (left, end) = match fate {
            Fate::Answered { at } => {
                self.departure(at - second).latencies.push((at - now) as f32);
                (at, RequestEnd::Answered)
            }
            Fate::TimedOut { at } => {
                self.departure(at - second).timed_out += 1;
                (at, RequestEnd::TimedOut)
            }
            Fate::Refused => {
                self.counters.refused += 1;
                (now, RequestEnd::Refused)
            }
        };
        if self.in_episode() {
            self.count(now, left, end);
        }
        let (arrived, left) = (self.timestamp(now), self.timestamp(left));
        if let Some(log) = &mut self.log {
            log.push(RequestTrace { arrived, demand: Duration::from_secs_f64(demand), left, end });
        }
    }

    /// Enters a request into the interval of its arrival.
    fn count(&mut self, arrived: f64, left: f64, end: RequestEnd) {
        let config = self.scenario.config();
        let drained = f64::from(config.episode.warmup_s + self.length + config.episode.drain_s);
        let latency = left - arrived;
        let counts = &mut self.gathered.counts;
        counts.arrived += 1;
        match end {
            RequestEnd::Refused => counts.refused += 1,
            _ if left > drained => counts.unfinished += 1,
            RequestEnd::TimedOut => counts.timed_out += 1,
            RequestEnd::Answered => {
                if latency * 1000.0 > config.slo.latency_ms {
                    counts.late += 1;
                } else {
                    counts.in_time += 1;
                }
                self.gathered.latencies.push(latency as f32);
            }
        }
    }

    /// The departures of the second that begins `ahead` whole seconds from now.
    fn departure(&mut self, ahead: f64) -> &mut Departures {
        let index = ahead as usize;
        if self.departures.len() <= index {
            self.departures.resize_with(index + 1, Departures::default);
        }
        &mut self.departures[index]
    }

    fn end_second(&mut self, rate: f64) {
        let pods = self.pods.len() as f64;
        if self.in_episode() {
            self.terms.pod_hours += pods / 3600.0;
            self.gathered.offered += rate;
            self.gathered.pod_seconds += pods;
            self.gathered.ready_seconds += self.serving.len() as f64;
        }
        for (pod, _) in &mut self.pods {
            pod.end_second();
        }
        if let Some(mut leaving) = self.departures.pop_front() {
            self.counters.answered += leaving.latencies.len() as u64;
            self.counters.timed_out += leaving.timed_out;
            self.probe.answered(&leaving.latencies);
            // The buffer goes round.
            leaving.latencies.clear();
            leaving.timed_out = 0;
            self.departures.push_back(leaving);
        }
        self.clock += 1;
        let now = f64::from(self.clock);
        self.pods.retain_mut(|(pod, _)| pod.advance(now));
        let service = &self.scenario.config().service;
        let memory =
            |requests: usize| mib(service.memory_mib + service.memory_per_request_mib * requests as f64);
        self.probe.tick(u64::from(self.clock), &mut self.pods, self.counters, memory);
        if (i64::from(self.clock) - i64::from(self.warmup())).rem_euclid(i64::from(self.interval())) == 0 {
            self.end_interval();
        }
    }

    /// Closes a control interval: one measurement, and within the episode one record.
    fn end_interval(&mut self) {
        self.sample_pods();
        let seen = self.probe.aggregates(f64::from(self.clock));
        let replicas = self.replica_counts();
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
        let length = f64::from(self.interval());
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut histogram = LogHistogram::new();
        for &latency in &gathered.latencies {
            histogram.record_secs(f64::from(latency));
        }
        self.terms.arrivals += gathered.counts.arrived;
        self.terms.violations += gathered.counts.violations();
        self.record.intervals.push(IntervalRecord {
            start: self.timestamp(f64::from(self.clock) - length),
            offered: RequestRate::new(gathered.offered / length).unwrap_or_default(),
            requests: gathered.counts,
            latency: summarize(&mut gathered.latencies),
            histogram,
            replicas,
            mean_pods: gathered.pod_seconds / length,
            mean_ready: gathered.ready_seconds / length,
        });
        gathered.latencies.clear();
        self.gathered = Gathered { latencies: gathered.latencies, ..Gathered::default() };
    }

    fn replica_counts(&self) -> ReplicaCounts {
        let count = |test: fn(&Phase) -> bool| {
            Replicas::new(self.pods.iter().filter(|(pod, _)| test(&pod.phase)).count() as u32)
        };
        ReplicaCounts {
            desired: self.spec,
            ready: count(|p| *p == Phase::Ready),
            starting: count(|p| matches!(p, Phase::Pending | Phase::Starting)),
            draining: count(|p| matches!(p, Phase::Draining { .. })),
        }
    }

    /// Renews what the API server and the metrics API say of each pod.
    fn sample_pods(&mut self) {
        let origin = f64::from(self.warmup());
        let resolution = f64::from(self.scenario.config().metrics.resolution_s);
        let mut samples = std::mem::take(&mut self.samples);
        samples.clear();
        samples.extend(self.pods.iter().map(|(pod, probe)| {
            let pending = pod.phase == Phase::Pending;
            let (status, since) = match pod.phase {
                Phase::Pending | Phase::Starting => (ReadyStatus::False, pod.created),
                Phase::Ready | Phase::Draining { .. } => (ReadyStatus::True, pod.ready),
            };
            let deletion = match pod.phase {
                Phase::Draining { since } => Some(self.timestamp(since)),
                _ => None,
            };
            PodSample {
                name: Arc::clone(&pod.name),
                phase: if pending { PodPhase::Pending } else { PodPhase::Running },
                created: self.timestamp(pod.created),
                started: (!pending).then(|| self.timestamp(pod.started)),
                ready: Some(ReadyCondition { status, last_transition: self.timestamp(since) }),
                deletion,
                containers: Arc::clone(&self.containers),
                pod_level_requests: None,
                usage: probe.usage(&self.container, resolution, pod.started, origin),
            }
        }));
        self.samples = samples;
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
        let scenario = Arc::clone(&self.scenario);
        self.seed = seed;
        self.period = (cadence.period.as_secs_f64().round() as u32).max(1);
        self.clock = 0;
        self.rates = scenario.load_path(seed, self.length);
        self.arrivals = Arrivals::new(seed);
        self.demands = seed.child("demand").stream();
        self.dispatches = seed.child("dispatch").stream();
        self.turn = 0;
        self.pods.clear();
        self.created = 0;
        self.departures.clear();
        self.counters = Counters::default();
        self.probe = Probe::new(scenario.config().metrics, seed);
        self.terms = RewardTerms::default();
        self.gathered = Gathered::default();
        self.history.clear();
        self.record = empty_record(&scenario, seed);
        self.clear_requests();

        let first_minute = &self.rates[..self.rates.len().min(60)];
        let load = first_minute.iter().sum::<f64>() / first_minute.len() as f64;
        let wanted = Replicas::from_ceil(load / (scenario.pod_capacity().per_second() * INITIAL_LOAD));
        self.spec = wanted.clamp(scenario.limits().min(), scenario.limits().max());
        self.last_write = LastWrite::Never;
        self.record.initial_replicas = self.spec;
        self.reconcile();
        for (pod, _) in &mut self.pods {
            pod.created -= INITIAL_POD_AGE_S;
            pod.started -= INITIAL_POD_AGE_S;
            pod.ready = pod.started;
        }
        self.advance(self.warmup() + cadence.phase.as_secs() as u32);
    }

    fn observe(&self) -> Observation<'_> {
        let active = self.pods.iter().filter(|(pod, _)| !pod.is_draining()).count();
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
            limits: self.scenario.limits(),
        }
    }

    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        if self.over() {
            return Err(EpisodeOver);
        }
        let Granted { replicas, bound } = self.scenario.limits().grant(self.spec, decision.target);
        if replicas != self.spec {
            self.terms.churn += replicas.abs_diff(self.spec);
            let at = self.timestamp(f64::from(self.clock));
            self.record.scale_events.push(ScaleEvent { at, from: self.spec, to: replicas, bound });
            self.spec = replicas;
            self.last_write = LastWrite::Succeeded;
            self.reconcile();
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

/// Times from creation to the start of the containers and from there to readiness, in seconds.
fn draw_startup(startup: &StartupConfig, stream: &mut Stream) -> (f64, f64) {
    let mut lognormal = |median: f64, sigma: f64| median * draw::lognormal(0.0, sigma, stream);
    let scheduling = lognormal(startup.scheduling_median_s, startup.scheduling_sigma);
    (scheduling, lognormal(startup.ready_median_s, startup.ready_sigma))
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
