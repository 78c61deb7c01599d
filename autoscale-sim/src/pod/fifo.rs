//! Workers that serve first come, first served.
//!
//! What becomes of a request is settled the moment it arrives (the workload recursion of Kiefer and Wolfowitz,
//! 1955): it starts when the earliest worker is free. No event queue is needed and nothing is approximated.

use super::PodModel;
use crate::request::Fate;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(crate) struct Fifo {
    /// When each worker is free: a binary heap with the earliest first.
    free_at: Vec<f64>,
    /// When each waiting request leaves the queue, into service or for good; ascending.
    waiting: VecDeque<f64>,
}

/// What a request does in the pod, if it gets to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) start: f64,
    pub(crate) done: f64,
}

impl Fifo {
    pub(crate) fn new(model: &PodModel) -> Self {
        Self { free_at: vec![0.0; model.workers], waiting: VecDeque::new() }
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

    /// A request arrives at `now` with `time` seconds of service to be had.
    pub(crate) fn admit(&mut self, model: &PodModel, now: f64, time: f64) -> (Fate, Option<Service>) {
        let free = self.free_at[0];
        let gives_up = now + model.timeout_s;
        if free > now {
            if self.queued(now) >= model.queue_capacity {
                return (Fate::Refused, None);
            }
            self.waiting.push_back(free.min(gives_up));
            if free >= gives_up {
                return (Fate::TimedOut { at: gives_up }, None);
            }
        }
        let start = free.max(now);
        let done = start + time;
        self.occupy_earliest(done);
        let fate =
            if done > gives_up { Fate::TimedOut { at: gives_up } } else { Fate::Answered { at: done } };
        (fate, Some(Service { start, done }))
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
}
