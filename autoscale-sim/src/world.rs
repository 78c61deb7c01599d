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
use crate::episode::{Episode, PodStatus, mib};
use crate::fleet::Fleet;
use crate::pod::{Leaving, Phase, Pod};
use crate::probe::{Gauges, MetricsServer, Prometheus};
use crate::request::{Attempt, Fate, Request};
use crate::scenario::Scenario;
use autoscale_core::environment::{Environment, EpisodeOver, Foresight, Outcome};
use autoscale_core::policy::{Cadence, Decision, Observation};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::sample::ReadyStatus;
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::RequestRate;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A simulated service under a scaling policy.
#[derive(Clone, Debug)]
pub struct World {
    episode: Episode,
    arrivals: Arrivals,
    demands: Stream,
    offsets: Vec<f64>,

    fleet: Fleet,
    balancer: Balancer,
    clients: Clients,
    lost: Vec<Attempt>,
    leaving: Vec<Leaving>,

    metrics_server: MetricsServer,
    prometheus: Prometheus,
    books: Books,
}

impl World {
    /// A world of `scenario` with episodes of `length` (whole seconds, at least one control interval).
    /// Call [`Environment::reset`] before anything else: until then the world is at the start of an
    /// episode of seed 0.
    pub fn new(scenario: Arc<Scenario>, length: Duration) -> Self {
        let config = scenario.config();
        let seed = Seed::root(0);
        let mut world = Self {
            arrivals: Arrivals::new(seed),
            demands: seed.stream(),
            offsets: Vec::new(),
            fleet: Fleet::new(config, seed),
            balancer: Balancer::new(&config.service, seed),
            clients: Clients::new(&config.service, seed),
            lost: Vec::new(),
            leaving: Vec::new(),
            metrics_server: MetricsServer::new(&config.metrics, seed),
            prometheus: Prometheus::new(&config.metrics),
            books: Books::new(f64::from(config.episode.warmup_s), scenario.slo()),
            episode: Episode::new(scenario, length),
        };
        world.reset(seed, world.episode.own_cadence());
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
        self.episode.written()
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

    /// Simulates one second.
    fn second(&mut self) {
        let second = f64::from(self.episode.clock);
        self.balancer.prepare(&self.fleet);
        self.give_up(second);
        let rate = self.episode.rates[self.episode.clock as usize];
        let mut offsets = std::mem::take(&mut self.offsets);
        self.arrivals.second(rate, &mut offsets);
        for &offset in &offsets {
            let now = second + offset;
            self.clients_act(second, now);
            let request = Request {
                ordinal: self.books.ledger.arrived,
                first: now,
                demand: self.episode.scenario.demand().draw(&mut self.demands),
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
            self.books.left(&request, now, end, None);
        }
    }

    fn end_second(&mut self, rate: f64) {
        let second = f64::from(self.episode.clock);
        let interval_end = self.episode.interval_end();
        let spec = self.episode.spec;
        if self.episode.clock >= self.episode.warmup() {
            let pods = self.fleet.pods().len() as f64;
            let gathered = &mut self.books.gathered;
            self.episode.terms.pod_hours += pods / 3600.0;
            gathered.offered += rate;
            gathered.pod_seconds += pods;
            gathered.ready_seconds += f64::from(self.fleet.counts(spec).ready.get());
        }
        let books = &mut self.books;
        self.fleet.end_second(second, |pod, answer| {
            books.left(&answer.attempt.request, answer.at, RequestEnd::Answered, Some(pod));
        });

        self.episode.clock += 1;
        let now = f64::from(self.episode.clock);
        let mut lost = std::mem::take(&mut self.lost);
        self.fleet.tick(now, &mut self.prometheus, &mut lost);
        for attempt in lost.drain(..) {
            self.fail(attempt.request, now, RequestEnd::Lost);
        }
        self.lost = lost;
        self.fleet.reconcile(spec, now, &mut self.prometheus);
        self.measure();
        if self.episode.reports_concurrency() {
            let model = *self.fleet.model();
            let pods = self.fleet.pods_mut().iter_mut();
            let in_progress: usize = pods.map(|pod| pod.outstanding(&model, now, now)).sum();
            self.episode.report_concurrency(self.episode.clock, in_progress as f64);
        }
        if self.episode.clock == interval_end {
            self.end_interval();
        }
    }

    /// Kubelets sample, metrics-server reads, Prometheus scrapes.
    fn measure(&mut self) {
        let service = &self.episode.config().service;
        let (clock, now) = (u64::from(self.episode.clock), f64::from(self.episode.clock));
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
        self.show_pods();
        let seen = self.prometheus.aggregates(u64::from(self.episode.clock), self.fleet.pods());
        let replicas = self.fleet.counts(self.episode.spec);
        self.episode.measured(&seen, replicas);
        if self.episode.clock <= self.episode.warmup() {
            return;
        }
        if self.episode.over() {
            self.settle();
        }
        self.episode.happened(self.books.gathered.close(), replicas);
    }

    /// Works out what becomes of the requests in the system at the end of the episode when nothing else
    /// arrives, until the drain ends.
    fn settle(&mut self) {
        let end = f64::from(self.episode.clock + self.episode.config().episode.drain_s);
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

    fn show_pods(&mut self) {
        let pods = self.fleet.pods().iter().map(|pod| PodStatus {
            name: &pod.name,
            created: pod.created,
            started: (pod.phase != Phase::Pending).then_some(pod.started),
            ready: match pod.phase {
                Phase::Crashed { since, .. } => (ReadyStatus::False, since),
                Phase::Ready => (ReadyStatus::True, pod.ready),
                // Deletion leaves the condition as it is.
                Phase::Draining { since, .. } if pod.ready <= since => (ReadyStatus::True, pod.ready),
                Phase::Pending | Phase::Starting | Phase::Draining { .. } => {
                    (ReadyStatus::False, pod.created)
                }
            },
            deletion: match pod.phase {
                Phase::Draining { since, .. } => Some(since),
                _ => None,
            },
            kubelet: &pod.kubelet,
        });
        self.episode.show_pods(pods, self.metrics_server);
    }

    /// Simulates until the clock says `end`.
    fn advance(&mut self, end: u32) {
        while self.episode.clock < end {
            self.second();
        }
        self.show_pods();
    }
}

impl Foresight for World {
    fn upcoming(&self, ahead: Range<Duration>) -> RequestRate {
        self.episode.upcoming(&ahead)
    }
}

impl Environment for World {
    fn reset(&mut self, seed: Seed, cadence: Cadence) {
        self.episode.begin(seed, cadence);
        let config = self.episode.config();
        self.arrivals = Arrivals::new(seed);
        self.demands = seed.child("demand").stream();
        self.fleet = Fleet::new(config, seed);
        self.balancer = Balancer::new(&config.service, seed);
        self.clients = Clients::new(&config.service, seed);
        self.metrics_server = MetricsServer::new(&config.metrics, seed);
        self.prometheus = Prometheus::new(&config.metrics);
        self.books.begin_anew();
        self.fleet.start(self.episode.spec, &self.prometheus);
        self.advance(self.episode.first_decision(cadence));
    }

    fn observe(&self) -> Observation<'_> {
        self.episode.observe(self.fleet.pods().iter().filter(|pod| !pod.is_draining()).count())
    }

    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        let (granted, changed) = self.episode.scale(decision)?;
        if changed {
            let now = f64::from(self.episode.clock);
            self.fleet.reconcile(granted.replicas, now, &mut self.prometheus);
        }
        self.advance(self.episode.next_decision());
        Ok(self.episode.outcome(granted))
    }

    fn record(&self) -> &EpisodeRecord {
        &self.episode.record
    }
}
