//! A pod: its lifecycle, what it works on, and what it counts.

mod fifo;
mod sharing;

use crate::draw;
use crate::probe::{Exporter, Kubelet};
use crate::request::{Attempt, Fate, Request, RequestEnd};
use crate::scenario::{Discipline, FailuresConfig, ScenarioConfig, SlowStartConfig, StartupConfig};
use autoscale_core::seed::{Seed, Stream};
pub(crate) use fifo::Fifo;
use rand::RngExt;
use sharing::Sharing;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where a pod is in its life. Times are seconds on the world's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Until its containers start.
    Pending,
    /// Until it is ready.
    Starting,
    /// Works, and receives requests once every proxy knows.
    Ready,
    /// Waits to be restarted.
    Crashed {
        /// When it crashed.
        since: f64,
        /// When its container starts again.
        restarts: f64,
    },
    /// Finishes what it has; still receives requests until every proxy knows.
    Draining {
        /// When its deletion was asked for.
        since: f64,
        /// When it is killed.
        killed: f64,
    },
}

/// What all pods of a service have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodModel {
    workers: usize,
    discipline: Discipline,
    queue_capacity: usize,
    pub(crate) timeout_s: f64,
    /// CPU-seconds that a request uses per second of demand.
    cpu_per_demand: f64,
    /// Service time per second of demand.
    stretch: f64,
    slow_start: Option<SlowStartConfig>,
    pub(crate) startup: StartupConfig,
    failures: FailuresConfig,
    /// Cores in use while the application starts.
    pub(crate) startup_cpu: f64,
    /// Seconds after its deletion in which a pod still receives requests.
    pub(crate) drain_endpoint_s: f64,
}

impl PodModel {
    pub(crate) fn new(config: &ScenarioConfig) -> Self {
        let service = &config.service;
        let request = f64::from(service.cpu_request_milli) / 1000.0;
        Self {
            workers: service.workers as usize,
            discipline: service.discipline,
            queue_capacity: service.queue_capacity.map_or(usize::MAX, |c| c as usize),
            timeout_s: service.timeout_ms.map_or(f64::INFINITY, |ms| ms / 1000.0),
            cpu_per_demand: 1.0 - service.io_share,
            stretch: service.stretch(),
            slow_start: service.slow_start,
            startup: config.startup,
            failures: config.failures,
            startup_cpu: (config.startup.cpu_factor * request).min(service.cpu_limit()),
            drain_endpoint_s: config.termination.endpoint_delay_s,
        }
    }

    /// Workers and nothing else: no bound, no timeout, all CPU that they need.
    pub(crate) fn bare(workers: usize) -> Self {
        Self {
            workers,
            discipline: Discipline::Fifo,
            queue_capacity: usize::MAX,
            timeout_s: f64::INFINITY,
            cpu_per_demand: 1.0,
            stretch: 1.0,
            slow_start: None,
            startup: StartupConfig::default(),
            failures: FailuresConfig::default(),
            startup_cpu: 0.0,
            drain_endpoint_s: 0.0,
        }
    }

    /// Cores that a busy worker uses.
    pub(crate) fn cpu_per_worker(&self) -> f64 {
        self.cpu_per_demand / self.stretch
    }

    /// How much more the `k`-th request of a pod, from 0, demands than one of a warm pod.
    fn warming(&self, k: u64) -> f64 {
        match self.slow_start {
            Some(slow) if k < u64::from(slow.requests) => {
                1.0 + (slow.factor - 1.0) * (1.0 - k as f64 / f64::from(slow.requests))
            }
            _ => 1.0,
        }
    }
}

/// An attempt whose end lies ahead, in the second of its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Leaving {
    pub(crate) attempt: Attempt,
    pub(crate) at: f64,
}

/// What happens in one second in a pod.
#[derive(Clone, Debug, Default)]
struct Second {
    /// CPU-seconds.
    cpu: f64,
    answers: Vec<Leaving>,
    timeouts: Vec<Leaving>,
}

/// Random times of a pod's life, drawn when it is created, so that they depend on its ordinal only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Delays {
    /// From when a node has room to the start of the containers, in seconds.
    pub(crate) start: f64,
    /// From there to readiness.
    pub(crate) ready: f64,
    /// From readiness to a crash.
    crash: f64,
    /// From readiness to an eviction.
    eviction: f64,
}

impl Delays {
    pub(crate) fn draw(model: &PodModel, stream: &mut Stream) -> Self {
        let startup = &model.startup;
        let mut lognormal = |median: f64, sigma: f64| median * draw::lognormal(0.0, sigma, stream);
        let scheduling = lognormal(startup.scheduling_median_s, startup.scheduling_sigma);
        let able = lognormal(startup.ready_median_s, startup.ready_sigma);
        let pulled = stream.random::<f64>() >= startup.image_cached;
        let phase = stream.random::<f64>();
        let mut after = |per_hour: f64| draw::exponential(stream) * 3600.0 / per_hour;
        Self {
            start: scheduling + if pulled { startup.pull_s() } else { 0.0 },
            ready: probed(able, phase, startup),
            crash: after(model.failures.crashes_per_hour),
            eviction: after(model.failures.evictions_per_hour),
        }
    }
}

/// When the probe that makes a pod ready ends, which is able to serve at `able`; the first probe comes after
/// the share `phase` of a period.
fn probed(able: f64, phase: f64, startup: &StartupConfig) -> f64 {
    let period = startup.probe_period_s;
    if period == 0.0 {
        return able;
    }
    let missed = ((able / period - phase).ceil()).max(0.0);
    (phase + missed + f64::from(startup.probe_successes - 1)) * period
}

/// What a pod works with.
#[derive(Clone, Debug)]
enum Server {
    Fifo(Fifo),
    Sharing(Sharing),
}

impl Server {
    fn new(model: &PodModel) -> Self {
        match model.discipline {
            Discipline::Fifo => Self::Fifo(Fifo::new(model)),
            Discipline::ProcessorSharing => Self::Sharing(Sharing::new(model)),
        }
    }
}

/// The whole part of a time ahead in seconds; a cast to 32 bits is the fast one.
fn whole(seconds: f64) -> usize {
    seconds as u32 as usize
}

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) ordinal: u64,
    pub(crate) name: Arc<str>,
    pub(crate) phase: Phase,
    pub(crate) created: f64,
    /// When its containers start; never while no node has room.
    pub(crate) started: f64,
    /// When it becomes, or became, ready.
    pub(crate) ready: f64,
    /// The node it is bound to.
    pub(crate) node: Option<u64>,
    crashes: f64,
    /// Restarts of its container so far.
    pub(crate) restarts: u32,
    evicted: f64,
    delays: Delays,
    server: Server,
    /// Requests it has taken since its container started.
    taken: u64,
    /// This second and the following ones.
    ahead: VecDeque<Second>,
    /// CPU-seconds used so far, whole seconds only.
    pub(crate) cpu_used: f64,
    /// Requests in service or waiting, where a balancer keeps count.
    pub(crate) outstanding: u32,
    pub(crate) kubelet: Kubelet,
    pub(crate) exporter: Exporter,
    /// Draws of this pod's own: the jitter of its kubelet samples, lost scrapes, restarts.
    pub(crate) stream: Stream,
}

impl Pod {
    /// The pod of this ordinal, not yet bound to a node.
    pub(crate) fn new(model: &PodModel, seed: Seed, ordinal: u64, now: f64, exporter: Exporter) -> Self {
        let mut stream = seed.child("pod").nth(ordinal).stream();
        let delays = Delays::draw(model, &mut stream);
        Self {
            ordinal,
            name: format!("pod-{ordinal}").into(),
            phase: Phase::Pending,
            created: now,
            started: f64::INFINITY,
            ready: f64::INFINITY,
            node: None,
            crashes: f64::INFINITY,
            restarts: 0,
            evicted: f64::INFINITY,
            delays,
            server: Server::new(model),
            taken: 0,
            ahead: VecDeque::new(),
            cpu_used: 0.0,
            outstanding: 0,
            kubelet: Kubelet::default(),
            exporter,
            stream,
        }
    }

    /// A node has room for it at `now`.
    pub(crate) fn bind(&mut self, node: Option<u64>, now: f64) {
        self.node = node;
        self.started = now + self.delays.start;
        self.set_ready(self.started + self.delays.ready);
        self.evicted = self.ready + self.delays.eviction;
    }

    fn set_ready(&mut self, at: f64) {
        self.ready = at;
        self.crashes = at + self.delays.crash;
    }

    /// Makes it one that became ready `age` before `now` and that has long been warm.
    pub(crate) fn make_old(&mut self, model: &PodModel, now: f64, age: f64) {
        self.created = now - age;
        self.started = now - age;
        self.ready = now - age;
        self.phase = Phase::Ready;
        self.crashes = now + self.delays.crash;
        self.evicted = now + self.delays.eviction;
        self.taken = model.slow_start.map_or(0, |slow| u64::from(slow.requests));
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether it has never been ready, or is not any more.
    pub(crate) fn is_unready(&self) -> bool {
        matches!(self.phase, Phase::Pending | Phase::Starting | Phase::Crashed { .. })
    }

    /// Starts its end.
    pub(crate) fn terminate(&mut self, now: f64, grace: f64) {
        self.phase = Phase::Draining { since: now, killed: now + grace };
    }

    /// Whether proxies send requests to it at `now`.
    pub(crate) fn is_endpoint(&self, model: &PodModel, now: f64) -> bool {
        let known = now >= self.ready + model.startup.endpoint_delay_s;
        match self.phase {
            Phase::Pending | Phase::Starting => false,
            Phase::Ready => known,
            Phase::Crashed { since, .. } | Phase::Draining { since, .. } => {
                known && now < since + model.drain_endpoint_s
            }
        }
    }

    /// Lets its life go on to the whole second `now`. What it works on when it crashes is put into `lost`.
    pub(crate) fn live(&mut self, model: &PodModel, now: f64, lost: &mut Vec<Attempt>) {
        if let Phase::Crashed { restarts, .. } = self.phase
            && now >= restarts
        {
            self.phase = Phase::Starting;
            self.delays = Delays::draw(model, &mut self.stream);
            self.set_ready(now + self.delays.ready);
        }
        if self.phase == Phase::Pending && now >= self.started {
            self.phase = Phase::Starting;
        }
        if self.phase == Phase::Starting && now >= self.ready {
            self.phase = Phase::Ready;
        }
        if self.phase == Phase::Ready && now >= self.crashes {
            let failures = &model.failures;
            let doubled = failures.restart_backoff_s * libm::exp2(f64::from(self.restarts.min(30)));
            self.restarts += 1;
            self.phase =
                Phase::Crashed { since: now, restarts: now + doubled.min(failures.restart_backoff_most_s) };
            self.abort(lost);
            self.server = Server::new(model);
            self.taken = 0;
            self.outstanding = 0;
            self.exporter.begin_anew();
        }
    }

    /// Whether its time has come to be evicted.
    pub(crate) fn is_evicted(&self, now: f64) -> bool {
        !self.is_draining() && now >= self.evicted
    }

    /// Takes all that it works on for clients who still wait.
    pub(crate) fn abort(&mut self, lost: &mut Vec<Attempt>) {
        for second in &mut self.ahead {
            lost.extend(
                second.answers.drain(..).chain(second.timeouts.drain(..)).map(|leaving| leaving.attempt),
            );
            second.cpu = 0.0;
        }
        if let Server::Sharing(sharing) = &self.server {
            lost.extend(sharing.waited_for());
        }
    }

    /// Attempts in it whose clients still wait, where the end of all of them is known.
    pub(crate) fn in_system(&self) -> usize {
        let known: usize = self.ahead.iter().map(|s| s.answers.len() + s.timeouts.len()).sum();
        match &self.server {
            Server::Fifo(_) => known,
            Server::Sharing(sharing) => known + sharing.waited_for().count(),
        }
    }

    /// Requests waiting for a worker at `now`.
    pub(crate) fn queued(&mut self, now: f64) -> usize {
        match &mut self.server {
            Server::Fifo(fifo) => fifo.queued(now),
            Server::Sharing(sharing) => sharing.queued(),
        }
    }

    /// Requests waiting or being worked on at `now`, which lies in the second that began at `second`.
    pub(crate) fn outstanding(&mut self, model: &PodModel, now: f64, second: f64) -> usize {
        self.advance(model, now, second);
        match &mut self.server {
            Server::Fifo(fifo) => fifo.outstanding(now),
            Server::Sharing(sharing) => sharing.outstanding(),
        }
    }

    /// Lets the work go on to `now`, which lies in, or at the end of, the second that began at `second`.
    pub(crate) fn advance(&mut self, model: &PodModel, now: f64, second: f64) {
        let Server::Sharing(sharing) = &mut self.server else { return };
        if self.ahead.is_empty() {
            self.ahead.push_back(Second::default());
        }
        let current = &mut self.ahead[0];
        let answers = &mut current.answers;
        let busy = sharing.advance(now, |attempt, at| answers.push(Leaving { attempt, at }));
        current.cpu += busy * model.cpu_per_worker();
        debug_assert!(now <= second + 1.0, "never beyond the second");
    }

    /// An attempt arrives at its time, in the second that began at `second`. What is known of its end is kept
    /// here, unless that is in this very second and no answer. `busy_until` is when it stops to count as
    /// outstanding, if that is known.
    pub(crate) fn admit(&mut self, model: &PodModel, attempt: Attempt, second: f64) -> (Fate, Option<f64>) {
        let now = attempt.arrived;
        if !matches!(self.phase, Phase::Ready | Phase::Draining { .. }) {
            return (Fate::Refused, None);
        }
        self.advance(model, now, second);
        let demand = attempt.request.demand * model.warming(self.taken);
        let (fate, busy_until) = match &mut self.server {
            Server::Fifo(fifo) => {
                let (fate, service) = fifo.admit(model, now, demand * model.stretch);
                if let Some(service) = service {
                    let (from, to) = (service.start - second, service.done - second);
                    let last = self.use_cpu(from, to, demand * model.cpu_per_demand);
                    if let Fate::Answered { at } = fate {
                        last.answers.push(Leaving { attempt, at });
                    }
                }
                let busy_until = match (service, fate) {
                    (Some(service), _) => Some(service.done),
                    (None, Fate::TimedOut { at }) => Some(at),
                    _ => None,
                };
                (fate, busy_until)
            }
            Server::Sharing(sharing) => {
                let admitted = sharing.admit(model, attempt, demand * model.stretch);
                (if admitted { Fate::Open } else { Fate::Refused }, None)
            }
        };
        match fate {
            Fate::TimedOut { at } if at >= second + 1.0 => {
                self.second(at - second).timeouts.push(Leaving { attempt, at });
            }
            Fate::TimedOut { .. } => self.exporter.abandoned(1),
            Fate::Answered { .. } | Fate::Refused | Fate::Open => {}
        }
        if fate == Fate::Refused {
            self.exporter.refused();
        } else {
            self.taken += 1;
            self.exporter.received();
        }
        (fate, busy_until)
    }

    /// The client of an attempt gives up at `now`. False when that has left already.
    pub(crate) fn abandon(&mut self, model: &PodModel, attempt: &Attempt, now: f64, second: f64) -> bool {
        self.advance(model, now, second);
        let Server::Sharing(sharing) = &mut self.server else { return false };
        let there = sharing.abandon(attempt);
        self.exporter.abandoned(u64::from(there));
        there
    }

    /// The second that begins `ahead` whole seconds after the current one.
    fn second(&mut self, ahead: f64) -> &mut Second {
        let index = whole(ahead);
        if self.ahead.len() <= index {
            self.ahead.resize_with(index + 1, Second::default);
        }
        &mut self.ahead[index]
    }

    /// Spreads `cpu` evenly over `from..to`, seconds after the start of the current one; returns the last of them.
    fn use_cpu(&mut self, from: f64, to: f64, cpu: f64) -> &mut Second {
        let (first, last) = (whole(from), whole(to));
        if first < last {
            let per_second = cpu / (to - from);
            self.second(to).cpu += per_second * (to - last as f64);
            for second in first..last {
                let begin = from.max(second as f64);
                self.ahead[second].cpu += per_second * (second as f64 + 1.0 - begin);
            }
            return &mut self.ahead[last];
        }
        let second = self.second(to);
        second.cpu += cpu;
        second
    }

    /// Takes the clients that give up in the second that begins, as far as that is known.
    pub(crate) fn timeouts(&mut self, all: &mut Vec<Leaving>) {
        if let Some(current) = self.ahead.front_mut() {
            self.exporter.abandoned(current.timeouts.len() as u64);
            all.append(&mut current.timeouts);
        }
    }

    /// Ends the second that began at `second`, and lets `answered` see its answers.
    pub(crate) fn end_second(&mut self, model: &PodModel, second: f64, mut answered: impl FnMut(&Leaving)) {
        self.advance(model, second + 1.0, second);
        if self.phase == Phase::Starting {
            self.cpu_used += model.startup_cpu;
        }
        let Some(mut done) = self.ahead.pop_front() else { return };
        self.cpu_used += done.cpu;
        for leaving in &done.answers {
            self.exporter.answered(leaving.at - leaving.attempt.arrived);
            answered(leaving);
        }
        // The buffers go round.
        done.cpu = 0.0;
        done.answers.clear();
        self.ahead.push_back(done);
    }

    /// What would become of its requests until `end` if nothing else arrived: when and how each ends, if it
    /// does.
    pub(crate) fn settle(&self, model: &PodModel, end: f64) -> Vec<(Request, Option<(f64, RequestEnd)>)> {
        let mut all = Vec::new();
        let mut add = |leaving: &Leaving, how| {
            all.push((leaving.attempt.request, (leaving.at <= end).then_some((leaving.at, how))));
        };
        for second in &self.ahead {
            second.answers.iter().for_each(|leaving| add(leaving, RequestEnd::Answered));
            second.timeouts.iter().for_each(|leaving| add(leaving, RequestEnd::TimedOut));
        }
        if let Server::Sharing(sharing) = &self.server {
            let waited_for: Vec<Attempt> = sharing.waited_for().collect();
            let mut answers = Vec::new();
            sharing.clone().advance(end, |attempt, at| answers.push(Leaving { attempt, at }));
            for attempt in waited_for {
                let gives_up = Leaving { attempt, at: attempt.arrived + model.timeout_s };
                match answers.iter().find(|answer| answer.attempt == attempt) {
                    Some(answer) if answer.at <= gives_up.at => add(answer, RequestEnd::Answered),
                    _ => add(&gives_up, RequestEnd::TimedOut),
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_sees_readiness_at_its_next_turn() {
        let startup = |period, successes| StartupConfig {
            probe_period_s: period,
            probe_successes: successes,
            ..StartupConfig::default()
        };
        let cases = [
            (7.0, 0.3, 0.0, 1, 7.0),
            (7.0, 0.25, 4.0, 1, 9.0),
            (9.0, 0.25, 4.0, 1, 9.0),
            (0.5, 0.25, 4.0, 3, 9.0),
        ];
        for (able, phase, period, successes, ready) in cases {
            let at = probed(able, phase, &startup(period, successes));
            assert!((at - ready).abs() < 1e-12, "{at} instead of {ready}");
        }
    }
}
