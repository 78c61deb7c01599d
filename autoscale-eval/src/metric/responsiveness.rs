//! How fast and how exactly capacity follows the load.

use super::need::needed;
use super::slo::misses_objective;
use super::{Entry, Family, OWN, mean, per_hour};
use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use std::ops::Range;

const MEAN_SHOOT: &str = "own definition, after the precision of Herbst, Kounev and Reussner, ICAC 2013";

pub(super) const METRICS: &[Entry] = &[
    Entry {
        name: "reaction_time",
        unit: "s",
        family: Family::Responsiveness,
        definition: "mean time from a load step until ready pods suffice for the load",
        source: OWN,
        measure: reaction_time,
    },
    Entry {
        name: "time_to_recover",
        unit: "s",
        family: Family::Responsiveness,
        definition: "mean time from the first control interval beyond the error budget until the first of two in a \
                     row within it",
        source: OWN,
        measure: time_to_recover,
    },
    Entry {
        name: "overshoot",
        unit: "pods",
        family: Family::Responsiveness,
        definition: "pods paid for beyond what the load needs, averaged over time",
        source: MEAN_SHOOT,
        measure: |e| mean(e.intervals.iter().map(|i| (i.mean_pods - needed(e, i)).max(0.0))),
    },
    Entry {
        name: "undershoot",
        unit: "pods",
        family: Family::Responsiveness,
        definition: "ready pods short of what the load needs, averaged over time",
        source: MEAN_SHOOT,
        measure: |e| mean(e.intervals.iter().map(|i| shortage(e, i))),
    },
    Entry {
        name: "undershoot_area",
        unit: "pod-min/h",
        family: Family::Responsiveness,
        definition: "pod-minutes that ready pods are short of what the load needs from load steps until they \
                     suffice, per hour",
        source: OWN,
        measure: undershoot_area,
    },
];

/// How much the load must rise over the mean of the four intervals before to count as a load step.
pub const STEP: f64 = 1.5;

/// Ready pods short of what the interval's load needs.
fn shortage(episode: &EpisodeRecord, interval: &IntervalRecord) -> f64 {
    (needed(episode, interval) - interval.mean_ready).max(0.0)
}

/// For each load step (a rise to [`STEP`] times the mean of the four intervals before) the intervals from the
/// step's until the first in which ready pods suffice for the load of the moment. A step that is never caught up
/// with counts until the episode's end; steps during a catch-up are part of it.
fn catch_ups(episode: &EpisodeRecord) -> Vec<Range<usize>> {
    let intervals = &episode.intervals;
    let suffices = |k: usize| intervals[k].mean_ready >= needed(episode, &intervals[k]);
    let mut catch_ups = Vec::new();
    let mut k = 4;
    while k < intervals.len() {
        let before = intervals[k - 4..k].iter().map(|i| i.offered.per_second()).sum::<f64>() / 4.0;
        if intervals[k].offered.per_second() < STEP * before || before == 0.0 {
            k += 1;
            continue;
        }
        let caught_up = (k..intervals.len()).find(|&j| suffices(j)).unwrap_or(intervals.len());
        catch_ups.push(k..caught_up);
        // The same rise is not counted again while it is within the four intervals before.
        k = caught_up + 4;
    }
    catch_ups
}

fn mean_seconds(episode: &EpisodeRecord, spans: &[Range<usize>]) -> Option<f64> {
    mean(spans.iter().map(|span| span.len() as f64 * episode.interval.as_secs_f64()))
}

/// `None` without a load step.
fn reaction_time(episode: &EpisodeRecord) -> Option<f64> {
    mean_seconds(episode, &catch_ups(episode))
}

/// What `reaction_time` is worth: how many pods were missing while it lasted. `undershoot` also counts shortages
/// that no step explains; over a whole episode the area is just 60 times that, so there is no metric of it, and
/// none of an `overshoot` by area, because a step says when a shortage begins but not when an excess should end.
/// `None` without a load step.
fn undershoot_area(episode: &EpisodeRecord) -> Option<f64> {
    let minutes = episode.interval.as_secs_f64() / 60.0;
    let catch_ups = catch_ups(episode);
    let short =
        catch_ups.iter().cloned().flatten().map(|k| shortage(episode, &episode.intervals[k])).sum::<f64>();
    if catch_ups.is_empty() { None } else { per_hour(episode, short * minutes) }
}

/// Two intervals in a row end an incident, so that one quiet interval in the middle does not make two of it. One
/// that has not ended when the episode does counts until then. `None` where every interval is within the budget.
fn time_to_recover(episode: &EpisodeRecord) -> Option<f64> {
    let missed: Vec<bool> = episode.intervals.iter().map(|i| misses_objective(&i.requests)).collect();
    let mut incidents = Vec::new();
    let mut k = 0;
    while let Some(first) = (k..missed.len()).find(|&j| missed[j]) {
        let recovered = (first..missed.len() - 1).find(|&j| !missed[j] && !missed[j + 1]);
        k = recovered.unwrap_or(missed.len());
        incidents.push(first..k);
    }
    mean_seconds(episode, &incidents)
}

#[cfg(test)]
mod tests {
    use crate::metric::sample::{episode, episode_of_requests, left, value};

    #[test]
    fn reaction_time_runs_from_the_step_until_ready_pods_suffice() {
        let mut load = vec![(16.0, 2.0); 6];
        load.extend([(32.0, 2.0), (32.0, 3.0), (32.0, 4.0), (32.0, 4.0)]);
        assert_eq!(value("reaction_time", &episode(&load)), Some(30.0));
        assert_eq!(value("reaction_time", &episode(&[(16.0, 2.0); 10])), None);
        // Never caught up with: until the end.
        let mut load = vec![(16.0, 2.0); 6];
        load.extend([(32.0, 2.0); 4]);
        assert_eq!(value("reaction_time", &episode(&load)), Some(60.0));
    }

    #[test]
    fn over_and_undershoot_are_against_the_need() {
        // 16 requests/s need 2 pods at 80 %; 5 are paid for and 4 ready, then 2 and 1.
        let e = episode(&[(16.0, 4.0), (16.0, 1.0)]);
        assert_eq!(value("overshoot", &e), Some(1.5));
        assert_eq!(value("undershoot", &e), Some(0.5));
    }

    #[test]
    fn the_area_counts_what_a_step_left_short() {
        // Short by one pod before the step, then by two and by one while 32 requests/s need four.
        let mut load = vec![(16.0, 1.0), (16.0, 2.0), (16.0, 2.0), (16.0, 2.0)];
        load.extend([(32.0, 2.0), (32.0, 3.0), (32.0, 4.0), (32.0, 4.0)]);
        let e = episode(&load);
        // Three pods for a quarter of a minute, in an episode of 1/30 h.
        assert!((value("undershoot_area", &e).unwrap() - 22.5).abs() < 1e-9);
        // Four pods in eight intervals.
        assert_eq!(value("undershoot", &e), Some(0.5));
        assert_eq!(value("undershoot_area", &episode(&[(16.0, 1.0); 10])), None, "no step");
        // Met at once: nothing was short.
        let mut load = vec![(16.0, 2.0); 4];
        load.push((32.0, 4.0));
        assert_eq!(value("undershoot_area", &episode(&load)), Some(0.0));
    }

    #[test]
    fn an_incident_ends_with_two_intervals_within_the_budget() {
        let recover = |violated: &[u64]| {
            let requests: Vec<_> = violated.iter().map(|&late| left(200 - late, late)).collect();
            value("time_to_recover", &episode_of_requests(&requests))
        };
        // Two of 200 are the budget; an interval is 15 s.
        assert_eq!(recover(&[0, 2, 0, 1]), None);
        assert_eq!(recover(&[0, 3, 9, 0, 0]), Some(30.0));
        assert_eq!(recover(&[0, 3, 0, 9, 0, 2]), Some(45.0), "one quiet interval does not end it");
        assert_eq!(recover(&[3, 0, 0, 9, 9, 9, 0, 0]), Some(30.0), "15 s and 45 s");
        assert_eq!(recover(&[0, 0, 9, 9]), Some(30.0), "not before the end");
        assert_eq!(recover(&[0, 0, 9, 0]), Some(30.0), "nobody knows what would have followed");
        assert_eq!(recover(&[9]), Some(15.0));
    }
}
