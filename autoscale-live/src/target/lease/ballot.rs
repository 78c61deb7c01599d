//! Who may hold a Lease, by the clock of the one who looks.

use autoscale_core::units::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use std::sync::Arc;
use std::time::Duration;

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody holds it, or not any longer: take it.
    Take,
    /// It is held by the one who looks: renew it.
    Renew,
    /// Another one holds it.
    Wait,
}

/// Remembers since when a Lease is as it is.
#[derive(Clone, Debug)]
pub struct Ballot {
    identity: Arc<str>,
    seen: Option<(LeaseSpec, Timestamp)>,
}

impl Ballot {
    /// For the process of that name.
    pub fn new(identity: Arc<str>) -> Self {
        Self { identity, seen: None }
    }

    /// What to do about the Lease, `None` where there is none, as it is found at `now`.
    pub fn look(&mut self, lease: Option<&LeaseSpec>, now: Timestamp) -> Step {
        let holder = lease.and_then(|l| l.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
        let (Some(lease), Some(holder)) = (lease, holder) else {
            self.seen = None;
            return Step::Take;
        };
        if holder == &*self.identity {
            self.seen = None;
            return Step::Renew;
        }
        // What was seen later than now was seen by a clock that has been set back since.
        let since = match &self.seen {
            Some((seen, since)) if seen == lease && *since <= now => *since,
            _ => {
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        let seconds = lease.lease_duration_seconds.unwrap_or(0).max(0).unsigned_abs();
        if now.since(since) >= Duration::from_secs(seconds.into()) { Step::Take } else { Step::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff;

    fn lease(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            renew_time: jiff::Timestamp::from_second(renewed).ok().map(MicroTime),
            ..LeaseSpec::default()
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_free_lease_is_taken_and_an_own_one_renewed() {
        let mut ballot = Ballot::new("a".into());
        assert_eq!(ballot.look(None, at(0)), Step::Take);
        assert_eq!(ballot.look(Some(&LeaseSpec::default()), at(0)), Step::Take);
        assert_eq!(ballot.look(Some(&lease("", 0)), at(0)), Step::Take);
        assert_eq!(ballot.look(Some(&lease("a", 0)), at(1_000_000)), Step::Renew);
    }

    #[test]
    fn another_ones_lease_is_left_alone_while_it_is_renewed() {
        let mut ballot = Ballot::new("a".into());
        for second in (0..120).step_by(14) {
            assert_eq!(ballot.look(Some(&lease("b", second)), at(second)), Step::Wait);
        }
    }

    #[test]
    fn it_is_taken_when_it_stands_still_for_its_duration_by_the_own_clock() {
        let mut ballot = Ballot::new("a".into());
        // The holder's clock is a year ahead; it does not matter.
        let stale = lease("b", 31_536_000);
        assert_eq!(ballot.look(Some(&stale), at(0)), Step::Wait);
        assert_eq!(ballot.look(Some(&stale), at(14)), Step::Wait);
        assert_eq!(ballot.look(Some(&stale), at(15)), Step::Take);
        assert_eq!(
            ballot.look(Some(&lease("c", 31_536_001)), at(15)),
            Step::Wait,
            "somebody else was faster"
        );
        assert_eq!(ballot.look(Some(&lease("c", 31_536_001)), at(29)), Step::Wait);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_to_wait_anew() {
        let mut ballot = Ballot::new("a".into());
        assert_eq!(ballot.look(Some(&lease("b", 0)), at(1_000)), Step::Wait);
        assert_eq!(ballot.look(Some(&lease("b", 0)), at(10)), Step::Wait);
        assert_eq!(ballot.look(Some(&lease("b", 0)), at(25)), Step::Take);
    }
}
