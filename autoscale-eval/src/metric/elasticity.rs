//! Supply of pods against the demand for them, by the definitions of the SPEC Research Group.
//!
//! Sources differ, and these are the definitions of Herbst et al. 2018:
//!
//! * **Accuracy** is by the demand of the moment, under- and over-provisioning alike. Herbst, Kounev and Reussner
//!   2013 leave it in pods, as `undershoot` and `overshoot` do. Ilyushkin et al. 2017 divide by all the resources
//!   there are; where the simulator of that group normalises an excess, it does so by the supply, which hides how
//!   great it is.
//! * **Instability** is the share of time in which the curves do not move the same way, be it that only one of them
//!   moves. Ilyushkin et al. 2017 report its two parts, supply turned above and below demand; the older jitter
//!   compares how often the curves change, and not when.
//!
//! Demand is the least whole number of pods that the load of an interval needs, so never zero. Supply is the ready
//! pods: their average over the interval for the accuracies, which are areas, and their count at its end for the
//! shares of time and for the instability, which compare whole pods with whole pods. By averages, a pod that gets
//! ready within an interval would change the supply twice, and all of the interval would be short; at its end it is
//! one change, and pods that get ready at any moment are counted right on average.

use super::need::demand;
use super::{Entry, Family, mean};
use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_core::units::Replicas;

const HERBST: &str = "Herbst et al., Quantifying Cloud Performance and Dependability, ACM TOMPECS 3(4), 2018";

pub(super) const METRICS: &[Entry] = &[
    Entry {
        name: "underprovisioning_accuracy",
        unit: "%",
        family: Family::Elasticity,
        definition: "θ_U: ready pods short of the demand, as a share of the demand, averaged over time",
        source: HERBST,
        measure: |e| percent(e, |d, i| (d - i.mean_ready).max(0.0) / d),
    },
    Entry {
        name: "overprovisioning_accuracy",
        unit: "%",
        family: Family::Elasticity,
        definition: "θ_O: ready pods beyond the demand, as a share of the demand, averaged over time",
        source: HERBST,
        measure: |e| percent(e, |d, i| (i.mean_ready - d).max(0.0) / d),
    },
    Entry {
        name: "underprovisioning_time",
        unit: "%",
        family: Family::Elasticity,
        definition: "τ_U: share of control intervals at whose end fewer pods are ready than the demand",
        source: HERBST,
        measure: |e| percent(e, |d, i| f64::from(ready_at_end(i) < d)),
    },
    Entry {
        name: "overprovisioning_time",
        unit: "%",
        family: Family::Elasticity,
        definition: "τ_O: share of control intervals at whose end more pods are ready than the demand",
        source: HERBST,
        measure: |e| percent(e, |d, i| f64::from(ready_at_end(i) > d)),
    },
    Entry {
        name: "instability",
        unit: "%",
        family: Family::Elasticity,
        definition: "υ: share of control intervals, from the second, into which ready pods and demand did not both \
                     rise, both fall or both stay",
        source: HERBST,
        measure: instability,
    },
];

/// The mean over the intervals of what a figure makes of the demand and the interval, in percent.
fn percent(episode: &EpisodeRecord, figure: fn(f64, &IntervalRecord) -> f64) -> Option<f64> {
    let share = |i| figure(f64::from(demand(episode, i).get()), i);
    mean(episode.intervals.iter().map(share)).map(|share| 100.0 * share)
}

fn ready_at_end(interval: &IntervalRecord) -> f64 {
    f64::from(interval.replicas.ready.get())
}

/// `None` with less than two intervals.
fn instability(episode: &EpisodeRecord) -> Option<f64> {
    let curves: Vec<(Replicas, Replicas)> =
        episode.intervals.iter().map(|i| (i.replicas.ready, demand(episode, i))).collect();
    let differs = |pair: &[(Replicas, Replicas)]| {
        let ((supply, demand), (next_supply, next_demand)) = (pair[0], pair[1]);
        f64::from(next_supply.cmp(&supply) != next_demand.cmp(&demand))
    };
    mean(curves.windows(2).map(differs)).map(|share| 100.0 * share)
}

#[cfg(test)]
mod tests {
    use crate::metric::sample::{episode, value};
    use autoscale_core::units::Replicas;

    #[test]
    fn accuracies_are_by_the_demand_of_the_moment() {
        // Demands of 2, 4, 2 and 1 against 1, 3, 5 and 1.
        let e = episode(&[(16.0, 1.0), (32.0, 3.0), (16.0, 5.0), (8.0, 1.0)]);
        // (1/2 + 1/4) / 4, and (3/2) / 4.
        assert_eq!(value("underprovisioning_accuracy", &e), Some(18.75));
        assert_eq!(value("overprovisioning_accuracy", &e), Some(37.5));
        assert_eq!(value("underprovisioning_time", &e), Some(50.0));
        assert_eq!(value("overprovisioning_time", &e), Some(25.0));
    }

    #[test]
    fn accuracies_see_within_the_interval_and_times_at_its_end() {
        // Two pods are needed; the second gets ready halfway.
        let mut e = episode(&[(16.0, 1.0)]);
        e.intervals[0].mean_ready = 1.5;
        e.intervals[0].replicas.ready = Replicas::new(2);
        assert_eq!(value("underprovisioning_accuracy", &e), Some(25.0));
        assert_eq!(value("underprovisioning_time", &e), Some(0.0));
    }

    #[test]
    fn a_supply_that_is_the_demand_has_zeros_only() {
        let e = episode(&[(16.0, 2.0), (30.0, 4.0), (0.0, 1.0), (0.0, 1.0)]);
        for name in [
            "underprovisioning_accuracy",
            "overprovisioning_accuracy",
            "underprovisioning_time",
            "overprovisioning_time",
            "instability",
        ] {
            assert_eq!(value(name, &e), Some(0.0), "{name}");
        }
    }

    #[test]
    fn instability_is_not_moving_the_same_way() {
        // Demand 2, 4, 4, 2, 4; supply 2, 3, 4, 5, 5: both rise; only supply; against each other; only demand.
        let e = episode(&[(16.0, 2.0), (32.0, 3.0), (32.0, 4.0), (16.0, 5.0), (32.0, 5.0)]);
        assert_eq!(value("instability", &e), Some(75.0));
        assert_eq!(value("instability", &episode(&[(16.0, 2.0)])), None, "nothing to move from");
    }
}
