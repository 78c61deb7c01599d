//! Records made by hand.

use super::metrics;
use autoscale_core::histogram::LogHistogram;
use autoscale_core::limits::Bound;
use autoscale_core::measurement::ReplicaCounts;
use autoscale_core::record::{
    EPISODE_RECORD_VERSION, EpisodeRecord, IntervalRecord, RequestCounts, ScaleEvent,
};
use autoscale_core::reward::RewardTerms;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate, Timestamp};
use std::time::Duration;

/// Pods serve 10 requests/s each; `(offered, ready pods)` per interval of 15 s, and one pod more is paid for.
pub(crate) fn episode(intervals: &[(f64, f64)]) -> EpisodeRecord {
    let interval = |(k, &(offered, ready)): (usize, &(f64, f64))| {
        let mut histogram = LogHistogram::new();
        histogram.record_secs(0.1 * (k + 1) as f64);
        let pods = Replicas::new(ready as u32);
        IntervalRecord {
            start: Timestamp::from_secs(15 * k as i64),
            offered: RequestRate::new(offered).unwrap(),
            requests: RequestCounts {
                arrived: 100,
                in_time: 95,
                late: 2,
                timed_out: 2,
                refused: 1,
                lost: 0,
                unfinished: 0,
            },
            latency: None,
            histogram,
            replicas: ReplicaCounts { desired: pods, ready: pods, ..ReplicaCounts::default() },
            mean_pods: ready + 1.0,
            mean_ready: ready,
        }
    };
    EpisodeRecord {
        version: EPISODE_RECORD_VERSION,
        seed: Seed::root(1),
        interval: Duration::from_secs(15),
        slo: Duration::from_millis(500),
        pod_capacity: RequestRate::new(10.0).unwrap(),
        replica_range: (Replicas::ONE, Replicas::new(50)),
        initial_replicas: Replicas::new(2),
        intervals: intervals.iter().enumerate().map(interval).collect(),
        scale_events: Vec::new(),
        totals: RewardTerms::default(),
    }
}

/// An episode in which only requests matter.
pub(crate) fn episode_of_requests(requests: &[RequestCounts]) -> EpisodeRecord {
    let mut episode = episode(&vec![(16.0, 2.0); requests.len()]);
    for (interval, &requests) in episode.intervals.iter_mut().zip(requests) {
        interval.requests = requests;
    }
    episode
}

/// So many requests that arrived and left in time, and so many late.
pub(crate) fn left(in_time: u64, late: u64) -> RequestCounts {
    RequestCounts { arrived: in_time + late, in_time, late, ..RequestCounts::default() }
}

/// Changes of `spec.replicas`: `(second, from, to)`.
pub(crate) fn scale_events(changes: &[(i64, u32, u32)]) -> Vec<ScaleEvent> {
    let event = |&(second, from, to): &(i64, u32, u32)| ScaleEvent {
        at: Timestamp::from_secs(second),
        from: Replicas::new(from),
        to: Replicas::new(to),
        bound: Bound::None,
    };
    changes.iter().map(event).collect()
}

/// The metric of that name.
pub(crate) fn value(name: &str, episode: &EpisodeRecord) -> Option<f64> {
    metrics().find(|m| m.name() == name).unwrap().measure(episode)
}
