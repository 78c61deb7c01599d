//! Policies × scenarios × episodes: what every episode came to, and which failed.

use crate::figure::{Figure, figures};
use autoscale_core::environment::Environment;
use autoscale_core::histogram::LogHistogram;
use autoscale_core::policy::Policy;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::{StepSink, run_episode};
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A policy of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyPolicy {
    /// Its name in tables.
    pub name: String,
    /// Whether it competes.
    pub role: Role,
}

/// What a policy is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// All others are set against it.
    Baseline,
    /// It competes.
    Contender,
    /// It knows the future: it shows what could be reached, and is not ranked.
    Clairvoyant,
}

/// A scenario of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyScenario {
    /// Its name in tables.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// The latency objective.
    pub slo: Duration,
    /// Length of an episode.
    pub length: Duration,
    /// Mean load.
    pub mean_load: RequestRate,
    /// What things cost in it.
    pub prices: Prices,
}

/// What things cost; `cost` is made of the first two, `return` of all three.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// A pod for an hour.
    pub pod_hour: f64,
    /// A request that missed the objective.
    pub violation: f64,
    /// A replica more or less in `spec.replicas`.
    pub change: f64,
}

/// What was kept of a finished episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The value of each of [`figures`], in their order.
    pub figures: Vec<Option<f64>>,
    /// All response times.
    pub latency: LogHistogram,
}

/// What an episode came to, or why it failed.
pub type Outcome = Result<Finished, String>;

/// Which episode of which policy in which scenario, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Among [`Study::scenarios`].
    pub scenario: usize,
    /// Among [`Study::policies`].
    pub policy: usize,
    /// From 0; of equal number is equal seed, for all policies.
    pub episode: usize,
}

/// A finished study. Equal episodes of two policies are pairs.
#[derive(Clone, Debug)]
pub struct Study {
    policies: Vec<StudyPolicy>,
    scenarios: Vec<StudyScenario>,
    episodes: usize,
    /// By scenario, policy and episode.
    outcomes: Vec<Outcome>,
}

impl Study {
    /// Puts together what `outcome` says of each place.
    ///
    /// # Panics
    /// When not exactly one of the policies is the baseline.
    pub fn new(
        policies: Vec<StudyPolicy>,
        scenarios: Vec<StudyScenario>,
        episodes: usize,
        mut outcome: impl FnMut(Place) -> Outcome,
    ) -> Self {
        let baselines = policies.iter().filter(|policy| policy.role == Role::Baseline).count();
        assert_eq!(baselines, 1, "one policy is what the others are set against");
        let places = places(scenarios.len(), policies.len(), episodes);
        let outcomes = places.map(&mut outcome).collect();
        Self { policies, scenarios, episodes, outcomes }
    }

    /// The policies, in the order of tables.
    pub fn policies(&self) -> &[StudyPolicy] {
        &self.policies
    }

    /// The scenarios, in the order of tables.
    pub fn scenarios(&self) -> &[StudyScenario] {
        &self.scenarios
    }

    /// Episodes of each policy in each scenario.
    pub fn episodes(&self) -> usize {
        self.episodes
    }

    /// The position of the policy that the others are set against.
    pub fn baseline(&self) -> usize {
        self.policies.iter().position(|policy| policy.role == Role::Baseline).unwrap_or(0)
    }

    /// What an episode came to.
    pub fn outcome(&self, place: Place) -> &Outcome {
        let Place { scenario, policy, episode } = place;
        &self.outcomes[(scenario * self.policies.len() + policy) * self.episodes + episode]
    }

    /// Everything there is, in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        places(self.scenarios.len(), self.policies.len(), self.episodes)
    }

    /// The value of the k-th of [`figures`]; `None` where the episode failed or has none.
    pub fn value(&self, place: Place, figure: usize) -> Option<f64> {
        self.outcome(place).as_ref().ok().and_then(|finished| finished.figures[figure])
    }

    /// The values of the k-th figure for two policies on the episodes that both have one, `(first, second)`.
    pub fn pairs(&self, scenario: usize, policies: (usize, usize), figure: usize) -> Vec<(f64, f64)> {
        let value = |policy, episode| self.value(Place { scenario, policy, episode }, figure);
        let pair = |k| Some((value(policies.0, k)?, value(policies.1, k)?));
        (0..self.episodes).filter_map(pair).collect()
    }

    /// All response times of a policy in a scenario.
    pub fn latency(&self, scenario: usize, policy: usize) -> LogHistogram {
        let mut all = LogHistogram::new();
        for episode in 0..self.episodes {
            if let Ok(finished) = self.outcome(Place { scenario, policy, episode }) {
                all.merge(&finished.latency);
            }
        }
        all
    }

    /// The episodes that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (Place, &str)> {
        self.places().filter_map(|place| self.outcome(place).as_ref().err().map(|why| (place, why.as_str())))
    }

    /// Writes `scenario,policy,episode,metric,unit,value`, a row a value, in order.
    ///
    /// # Errors
    /// When the writer does not take it.
    pub fn write_csv(&self, writer: impl std::io::Write) -> Result<(), csv::Error> {
        let mut csv = csv::Writer::from_writer(writer);
        csv.write_record(["scenario", "policy", "episode", "metric", "unit", "value"])?;
        for (place, figure, value) in self.rows() {
            let (scenario, policy) =
                (&self.scenarios[place.scenario].name, &self.policies[place.policy].name);
            let (episode, value) = (place.episode.to_string(), value.to_string());
            csv.write_record([scenario, policy, &episode, figure.name, figure.unit, &value])?;
        }
        csv.flush().map_err(csv::Error::from)
    }

    /// Every value there is, in order.
    pub fn rows(&self) -> impl Iterator<Item = (Place, &'static Figure, f64)> {
        self.places().flat_map(move |place| {
            let values = figures().iter().enumerate();
            values.filter_map(move |(k, figure)| Some((place, figure, self.value(place, k)?)))
        })
    }
}

fn places(scenarios: usize, policies: usize, episodes: usize) -> impl Iterator<Item = Place> {
    (0..scenarios).flat_map(move |scenario| {
        (0..policies)
            .flat_map(move |policy| (0..episodes).map(move |episode| Place { scenario, policy, episode }))
    })
}

/// Runs one episode, at which `sink` looks on, and gives `keep` its record; a panic on the way is an error and not the end of the study.
///
/// # Errors
/// What the panic said.
pub fn run_guarded<E: Environment, P: Policy, T>(
    environment: E,
    policy: P,
    seed: Seed,
    sink: &mut impl StepSink,
    keep: impl FnOnce(&EpisodeRecord) -> T,
) -> Result<T, String> {
    // The sink alone outlives the call, and has seen what came before a panic.
    guarded(|| {
        let (mut environment, mut policy) = (environment, policy);
        run_episode(&mut environment, &mut policy, seed, sink);
        keep(environment.record())
    })
}

/// What `run` gives; a panic is an error. Nothing that it may leave half-changed should be used after.
///
/// # Errors
/// What the panic said.
pub fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| said(&*panic))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::figure;
    use crate::toy::{Ask, one_step};
    use autoscale_core::policy::{Cadence, Decision, Observation};
    use autoscale_core::units::Replicas;

    fn policy(name: &str, role: Role) -> StudyPolicy {
        StudyPolicy { name: name.to_owned(), role }
    }

    fn scenario(name: &str) -> StudyScenario {
        StudyScenario {
            name: name.to_owned(),
            description: String::new(),
            slo: Duration::from_millis(500),
            length: Duration::from_hours(1),
            mean_load: RequestRate::new(200.0).unwrap(),
            prices: Prices { pod_hour: 1.0, violation: 5e-4, change: 0.01 },
        }
    }

    /// Two scenarios, two policies, three episodes; the cost tells them apart, and one episode failed.
    fn study() -> Study {
        let cost = figure("cost").unwrap().0;
        let policies = vec![policy("hpa", Role::Baseline), policy("other", Role::Contender)];
        Study::new(policies, vec![scenario("a"), scenario("b")], 3, |place| {
            if place == (Place { scenario: 1, policy: 1, episode: 0 }) {
                return Err("it broke".to_owned());
            }
            let mut figures = vec![None; figures().len()];
            figures[cost] = Some((100 * place.scenario + 10 * place.policy + place.episode) as f64);
            let mut latency = LogHistogram::new();
            latency.record_secs(0.1);
            Ok(Finished { figures, latency })
        })
    }

    #[test]
    fn one_failure_leaves_the_rest() {
        let study = study();
        let cost = figure("cost").unwrap().0;
        assert_eq!(study.pairs(0, (0, 1), cost), [(0.0, 10.0), (1.0, 11.0), (2.0, 12.0)]);
        assert_eq!(study.pairs(1, (0, 1), cost), [(101.0, 111.0), (102.0, 112.0)]);
        assert_eq!((study.latency(1, 0).count(), study.latency(1, 1).count()), (3, 2));
        let failed: Vec<_> = study.failures().collect();
        assert_eq!(failed, [(Place { scenario: 1, policy: 1, episode: 0 }, "it broke")]);
    }

    #[test]
    fn the_table_has_a_row_a_value() {
        let mut csv = Vec::new();
        study().write_csv(&mut csv).unwrap();
        let text = String::from_utf8(csv).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 11);
        assert_eq!(lines[0], "scenario,policy,episode,metric,unit,value");
        assert_eq!(lines[4], "a,other,0,cost,price/h,10");
        assert_eq!(lines[11], "b,other,2,cost,price/h,112");
    }

    struct Fragile;

    impl Policy for Fragile {
        fn cadence(&self) -> Cadence {
            Cadence::every(Duration::from_secs(15))
        }
        fn reset(&mut self, seed: Seed) {
            assert!(seed != Seed::root(3).child("policy"), "no idea what to do with {}", 3);
        }
        fn decide(&mut self, observation: &Observation<'_>) -> Decision {
            Ask(7).decide(observation)
        }
    }

    #[test]
    fn a_panic_is_an_error_that_says_what_happened() {
        let run = |k| run_guarded(one_step(), Fragile, Seed::root(k), &mut (), |e| e.initial_replicas);
        assert_eq!(run(2), Ok(Replicas::new(7)));
        assert_eq!(run(3), Err("no idea what to do with 3".to_owned()));
    }
}
