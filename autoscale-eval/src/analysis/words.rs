//! Verdicts in words. What is within noise of the baseline is never called better.

use super::{LEVEL, Pair, PolicyAnalysis, PolicyOverall, ScenarioAnalysis, Verdict};
use crate::estimate::Estimate;
use crate::study::{Study, StudyPolicy};

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
    }
    sentences.extend(cheaper.iter().map(|policy| {
        let by = by(policy.primary().against.as_ref().map(|against| against.difference), "price/h");
        format!("{} is cheaper than {baseline} by {by}{}.", policy.policy, and_violations(policy))
    }));
    if cheaper.len() > 1 {
        sentences.push("Which of these is cheapest was not tested.".to_owned());
    }
    let calmer = with(Verdict::WithinNoise).into_iter().filter(|policy| fewer_violations(policy));
    sentences.extend(calmer.map(|policy| {
        let by = by(
            policy.figure(VIOLATIONS).against.as_ref().map(|against| against.difference),
            "percentage points",
        );
        format!(
            "{} has fewer violations than {baseline} by {by}, at a cost within noise of it.",
            policy.policy
        )
    }));
    let rest = [
        (Verdict::WithinNoise, "Within noise"),
        (Verdict::Identical, "Identical"),
        (Verdict::Worse, "Dearer"),
    ];
    sentences.extend(rest.iter().filter_map(|&(verdict, said)| {
        let names = names(with(verdict).iter().map(|policy| policy.policy.as_str()));
        (!names.is_empty()).then(|| format!("{said}: {names}."))
    }));
    sentences.join(" ")
}

fn saving(policy: &PolicyAnalysis) -> f64 {
    policy.primary().against.as_ref().map_or(0.0, |against| -against.difference.point)
}

/// An amount without its sign, which the words around it tell.
fn by(difference: Option<Estimate>, unit: &str) -> String {
    let unsigned = |e: Estimate| if e.point < 0.0 { e.negated() } else { e };
    difference.map_or_else(String::new, |e| format!("{} {unit}", unsigned(e)))
}

fn fewer_violations(policy: &PolicyAnalysis) -> bool {
    policy.figure(VIOLATIONS).test().is_some_and(|test| test.verdict == Verdict::Better)
}

/// What a cheaper policy does to violations.
fn and_violations(policy: &PolicyAnalysis) -> String {
    let Some(against) = &policy.figure(VIOLATIONS).against else { return String::new() };
    let by = by(Some(against.difference), "percentage points");
    match against.test.map(|test| test.verdict) {
        Some(Verdict::Worse) => format!(", but misses the objective more often by {by}"),
        Some(Verdict::Better) => format!(", and misses the objective less often by {by}"),
        Some(Verdict::WithinNoise) => ", with violations within noise".to_owned(),
        Some(Verdict::Identical) => ", with the same violations".to_owned(),
        None => String::new(),
    }
}

/// All scenarios in a few sentences.
pub(super) fn overall(
    study: &Study,
    overall: &[PolicyOverall],
    pairs: &[Pair],
    scenarios: &[ScenarioAnalysis],
) -> String {
    let baseline = &study.policies()[study.baseline()].name;
    let over = match scenarios.len() {
        1 => "In the one scenario".to_owned(),
        n => format!("Over all {n} scenarios"),
    };
    let compared = pairs.iter().filter_map(|pair| pair.verdict_on(baseline)).count();
    if compared == 0 {
        return format!("{over} nothing could be compared with {baseline}.");
    }
    let cheaper: Vec<&str> = pairs
        .iter()
        .filter_map(|pair| pair.verdict_on(baseline))
        .filter(|&(_, on_baseline)| on_baseline == Verdict::Worse)
        .map(|(other, _)| other)
        .collect();
    if cheaper.is_empty() {
        return format!("{over} nothing is cheaper than {baseline} beyond noise: keep {baseline}.");
    }
    let leaders: Vec<&PolicyOverall> = overall
        .iter()
        .filter(|policy| {
            policy.place.is_some_and(|place| place.first == 1) && cheaper.contains(&policy.policy.as_str())
        })
        .collect();
    let mut sentences: Vec<String> =
        leaders.iter().map(|policy| leader(policy, baseline, &over, pairs, scenarios)).collect();
    match leaders.as_slice() {
        [one] if one.place.is_some_and(|place| place.last == 1) && compared > 1 => {
            sentences.push(format!("No other policy is as cheap as {} (Holm, p < {LEVEL}).", one.policy));
        }
        [] | [_] => {}
        several => sentences.push(format!(
            "On cost {} cannot be told apart.",
            names(several.iter().map(|policy| policy.policy.as_str()))
        )),
    }
    let behind = cheaper.iter().filter(|name| leaders.iter().all(|policy| policy.policy != **name));
    let behind = names(behind.copied());
    if !behind.is_empty() {
        sentences.push(format!("Cheaper than {baseline}, but dearer than another policy: {behind}."));
    }
    sentences.join(" ")
}

/// A policy that no other is cheaper than beyond noise.
fn leader(
    policy: &PolicyOverall,
    baseline: &str,
    over: &str,
    pairs: &[Pair],
    scenarios: &[ScenarioAnalysis],
) -> String {
    let name = &policy.policy;
    let difference = pairs.iter().find_map(|pair| pair.difference_of(name, baseline));
    let by = by(difference, "% of its cost");
    let own = scenarios.iter().filter_map(|scenario| {
        Some((
            scenario.scenario.name.as_str(),
            scenario.policies.iter().find(|policy| policy.policy == *name)?,
        ))
    });
    let own: Vec<(&str, &PolicyAnalysis)> = own.collect();
    let where_worse = |figure: &str| {
        let worse = own.iter().filter(|(_, policy)| {
            policy.figure(figure).test().is_some_and(|test| test.verdict == Verdict::Worse)
        });
        names(worse.map(|(scenario, _)| *scenario))
    };
    let drawbacks = [("dearer", where_worse(super::PRIMARY)), ("more violations", where_worse(VIOLATIONS))];
    let drawbacks = drawbacks.iter().filter(|(_, where_worse)| !where_worse.is_empty());
    let drawbacks: Vec<String> =
        drawbacks.map(|(what, where_worse)| format!("{what} in {where_worse}")).collect();
    let but = if drawbacks.is_empty() { String::new() } else { format!(", but {}", drawbacks.join(", ")) };
    format!("{over} {name} is cheaper than {baseline} by {by}{but}.")
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
