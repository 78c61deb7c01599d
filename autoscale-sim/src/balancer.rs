//! Which pod gets a request.

use crate::fleet::Fleet;
use crate::pod::Pod;
use crate::scenario::{Discipline, Dispatch, ServiceConfig};
use autoscale_core::seed::{Seed, Stream};
use rand::RngExt;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Spreads requests over the endpoints. First attempts draw from a stream of their own, so that retries, which
/// depend on the policy, do not shift their draws.
#[derive(Clone, Debug)]
pub(crate) struct Balancer {
    dispatch: Dispatch,
    firsts: Stream,
    retries: Stream,
    turn: usize,
    tally: Option<Tally>,
}

impl Balancer {
    pub(crate) fn new(service: &ServiceConfig, seed: Seed) -> Self {
        let counted =
            service.dispatch == Dispatch::LeastOutstanding && service.discipline == Discipline::Fifo;
        Self {
            dispatch: service.dispatch,
            firsts: seed.child("dispatch").stream(),
            retries: seed.child("dispatch-retries").stream(),
            turn: 0,
            tally: counted.then(Tally::default),
        }
    }

    /// The endpoints may have changed.
    pub(crate) fn prepare(&mut self, fleet: &Fleet) {
        if let Some(tally) = &mut self.tally {
            tally.rebuild(fleet);
        }
    }

    /// The index of the pod that gets the next request, which arrives at `now` in the second that began at
    /// `second`; `None` without endpoints.
    pub(crate) fn pick(&mut self, fleet: &mut Fleet, attempt: u32, now: f64, second: f64) -> Option<usize> {
        let draw: f64 = if attempt == 1 { self.firsts.random() } else { self.retries.random() };
        let n = fleet.endpoints().len();
        if n == 0 {
            return None;
        }
        let position = match self.dispatch {
            Dispatch::Random => ((draw * n as f64) as usize).min(n - 1),
            Dispatch::RoundRobin => {
                self.turn = (self.turn + 1) % n;
                self.turn
            }
            Dispatch::LeastOutstanding => {
                // Ties go to the first at or after a drawn place, so that no pod is favoured.
                let first = ((draw * n as f64) as usize).min(n - 1);
                match &mut self.tally {
                    Some(tally) => tally.least(fleet, first, now),
                    None => (first..n)
                        .chain(0..first)
                        .min_by_key(|&position| fleet.outstanding(fleet.endpoints()[position], now, second))
                        .unwrap_or(first),
                }
            }
            Dispatch::PowerOfTwoChoices => {
                // One draw decides the ordered pair of different pods; of equals the first.
                let pair = ((draw * (n * n.saturating_sub(1)) as f64) as usize) % (n * (n - 1)).max(1);
                let one = pair / (n - 1).max(1);
                let other = pair % (n - 1).max(1);
                let other = (other + usize::from(other >= one)).min(n - 1);
                let mut busy = |position: usize| fleet.outstanding(fleet.endpoints()[position], now, second);
                if busy(other) < busy(one) { other } else { one }
            }
        };
        Some(fleet.endpoints()[position])
    }

    /// The pod with index `pod` has taken a request that counts as outstanding until `busy_until`.
    pub(crate) fn taken(&mut self, fleet: &mut Fleet, pod: usize, busy_until: Option<f64>) {
        if let (Some(tally), Some(until)) = (&mut self.tally, busy_until) {
            tally.taken(fleet, pod, until);
        }
    }
}

/// Outstanding requests of all endpoints, kept so that the least of them is found without looking at each: a
/// set of endpoints for every count.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Requests that will stop to be outstanding: when (its bits sort as it does), and in which pod and
    /// incarnation.
    ends: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Bits of the endpoints' positions, for each count.
    levels: Vec<Vec<u64>>,
    /// The position of each pod among the endpoints, by its index.
    positions: Vec<Option<usize>>,
    words: usize,
    /// No level below has a bit.
    lowest: usize,
}

impl Tally {
    fn rebuild(&mut self, fleet: &Fleet) {
        self.words = fleet.endpoints().len().div_ceil(64);
        for level in &mut self.levels {
            level.clear();
            level.resize(self.words, 0);
        }
        self.positions.clear();
        self.positions.resize(fleet.pods().len(), None);
        self.lowest = 0;
        for (position, &pod) in fleet.endpoints().iter().enumerate() {
            self.positions[pod] = Some(position);
            self.set(fleet.pods()[pod].outstanding, position);
        }
    }

    fn set(&mut self, count: u32, position: usize) {
        let count = count as usize;
        if self.levels.len() <= count {
            let words = self.words;
            self.levels.resize_with(count + 1, || vec![0; words]);
        }
        self.levels[count][position / 64] |= 1 << (position % 64);
        self.lowest = self.lowest.min(count);
    }

    fn clear(&mut self, count: u32, position: usize) {
        self.levels[count as usize][position / 64] &= !(1 << (position % 64));
    }

    fn change(&mut self, fleet: &mut Fleet, pod: usize, change: i32) {
        let outstanding = &mut fleet.pods_mut()[pod].outstanding;
        let before = *outstanding;
        *outstanding = before.saturating_add_signed(change);
        let after = *outstanding;
        if let Some(position) = self.positions[pod] {
            self.clear(before, position);
            self.set(after, position);
        }
    }

    fn taken(&mut self, fleet: &mut Fleet, pod: usize, until: f64) {
        let Pod { ordinal, restarts, .. } = fleet.pods()[pod];
        self.ends.push(Reverse((until.to_bits(), ordinal, restarts)));
        self.change(fleet, pod, 1);
    }

    /// The first position at or after `first`, going round, of those with the fewest outstanding at `now`.
    fn least(&mut self, fleet: &mut Fleet, first: usize, now: f64) -> usize {
        while let Some(&Reverse((until, ordinal, restarts))) = self.ends.peek()
            && until <= now.to_bits()
        {
            self.ends.pop();
            // A pod may be gone, or have crashed and begun anew.
            if let Some(pod) = fleet.find(ordinal).filter(|&pod| fleet.pods()[pod].restarts == restarts) {
                self.change(fleet, pod, -1);
            }
        }
        let empty = |level: &Vec<u64>| level.iter().all(|&word| word == 0);
        while self.levels.get(self.lowest).is_some_and(empty) {
            self.lowest += 1;
        }
        let Some(level) = self.levels.get(self.lowest) else { return first };
        let (word, bit) = (first / 64, first % 64);
        let after = level[word] & (u64::MAX << bit);
        if after != 0 {
            return word * 64 + after.trailing_zeros() as usize;
        }
        let rotated = (word + 1..level.len()).chain(0..=word);
        rotated
            .filter(|&w| level[w] != 0)
            .map(|w| w * 64 + level[w].trailing_zeros() as usize)
            .next()
            .unwrap_or(first)
    }
}
