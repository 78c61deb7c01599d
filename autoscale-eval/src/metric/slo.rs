//! Requests that miss the objective.

use super::{Entry, Family, OWN, per_hour};
use autoscale_core::record::{EpisodeRecord, RequestCounts};

pub(super) const METRICS: &[Entry] = &[
    Entry {
        name: "slo_violations",
        unit: "%",
        family: Family::SloViolations,
        definition: "share of requests that were late, timed out, refused, lost or never finished",
        source: OWN,
        measure: |e| percent(e, RequestCounts::violations),
    },
    Entry {
        name: "late",
        unit: "%",
        family: Family::SloViolations,
        definition: "share of requests that were answered, but later than the SLO",
        source: OWN,
        measure: |e| percent(e, |r| r.late),
    },
    Entry {
        name: "timed_out",
        unit: "%",
        family: Family::SloViolations,
        definition: "share of requests whose client gave up",
        source: OWN,
        measure: |e| percent(e, |r| r.timed_out),
    },
    Entry {
        name: "refused",
        unit: "%",
        family: Family::SloViolations,
        definition: "share of requests that found no ready pod, or its queue full",
        source: OWN,
        measure: |e| percent(e, |r| r.refused),
    },
    Entry {
        name: "lost",
        unit: "%",
        family: Family::SloViolations,
        definition: "share of requests that were lost with their pod, or unfinished when the drain after the episode \
                     ended",
        source: OWN,
        measure: |e| percent(e, |r| r.lost + r.unfinished),
    },
    Entry {
        name: "violation_minutes",
        unit: "min/h",
        family: Family::SloViolations,
        definition: "minutes per hour in control intervals beyond the error budget: of the requests that left, a \
                     greater share than it missed the SLO",
        source: OWN,
        measure: violation_minutes,
    },
    Entry {
        name: "error_budget_burned",
        unit: "%",
        family: Family::SloViolations,
        definition: "slo_violations over the error budget: 100 is all that the episode's requests allow",
        source: "The Site Reliability Workbook (Google, 2018), chapters 2 (error budget) and 5 (burn rate)",
        measure: |e| percent(e, RequestCounts::violations).map(|violated| violated / BUDGET),
    },
];

/// The error budget: the share of requests that may miss the SLO, so the objective is 99 % in time. Scenarios price
/// violations and set no objective of their own; one for all makes their figures comparable.
pub const BUDGET: f64 = 0.01;

/// A share of all requests of the episode; `None` without any.
fn percent(episode: &EpisodeRecord, count: fn(&RequestCounts) -> u64) -> Option<f64> {
    let requests = episode.requests();
    (requests.arrived > 0).then(|| 100.0 * count(&requests) as f64 / requests.arrived as f64)
}

/// Whether more of the requests that left an interval missed the SLO than [`BUDGET`] allows. Where none left,
/// nothing was missed.
pub(super) fn misses_objective(requests: &RequestCounts) -> bool {
    let left = requests.in_time + requests.violations();
    left > 0 && requests.violations() as f64 / left as f64 > BUDGET
}

/// Many violations in few minutes and few in many are different troubles, which shares of requests do not tell
/// apart. `None` without a request.
fn violation_minutes(episode: &EpisodeRecord) -> Option<f64> {
    let missed = episode.intervals.iter().filter(|i| misses_objective(&i.requests)).count();
    let minutes = missed as f64 * episode.interval.as_secs_f64() / 60.0;
    if episode.requests().arrived > 0 { per_hour(episode, minutes) } else { None }
}

#[cfg(test)]
mod tests {
    use crate::metric::sample::{episode, episode_of_requests, left, value};
    use crate::metric::{Family, metrics};
    use autoscale_core::record::RequestCounts;
    use proptest::prelude::*;

    #[test]
    fn violations_count_every_way_to_miss() {
        let e = episode(&[(1.0, 1.0); 3]);
        assert_eq!(value("slo_violations", &e), Some(5.0));
        for (name, share) in [("late", 2.0), ("timed_out", 2.0), ("refused", 1.0), ("lost", 0.0)] {
            assert_eq!(value(name, &e), Some(share), "{name}");
        }
        assert_eq!(value("error_budget_burned", &e), Some(500.0));
    }

    #[test]
    fn what_never_finished_is_lost() {
        let requests =
            RequestCounts { arrived: 8, in_time: 5, lost: 1, unfinished: 2, ..RequestCounts::default() };
        assert_eq!(value("lost", &episode_of_requests(&[requests])), Some(37.5));
    }

    #[test]
    fn minutes_are_of_intervals_beyond_the_budget() {
        // One of 100 is the budget. Two of the five quarters of a minute are beyond it, in an hour 24 minutes.
        let e = episode_of_requests(&[left(100, 0), left(99, 1), left(98, 2), left(0, 0), left(0, 1)]);
        assert!((value("violation_minutes", &e).unwrap() - 24.0).abs() < 1e-9);
        assert_eq!(value("violation_minutes", &episode_of_requests(&[left(100, 0)])), Some(0.0));
    }

    #[test]
    fn without_requests_nothing_is_said_of_them() {
        let e = episode_of_requests(&[RequestCounts::default(); 3]);
        for metric in metrics().filter(|m| m.family() == Family::SloViolations) {
            assert_eq!(metric.measure(&e), None, "{}", metric.name());
        }
    }

    fn fates() -> impl Strategy<Value = RequestCounts> {
        proptest::array::uniform6(0u64..1000).prop_map(|fates| {
            let [in_time, late, timed_out, refused, lost, unfinished] = fates;
            let arrived = fates.iter().sum();
            RequestCounts { arrived, in_time, late, timed_out, refused, lost, unfinished }
        })
    }

    proptest! {
        #[test]
        fn every_request_has_one_fate(requests in proptest::collection::vec(fates(), 1..10)) {
            let e = episode_of_requests(&requests);
            prop_assume!(e.requests().arrived > 0);
            let in_time = 100.0 * e.requests().in_time as f64 / e.requests().arrived as f64;
            let ways = ["late", "timed_out", "refused", "lost"].map(|name| value(name, &e).unwrap());
            let violations = ways.iter().sum::<f64>();
            prop_assert!((in_time + violations - 100.0).abs() < 1e-9, "{in_time} and {ways:?}");
            prop_assert!((violations - value("slo_violations", &e).unwrap()).abs() < 1e-9);
        }
    }
}
