//! The fluid engine behind the trait that the request engine is behind.

use super::flow::FluidFlow;
use super::model::FluidModel;
use super::pods::FluidPods;
use super::scrape::Scraper;
use super::station::FluidStation;
use crate::engine::Detail;
use crate::episode::{Episode, Truth, mib};
use crate::probe::MetricsServer;
use crate::scenario::{Engine, Scenario};
use autoscale_core::environment::{Environment, EpisodeOver, Foresight, Outcome};
use autoscale_core::histogram::LogHistogram;
use autoscale_core::policy::{Cadence, Decision, Observation};
use autoscale_core::record::{EpisodeRecord, RequestCounts};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_core::validate::ConfigError;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A draining pod needs about this many services to finish what it has.
const LAST_SERVICES: f64 = 3.0;

/// A simulated service under a scaling policy, as expected numbers instead of requests.
///
/// The load, the pods' start-up times and what decisions cost are those of the request engine on the same seed.
/// Requests are expected numbers: they count in the interval in which they arrive, and metrics but gauges are
/// without the noise of single requests.
#[derive(Clone, Debug)]
pub struct FluidWorld {
    episode: Episode,
    model: Arc<FluidModel>,
    /// Shared by all copies of an episode.
    rates: Arc<[RequestRate]>,
    pods: FluidPods,
    station: FluidStation,
    /// Of a step, and of the interval so far.
    step: FluidFlow,
    interval: FluidFlow,
    pod_seconds: f64,
    ready_seconds: f64,
    /// Expected requests of the episode so far by how they end.
    sums: Sums,
    counted: RequestCounts,
    metrics_server: MetricsServer,
    scraper: Scraper,
    detail: Detail,
    /// From the next reset on.
    next_detail: Detail,
}

/// Expected numbers of requests by how they end.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    in_time: f64,
    late: f64,
    timed_out: f64,
    refused: f64,
}

impl Sums {
    fn add(&mut self, flow: &FluidFlow, model: &FluidModel) {
        // Ripples of the second-order rule may leave a trace below zero.
        let (in_time, answered) = (flow.in_time(model).max(0.0), flow.answered(model));
        self.in_time += in_time;
        self.late += (answered - in_time).max(0.0);
        self.timed_out += flow.timed_out(model).max(0.0);
        self.refused += flow.refused.max(0.0);
    }

    /// Whole requests.
    fn counts(self) -> RequestCounts {
        let whole = |n: f64| n.round() as u64;
        let (in_time, late) = (whole(self.in_time), whole(self.late));
        let (timed_out, refused) = (whole(self.timed_out), whole(self.refused));
        let arrived = in_time + late + timed_out + refused;
        RequestCounts { arrived, in_time, late, timed_out, refused, ..RequestCounts::default() }
    }
}

impl FluidWorld {
    /// A world of `scenario` with episodes of `length`: see [`World::new`](crate::world::World::new).
    ///
    /// # Errors
    /// Names the field that the fluid engine cannot express; `engine` when the scenario asks for another one.
    pub fn new(scenario: Arc<Scenario>, length: Duration) -> Result<Self, ConfigError> {
        let engine = scenario.config().engine;
        if engine != Engine::Fluid {
            return Err(ConfigError::new("engine", engine, "fluid"));
        }
        let model = Arc::new(FluidModel::new(&scenario)?);
        let (config, seed) = (scenario.config(), Seed::root(0));
        let mut world = Self {
            rates: Arc::new([]),
            pods: FluidPods::new(seed, config),
            station: FluidStation::new(&model, Replicas::ZERO),
            step: FluidFlow::new(&model),
            interval: FluidFlow::new(&model),
            pod_seconds: 0.0,
            ready_seconds: 0.0,
            sums: Sums::default(),
            counted: RequestCounts::default(),
            metrics_server: MetricsServer::new(&config.metrics, seed),
            scraper: Scraper::new(&config.metrics, 0, Detail::All),
            detail: Detail::All,
            next_detail: Detail::All,
            episode: Episode::new(scenario, length),
            model,
        };
        world.reset(seed, world.episode.own_cadence());
        Ok(world)
    }

    /// Leaves out, from the next reset on, what nobody looks at.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.next_detail = detail;
        self
    }

    /// The scenario that it simulates, as written; an episode's own constants may vary.
    pub fn scenario(&self) -> &Arc<Scenario> {
        self.episode.written()
    }

    /// Simulates until the clock says `end`.
    fn advance(&mut self, end: u32) {
        while self.episode.clock < end {
            let interval_end = self.episode.interval_end();
            let now = self.episode.clock;
            let until = end.min(interval_end).min(self.pods.next_change(now));
            self.flow(until);
            self.pods.tick(until, self.scraper.cpu(until));
            self.station.scale(&self.model, self.pods.serving(until));
            self.read_metrics(now + 1, until);
            if until == interval_end {
                self.end_interval();
            }
        }
        self.episode.show_pods(self.pods.statuses(self.episode.clock), self.metrics_server);
    }

    /// Lets requests flow until then, while the pods stay as they are.
    fn flow(&mut self, until: u32) {
        let (now, spec) = (self.episode.clock, self.episode.spec);
        let serving = f64::from(self.pods.serving(now).get());
        let cores = self.pods.model().cpu_per_worker();
        let mut at = now;
        let mut rates = &self.rates[now as usize..until as usize];
        while !rates.is_empty() {
            self.step.clear();
            let seconds = self.station.advance_once(&self.model, rates, &mut self.step);
            rates = &rates[seconds..];
            let cpu_s = self.step.busy_s * cores;
            let in_system = self.station.in_system();
            self.scraper.passed(seconds as u32, &self.step, &self.model, serving, cpu_s, in_system);
            if self.detail != Detail::ResourceMetrics {
                self.pods.scrape(at + 1..at + 1 + seconds as u32, &self.station);
            }
            at += seconds as u32;
            self.interval.add(&self.step);
        }
        self.episode.clock = until;
        if self.episode.reports_concurrency() {
            for second in now + 1..=until {
                self.episode.report_concurrency(second, self.station.in_system());
            }
        }
        if now >= self.episode.warmup() {
            let seconds = f64::from(until - now);
            let pods = self.pods.len() as f64;
            self.pod_seconds += pods * seconds;
            self.ready_seconds += f64::from(self.pods.counts(spec, now).ready.get()) * seconds;
            self.episode.terms.pod_hours += pods * seconds / 3600.0;
        }
    }

    /// Metrics-server reads as often as it is due from `first` to `last`.
    fn read_metrics(&mut self, first: u32, last: u32) {
        let Self { metrics_server, scraper, pods, episode, .. } = self;
        let service = &episode.scenario.config().service;
        let startup_cpu = pods.model().startup_cpu;
        let mut next = metrics_server.next_read(u64::from(first));
        while next <= u64::from(last) {
            for pod in pods.all_mut() {
                let life = pod.life;
                let usage = |at: f64| {
                    let at = at as u32;
                    let requests = if life.serves_at(at) { scraper.in_flight(at) } else { 0.0 };
                    let memory = mib(service.memory_mib + service.memory_per_request_mib * requests);
                    (life.cpu_used(at, startup_cpu, |second| scraper.cpu(second)), memory)
                };
                metrics_server.read(&mut pod.kubelet, next, life.started, &mut pod.stream, usage);
            }
            next = metrics_server.next_read(next + 1);
        }
    }

    /// Closes a control interval: one measurement, and within the episode one record.
    fn end_interval(&mut self) {
        let now = self.episode.clock;
        let replicas = self.pods.counts(self.episode.spec, now);
        if self.detail != Detail::ResourceMetrics {
            self.episode.show_pods(self.pods.statuses(now), self.metrics_server);
            let seen = self.scraper.aggregates(self.pods.scraped());
            self.episode.measured(&seen, replicas);
        }
        if now > self.episode.warmup() {
            let truth = self.truth();
            self.episode.happened(truth, replicas);
        }
        self.interval.clear();
        (self.pod_seconds, self.ready_seconds) = (0.0, 0.0);
    }

    /// What the interval was.
    fn truth(&mut self) -> Truth {
        self.sums.add(&self.interval, &self.model);
        let all = self.sums.counts();
        let before = std::mem::replace(&mut self.counted, all);
        let mut histogram = LogHistogram::new();
        let latency = match self.detail {
            Detail::NoResponseTimes | Detail::ResourceMetrics => None,
            Detail::All => self.interval.distribution(&self.model).map(|(summary, below)| {
                histogram.record_expected(&self.model.grid, &below);
                summary
            }),
        };
        let requests = RequestCounts {
            arrived: all.arrived - before.arrived,
            in_time: all.in_time - before.in_time,
            late: all.late - before.late,
            timed_out: all.timed_out - before.timed_out,
            refused: all.refused - before.refused,
            ..RequestCounts::default()
        };
        Truth {
            offered: self.interval.arrived,
            requests,
            latency,
            histogram,
            pod_seconds: self.pod_seconds,
            ready_seconds: self.ready_seconds,
        }
    }

    /// The model of the episode; made anew only where the episode's constants differ from the last one's.
    fn renew_model(&mut self, before: &Scenario) {
        let (old, new) = (before.config(), self.episode.config());
        let same = old.service == new.service
            && old.slo == new.slo
            && old.metrics.latency_buckets_ms == new.metrics.latency_buckets_ms;
        if same {
            return;
        }
        // Whatever a variation may draw was checked with the scenario.
        if let Ok(model) = FluidModel::new(&self.episode.scenario) {
            self.model = Arc::new(model);
            (self.step, self.interval) = (FluidFlow::new(&self.model), FluidFlow::new(&self.model));
        }
    }
}

impl Foresight for FluidWorld {
    fn upcoming(&self, ahead: Range<Duration>) -> RequestRate {
        self.episode.upcoming(&ahead)
    }
}

impl Environment for FluidWorld {
    fn reset(&mut self, seed: Seed, cadence: Cadence) {
        let before = Arc::clone(&self.episode.scenario);
        self.episode.begin(seed, cadence);
        self.renew_model(&before);
        let config = self.episode.config();
        let rate = |&r: &f64| RequestRate::new(r).unwrap_or_default();
        self.rates = self.episode.rates.iter().map(rate).collect();
        self.metrics_server = MetricsServer::new(&config.metrics, seed);
        // Metrics are read once the pods have changed or an interval is over, of samples up to two periods old.
        let kubelet = 2 * config.metrics.kubelet_period_s.ceil() as u32;
        let reach = config.episode.control_interval_s + kubelet;
        self.detail = self.next_detail;
        self.scraper = Scraper::new(&config.metrics, reach, self.detail);
        self.pods = FluidPods::new(seed, config);
        self.pods.start(self.episode.spec);
        self.station = FluidStation::new(&self.model, self.pods.serving(0));
        self.step.clear();
        self.interval.clear();
        (self.pod_seconds, self.ready_seconds) = (0.0, 0.0);
        (self.sums, self.counted) = (Sums::default(), RequestCounts::default());
        self.advance(self.episode.first_decision(cadence));
    }

    fn observe(&self) -> Observation<'_> {
        self.episode.observe(self.pods.active())
    }

    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        let (granted, changed) = self.episode.scale(decision)?;
        if changed {
            let work_s = self.station.backlog_s(&self.model) + LAST_SERVICES / self.model.service_rate;
            let now = self.episode.clock;
            self.pods.reconcile(granted.replicas, now, work_s);
            self.station.scale(&self.model, self.pods.serving(now));
        }
        self.advance(self.episode.next_decision());
        Ok(self.episode.outcome(granted))
    }

    fn record(&self) -> &EpisodeRecord {
        &self.episode.record
    }
}
