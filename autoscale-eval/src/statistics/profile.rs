//! Whole distributions of scores, to be drawn as curves.

use super::stratified::{check_strata, percentile_estimate, redraw, resamples, runs};
use super::{StatisticsError, all_finite};
use crate::estimate::Estimate;
use autoscale_core::seed::Seed;
use serde::Serialize;

/// A point of a performance profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProfilePoint {
    /// The threshold τ, in the scores' unit.
    pub threshold: f64,
    /// The share of runs whose score is above it, 0 to 1.
    pub share: Estimate,
}

/// The share of runs with a score above each of `thresholds`, as the mean over strata: the run-score distribution of
/// Agarwal et al. (2021, section 4.2), after the performance profiles of Dolan and Moré (2002). Where the curve of one
/// policy lies above another's throughout, its scores are stochastically larger. The 95 % band holds at each threshold
/// for itself, not along the curve; it is the stratified percentile bootstrap of
/// [`stratified_interval`](super::stratified_interval).
///
/// # Errors
/// When there is no stratum, one without a run, a score or threshold that is not finite, or thresholds that do not
/// ascend.
pub fn performance_profile(
    scores: &[Vec<f64>],
    thresholds: &[f64],
    seed: Seed,
) -> Result<Vec<ProfilePoint>, StatisticsError> {
    check_strata(scores)?;
    all_finite(thresholds)?;
    if let Some(pair) = thresholds.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(StatisticsError::NotAscending(pair[0], pair[1]));
    }
    // All that matters of a score is how many thresholds it is above of.
    let passed = |score: &f64| thresholds.partition_point(|threshold| threshold < score);
    let passed: Vec<Vec<usize>> = scores.iter().map(|runs| runs.iter().map(passed).collect()).collect();

    let mut stream = seed.child("profile").stream();
    let mut drawn = passed.clone();
    let resampled = resamples(|| {
        redraw(&passed, &mut drawn, &mut stream);
        shares(&drawn, thresholds.len())
    });
    let point = shares(&passed, thresholds.len());
    let at = |(k, &threshold): (usize, &f64)| {
        let share =
            percentile_estimate(point[k], resampled.iter().map(|shares| shares[k]).collect(), runs(scores));
        ProfilePoint { threshold, share }
    };
    Ok(thresholds.iter().enumerate().map(at).collect())
}

/// For each of the thresholds, the mean over strata of the share of runs that passed it.
fn shares(passed: &[Vec<usize>], thresholds: usize) -> Vec<f64> {
    let mut shares = vec![0.0; thresholds];
    let mut runs_that_passed = vec![0_u32; thresholds + 1];
    for runs in passed {
        runs_that_passed.fill(0);
        for &passed in runs {
            runs_that_passed[passed] += 1;
        }
        let mut above = 0;
        for k in (0..thresholds).rev() {
            above += runs_that_passed[k + 1];
            shares[k] += f64::from(above) / runs.len() as f64;
        }
    }
    for share in &mut shares {
        *share /= passed.len() as f64;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_on_the_threshold_is_not_above_it() {
        let scores = [vec![1.0, 2.0, 2.0, 3.0], vec![2.0, 5.0]];
        let profile = performance_profile(&scores, &[0.0, 1.0, 2.0, 4.0, 5.0], Seed::root(1)).unwrap();
        let shares: Vec<f64> = profile.iter().map(|p| p.share.point).collect();
        // Means of 3/4 and 1, of 1/4 and 1/2, of 0 and 1/2.
        assert_eq!(shares, [1.0, 7.0 / 8.0, 3.0 / 8.0, 1.0 / 4.0, 0.0]);
        assert_eq!(profile[2].threshold.to_bits(), 2.0_f64.to_bits());
        assert!(profile.iter().all(|p| p.share.n == 6));
    }

    #[test]
    fn bands_hold_the_curve_and_close_where_all_runs_agree() {
        let scores = [(0..20).map(f64::from).collect(), (10..30).map(f64::from).collect()];
        let thresholds: Vec<f64> = (-1..31).map(f64::from).collect();
        let profile = performance_profile(&scores, &thresholds, Seed::root(1)).unwrap();
        for p in &profile {
            let Estimate { point, low, high, .. } = p.share;
            assert!(0.0 <= low && low <= point && point <= high && high <= 1.0, "{p:?}");
        }
        let ends = [&profile[0].share, &profile[31].share];
        assert_eq!(ends.map(|e| (e.low, e.high)), [(1.0, 1.0), (0.0, 0.0)]);
        assert!(profile[15].share.high - profile[15].share.low > 0.1);
    }

    #[test]
    fn thresholds_ascend() {
        let of = |thresholds: &[f64]| performance_profile(&[vec![1.0]], thresholds, Seed::root(1));
        assert_eq!(of(&[1.0, 1.0]).unwrap_err(), StatisticsError::NotAscending(1.0, 1.0));
        assert!(of(&[f64::NAN]).is_err());
        assert_eq!(of(&[]).unwrap(), []);
    }
}
