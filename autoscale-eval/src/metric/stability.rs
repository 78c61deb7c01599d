//! How calm the replica count is.

use super::{Entry, Family, OWN, mean, per_hour};
use autoscale_core::record::{EpisodeRecord, ScaleEvent};
use std::time::Duration;

pub(super) const METRICS: &[Entry] = &[
    Entry {
        name: "scale_toggles",
        unit: "1/h",
        family: Family::Stability,
        definition: "reversals: changes of spec.replicas whose direction differs from that of the change before, \
                     per hour",
        source: OWN,
        measure: |e| per_hour(e, e.scale_events.windows(2).filter(|pair| is_reversal(pair)).count() as f64),
    },
    Entry {
        name: "scale_events",
        unit: "1/h",
        family: Family::Stability,
        definition: "adaptations: changes of spec.replicas in either direction, per hour",
        source: OWN,
        measure: |e| per_hour(e, e.scale_events.len() as f64),
    },
    Entry {
        name: "longest_flap",
        unit: "events",
        family: Family::Stability,
        definition: "changes of spec.replicas in the longest run in which each reverses the one before within the \
                     flap window; 0 where none does",
        source: OWN,
        measure: longest_flap,
    },
    Entry {
        name: "replica_variance",
        unit: "pods²",
        family: Family::Stability,
        definition: "variance over control intervals of the desired replicas at their end",
        source: "population variance",
        measure: replica_variance,
    },
];

/// How soon a change must be reversed to count as flapping: the HPA's default stabilisation window for scaling down,
/// which is there to keep replica counts from flapping.
pub const FLAP_WINDOW: Duration = Duration::from_secs(300);

fn is_reversal(pair: &[ScaleEvent]) -> bool {
    (pair[0].to > pair[0].from) != (pair[1].to > pair[1].from)
}

/// The first change of a run reverses nothing, but is the first that is reversed, and counts.
fn longest_flap(episode: &EpisodeRecord) -> Option<f64> {
    let (mut longest, mut reversals) = (0, 0);
    for pair in episode.scale_events.windows(2) {
        let flaps = is_reversal(pair) && pair[1].at.since(pair[0].at) <= FLAP_WINDOW;
        reversals = if flaps { reversals + 1 } else { 0 };
        longest = longest.max(reversals);
    }
    let changes = if longest > 0 { longest + 1 } else { 0 };
    (!episode.intervals.is_empty()).then_some(f64::from(changes))
}

fn replica_variance(episode: &EpisodeRecord) -> Option<f64> {
    let desired = || episode.intervals.iter().map(|i| f64::from(i.replicas.desired.get()));
    let centre = mean(desired())?;
    mean(desired().map(|d| (d - centre).powi(2)))
}

#[cfg(test)]
mod tests {
    use crate::metric::sample::{episode, scale_events, value};

    #[test]
    fn stability_counts_changes_and_reversals() {
        let mut e = episode(&[(16.0, 2.0), (16.0, 4.0)]);
        e.scale_events = scale_events(&[(0, 2, 3), (0, 3, 4), (0, 4, 1), (0, 1, 2)]);
        // 30 s are 1/120 h.
        assert!((value("scale_events", &e).unwrap() - 480.0).abs() < 1e-9);
        assert!((value("scale_toggles", &e).unwrap() - 240.0).abs() < 1e-9);
        assert_eq!(value("replica_variance", &e), Some(1.0));
    }

    #[test]
    fn a_flap_is_a_run_of_quick_reversals() {
        let flap = |events: &[(i64, u32, u32)]| {
            let mut e = episode(&[(16.0, 2.0)]);
            e.scale_events = scale_events(events);
            value("longest_flap", &e)
        };
        assert_eq!(flap(&[]), Some(0.0));
        assert_eq!(flap(&[(0, 2, 3)]), Some(0.0));
        assert_eq!(flap(&[(0, 2, 3), (15, 3, 4)]), Some(0.0), "the same direction");
        assert_eq!(flap(&[(0, 2, 3), (300, 3, 2)]), Some(2.0), "just within the window");
        assert_eq!(flap(&[(0, 2, 3), (301, 3, 2)]), Some(0.0), "just outside it");
        // Up, down, up; up again ends the run, and what follows is a shorter one.
        let events = [(0, 2, 4), (60, 4, 3), (120, 3, 5), (180, 5, 6), (240, 6, 5)];
        assert_eq!(flap(&events), Some(3.0));
        // A run may last longer than the window: it is between neighbours.
        assert_eq!(flap(&[(0, 2, 3), (200, 3, 2), (400, 2, 3), (600, 3, 2)]), Some(4.0));
    }
}
