use super::sample::{noise, of_seed, study};
use super::*;
use crate::study::{Place as At, Role};
use crate::verdict::Verdict;

const HPA: (&str, Role) = ("hpa", Role::Baseline);
const X: (&str, Role) = ("x", Role::Contender);
const Y: (&str, Role) = ("y", Role::Contender);
const SEER: (&str, Role) = ("seer", Role::Clairvoyant);

/// Costs that differ widely between episodes, and other figures that do not.
fn shifted(shift: impl Fn(At) -> f64, place: At, figure: &Figure) -> f64 {
    if figure.name == PRIMARY { 10.0 + 5.0 * of_seed(place) + shift(place) } else { 1.0 }
}

fn verdicts(analysis: &Analysis, metric: &str) -> Vec<Vec<Option<Verdict>>> {
    let of = |policy: &PolicyAnalysis| policy.figure(metric).test().map(|test| test.verdict);
    analysis.scenarios.iter().map(|scenario| scenario.policies.iter().map(of).collect()).collect()
}

#[test]
fn a_shift_far_below_the_spread_is_seen_and_noise_is_not() {
    let shift = |place: At| match place.policy {
        1 => -0.2,
        2 => noise(place, &figures()[0]),
        _ => 0.0,
    };
    let study = study(&[HPA, X, Y], &["a", "b"], 30, |place, figure| Some(shifted(shift, place, figure)));
    let analysis = Analysis::of(&study);
    let (better, noise) = (Some(Verdict::Better), Some(Verdict::WithinNoise));
    assert_eq!(verdicts(&analysis, PRIMARY), [[None, better, noise], [None, better, noise]]);
    let cell = analysis.scenarios[0].policies[1].primary();
    let against = cell.against.as_ref().unwrap();
    assert!((against.difference.point + 0.2).abs() < 1e-9 && against.difference.n == 30);
    assert!((against.mean - against.baseline_mean + 0.2).abs() < 1e-9);
    // All 2³⁰ assignments but two are less extreme; four hypotheses, of which two have this p.
    let test = cell.test().unwrap();
    assert!((test.p - 2.0_f64.powi(-29)).abs() < 1e-15 && (test.p_holm - 4.0 * test.p).abs() < 1e-15);
    assert_eq!(analysis.hypotheses, 4);
    // Over all scenarios there are two hypotheses against the baseline, whatever the third pair is.
    let over_all = analysis.overall[1].test.unwrap();
    assert!((over_all.p_holm - 2.0 * over_all.p).abs() < 1e-15 && over_all.verdict == Verdict::Better);
    assert!((analysis.pairs[0].test.unwrap().p_holm - 3.0 * over_all.p).abs() < 1e-15);
    assert_eq!((analysis.overall[0].test, analysis.overall[0].against), (None, None));
    // What does not differ anywhere is identical, not noise.
    assert_eq!(
        verdicts(&analysis, "mean_pods")[0],
        [None, Some(Verdict::Identical), Some(Verdict::Identical)]
    );

    assert!(analysis.scenarios[0].verdict.starts_with("Cheaper than hpa: x by 0.2000 ["), "{analysis:?}");
    assert!(analysis.scenarios[0].verdict.contains("Cost within noise: y."));
    assert!(
        analysis.verdict.starts_with("Over all 2 scenarios cheaper than hpa: x by "),
        "{}",
        analysis.verdict
    );
    let places: Vec<String> = analysis.overall.iter().map(|p| p.place.unwrap().to_string()).collect();
    assert_eq!(places[1].chars().next(), Some('1'));
    assert_ne!(places[0].chars().next(), Some('1'));
    let tally = analysis.overall[1].tally.unwrap();
    assert_eq!(tally, Tally { won: 2, ..Tally::default() });
}

#[test]
fn nothing_is_best_that_is_within_noise_of_the_baseline() {
    // The mean of x is lower, the baseline's place may still be the first.
    let shift = |place: At| if place.policy == 1 { noise(place, &figures()[0]) - 0.05 } else { 0.0 };
    let study = study(&[HPA, X], &["a"], 30, |place, figure| Some(shifted(shift, place, figure)));
    let analysis = Analysis::of(&study);
    assert!(analysis.scenarios[0].policies[1].primary().against.as_ref().unwrap().difference.point < 0.0);
    assert!(analysis.scenarios[0].verdict.starts_with("Keep hpa: nothing is cheaper beyond noise."));
    assert_eq!(analysis.verdict, "In the one scenario nothing is cheaper than hpa beyond noise: keep hpa.");
    assert!(analysis.overall.iter().all(|p| p.place == Some(Place { first: 1, last: 2 })));
}

#[test]
fn higher_is_better_where_it_is() {
    let value = |place: At, _: &Figure| Some(of_seed(place) + 0.1 * place.policy as f64);
    let analysis = Analysis::of(&study(&[HPA, X], &["a"], 30, value));
    assert_eq!(verdicts(&analysis, "return")[0][1], Some(Verdict::Better));
    assert_eq!(verdicts(&analysis, PRIMARY)[0][1], Some(Verdict::Worse));
}

#[test]
fn trade_offs_are_named() {
    let value = |place: At, figure: &Figure| {
        let sign = if figure.name == "slo_violations" { 0.3 } else { -1.0 };
        Some(20.0 + of_seed(place) + sign * place.policy as f64)
    };
    let analysis = Analysis::of(&study(&[HPA, X], &["a"], 30, value));
    let said = &analysis.scenarios[0].verdict;
    assert!(
        said.contains(
            "Cheaper than hpa: x by 1.000 [1.000, 1.000] price/h. But missing the objective more often than hpa: x by 0.3000 "
        ),
        "{said}"
    );
    assert!(
        analysis.verdict.contains("But against hpa x misses the objective more often in a."),
        "{}",
        analysis.verdict
    );
}

#[test]
fn every_figure_is_a_family_of_all_scenarios_and_contenders() {
    // In one of six cells the reaction time has no value, and the clairvoyant is no hypothesis.
    let value = |place: At, figure: &Figure| {
        let missing = figure.name == "reaction_time" && (place.scenario, place.policy) == (1, 2);
        (!missing).then(|| of_seed(place) + 0.1 * place.policy as f64)
    };
    let analysis = Analysis::of(&study(&[HPA, X, Y, SEER], &["a", "b", "c"], 30, value));
    let p = 2.0_f64.powi(-29);
    let first = |metric: &str| *analysis.scenarios[0].policies[1].figure(metric).test().unwrap();
    assert!(
        (first(PRIMARY).p_holm - 6.0 * p).abs() < 1e-15 && (first("late").p_holm - 6.0 * p).abs() < 1e-15
    );
    assert!((first("reaction_time").p_holm - 5.0 * p).abs() < 1e-15);
    let empty = analysis.scenarios[1].policies[2].figure("reaction_time");
    assert_eq!((empty.mean, &empty.against), (None, &None));
}

#[test]
fn the_clairvoyant_is_shown_and_neither_tested_nor_ranked() {
    let value = |place: At, _: &Figure| Some(10.0 + of_seed(place) - 2.0 * place.policy as f64);
    let analysis = Analysis::of(&study(&[HPA, X, SEER], &["a"], 30, value));
    let cell = analysis.scenarios[0].policies[2].primary();
    assert!(cell.mean.is_some() && cell.against.as_ref().unwrap().test.is_none());
    let seer = &analysis.overall[2];
    assert_eq!((seer.place, seer.tally), (None, None));
    assert!(seer.relative_cost.is_some() && !seer.profile.is_empty());
    assert_eq!(analysis.pairs.len(), 1);
    assert!(!analysis.verdict.contains("seer") && !analysis.scenarios[0].verdict.contains("seer"));
    assert_eq!(analysis.notes, Vec::<String>::new());
}

#[test]
fn failed_episodes_and_an_empty_cell_break_nothing() {
    // Episode 3 of x failed in a; y has nothing in b.
    let value = |place: At, _: &Figure| {
        let failed =
            place == At { scenario: 0, policy: 1, episode: 3 } || (place.scenario, place.policy) == (1, 2);
        (!failed).then(|| 10.0 + of_seed(place) - 0.1 * place.policy as f64)
    };
    let analysis = Analysis::of(&study(&[HPA, X, Y], &["a", "b"], 30, value));
    let left: Vec<_> =
        analysis.failures.iter().map(|f| (f.policy.as_str(), f.episodes.len(), f.left)).collect();
    assert_eq!(left, [("x", 1, 29), ("y", 30, 0)]);
    assert_eq!(analysis.failures[0].episodes, [3]);
    assert_eq!(analysis.scenarios[0].policies[1].primary().against.as_ref().unwrap().difference.n, 29);
    assert_eq!(analysis.hypotheses, 3);
    let y = &analysis.overall[2];
    assert_eq!((y.scenarios, y.place, y.tally.unwrap().empty), (1, None, 1));
    assert!(y.relative_cost.is_some());
    let notes = analysis.notes.join("\n");
    assert!(notes.contains("No episode of y is left in b: these cells are empty"), "{notes}");
    assert!(notes.contains("y cannot be ranked"), "{notes}");
    assert!(notes.contains("Of x, 29 of 30 episodes have a value in all of its scenarios"), "{notes}");
    assert!(!notes.contains("Of y") && !notes.contains("Of hpa"), "{notes}");
    assert_eq!(analysis.pairs[0].difference.unwrap().n, 29);
    // Over all scenarios episode 3 of x has nothing to stand beside in a.
    let x = &analysis.overall[1];
    assert_eq!((x.violations.unwrap().n, x.against.unwrap().n, x.relative_cost.unwrap().n), (29, 29, 58));
}

#[test]
fn a_baseline_without_a_value_is_compared_with_nothing() {
    let value = |place: At, _: &Figure| (place.policy == 1).then(|| of_seed(place));
    let analysis = Analysis::of(&study(&[HPA, X], &["a"], 30, value));
    assert_eq!((analysis.hypotheses, analysis.pairs.len()), (0, 0));
    assert_eq!(analysis.scenarios[0].verdict, "Nothing could be compared with hpa.");
    assert_eq!(analysis.verdict, "In the one scenario nothing could be compared with hpa.");
    assert!(
        analysis.overall.iter().all(|policy| policy.relative_cost.is_none() && policy.profile.is_empty())
    );
}

#[test]
fn too_few_episodes_are_said_to_be() {
    let value = |place: At, _: &Figure| Some(10.0 + of_seed(place) - 5.0 * place.policy as f64);
    // Two hypotheses: 2 · 2¹⁻ⁿ is below 0.05 from n = 7.
    let said = |episodes| Analysis::of(&study(&[HPA, X], &["a", "b"], episodes, value)).notes.join("\n");
    assert!(said(6).contains("Only 6 episodes") && said(6).contains("fewer than 7 episodes cannot show"));
    assert!(said(7).contains("Only 7 episodes") && !said(7).contains("cannot show"));
    let won = |episodes| {
        let analysis = Analysis::of(&study(&[HPA, X], &["a", "b"], episodes, value));
        analysis.overall[1].tally.unwrap().won
    };
    assert_eq!((won(6), won(7)), (0, 2));
}

#[test]
fn one_episode_has_no_interval_in_however_many_scenarios() {
    let value = |place: At, _: &Figure| Some(10.0 + of_seed(place));
    let analysis = Analysis::of(&study(&[HPA, X], &["a", "b", "c"], 1, value));
    let x = &analysis.overall[1];
    for estimate in [x.relative_cost, x.improvement, x.violations, x.regret, x.against] {
        assert_eq!(estimate.unwrap().n, 1);
    }
}

#[test]
fn relative_costs_are_multiples_of_the_baseline_s_mean() {
    // Scenario b is ten times as dear; x costs half everywhere.
    let value = |place: At, _: &Figure| {
        let scale = if place.scenario == 1 { 10.0 } else { 1.0 };
        let half = if place.policy == 1 { 0.5 } else { 1.0 };
        Some(scale * half * (1.0 + 0.01 * of_seed(place)))
    };
    let analysis = Analysis::of(&study(&[HPA, X], &["a", "b"], 30, value));
    let (hpa, x) = (&analysis.overall[0], &analysis.overall[1]);
    let [hpa_cost, x_cost] = [hpa, x].map(|policy| policy.relative_cost.unwrap());
    assert!((hpa_cost.point - 1.0).abs() < 0.005 && (x_cost.point - 0.5).abs() < 0.005);
    assert!(x_cost.low <= x_cost.point && x_cost.point <= x_cost.high && x_cost.n == 60);
    assert_eq!(x.improvement.map(|e| (e.point, e.low, e.high)), Some((1.0, 1.0, 1.0)));
    let pair = &analysis.pairs[0];
    assert!((pair.difference.unwrap().point - 50.0).abs() < 0.1, "hpa costs 50 % more of itself: {pair:?}");
    assert!(pair.difference_of("x", "hpa").unwrap().point < 0.0);
    // Nothing is below half of the baseline's cost by more than 1 %, all is below 0.55; the baseline is below 1.05.
    let share = |policy: &PolicyOverall, threshold: f64| {
        let at = policy.profile.iter().find(|point| (point.threshold - threshold).abs() < 1e-9);
        at.map(|point| point.share.point)
    };
    assert_eq!(
        (share(x, 0.45), share(x, 0.55), share(hpa, 0.55), share(hpa, 1.05)),
        (Some(0.0), Some(1.0), Some(0.0), Some(1.0))
    );
}

#[test]
fn values_that_are_no_numbers_are_left_out_and_told_of() {
    let value = |place: At, figure: &Figure| {
        let odd = figure.name == "late" && place == At { scenario: 0, policy: 1, episode: 0 };
        Some(if odd { f64::NAN } else { of_seed(place) })
    };
    let analysis = Analysis::of(&study(&[HPA, X], &["a"], 30, value));
    assert_eq!(analysis.scenarios[0].policies[1].figure("late").mean.unwrap().n, 29);
    assert!(analysis.notes.iter().any(|note| note.starts_with("1 value")), "{:?}", analysis.notes);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let study = study(&[HPA, X, Y], &["a", "b"], 12, |place, figure| {
        Some(5.0 + of_seed(place) + noise(place, figure))
    });
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        serde_json::to_string(&pool.install(|| Analysis::of(&study))).unwrap()
    };
    assert_eq!(on(1), on(4));
}
