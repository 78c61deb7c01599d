//! How many pods the load of an interval needs.

use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_core::units::Replicas;

/// Share of a pod's capacity that counts as fully used by the definitions of need: beyond it queues grow.
pub const BUSY: f64 = 0.8;

/// Pods that the interval's load needs at [`BUSY`] of their capacity, fractions included; at least the workload's
/// minimum. The maximum does not bound it: a load that no permitted count can carry is a shortage all the same.
pub(super) fn needed(episode: &EpisodeRecord, interval: &IntervalRecord) -> f64 {
    let capacity = episode.pod_capacity.per_second() * BUSY;
    let least = episode.replica_range.0.max(Replicas::ONE).get();
    (interval.offered.per_second() / capacity).max(f64::from(least))
}

/// The least whole number of pods that suffices for the interval's load: [`needed`], rounded up.
pub(super) fn demand(episode: &EpisodeRecord, interval: &IntervalRecord) -> Replicas {
    // The last bit of a load averaged over seconds asks for no pod.
    Replicas::from_ceil(needed(episode, interval) - 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::sample::episode;

    #[test]
    fn demand_is_whole_and_not_below_the_minimum() {
        let of = |offered| {
            let e = episode(&[(offered, 0.0)]);
            demand(&e, &e.intervals[0]).get()
        };
        // Ten requests/s a pod, eight of them at 80 %.
        assert_eq!([0.0, 8.0, 8.1, 16.0, 24.0 + 1e-12, 17.0].map(of), [1, 1, 2, 2, 3, 3]);
        let mut e = episode(&[(8.0, 0.0)]);
        e.replica_range.0 = Replicas::new(3);
        assert_eq!(demand(&e, &e.intervals[0]).get(), 3);
    }
}
