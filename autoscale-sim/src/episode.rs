//! An episode apart from what happens to requests in it: the clock, the load, the wish for replicas, what a policy
//! sees, and what is written down. Both engines stand on it.

use crate::probe::{Aggregates, Kubelet, MetricsServer};
use crate::scenario::{Scenario, ScenarioConfig};
use autoscale_core::environment::{EpisodeEnd, EpisodeOver, Outcome};
use autoscale_core::histogram::LogHistogram;
use autoscale_core::limits::Granted;
use autoscale_core::measurement::{
    LatencySummary, Measurement, ReplicaCounts, cpu_utilization, memory_bytes,
};
use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, WorkloadStatus};
use autoscale_core::record::{
    EPISODE_RECORD_VERSION, EpisodeRecord, IntervalRecord, RequestCounts, ScaleEvent,
};
use autoscale_core::reward::RewardTerms;
use autoscale_core::sample::{
    CONCURRENCY, ContainerKind, ContainerSpec, PodPhase, PodSample, Reading, ReadyCondition, ReadyStatus,
    ResourceList,
};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Replicas, RequestRate, TimeOfWeek, Timestamp};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The replicas of the start are sized so that the first minute's load keeps them this busy.
const INITIAL_LOAD: f64 = 0.5;
/// Concurrency is reported to policies that decide at least this often, in seconds.
const FAST_PERIOD: u32 = 5;
/// The pods' only container.
const CONTAINER: &str = "app";

/// What the API server says of a pod. Times are seconds on the world's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodStatus<'a> {
    pub(crate) name: &'a Arc<str>,
    pub(crate) created: f64,
    /// When its containers started, if they have.
    pub(crate) started: Option<f64>,
    /// Its Ready condition, and since when.
    pub(crate) ready: (ReadyStatus, f64),
    /// When its deletion was asked for, if it was.
    pub(crate) deletion: Option<f64>,
    pub(crate) kubelet: &'a Kubelet,
}

/// Truth about a control interval.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// Sum of the offered rates of its seconds.
    pub(crate) offered: f64,
    pub(crate) requests: RequestCounts,
    pub(crate) latency: Option<LatencySummary>,
    pub(crate) histogram: LogHistogram,
    pub(crate) pod_seconds: f64,
    pub(crate) ready_seconds: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Episode {
    /// What it is made of, as written.
    written: Arc<Scenario>,
    /// What holds in this episode.
    pub(crate) scenario: Arc<Scenario>,
    containers: Arc<[ContainerSpec]>,
    container: Arc<str>,
    length: u32,
    period: u32,
    /// Seconds since the start of the warm-up.
    pub(crate) clock: u32,
    /// Mean offered rate of each second.
    pub(crate) rates: Arc<[f64]>,
    /// What the service's clock says at the start.
    begins: TimeOfWeek,
    /// `spec.replicas`.
    pub(crate) spec: Replicas,
    last_write: LastWrite,
    samples: Vec<PodSample>,
    history: Vec<Measurement>,
    /// Reports of concurrency since the last decision.
    series: Vec<Reading>,
    concurrency: Arc<str>,
    pub(crate) terms: RewardTerms,
    pub(crate) record: EpisodeRecord,
}

impl Episode {
    /// Nothing yet: [`Self::begin`] comes first.
    pub(crate) fn new(scenario: Arc<Scenario>, length: Duration) -> Self {
        let interval = scenario.config().episode.control_interval_s;
        let container: Arc<str> = CONTAINER.into();
        Self {
            containers: containers(&scenario, &container),
            container,
            length: (length.as_secs() as u32).div_ceil(interval).max(1) * interval,
            period: interval,
            clock: 0,
            rates: Arc::new([]),
            begins: TimeOfWeek::MONDAY,
            spec: Replicas::ONE,
            last_write: LastWrite::Never,
            samples: Vec::new(),
            history: Vec::new(),
            series: Vec::new(),
            concurrency: CONCURRENCY.into(),
            terms: RewardTerms::default(),
            record: empty_record(&scenario, Seed::root(0)),
            scenario: Arc::clone(&scenario),
            written: scenario,
        }
    }

    /// The cadence of a learner.
    pub(crate) fn own_cadence(&self) -> Cadence {
        Cadence::every(self.written.control_interval())
    }

    /// Starts the episode of this seed at its initial replicas, the warm-up first.
    pub(crate) fn begin(&mut self, seed: Seed, cadence: Cadence) {
        self.scenario = match self.written.episode(seed) {
            Cow::Borrowed(_) => Arc::clone(&self.written),
            Cow::Owned(drawn) => Arc::new(drawn),
        };
        self.containers = containers(&self.scenario, &self.container);
        self.period = (cadence.period.as_secs_f64().round() as u32).max(1);
        self.clock = 0;
        self.rates = self.scenario.load_path(seed, self.length).into();
        self.begins = self.scenario.begins(seed, self.length);
        let first_minute = &self.rates[..self.rates.len().min(60)];
        let load = first_minute.iter().sum::<f64>() / first_minute.len() as f64;
        let wanted = Replicas::from_ceil(load / (self.scenario.pod_capacity().per_second() * INITIAL_LOAD));
        self.spec = wanted.clamp(self.scenario.limits().min(), self.scenario.limits().max());
        self.last_write = LastWrite::Never;
        self.samples.clear();
        self.history.clear();
        self.series.clear();
        self.terms = RewardTerms::default();
        self.record = empty_record(&self.scenario, seed);
        self.record.initial_replicas = self.spec;
    }

    /// The scenario as written; an episode's own constants may vary.
    pub(crate) fn written(&self) -> &Arc<Scenario> {
        &self.written
    }

    pub(crate) fn config(&self) -> &ScenarioConfig {
        self.scenario.config()
    }

    pub(crate) fn warmup(&self) -> u32 {
        self.config().episode.warmup_s
    }

    pub(crate) fn interval(&self) -> u32 {
        self.config().episode.control_interval_s
    }

    fn timestamp(&self, clock: f64) -> Timestamp {
        Timestamp::from_secs_f64(clock - f64::from(self.warmup()))
    }

    fn end(&self) -> u32 {
        self.warmup() + self.length
    }

    pub(crate) fn over(&self) -> bool {
        self.clock >= self.end()
    }

    /// When the first decision is due.
    pub(crate) fn first_decision(&self, cadence: Cadence) -> u32 {
        (self.warmup() + cadence.phase.as_secs() as u32).min(self.end())
    }

    /// When the next decision is due.
    pub(crate) fn next_decision(&self) -> u32 {
        (self.clock + self.period).min(self.end())
    }

    /// When the next control interval ends, from the second that begins now on.
    pub(crate) fn interval_end(&self) -> u32 {
        let interval = self.interval();
        self.clock + interval - (self.clock + interval - self.warmup() % interval) % interval
    }

    /// Writes `spec.replicas` as far as the limits allow; whether that changed it is the second part.
    pub(crate) fn scale(&mut self, decision: Decision) -> Result<(Granted, bool), EpisodeOver> {
        if self.over() {
            return Err(EpisodeOver);
        }
        self.series.clear();
        let granted = self.scenario.limits().grant(self.spec, decision.target);
        let Granted { replicas, bound } = granted;
        let changed = replicas != self.spec;
        if changed {
            self.terms.churn += replicas.abs_diff(self.spec);
            let at = self.timestamp(f64::from(self.clock));
            self.record.scale_events.push(ScaleEvent { at, from: self.spec, to: replicas, bound });
            self.spec = replicas;
            self.last_write = LastWrite::Succeeded;
        }
        Ok((granted, changed))
    }

    /// What the decision led to, once its time has passed.
    pub(crate) fn outcome(&mut self, granted: Granted) -> Outcome {
        let reward = std::mem::take(&mut self.terms);
        self.record.totals += reward;
        Outcome { granted, reward, end: self.over().then_some(EpisodeEnd::Truncated) }
    }

    /// Renews what the API server and the metrics API say of each pod, in order of creation.
    pub(crate) fn show_pods<'a>(
        &mut self,
        pods: impl Iterator<Item = PodStatus<'a>>,
        metrics_server: MetricsServer,
    ) {
        let origin = f64::from(self.warmup());
        let mut samples = std::mem::take(&mut self.samples);
        let mut shown = 0;
        for pod in pods {
            if samples.get(shown).is_none_or(|sample| !Arc::ptr_eq(&sample.name, pod.name)) {
                samples.truncate(shown);
                samples.push(self.new_sample(&pod));
            }
            let sample = &mut samples[shown];
            let running = pod.started.is_some();
            sample.phase = if running { PodPhase::Running } else { PodPhase::Pending };
            sample.started = pod.started.map(|at| self.timestamp(at));
            let (status, since) = pod.ready;
            sample.ready = Some(ReadyCondition { status, last_transition: self.timestamp(since) });
            sample.deletion = pod.deletion.map(|at| self.timestamp(at));
            let started = pod.started.unwrap_or(f64::INFINITY);
            metrics_server.show(pod.kubelet, &self.container, started, origin, &mut sample.usage);
            shown += 1;
        }
        samples.truncate(shown);
        self.samples = samples;
    }

    fn new_sample(&self, pod: &PodStatus<'_>) -> PodSample {
        PodSample {
            name: Arc::clone(pod.name),
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

    /// Whether the policy decides so often that concurrency is reported to it.
    pub(crate) fn reports_concurrency(&self) -> bool {
        self.period <= FAST_PERIOD
    }

    /// So many requests are in progress at the end of this second.
    pub(crate) fn report_concurrency(&mut self, second: u32, in_progress: f64) {
        self.series.push(Reading {
            metric: Arc::clone(&self.concurrency),
            pod: None,
            value: Milli::from_units_ceil(in_progress),
            timestamp: self.timestamp(f64::from(second)),
            window: Some(Duration::from_secs(1)),
        });
    }

    /// Closes a control interval towards the policy; the pods have been shown.
    pub(crate) fn measured(&mut self, seen: &Aggregates, replicas: ReplicaCounts) {
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
    }

    /// Closes a control interval in the record.
    pub(crate) fn happened(&mut self, truth: Truth, replicas: ReplicaCounts) {
        let length = f64::from(self.interval());
        self.terms.arrivals += truth.requests.arrived;
        self.terms.violations += truth.requests.violations();
        self.record.intervals.push(IntervalRecord {
            start: self.timestamp(f64::from(self.clock) - length),
            offered: RequestRate::new(truth.offered / length).unwrap_or_default(),
            requests: truth.requests,
            latency: truth.latency,
            histogram: truth.histogram,
            replicas,
            mean_pods: truth.pod_seconds / length,
            mean_ready: truth.ready_seconds / length,
        });
    }

    /// Mean offered load over this part of the time ahead.
    pub(crate) fn upcoming(&self, ahead: &Range<Duration>) -> RequestRate {
        let last = self.rates.len().saturating_sub(1);
        let at = |ahead: Duration| (self.clock as usize + ahead.as_secs() as usize).min(last);
        let (from, to) = (at(ahead.start), at(ahead.end));
        let part = &self.rates[from..to.max(from + 1).min(self.rates.len())];
        let mean = part.iter().sum::<f64>() / part.len().max(1) as f64;
        RequestRate::new(mean).unwrap_or_default()
    }

    /// What a policy may see, with so many pods that are not on their way out.
    pub(crate) fn observe(&self, active: usize) -> Observation<'_> {
        Observation {
            now: self.timestamp(f64::from(self.clock)),
            time_of_week: self.begins
                + Duration::from_secs(u64::from(self.clock.saturating_sub(self.warmup()))),
            workload: WorkloadStatus {
                spec: self.spec,
                status: Replicas::new(active as u32),
                last_write: self.last_write,
            },
            pods: &self.samples,
            series: &self.series,
            history: &self.history,
            limits: self.scenario.limits(),
        }
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

/// Bytes.
pub(crate) fn mib(mebibytes: f64) -> f64 {
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
