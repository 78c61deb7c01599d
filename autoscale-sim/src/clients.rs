//! What clients do when an attempt fails: give up, or try again.

use crate::request::{Attempt, Request};
use crate::scenario::{RetriesConfig, ServiceConfig};
use autoscale_core::seed::Seed;
use rand::RngExt;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Most retries that a budget saves up.
const MOST_TOKENS: f64 = 100.0;

/// A request that waits to be tried again, the earliest first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Backoff {
    until: f64,
    request: Request,
}

impl Eq for Backoff {}

impl Ord for Backoff {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = other.until.total_cmp(&self.until);
        order.then_with(|| other.request.ordinal.cmp(&self.request.ordinal))
    }
}

impl PartialOrd for Backoff {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An attempt whose client gives up unless it has been answered by then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Patience {
    pub(crate) until: f64,
    pub(crate) pod: u64,
    pub(crate) attempt: Attempt,
}

/// All clients of the service.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    seed: Seed,
    retries: Option<RetriesConfig>,
    tokens: f64,
    backoffs: BinaryHeap<Backoff>,
    /// In order of time, for all clients have the same patience.
    patience: VecDeque<Patience>,
    retried: u64,
}

impl Clients {
    pub(crate) fn new(service: &ServiceConfig, seed: Seed) -> Self {
        Self {
            seed: seed.child("retry"),
            retries: service.retries,
            tokens: MOST_TOKENS,
            backoffs: BinaryHeap::new(),
            patience: VecDeque::new(),
            retried: 0,
        }
    }

    /// A client asks for the first time.
    pub(crate) fn ask(&mut self) {
        if let Some(RetriesConfig { budget: Some(budget), .. }) = self.retries {
            self.tokens = (self.tokens + budget).min(MOST_TOKENS);
        }
    }

    /// An attempt at `request` failed at `now`; whether its client will try again.
    pub(crate) fn try_again(&mut self, request: Request, now: f64) -> bool {
        let Some(retries) = self.retries else { return false };
        if request.attempt >= retries.attempts || (retries.budget.is_some() && self.tokens < 1.0) {
            return false;
        }
        self.tokens -= 1.0;
        // The draw belongs to the request and its attempt, so it is the same under every policy.
        let draw: f64 = self.seed.nth(request.ordinal).nth(u64::from(request.attempt)).stream().random();
        let longest = retries.backoff_ms / 1000.0 * libm::exp2(f64::from(request.attempt - 1));
        let request = Request { attempt: request.attempt + 1, ..request };
        self.backoffs.push(Backoff { until: now + draw * longest, request });
        self.retried += 1;
        true
    }

    /// When the next client tries again.
    pub(crate) fn next_retry(&self) -> f64 {
        self.backoffs.peek().map_or(f64::INFINITY, |backoff| backoff.until)
    }

    /// The client that tries again next.
    pub(crate) fn retry(&mut self) -> Option<Request> {
        self.backoffs.pop().map(|backoff| backoff.request)
    }

    /// Requests that wait to be tried again.
    pub(crate) fn backing_off(&self) -> impl Iterator<Item = &Request> {
        self.backoffs.iter().map(|backoff| &backoff.request)
    }

    /// Attempts beyond the first so far.
    pub(crate) fn retried(&self) -> u64 {
        self.retried
    }

    /// The client of an attempt will look at its clock.
    pub(crate) fn wait(&mut self, patience: Patience) {
        self.patience.push_back(patience);
    }

    /// When the next client looks at its clock.
    pub(crate) fn next_patience(&self) -> f64 {
        self.patience.front().map_or(f64::INFINITY, |patience| patience.until)
    }

    /// The client that looks at its clock next.
    pub(crate) fn lose_patience(&mut self) -> Option<Patience> {
        self.patience.pop_front()
    }
}
