//! Aggregates, probabilities of improvement and profiles against `rliable`, the library of Agarwal et al. (2021);
//! `experiments/statistics/rliable` has written its answers. Points have to be equal; intervals come from other random
//! numbers and have to be close.

use autoscale_core::seed::Seed;
use autoscale_eval::estimate::Estimate;
use autoscale_eval::statistics::{
    aggregate, performance_profile, probability_of_improvement, stratified_interval,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

type Aggregate<'a> = &'a dyn Fn(&[Vec<f64>]) -> f64;

/// Point, low and high.
type Theirs = [f64; 3];

#[derive(Deserialize)]
struct Answers {
    target: f64,
    thresholds: Vec<f64>,
    scores: BTreeMap<String, Vec<Vec<f64>>>,
    aggregates: BTreeMap<String, BTreeMap<String, Theirs>>,
    improvement: Vec<Improvement>,
    profiles: BTreeMap<String, Vec<Theirs>>,
}

#[derive(Deserialize)]
struct Improvement {
    x: String,
    y: String,
    estimate: Theirs,
}

fn answers() -> Answers {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rliable/example.json");
    let text = std::fs::read_to_string(path).expect("the example is committed");
    serde_json::from_str(&text).expect("answers.py writes these fields")
}

/// The points are equal, the ends no farther apart than `share` of the interval's width and `step`.
fn agree(ours: &Estimate, [point, low, high]: Theirs, share: f64, step: f64, of: &str) {
    assert!((ours.point - point).abs() < 1e-12, "{of}: {ours:?}, rliable {point}");
    let near = share * (high - low) + step + 1e-12;
    assert!(
        (ours.low - low).abs() <= near && (ours.high - high).abs() <= near,
        "{of}: {ours:?}, rliable [{low}, {high}]"
    );
}

#[test]
fn the_example_has_ties_and_equal_scenarios() {
    let scores = answers().scores;
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(scores.values().all(|s| s.len() == 6 && s.iter().all(|runs| runs.len() == 30)));
    let ties = |k: usize| scores["a"][k].iter().filter(|a| scores["c"][k].contains(a)).count();
    assert!(ties(0) > 10 && ties(1) == 0);
    assert_eq!(scores["a"][5], scores["b"][5]);
}

#[test]
fn aggregates_agree() {
    let answers = answers();
    let target = answers.target;
    let gap = |scores: &[Vec<f64>]| aggregate::optimality_gap(scores, target);
    let ours: [(&str, Aggregate<'_>); 4] = [
        ("interquartile_mean", &aggregate::pooled_interquartile_mean),
        ("mean", &aggregate::mean_of_means),
        ("median", &aggregate::median_of_means),
        ("optimality_gap", &gap),
    ];
    assert_eq!(answers.aggregates.len(), ours.len());
    for (name, aggregate) in ours {
        assert_eq!(answers.aggregates[name].len(), 3);
        for (policy, &theirs) in &answers.aggregates[name] {
            let ours = stratified_interval(&answers.scores[policy], Seed::root(1), aggregate).unwrap();
            // Four standard errors of the ends, of 10,000 resamples on either side.
            agree(&ours, theirs, 0.04, 0.0, &format!("{name} of {policy}"));
        }
    }
}

#[test]
fn probabilities_of_improvement_agree() {
    let answers = answers();
    assert_eq!(answers.improvement.len(), 4);
    for Improvement { x, y, estimate } in &answers.improvement {
        let (ours_x, ours_y) = (&answers.scores[x], &answers.scores[y]);
        let ours = probability_of_improvement(ours_x, ours_y, Seed::root(1)).unwrap();
        // As above, of 2,000 resamples on their side.
        agree(&ours, *estimate, 0.07, 0.0, &format!("{x} over {y}"));
    }
}

#[test]
fn profiles_agree() {
    let answers = answers();
    assert_eq!(answers.profiles.len(), 3);
    for (policy, theirs) in &answers.profiles {
        let ours = performance_profile(&answers.scores[policy], &answers.thresholds, Seed::root(1)).unwrap();
        assert_eq!(ours.len(), theirs.len());
        for (ours, &theirs) in ours.iter().zip(theirs) {
            // As above, and shares move by one run in 180.
            agree(&ours.share, theirs, 0.07, 1.0 / 180.0, &format!("{policy} above {}", ours.threshold));
        }
    }
}
