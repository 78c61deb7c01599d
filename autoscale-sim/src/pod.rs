//! A pod: its lifecycle, its workers and its queue.
//!
//! Workers serve first come, first served, so what becomes of a request is settled the moment it arrives
//! (the workload recursion of Kiefer and Wolfowitz, 1955): it starts when the earliest worker is free. No
//! event queue is needed and nothing is approximated.

use crate::scenario::ServiceConfig;
use autoscale_core::seed::Stream;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where a pod is in its life. Times are seconds on the world's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Until its containers start.
    Pending,
    /// Until it is ready.
    Starting,
    /// Receives requests.
    Ready,
    /// Receives none any more; gone when its last request is done.
    Draining { since: f64 },
}

/// What becomes of a request in a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// Answered at this time.
    Answered { at: f64 },
    /// Its client gave up at this time, waiting or in service.
    TimedOut { at: f64 },
    /// The queue was full.
    Refused,
}

/// What all pods of a service have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodModel {
    workers: usize,
    queue_capacity: usize,
    timeout_s: f64,
    /// CPU-seconds that a request uses per second of demand.
    cpu_per_demand: f64,
    /// Service time per second of demand.
    stretch: f64,
}

impl PodModel {
    pub(crate) fn new(service: &ServiceConfig) -> Self {
        Self {
            workers: service.workers as usize,
            queue_capacity: service.queue_capacity.map_or(usize::MAX, |c| c as usize),
            timeout_s: service.timeout_ms.map_or(f64::INFINITY, |ms| ms / 1000.0),
            cpu_per_demand: 1.0 - service.io_share,
            stretch: service.stretch(),
        }
    }
}

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: Arc<str>,
    pub(crate) phase: Phase,
    pub(crate) created: f64,
    /// When its containers start.
    pub(crate) started: f64,
    /// When it becomes ready.
    pub(crate) ready: f64,
    /// When each worker is free: a binary heap with the earliest first.
    free_at: Vec<f64>,
    /// When each waiting request leaves the queue, into service or for good; ascending.
    waiting: VecDeque<f64>,
    /// CPU-seconds to be used in this and the following seconds.
    cpu_ahead: VecDeque<f64>,
    /// CPU-seconds used so far, whole seconds only.
    pub(crate) cpu_used: f64,
    /// Draws of this pod's own: the jitter of its kubelet samples.
    pub(crate) stream: Stream,
}

impl Pod {
    pub(crate) fn new(
        name: Arc<str>,
        model: &PodModel,
        created: f64,
        started: f64,
        ready: f64,
        stream: Stream,
    ) -> Self {
        Self {
            name,
            phase: Phase::Pending,
            created,
            started,
            ready,
            free_at: vec![0.0; model.workers],
            waiting: VecDeque::new(),
            cpu_ahead: VecDeque::new(),
            cpu_used: 0.0,
            stream,
        }
    }

    /// Lets time pass to `now`: starts and readiness happen. Returns false when a draining pod is done.
    pub(crate) fn advance(&mut self, now: f64) -> bool {
        if self.phase == Phase::Pending && now >= self.started {
            self.phase = Phase::Starting;
        }
        if self.phase == Phase::Starting && now >= self.ready {
            self.phase = Phase::Ready;
        }
        !(matches!(self.phase, Phase::Draining { .. }) && self.outstanding(now) == 0)
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Requests waiting for a worker at `now`, which must not go back.
    pub(crate) fn queued(&mut self, now: f64) -> usize {
        while self.waiting.front().is_some_and(|&leaves| leaves <= now) {
            self.waiting.pop_front();
        }
        self.waiting.len()
    }

    /// Requests waiting or being worked on at `now`.
    pub(crate) fn outstanding(&mut self, now: f64) -> usize {
        self.queued(now) + self.free_at.iter().filter(|&&free| free > now).count()
    }

    /// A request arrives at `now` with `demand` seconds of work; `second` is the start of the current one.
    pub(crate) fn admit(&mut self, model: &PodModel, now: f64, demand: f64, second: f64) -> Fate {
        let free = self.free_at[0];
        let gives_up = now + model.timeout_s;
        if free > now {
            if self.queued(now) >= model.queue_capacity {
                return Fate::Refused;
            }
            self.waiting.push_back(free.min(gives_up));
            if free >= gives_up {
                return Fate::TimedOut { at: gives_up };
            }
        }
        let start = free.max(now);
        let done = start + demand * model.stretch;
        self.occupy_earliest(done);
        self.use_cpu(start - second, done - second, demand * model.cpu_per_demand);
        if done > gives_up { Fate::TimedOut { at: gives_up } } else { Fate::Answered { at: done } }
    }

    /// The worker that is free first is busy until `until`: replaces the heap's root and sifts it down.
    fn occupy_earliest(&mut self, until: f64) {
        let heap = &mut self.free_at;
        let mut hole = 0;
        loop {
            let mut child = 2 * hole + 1;
            if child + 1 < heap.len() && heap[child + 1] < heap[child] {
                child += 1;
            }
            if child >= heap.len() || until <= heap[child] {
                break;
            }
            heap[hole] = heap[child];
            hole = child;
        }
        heap[hole] = until;
    }

    /// Spreads `cpu` evenly over `from..to`, seconds after the start of the current one.
    fn use_cpu(&mut self, from: f64, to: f64, cpu: f64) {
        let (first, last) = (from as usize, to as usize);
        if self.cpu_ahead.len() <= last {
            self.cpu_ahead.resize(last + 1, 0.0);
        }
        if first == last {
            self.cpu_ahead[first] += cpu;
            return;
        }
        let per_second = cpu / (to - from);
        for second in first..=last {
            let (begin, end) = (from.max(second as f64), to.min(second as f64 + 1.0));
            self.cpu_ahead[second] += per_second * (end - begin);
        }
    }

    /// Ends the current second.
    pub(crate) fn end_second(&mut self) {
        self.cpu_used += self.cpu_ahead.pop_front().unwrap_or(0.0);
    }
}
