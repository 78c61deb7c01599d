//! What is paid for. Money is not here: prices belong to whoever compares, and the record has none.

use super::need::demand;
use super::{Entry, Family, OWN, mean, per_hour};
use autoscale_core::record::EpisodeRecord;

pub(super) const METRICS: &[Entry] = &[
    Entry {
        name: "mean_pods",
        unit: "pods",
        family: Family::Cost,
        definition: "pods paid for, averaged over time: starting, ready and draining",
        source: OWN,
        measure: |e| mean(e.intervals.iter().map(|i| i.mean_pods)),
    },
    Entry {
        name: "pod_hours",
        unit: "pod-h/h",
        family: Family::Cost,
        definition: "pod-hours per hour of episode, from each pod's creation until it is gone",
        source: OWN,
        measure: |e| per_hour(e, e.totals.pod_hours),
    },
    Entry {
        name: "wasted_pod_hours",
        unit: "pod-h/h",
        family: Family::Cost,
        definition: "pod-hours per hour paid for beyond the demand: beyond the least whole number of pods that \
                     would have done",
        source: OWN,
        measure: wasted_pod_hours,
    },
];

/// Against whole pods, unlike `overshoot`: a part of a pod cannot be saved, so what rounding up costs is no waste,
/// and a policy that always has exactly the pods it needs wastes nothing.
fn wasted_pod_hours(episode: &EpisodeRecord) -> Option<f64> {
    mean(episode.intervals.iter().map(|i| (i.mean_pods - f64::from(demand(episode, i).get())).max(0.0)))
}

#[cfg(test)]
mod tests {
    use crate::metric::sample::{episode, value};

    #[test]
    fn pods_are_paid_for_from_creation_until_they_are_gone() {
        let mut e = episode(&[(16.0, 4.0), (16.0, 1.0)]);
        assert_eq!(value("mean_pods", &e), Some(3.5));
        // 30 s are 1/120 h.
        e.totals.pod_hours = 0.05;
        assert!((value("pod_hours", &e).unwrap() - 6.0).abs() < 1e-9);
    }

    #[test]
    fn waste_is_what_whole_pods_could_have_saved() {
        // 12 requests/s need 1.5 pods, so 2; one more than the ready ones is paid for.
        let e = episode(&[(12.0, 4.0), (12.0, 1.0)]);
        assert_eq!(value("wasted_pod_hours", &e), Some(1.5));
        assert_eq!(value("overshoot", &e), Some(2.0));
        // Two short in one interval do not make up for three too many in the other.
        assert_eq!(value("wasted_pod_hours", &episode(&[(32.0, 1.0), (12.0, 4.0)])), Some(1.5));
    }
}
