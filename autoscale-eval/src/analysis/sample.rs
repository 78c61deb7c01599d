//! Made-up studies whose answers are known.

use crate::figure::{Figure, figures};
use crate::study::{Finished, Outcome, Place, Prices, Role, Study, StudyPolicy, StudyScenario};
use autoscale_core::histogram::LogHistogram;
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use rand::RngExt;
use std::time::Duration;

/// A study in which every figure of an episode is `value`, and an episode without any failed.
pub(crate) fn study(
    policies: &[(&str, Role)],
    scenarios: &[&str],
    episodes: usize,
    value: impl Fn(Place, &Figure) -> Option<f64>,
) -> Study {
    let policies = policies.iter().map(|&(name, role)| StudyPolicy { name: name.to_owned(), role }).collect();
    let scenario = |name: &&str| StudyScenario {
        name: (*name).to_owned(),
        description: format!("the load of {name}"),
        slo: Duration::from_millis(500),
        length: Duration::from_hours(3),
        mean_load: RequestRate::new(200.0).unwrap(),
        prices: Prices { pod_hour: 1.0, violation: 5e-4, change: 0.01 },
    };
    Study::new(policies, scenarios.iter().map(scenario).collect(), episodes, |place| {
        let values: Vec<Option<f64>> = figures().iter().map(|figure| value(place, figure)).collect();
        if values.iter().all(Option::is_none) {
            return Outcome::Err("the pod's address is <none> & void".to_owned());
        }
        Ok(Finished { figures: values, latency: LogHistogram::new() })
    })
}

/// Between 0 and 1; the same for all policies.
pub(crate) fn of_seed(place: Place) -> f64 {
    let node = Seed::root(1).nth(place.scenario as u64).nth(place.episode as u64);
    node.stream().random_range(0.0..1.0)
}

/// Between −1 and 1; of each policy, episode and figure its own.
pub(crate) fn noise(place: Place, figure: &Figure) -> f64 {
    let node = Seed::root(2).child(figure.name).nth(place.policy as u64);
    node.nth(place.scenario as u64).nth(place.episode as u64).stream().random_range(-1.0..1.0)
}
