//! Stepping back from a fight: someone else keeps changing what was written.

use autoscale_core::units::Timestamp;
use autoscale_core::validate::{ConfigError, Validate, count_in_range};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// When a fight is one, and how long to stay out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContestConfig {
    /// So many changes by others to what was written are a fight, 1 to 100 …
    pub reverts: u32,
    /// … within this time, 1 to 86,400 s.
    pub within_s: u32,
    /// Nothing is written for this long after the last of them, 1 to 86,400 s.
    pub step_back_s: u32,
}

impl Default for ContestConfig {
    fn default() -> Self {
        Self { reverts: 3, within_s: 600, step_back_s: 1800 }
    }
}

/// Counts changes by others.
#[derive(Clone, Debug)]
pub struct Contest {
    reverts: usize,
    within: Duration,
    step_back: Duration,
    /// The latest, no more than count.
    seen: VecDeque<Timestamp>,
    until: Option<Timestamp>,
}

impl Validate for ContestConfig {
    type Checked = Contest;

    fn validate(self) -> Result<Contest, ConfigError> {
        count_in_range("reverts", u64::from(self.reverts), 1, 100)?;
        count_in_range("within_s", u64::from(self.within_s), 1, 86_400)?;
        count_in_range("step_back_s", u64::from(self.step_back_s), 1, 86_400)?;
        Ok(Contest {
            reverts: self.reverts as usize,
            within: Duration::from_secs(u64::from(self.within_s)),
            step_back: Duration::from_secs(u64::from(self.step_back_s)),
            seen: VecDeque::new(),
            until: None,
        })
    }
}

impl Contest {
    /// Someone changed what was written.
    pub(super) fn note(&mut self, now: Timestamp) {
        self.seen.push_back(now);
        if self.seen.len() > self.reverts {
            self.seen.pop_front();
        }
        if self.seen.len() == self.reverts && self.seen[0] + self.within >= now {
            self.until = Some(now + self.step_back);
        }
    }

    /// Until when to stay out of it, if there is a fight.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|&until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_changes_by_others_are_a_fight_for_a_while() {
        let mut contest = ContestConfig { reverts: 3, within_s: 100, step_back_s: 50 }.validate().unwrap();
        let at = Timestamp::from_secs;
        contest.note(at(0));
        contest.note(at(101));
        contest.note(at(150));
        assert_eq!(contest.until(at(150)), None, "the first is too long ago");
        contest.note(at(160));
        assert_eq!(contest.until(at(209)), Some(at(210)));
        assert_eq!(contest.until(at(210)), None);
    }
}
