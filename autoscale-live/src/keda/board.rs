//! The last decision of each autoscaler, for whoever asks.

use super::PATIENCE;
use crate::controller::DecisionRecord;
use crate::shell::Journal;
use crate::target::TargetRef;
use autoscale_core::guard::Rung;
use autoscale_core::units::{Replicas, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;

/// A `LearnedAutoscaler` by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AutoscalerRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for AutoscalerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// Nobody of that name is listed.
    #[error("there is no LearnedAutoscaler {autoscaler}; known in {}: {known}", autoscaler.namespace)]
    Unknown {
        /// Who was asked for.
        autoscaler: AutoscalerRef,
        /// The names in its namespace.
        known: String,
    },
    /// It has not decided yet.
    #[error("LearnedAutoscaler {autoscaler} has made no decision on {target} yet")]
    Undecided {
        /// Who was asked for.
        autoscaler: AutoscalerRef,
        /// What it scales.
        target: TargetRef,
    },
    /// It has not decided for too long, or by another clock.
    #[error(
        "the last decision of LearnedAutoscaler {autoscaler} is {} s {}, expected at most {} s ({PATIENCE} control intervals)",
        off.as_secs(), skew.words(), most.as_secs()
    )]
    Stale {
        /// Who was asked for.
        autoscaler: AutoscalerRef,
        /// How far the decision is from now.
        off: Duration,
        /// In which direction.
        skew: Skew,
        /// How far it may be.
        most: Duration,
    },
    /// It has nothing to decide on.
    #[error(
        "LearnedAutoscaler {autoscaler} keeps its hands off: neither Prometheus nor the metrics API says anything of use"
    )]
    HandsOff {
        /// Who was asked for.
        autoscaler: AutoscalerRef,
    },
}

/// Where a decision is that is not of the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// It is too old.
    Old,
    /// The clock was set back since.
    Ahead,
}

impl Skew {
    const fn words(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::Ahead => "ahead of the clock",
        }
    }
}

#[derive(Clone, Copy)]
struct Last {
    at: Timestamp,
    rung: Rung,
    granted: Replicas,
}

struct Entry {
    target: TargetRef,
    interval: Duration,
}

#[derive(Default)]
struct Known {
    entries: BTreeMap<AutoscalerRef, Entry>,
    /// By target, so that a decision finds its place among thousands.
    last: BTreeMap<TargetRef, Last>,
}

impl Known {
    fn entry(&self, autoscaler: &AutoscalerRef) -> Result<(&Entry, Option<Last>), Unanswered> {
        let entry = self.entries.get(autoscaler).ok_or_else(|| unknown(&self.entries, autoscaler))?;
        Ok((entry, self.last.get(&entry.target).copied()))
    }
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

/// A journal that can be asked for the last decision of each autoscaler that is listed in it. Copies are the same board.
#[derive(Clone, Default)]
pub struct Board(Arc<Shared>);

impl Board {
    /// Nobody is listed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists an autoscaler that scales `target` and decides every `interval`. What an earlier one of that name decided is
    /// forgotten.
    pub fn list(&self, autoscaler: AutoscalerRef, target: TargetRef, interval: Duration) {
        let mut known = self.known();
        known.last.remove(&target);
        known.entries.insert(autoscaler, Entry { target, interval });
        drop(known);
        self.0.changed.send_replace(());
    }

    /// Strikes one off.
    pub fn strike(&self, autoscaler: &AutoscalerRef) {
        let mut known = self.known();
        if let Some(entry) = known.entries.remove(autoscaler) {
            known.last.remove(&entry.target);
        }
        drop(known);
        self.0.changed.send_replace(());
    }

    /// How many pods its target should have, by its last decision.
    ///
    /// # Errors
    /// Says what is missing when that cannot be said at `now`.
    pub fn granted(&self, autoscaler: &AutoscalerRef, now: Timestamp) -> Result<Replicas, Unanswered> {
        let known = self.known();
        let (entry, last) = known.entry(autoscaler)?;
        let autoscaler = || autoscaler.clone();
        let Some(last) = last else {
            return Err(Unanswered::Undecided { autoscaler: autoscaler(), target: entry.target.clone() });
        };
        let most = entry.interval * PATIENCE;
        for (skew, off) in [(Skew::Old, now.since(last.at)), (Skew::Ahead, last.at.since(now))] {
            if off > most {
                return Err(Unanswered::Stale { autoscaler: autoscaler(), off, skew, most });
            }
        }
        if last.rung == Rung::HandsOff {
            return Err(Unanswered::HandsOff { autoscaler: autoscaler() });
        }
        Ok(last.granted)
    }

    /// Whether its target should have pods at all, by its last decision; nothing when it has made none that says so.
    /// However long ago that was: what is not known is no reason to take the last pod away.
    ///
    /// # Errors
    /// When it is not listed.
    pub fn is_active(&self, autoscaler: &AutoscalerRef) -> Result<Option<bool>, Unanswered> {
        let known = self.known();
        let (_, last) = known.entry(autoscaler)?;
        let last = last.filter(|last| last.rung != Rung::HandsOff);
        Ok(last.map(|last| last.granted > Replicas::ZERO))
    }

    #[cfg(feature = "keda")]
    /// Told of each change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// How many streams wait for changes.
    pub fn listeners(&self) -> usize {
        self.0.changed.receiver_count()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Board {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        let last = Last { at: record.at, rung: record.rung, granted: record.granted.replicas };
        self.known().last.insert(target.clone(), last);
        self.0.changed.send_replace(());
    }

    fn forget(&mut self, target: &TargetRef) {
        self.known().last.remove(target);
    }
}

fn unknown(entries: &BTreeMap<AutoscalerRef, Entry>, autoscaler: &AutoscalerRef) -> Unanswered {
    let known = entries.keys().filter(|key| key.namespace == autoscaler.namespace);
    let known: Vec<&str> = known.map(|key| &*key.name).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Unanswered::Unknown { autoscaler: autoscaler.clone(), known }
}
