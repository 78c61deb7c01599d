//! What can be said of a [`Study`]: intervals, tests, verdicts and places, as plain numbers.
//!
//! Every mean and every paired difference has a 95 % interval ([`bootstrap_mean`](crate::estimate::bootstrap_mean)), and
//! every contender's difference to the baseline an exact sign-flip p-value. An interval speaks for itself alone; what
//! is called better or worse has to hold among all that was tested beside it, so p-values are adjusted after Holm, in
//! four kinds of families that do not know of each other:
//!
//! * **Confirmatory**: [`PRIMARY`], the cost, of every contender in every scenario against the baseline, all of them
//!   together. With 7 contenders in 6 scenarios these are 42 hypotheses, and the chance that even one of the verdicts
//!   on them is wrong is at most 5 %. What the report recommends in a scenario rests on these.
//! * **Overall**: the cost of every ranked contender against the baseline as the mean over all scenarios, all contenders
//!   together. What the report recommends over all scenarios rests on these.
//! * **Secondary**: every other figure, in the same way, each a family of its own. Each figure's verdicts hold together;
//!   those of all figures do not, so that among some thirty figures a wrong verdict has to be expected.
//! * **Places**, which are exploratory: the difference over all scenarios of every two policies that are ranked
//!   (contenders and baseline), all pairs together.
//!
//! A hypothesis is tested where both have a value in at least one episode; else it is not counted. Which episodes both
//! finished is not chance: a policy that fails on hard episodes is spared them, and [`notes`](Analysis::notes) say so.
//! The clairvoyant is shown with intervals, and neither tested nor ranked.

mod cell;
mod notes;
mod overall;
mod places;
mod verdict;
mod words;

pub use cell::{Cell, Difference};
pub use notes::Failure;
pub use overall::{PolicyOverall, Tally};
pub use places::{Pair, Place};
pub use verdict::{LEVEL, Test};

use crate::figure::{Figure, figure, figures};
use crate::study::{Study, StudyPolicy, StudyScenario};
use rayon::prelude::*;
use serde::Serialize;

/// The figure that verdicts of a scenario, relative costs and places are about.
pub const PRIMARY: &str = "cost";

/// What a study says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// Episodes of each policy in each scenario.
    pub episodes: usize,
    /// The policies, in the order of tables.
    pub policies: Vec<StudyPolicy>,
    /// The position of the policy that the others are set against.
    pub baseline: usize,
    /// How many hypotheses the confirmatory family has.
    pub hypotheses: usize,
    /// What has to be known before anything else is read.
    pub notes: Vec<String>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// In a sentence or two, over all scenarios.
    pub verdict: String,
    /// Over all scenarios, by policy.
    pub overall: Vec<PolicyOverall>,
    /// Every two ranked policies over all scenarios.
    pub pairs: Vec<Pair>,
    /// The scenarios, in the order of tables.
    pub scenarios: Vec<ScenarioAnalysis>,
}

/// A scenario of an [`Analysis`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScenarioAnalysis {
    /// What it is.
    pub scenario: StudyScenario,
    /// In a sentence or two.
    pub verdict: String,
    /// By policy.
    pub policies: Vec<PolicyAnalysis>,
}

/// A policy in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyAnalysis {
    /// Its name.
    pub policy: String,
    /// Episodes that did not fail.
    pub finished: usize,
    /// Each of [`figures`], in their order.
    pub figures: Vec<Cell>,
}

impl Analysis {
    /// All that a study says. It depends on the study alone, and not on the number of threads.
    pub fn of(study: &Study) -> Self {
        let columns: Vec<Vec<Vec<Cell>>> =
            figures().par_iter().enumerate().map(|(k, figure)| cell::column(study, k, figure)).collect();
        let policies = |s: usize| -> Vec<PolicyAnalysis> {
            let named = study.policies().iter().enumerate();
            named
                .map(|(p, policy)| PolicyAnalysis {
                    policy: policy.name.clone(),
                    finished: notes::finished(study, s, p),
                    figures: columns.iter().map(|column| column[s][p].clone()).collect(),
                })
                .collect()
        };
        let described = study.scenarios().iter().enumerate();
        let mut scenarios: Vec<ScenarioAnalysis> = described
            .map(|(s, scenario)| ScenarioAnalysis {
                scenario: scenario.clone(),
                verdict: String::new(),
                policies: policies(s),
            })
            .collect();
        for scenario in &mut scenarios {
            scenario.verdict = words::scenario(scenario, study.policies(), study.baseline());
        }
        let relative = overall::Relative::of(study);
        let pairs = places::pairs(study, &relative);
        let overall = overall::overall(study, &relative, &pairs, &scenarios);
        let tested = |scenario: &ScenarioAnalysis| {
            scenario.policies.iter().filter(|policy| policy.primary().test().is_some()).count()
        };
        let hypotheses = scenarios.iter().map(tested).sum();
        Self {
            episodes: study.episodes(),
            policies: study.policies().to_vec(),
            baseline: study.baseline(),
            hypotheses,
            notes: notes::notes(study, &scenarios, &overall, hypotheses),
            failures: notes::failures(study),
            verdict: words::overall(study, &overall, &scenarios),
            overall,
            pairs,
            scenarios,
        }
    }

    /// The name of the policy that the others are set against.
    pub fn baseline_name(&self) -> &str {
        &self.policies[self.baseline].name
    }
}

impl PolicyAnalysis {
    /// The figure of this name.
    ///
    /// # Panics
    /// When there is no such figure.
    pub fn figure(&self, name: &str) -> &Cell {
        &self.figures[position(name).0]
    }

    /// The [`PRIMARY`] figure.
    pub fn primary(&self) -> &Cell {
        self.figure(PRIMARY)
    }
}

/// A figure that this crate itself names.
fn position(name: &str) -> (usize, Figure) {
    figure(name).unwrap_or_else(|| unreachable!("{name} is no figure"))
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
