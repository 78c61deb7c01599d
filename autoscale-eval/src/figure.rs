//! All that comparisons say of an episode: the [metrics](crate::metric), and what the prices make of it.

use crate::metric::{Direction, Family, metrics};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::reward::RewardWeights;
use serde::Serialize;
use std::sync::LazyLock;

/// A column of a comparison's results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name in tables and files.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its family.
    pub family: Family,
    /// Which way is better.
    pub better: Direction,
    /// Its definition, in a sentence.
    pub definition: &'static str,
    /// Where the definition comes from.
    pub source: &'static str,
}

/// What pods cost, cost, return and regret.
const PRICED: [Figure; 4] = [
    Figure {
        name: "pod_cost",
        unit: "price/h",
        family: Family::Overall,
        better: Direction::Lower,
        definition: "what pod-hours cost at the scenario's price, per hour",
        source: "own definition",
    },
    Figure {
        name: "cost",
        unit: "price/h",
        family: Family::Overall,
        better: Direction::Lower,
        definition: "what pod-hours and violated requests cost at the scenario's prices, per hour",
        source: "own definition",
    },
    Figure {
        name: "return",
        unit: "price/h",
        family: Family::Overall,
        better: Direction::Higher,
        definition: "minus the cost and minus the price of replicas added and removed, per hour",
        source: "the learner's reward, summed over the episode",
    },
    Figure {
        name: "regret",
        unit: "price/h",
        family: Family::Overall,
        better: Direction::Lower,
        definition: "the cost beyond a bound that no policy can be below, not even one that knows the future, per hour",
        source: "the bound of `autoscale_sim::optimum`, proven there",
    },
];

/// All figures, by family.
pub fn figures() -> &'static [Figure] {
    static ALL: LazyLock<Vec<Figure>> = LazyLock::new(|| {
        let measured = metrics().map(|m| Figure {
            name: m.name(),
            unit: m.unit(),
            family: m.family(),
            better: m.better(),
            definition: m.definition(),
            source: m.source(),
        });
        measured.chain(PRICED).collect()
    });
    &ALL
}

/// The figure of this name, and where it stands among [`figures`].
pub fn figure(name: &str) -> Option<(usize, Figure)> {
    figures().iter().copied().enumerate().find(|(_, figure)| figure.name == name)
}

/// The value of each of [`figures`] in a finished episode at these prices; `None` where it has none. `bound` is the least
/// that the whole episode can cost, at the same prices; without it there is no regret.
pub fn measure(episode: &EpisodeRecord, weights: &RewardWeights, bound: Option<f64>) -> Vec<Option<f64>> {
    let hours = episode.duration().as_secs_f64() / 3600.0;
    let per_hour = |sum: f64| (hours > 0.0).then(|| sum / hours);
    let priced = weights.price(&episode.totals);
    let cost = -(priced.pods + priced.violations);
    let regret = bound.and_then(|bound| per_hour(cost - bound));
    let measured = metrics().map(|m| m.measure(episode));
    measured.chain([per_hour(-priced.pods), per_hour(cost), per_hour(priced.total()), regret]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::sample::episode;

    #[test]
    fn prices_make_cost_return_and_regret() {
        // Four pods for an hour in two intervals.
        let mut record = episode(&[(16.0, 4.0), (16.0, 4.0)]);
        let hours = record.duration().as_secs_f64() / 3600.0;
        record.totals.pod_hours = 4.0 * hours;
        record.totals.violations = 200;
        record.totals.churn = 3;
        let weights = RewardWeights { pod_hour: 2.0, violation: 0.01, churn: 0.1 };
        let values = measure(&record, &weights, Some(1.5 * hours));
        assert_eq!(values.len(), figures().len());
        let value = |name| values[figure(name).unwrap().0].unwrap();
        assert!((value("pod_cost") - 8.0).abs() < 1e-9);
        assert!((value("cost") - (8.0 + 2.0 / hours)).abs() < 1e-9);
        assert!((value("return") + 8.0 + 2.3 / hours).abs() < 1e-9);
        assert!((value("regret") - (6.5 + 2.0 / hours)).abs() < 1e-9);
        assert_eq!(measure(&record, &weights, None)[figure("regret").unwrap().0], None);
    }

    #[test]
    fn names_are_found_where_they_stand() {
        for (k, one) in figures().iter().enumerate() {
            assert_eq!(figure(one.name), Some((k, *one)));
        }
        assert_eq!(figure("nonsense"), None);
    }
}
