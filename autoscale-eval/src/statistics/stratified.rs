//! Intervals by resampling the runs within each stratum.

use super::{StatisticsError, all_finite, student_quantile};
use crate::estimate::Estimate;
use autoscale_core::seed::{Seed, Stream};
use rand::RngExt;
use std::f64::consts::SQRT_2;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// The share of resampled values beyond each end of an interval.
const BEYOND: f64 = 0.025;

/// What `aggregate` makes of `scores[stratum][run]`, with its 95 % interval by the stratified percentile bootstrap
/// (Agarwal et al. 2021, section 4.1): as many runs as a stratum has are drawn from it with replacement, in each
/// stratum for itself, 10,000 times. The interval speaks about other seeds on the same scenarios, not about other
/// scenarios. Its `n` is the number of runs of all strata, and 1 where each has but one run.
///
/// # Errors
/// When there is no stratum, one without a run, or a score that is not finite.
pub fn stratified_interval(
    scores: &[Vec<f64>],
    seed: Seed,
    aggregate: impl Fn(&[Vec<f64>]) -> f64,
) -> Result<Estimate, StatisticsError> {
    check_strata(scores)?;
    let mut stream = seed.child("stratified").stream();
    let mut drawn = scores.to_vec();
    let resampled = resamples(|| {
        redraw(scores, &mut drawn, &mut stream);
        aggregate(&drawn)
    });
    Ok(percentile_estimate(aggregate(scores), resampled, runs(scores)))
}

/// The same where runs of equal number share their draws in all strata: the numbers are drawn, and stand for a run of each
/// stratum. Strata of unequal length have no such numbers, and are drawn as [`stratified_interval`] does.
///
/// Resamples of n numbers scatter less than samples do, by √((n − 1) / n), and the normal distribution's quantiles are nearer
/// than Student's. So fewer than 2.5 % lie beyond each end, as many as make up for both (the expanded percentile interval
/// of Hesterberg 2015, "What Teachers Should Know About the Bootstrap"). How often it covers the truth is in
/// `experiments/statistics`. Of fewer than five numbers there are too few different resamples: the interval is about all that
/// these give, and too short.
///
/// # Errors
/// As [`stratified_interval`].
pub fn joint_interval(
    scores: &[Vec<f64>],
    seed: Seed,
    aggregate: impl Fn(&[Vec<f64>]) -> f64,
) -> Result<Estimate, StatisticsError> {
    check_strata(scores)?;
    let n = scores[0].len();
    if scores.iter().any(|runs| runs.len() != n) {
        return stratified_interval(scores, seed, aggregate);
    }
    let beyond = if n > 1 { expanded(n) } else { BEYOND };
    let mut stream = seed.child("joint").stream();
    let mut drawn = scores.to_vec();
    let resampled = resamples(|| {
        for place in 0..n {
            let run = stream.random_range(0..n);
            for (runs, drawn) in scores.iter().zip(&mut drawn) {
                drawn[place] = runs[run];
            }
        }
        aggregate(&drawn)
    });
    Ok(estimate(aggregate(scores), resampled, runs(scores), beyond))
}

/// The share beyond each end for n numbers.
fn expanded(n: usize) -> f64 {
    let wider = (n as f64 / (n - 1) as f64).sqrt() * student_quantile(n - 1);
    0.5 * libm::erfc(wider / SQRT_2)
}

/// There are strata, each has a run, and every score is finite.
pub(super) fn check_strata(scores: &[Vec<f64>]) -> Result<(), StatisticsError> {
    if scores.is_empty() {
        return Err(StatisticsError::Empty);
    }
    if let Some(empty) = scores.iter().position(Vec::is_empty) {
        return Err(StatisticsError::EmptyStratum(empty));
    }
    scores.iter().try_for_each(|runs| all_finite(runs))
}

/// How many runs all strata have; 1 where none has two, so that nobody knows how far runs are apart.
pub(super) fn runs(scores: &[Vec<f64>]) -> usize {
    if scores.iter().all(|runs| runs.len() == 1) { 1 } else { scores.iter().map(Vec::len).sum() }
}

/// So many results of `draw` as a bootstrap takes.
pub(super) fn resamples<T>(mut draw: impl FnMut() -> T) -> Vec<T> {
    (0..RESAMPLES).map(|_| draw()).collect()
}

/// Fills `drawn`, which has the shape of `table`, with draws from the same stratum.
pub(super) fn redraw<T: Copy>(table: &[Vec<T>], drawn: &mut [Vec<T>], stream: &mut Stream) {
    for (runs, drawn) in table.iter().zip(drawn) {
        for place in drawn {
            *place = runs[stream.random_range(0..runs.len())];
        }
    }
}

/// A point with the middle 95 % of its resampled values.
pub(super) fn percentile_estimate(point: f64, resampled: Vec<f64>, n: usize) -> Estimate {
    estimate(point, resampled, n, BEYOND)
}

fn estimate(point: f64, mut resampled: Vec<f64>, n: usize, beyond: f64) -> Estimate {
    resampled.sort_unstable_by(f64::total_cmp);
    Estimate { point, low: quantile(&resampled, beyond), high: quantile(&resampled, 1.0 - beyond), n }
}

/// The quantile of sorted values, with a straight line between neighbours (Hyndman and Fan 1996, definition 7, which
/// is numpy's).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    // Equal neighbours stay what they are, to the last bit.
    if below.total_cmp(&above).is_eq() { below } else { below + (above - below) * at.fract() }
}

#[cfg(test)]
mod tests {
    use super::super::aggregate::{mean_of_means, pooled_interquartile_mean};
    use super::*;

    #[test]
    fn runs_stay_in_their_stratum() {
        // Strata far apart, hardly any spread within: drawn from all together, the mean would move by tens.
        let scores = [vec![0.0, 0.1, 0.2], vec![100.0, 100.1, 100.2]];
        let e = stratified_interval(&scores, Seed::root(1), mean_of_means).unwrap();
        assert!((e.point - 50.1).abs() < 1e-9 && e.n == 6);
        assert!(e.low >= 50.0 && e.low < e.point && e.point < e.high && e.high <= 50.2, "{e:?}");
    }

    #[test]
    fn the_interval_of_two_coins_is_known() {
        // One stratum of 0 and 1: resampled means are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
        let e = stratified_interval(&[vec![0.0, 1.0]], Seed::root(1), mean_of_means).unwrap();
        assert_eq!((e.point, e.low, e.high), (0.5, 0.0, 1.0));
        // Eight of them: the mean is binomial(16)/16, whose 2.5 % quantile is 4/16.
        let e = stratified_interval(&vec![vec![0.0, 1.0]; 8], Seed::root(1), mean_of_means).unwrap();
        assert_eq!((e.point, e.low, e.high), (0.5, 0.25, 0.75));
    }

    #[test]
    fn what_strata_share_does_not_average_out() {
        // The same coin in eight strata is one coin, whose mean over them is still 0, 1/2 or 1.
        let coins = vec![vec![0.0, 1.0]; 8];
        let e = joint_interval(&coins, Seed::root(1), mean_of_means).unwrap();
        assert_eq!((e.point, e.low, e.high), (0.5, 0.0, 1.0));
        // A coin and its opposite cancel out.
        let opposites = [vec![0.0, 1.0], vec![1.0, 0.0]];
        let e = joint_interval(&opposites, Seed::root(1), mean_of_means).unwrap();
        assert_eq!((e.point, e.low, e.high), (0.5, 0.5, 0.5));
    }

    #[test]
    fn fewer_values_lie_beyond_the_ends_than_of_infinitely_many() {
        // Student's quantile for 29 degrees is 2.04523, √(30/29) of it 2.08019: beyond that lie 1.8754 % of a normal
        // distribution.
        assert!((expanded(30) - 0.018_754).abs() < 1e-6, "{}", expanded(30));
        assert!((expanded(1_000_000) - BEYOND).abs() < 1e-6);
    }

    #[test]
    fn the_seed_decides() {
        let scores = [9, 7].map(|n| (0..n).map(|k| f64::from(k).sqrt()).collect());
        let interval = |k| stratified_interval(&scores, Seed::root(k), pooled_interquartile_mean).unwrap();
        assert_eq!(interval(1), interval(1));
        assert_ne!(interval(1), interval(2));
    }

    #[test]
    fn what_is_no_table_of_scores_is_refused() {
        let of = |scores: &[Vec<f64>]| stratified_interval(scores, Seed::root(1), mean_of_means).unwrap_err();
        assert_eq!(of(&[]), StatisticsError::Empty);
        assert_eq!(of(&[vec![1.0], vec![]]), StatisticsError::EmptyStratum(1));
        assert!(matches!(of(&[vec![1.0, f64::NAN]]), StatisticsError::NotFinite(v) if v.is_nan()));
    }
}
