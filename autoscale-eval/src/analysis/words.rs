//! Verdicts in words. What is within noise of the baseline is never called better.

use super::{LEVEL, PRIMARY, PolicyAnalysis, PolicyOverall, ScenarioAnalysis};
use crate::estimate::Estimate;
use crate::study::{Role, Study, StudyPolicy};
use crate::verdict::Verdict;

/// What trades off against cost, though the cost holds its price already.
const VIOLATIONS: &str = "slo_violations";

/// A scenario in a few sentences.
pub(super) fn scenario(scenario: &ScenarioAnalysis, policies: &[StudyPolicy], baseline: usize) -> String {
    let baseline = &policies[baseline].name;
    let with = |wanted: Verdict| -> Vec<&PolicyAnalysis> {
        let verdict = |policy: &&PolicyAnalysis| policy.primary().test().map(|test| test.verdict);
        scenario.policies.iter().filter(|policy| verdict(policy) == Some(wanted)).collect()
    };
    let tested = scenario.policies.iter().filter(|policy| policy.primary().test().is_some()).count();
    if tested == 0 {
        return format!("Nothing could be compared with {baseline}.");
    }
    let mut cheaper = with(Verdict::Better);
    cheaper.sort_by(|a, b| saving(b).total_cmp(&saving(a)));
    let mut sentences = Vec::new();
    if cheaper.is_empty() {
        sentences.push(format!("Keep {baseline}: nothing is cheaper beyond noise."));
    } else {
        let priced =
            cheaper.iter().map(|policy| format!("{} by {}", policy.policy, by(difference(policy, PRIMARY))));
        let which = if cheaper.len() > 1 { " (which of them is cheapest was not tested)" } else { "" };
        sentences.push(format!("Cheaper than {baseline}: {} price/h{which}.", list(priced)));
        sentences.extend(violations(&cheaper, baseline));
    }
    let calmer = with(Verdict::WithinNoise).into_iter().filter(|policy| fewer_violations(policy));
    sentences.extend(calmer.map(|policy| {
        let by = by(difference(policy, VIOLATIONS));
        format!(
            "{} misses the objective less often than {baseline}, by {by} percentage points, at a cost within noise.",
            policy.policy
        )
    }));
    let rest = [
        (Verdict::WithinNoise, "Cost within noise"),
        (Verdict::Identical, "Cost identical"),
        (Verdict::Worse, "Dearer"),
    ];
    sentences.extend(rest.iter().filter_map(|&(verdict, said)| {
        let names = list(with(verdict).iter().map(|policy| policy.policy.clone()));
        (!names.is_empty()).then(|| format!("{said}: {names}."))
    }));
    let compared = |position: usize| {
        policies[position].role != Role::Contender || scenario.policies[position].primary().test().is_some()
    };
    let missing = (0..policies.len()).filter(|&position| !compared(position));
    let missing = list(missing.map(|position| policies[position].name.clone()));
    if !missing.is_empty() {
        sentences.push(format!("Without a value to compare: {missing}."));
    }
    sentences.join(" ")
}

fn difference(policy: &PolicyAnalysis, figure: &str) -> Option<Estimate> {
    policy.figure(figure).against.as_ref().map(|against| against.difference)
}

fn saving(policy: &PolicyAnalysis) -> f64 {
    difference(policy, PRIMARY).map_or(0.0, |difference| -difference.point)
}

/// An amount without its sign, which the words around it tell.
fn by(difference: Option<Estimate>) -> String {
    let unsigned = |e: Estimate| if e.point < 0.0 { e.negated() } else { e };
    difference.map_or_else(String::new, |e| unsigned(e).to_string())
}

fn fewer_violations(policy: &PolicyAnalysis) -> bool {
    policy.figure(VIOLATIONS).test().is_some_and(|test| test.verdict == Verdict::Better)
}

/// What cheaper policies do to violations: who changes them, and that the others do not beyond noise.
fn violations(cheaper: &[&PolicyAnalysis], baseline: &str) -> Vec<String> {
    let verdict = |policy: &PolicyAnalysis| policy.figure(VIOLATIONS).test().map(|test| test.verdict);
    let changing = |wanted: Verdict, said: &str| {
        let changing = cheaper.iter().filter(|policy| verdict(policy) == Some(wanted));
        let each =
            changing.map(|policy| format!("{} by {}", policy.policy, by(difference(policy, VIOLATIONS))));
        let each = list(each);
        (!each.is_empty()).then(|| format!("{said} than {baseline}: {each} percentage points."))
    };
    let same = |policy: &&&PolicyAnalysis| {
        matches!(verdict(policy), Some(Verdict::WithinNoise | Verdict::Identical))
    };
    let same = list(cheaper.iter().filter(same).map(|policy| policy.policy.clone()));
    let same = (!same.is_empty()).then(|| format!("Violations within noise: {same}."));
    [
        changing(Verdict::Worse, "But missing the objective more often"),
        changing(Verdict::Better, "Also missing the objective less often"),
        same,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All scenarios in a few sentences.
pub(super) fn overall(study: &Study, overall: &[PolicyOverall], scenarios: &[ScenarioAnalysis]) -> String {
    let baseline = &study.policies()[study.baseline()].name;
    let over = match scenarios.len() {
        1 => "In the one scenario".to_owned(),
        n => format!("Over all {n} scenarios"),
    };
    let compared = overall.iter().filter(|policy| policy.test.is_some()).count();
    if compared == 0 {
        return format!("{over} nothing could be compared with {baseline}.");
    }
    let better = |policy: &&PolicyOverall| policy.test.is_some_and(|test| test.verdict == Verdict::Better);
    let cheaper: Vec<&PolicyOverall> = overall.iter().filter(better).collect();
    if cheaper.is_empty() {
        return format!("{over} nothing is cheaper than {baseline} beyond noise: keep {baseline}.");
    }
    let leads = |policy: &PolicyOverall| policy.place.is_some_and(|place| place.first == 1);
    let mut leaders: Vec<&PolicyOverall> = cheaper.iter().copied().filter(|policy| leads(policy)).collect();
    let cost = |policy: &PolicyOverall| policy.relative_cost.map_or(f64::INFINITY, |e| e.point);
    leaders.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    let priced = list(leaders.iter().map(|policy| format!("{} by {} %", policy.policy, by(policy.against))));
    let mut sentences = Vec::new();
    if !priced.is_empty() {
        sentences.push(format!("{over} cheaper than {baseline}: {priced} of its cost."));
    }
    match leaders.as_slice() {
        [one] if one.place.is_some_and(|place| place.last == 1) && compared > 1 => {
            sentences.push(format!(
                "No other ranked policy is as cheap as {} (exploratory: all pairs, Holm, p < {LEVEL}).",
                one.policy
            ));
        }
        [] | [_] => {}
        _ => sentences.push("These cannot be told apart on cost (exploratory: all pairs).".to_owned()),
    }
    sentences.extend(leaders.iter().filter_map(|policy| drawbacks(&policy.policy, baseline, scenarios)));
    let behind = list(cheaper.iter().filter(|policy| !leads(policy)).map(|policy| policy.policy.clone()));
    if !behind.is_empty() {
        sentences.push(format!(
            "Cheaper than {baseline}, but dearer than another policy (exploratory): {behind}."
        ));
    }
    sentences.join(" ")
}

/// Where a policy that is cheaper over all scenarios is not, or misses the objective more often.
fn drawbacks(policy: &str, baseline: &str, scenarios: &[ScenarioAnalysis]) -> Option<String> {
    let where_worse = |figure: &str| {
        let worse = scenarios.iter().filter(|scenario| {
            let own = scenario.policies.iter().find(|own| own.policy == policy);
            own.and_then(|own| own.figure(figure).test()).is_some_and(|test| test.verdict == Verdict::Worse)
        });
        list(worse.map(|scenario| scenario.scenario.name.clone()))
    };
    let said =
        [("is dearer", where_worse(PRIMARY)), ("misses the objective more often", where_worse(VIOLATIONS))];
    let said = said.iter().filter(|(_, scenarios)| !scenarios.is_empty());
    let said = list(said.map(|(what, scenarios)| format!("{what} in {scenarios}")));
    (!said.is_empty()).then(|| format!("But against {baseline} {policy} {said}."))
}

/// `a`, `a and b`, `a, b and c`.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
