//! What has to be known before anything else is read.

use super::verdict::LEVEL;
use super::{PolicyOverall, ScenarioAnalysis};
use crate::study::{Place, Role, Study};
use serde::Serialize;
use std::collections::BTreeMap;

/// With fewer episodes than this, intervals and tests are rough.
const FEW: usize = 20;

/// Episodes of a policy in a scenario that failed for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The scenario's name.
    pub scenario: String,
    /// The policy's name.
    pub policy: String,
    /// Which episodes.
    pub episodes: Vec<usize>,
    /// How many episodes are left of the policy in the scenario.
    pub left: usize,
    /// Why.
    pub reason: String,
}

/// Episodes of a policy in a scenario that did not fail.
pub(super) fn finished(study: &Study, scenario: usize, policy: usize) -> usize {
    let ok = |&episode: &usize| study.outcome(Place { scenario, policy, episode }).is_ok();
    (0..study.episodes()).filter(ok).count()
}

/// What failed, by scenario, policy and reason.
pub(super) fn failures(study: &Study) -> Vec<Failure> {
    let mut groups: BTreeMap<(usize, usize, &str), Vec<usize>> = BTreeMap::new();
    for (place, reason) in study.failures() {
        groups.entry((place.scenario, place.policy, reason)).or_default().push(place.episode);
    }
    let failure = |((s, p, reason), episodes): ((usize, usize, &str), Vec<usize>)| Failure {
        scenario: study.scenarios()[s].name.clone(),
        policy: study.policies()[p].name.clone(),
        episodes,
        left: finished(study, s, p),
        reason: reason.to_owned(),
    };
    groups.into_iter().map(failure).collect()
}

pub(super) fn notes(
    study: &Study,
    scenarios: &[ScenarioAnalysis],
    overall: &[PolicyOverall],
    hypotheses: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    let episodes = study.episodes();
    if episodes < FEW {
        let them = if episodes == 1 { "1 episode".to_owned() } else { format!("{episodes} episodes") };
        notes.push(format!(
            "Only {them} of each policy in each scenario: intervals are approximate below {FEW} episodes."
        ));
    }
    notes.extend(too_few_to_tell(episodes, hypotheses));
    if study.failures().next().is_some() {
        notes.push(
            "Some episodes failed. A difference counts only the episodes that both policies finished, so that a policy that \
             fails where it is hard looks better than it is."
                .to_owned(),
        );
    }
    notes.extend(empty(study, scenarios));
    notes.extend(unranked(study, overall));
    notes.extend(overall.iter().filter_map(|policy| incomplete(study, policy)));
    let odd = study.rows().filter(|(_, _, value)| !value.is_finite()).count();
    if odd > 0 {
        notes.push(format!(
            "{odd} {} infinite or not a number, and left out.",
            if odd == 1 { "value is" } else { "values are" }
        ));
    }
    notes
}

/// With n pairs no p-value is below 2¹⁻ⁿ, and Holm's correction multiplies the least one by the number of hypotheses.
fn too_few_to_tell(episodes: usize, hypotheses: usize) -> Option<String> {
    let needed = (1..64).find(|&n| hypotheses as f64 * 2.0_f64.powi(1 - n) < LEVEL)?;
    (hypotheses > 0 && episodes < needed as usize).then(|| {
        format!(
            "With {hypotheses} hypotheses of cost, fewer than {needed} episodes cannot show any single difference beyond noise, \
             however large it is: whatever is called within noise here may be just that, or too little data."
        )
    })
}

fn empty(study: &Study, scenarios: &[ScenarioAnalysis]) -> Vec<String> {
    let mut notes = Vec::new();
    for scenario in scenarios {
        let named = scenario.policies.iter().filter(|policy| policy.finished == 0);
        let names: Vec<&str> = named.map(|policy| policy.policy.as_str()).collect();
        if !names.is_empty() {
            let without = if scenario.policies[study.baseline()].finished == 0 {
                " Without its baseline, nothing is compared there."
            } else {
                ""
            };
            notes.push(format!(
                "No episode of {} is left in {}: these cells are empty, which does not mean zero.{without}",
                names.join(", "),
                scenario.scenario.name
            ));
        }
    }
    notes
}

/// Over all scenarios an episode counts where a policy finished it in all of them.
fn incomplete(study: &Study, policy: &PolicyOverall) -> Option<String> {
    let left = policy.violations.map_or(0, |violations| violations.n);
    (policy.scenarios > 1 && left < study.episodes()).then(|| {
        format!(
            "Of {}, {left} of {} episodes have a value in all of its scenarios: relative cost, violations and regret over all \
             scenarios are of these.",
            policy.policy,
            study.episodes()
        )
    })
}

fn unranked(study: &Study, overall: &[PolicyOverall]) -> Option<String> {
    let competes = |policy: &&PolicyOverall| policy.role != Role::Clairvoyant && policy.place.is_none();
    let names: Vec<&str> = overall.iter().filter(competes).map(|policy| policy.policy.as_str()).collect();
    (!names.is_empty() && names.len() < study.policies().len()).then(|| {
        format!(
            "{} cannot be ranked: only policies with a cost in every scenario in which the baseline has one are.",
            names.join(", ")
        )
    })
}
