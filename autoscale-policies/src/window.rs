//! Down-scale stabilisation: the highest wish of a while.

use autoscale_core::units::{Replicas, Timestamp};
use std::collections::VecDeque;
use std::time::Duration;

/// The highest of the wishes within a window.
#[derive(Clone, Debug)]
pub(crate) struct Highest {
    window: Duration,
    /// Falling, oldest first: whatever a later wish reaches can never be the highest again.
    wishes: VecDeque<(Timestamp, Replicas)>,
}

impl Highest {
    pub(crate) const fn new(window: Duration) -> Self {
        Self { window, wishes: VecDeque::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.wishes.clear();
    }

    /// The highest wish up to now, this one included.
    pub(crate) fn of(&mut self, now: Timestamp, wish: Replicas) -> Replicas {
        while self.wishes.back().is_some_and(|&(_, earlier)| earlier <= wish) {
            self.wishes.pop_back();
        }
        self.wishes.push_back((now, wish));
        while self.wishes.front().is_some_and(|&(at, _)| at + self.window < now) {
            self.wishes.pop_front();
        }
        self.wishes.front().map_or(wish, |&(_, highest)| highest)
    }
}
