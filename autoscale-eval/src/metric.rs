//! The families of metrics, a file each. A metric reads a finished episode and never the reward.
//!
//! `docs/metrics.md` lists all of them; a test in `catalogue` keeps it so.

mod cost;
mod elasticity;
mod latency;
mod need;
mod responsiveness;
mod slo;
mod stability;

#[cfg(test)]
mod catalogue;
#[cfg(test)]
pub(crate) mod sample;

pub use need::BUSY;
pub use responsiveness::STEP;
pub use slo::BUDGET;
pub use stability::FLAP_WINDOW;

use autoscale_core::record::EpisodeRecord;
use serde::Serialize;
use std::fmt;

/// What a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Response times, end to end.
    Latency,
    /// How calm the replica count is.
    Stability,
    /// What is paid for.
    Cost,
    /// How fast and how exactly capacity follows the load.
    Responsiveness,
    /// Supply of pods against the demand for them, by the definitions of the SPEC Research Group.
    Elasticity,
    /// Requests that miss the objective.
    SloViolations,
    /// All of it at the scenario's prices.
    Overall,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Latency => "latency",
            Self::Stability => "stability",
            Self::Cost => "cost",
            Self::Responsiveness => "responsiveness",
            Self::Elasticity => "elasticity",
            Self::SloViolations => "SLO violations",
            Self::Overall => "overall",
        })
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

/// A figure that can be read from a finished episode.
pub trait Metric: Sync {
    /// Its name in tables and files.
    fn name(&self) -> &'static str;
    /// Its unit.
    fn unit(&self) -> &'static str;
    /// Its family.
    fn family(&self) -> Family;
    /// Which way is better.
    fn better(&self) -> Direction {
        Direction::Lower
    }
    /// Its definition, in a sentence.
    fn definition(&self) -> &'static str;
    /// Where the definition comes from: a paper, a book, or this project.
    fn source(&self) -> &'static str;
    /// Its value in an episode; `None` where it has none (no answered request, no load step).
    fn measure(&self, episode: &EpisodeRecord) -> Option<f64>;
}

/// A metric as data: everything but the name is better read in one table than in dozens of impls.
struct Entry {
    name: &'static str,
    unit: &'static str,
    family: Family,
    definition: &'static str,
    source: &'static str,
    measure: fn(&EpisodeRecord) -> Option<f64>,
}

/// The source of what is defined nowhere else.
const OWN: &str = "own definition";

impl Metric for Entry {
    fn name(&self) -> &'static str {
        self.name
    }
    fn unit(&self) -> &'static str {
        self.unit
    }
    fn family(&self) -> Family {
        self.family
    }
    fn definition(&self) -> &'static str {
        self.definition
    }
    fn source(&self) -> &'static str {
        self.source
    }
    fn measure(&self, episode: &EpisodeRecord) -> Option<f64> {
        (self.measure)(episode)
    }
}

/// All metrics, by family.
pub fn metrics() -> impl Iterator<Item = &'static dyn Metric> {
    FAMILIES.iter().copied().flatten().map(|metric| metric as &dyn Metric)
}

const FAMILIES: [&[Entry]; 6] = [
    latency::METRICS,
    stability::METRICS,
    cost::METRICS,
    responsiveness::METRICS,
    elasticity::METRICS,
    slo::METRICS,
];

fn per_hour(episode: &EpisodeRecord, count: f64) -> Option<f64> {
    let hours = episode.duration().as_secs_f64() / 3600.0;
    (hours > 0.0).then(|| count / hours)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0u32, 0.0), |(n, sum), v| (n + 1, sum + v));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sample::{episode, value};
    use std::collections::BTreeSet;

    #[test]
    fn names_tell_metrics_apart() {
        let names: BTreeSet<_> = metrics().map(Metric::name).collect();
        assert_eq!(names.len(), metrics().count());
    }

    #[test]
    fn an_empty_episode_has_no_figures() {
        for metric in metrics() {
            assert_eq!(value(metric.name(), &episode(&[])), None, "{}", metric.name());
        }
    }
}
