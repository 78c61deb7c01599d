//! Processor sharing: all requests are worked on at once.
//!
//! Each gets an equal share of the workers, but none more than one. So all that are in the pod progress at one
//! speed, and attained service is a common clock: a request that arrives when the clock shows v leaves when it
//! shows v + its demand (Yashkov 1987). The order of departures is known, their times are not.

use super::PodModel;
use crate::request::Attempt;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    workers: f64,
    /// Seconds of service that each request attained since the beginning.
    attained: f64,
    /// Until when the state is worked out.
    now: f64,
    jobs: BinaryHeap<Job>,
    /// Attempts in `jobs` whose clients have given up.
    abandoned: Vec<(u64, u32)>,
}

/// An attempt in service, first the one that leaves first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Job {
    /// Attained service at which it leaves.
    leaves: f64,
    attempt: Attempt,
}

impl Eq for Job {}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = other.leaves.total_cmp(&self.leaves);
        order.then_with(|| other.attempt.request.ordinal.cmp(&self.attempt.request.ordinal))
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn id(attempt: &Attempt) -> (u64, u32) {
    (attempt.request.ordinal, attempt.request.attempt)
}

impl Sharing {
    pub(crate) fn new(model: &PodModel) -> Self {
        Self {
            workers: model.workers as f64,
            attained: 0.0,
            now: 0.0,
            jobs: BinaryHeap::new(),
            abandoned: Vec::new(),
        }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.jobs.len()
    }

    /// Requests beyond one a worker.
    pub(crate) fn queued(&self) -> usize {
        self.jobs.len().saturating_sub(self.workers as usize)
    }

    /// Attempts whose clients still wait.
    pub(crate) fn waited_for(&self) -> impl Iterator<Item = Attempt> {
        self.jobs.iter().map(|job| job.attempt).filter(|attempt| !self.abandoned.contains(&id(attempt)))
    }

    /// Lets time pass to `now`. `left` gets each attempt that leaves with an answer and when; the result is the
    /// workers' busy seconds.
    pub(crate) fn advance(&mut self, now: f64, mut left: impl FnMut(Attempt, f64)) -> f64 {
        let mut busy = 0.0;
        while let Some(&next) = self.jobs.peek() {
            let n = self.jobs.len() as f64;
            let speed = (self.workers / n).min(1.0);
            let leaves = self.now + (next.leaves - self.attained).max(0.0) / speed;
            let until = leaves.min(now);
            busy += n.min(self.workers) * (until - self.now);
            if leaves > now {
                self.attained += (until - self.now) * speed;
                break;
            }
            self.now = leaves;
            self.attained = next.leaves;
            self.jobs.pop();
            match self.abandoned.iter().position(|&gone| gone == id(&next.attempt)) {
                Some(index) => {
                    self.abandoned.swap_remove(index);
                }
                None => left(next.attempt, leaves),
            }
        }
        self.now = now;
        busy
    }

    /// An attempt arrives at the time to which it was advanced, with `time` seconds of service to be had.
    /// False when the pod is full.
    pub(crate) fn admit(&mut self, model: &PodModel, attempt: Attempt, time: f64) -> bool {
        let full = self.jobs.len() >= model.workers.saturating_add(model.queue_capacity);
        if !full {
            self.jobs.push(Job { leaves: self.attained + time, attempt });
        }
        !full
    }

    /// The attempt's client gives up at the time to which it was advanced. False when it has left already.
    pub(crate) fn abandon(&mut self, attempt: &Attempt) -> bool {
        let there = self.jobs.iter().any(|job| id(&job.attempt) == id(attempt));
        if there {
            self.abandoned.push(id(attempt));
        }
        there
    }
}
