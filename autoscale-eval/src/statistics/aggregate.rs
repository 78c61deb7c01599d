//! One number of many scores.
//!
//! Those of a whole table take `scores[stratum][run]` and are what
//! [`stratified_interval`](super::stratified_interval) wants. They are not a number when there is no score.

/// Share of the values that the interquartile mean leaves out at each end.
const CUT: f64 = 0.25;

/// The mean of the middle half of `values`, in their unit: of n sorted values, the ⌊n/4⌋ smallest and the ⌊n/4⌋ largest
/// are left out. Less moved by outliers than the mean, and by less noise than the median, which is why Agarwal et al.
/// (2021, section 4.3) recommend it; the same as `scipy.stats.trim_mean(values, 0.25)`, which their library calls.
/// `None` without a value.
pub fn interquartile_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = (CUT * sorted.len() as f64) as usize;
    Some(mean(&sorted[cut..sorted.len() - cut]))
}

/// The interquartile mean of all runs of all strata together, as `rliable` computes it: a stratum whose scores are
/// outside of the middle half does not count.
pub fn pooled_interquartile_mean(scores: &[Vec<f64>]) -> f64 {
    interquartile_mean(&scores.concat()).unwrap_or(f64::NAN)
}

/// The mean over strata of their mean: every scenario weighs the same, however many runs it has.
pub fn mean_of_means(scores: &[Vec<f64>]) -> f64 {
    mean(&means(scores))
}

/// The median over strata of their mean; of an even number of strata, the mean of the middle two.
pub fn median_of_means(scores: &[Vec<f64>]) -> f64 {
    let mut means = means(scores);
    if means.is_empty() {
        return f64::NAN;
    }
    means.sort_unstable_by(f64::total_cmp);
    let upper = means.len() / 2;
    let lower = (means.len() - 1) / 2;
    f64::midpoint(means[lower], means[upper])
}

/// By how much scores stay below `target` on average (Agarwal et al. 2021, section 4.3); what is above it counts as
/// reaching it. The mean over strata of their mean, in the scores' unit.
pub fn optimality_gap(scores: &[Vec<f64>], target: f64) -> f64 {
    let gap =
        |runs: &Vec<f64>| mean(&runs.iter().map(|score| target - score.min(target)).collect::<Vec<_>>());
    mean(&scores.iter().map(gap).collect::<Vec<_>>())
}

fn means(scores: &[Vec<f64>]) -> Vec<f64> {
    scores.iter().map(|runs| mean(runs)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn a_quarter_is_cut_at_each_end_rounded_down() {
        assert_eq!(interquartile_mean(&[]), None);
        assert_eq!(interquartile_mean(&[7.0]), Some(7.0));
        // Three values: nothing is cut. Seven: one at each end.
        assert_eq!(interquartile_mean(&[9.0, 0.0, 3.0]), Some(4.0));
        assert_eq!(interquartile_mean(&[1000.0, 1.0, 2.0, 3.0, 4.0, 5.0, -1000.0]), Some(3.0));
        // Eight: two at each end, in whatever order they come.
        assert_eq!(interquartile_mean(&[8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0]), Some(4.5));
    }

    #[test]
    fn strata_weigh_the_same_except_where_they_are_pooled() {
        let scores = [vec![0.0, 2.0], vec![10.0], vec![4.0, 4.0, 4.0, 0.0]];
        assert!(close(mean_of_means(&scores), (1.0 + 10.0 + 3.0) / 3.0));
        assert!(close(median_of_means(&scores), 3.0));
        assert!(close(median_of_means(&scores[..2]), 5.5));
        // Sorted: 0 0 2 4 4 4 10, of which the first and the last go.
        assert!(close(pooled_interquartile_mean(&scores), 14.0 / 5.0));
    }

    #[test]
    fn the_gap_does_not_let_one_run_make_up_for_another() {
        // Below 5 by 5 and 3, by nothing, by 1 three times and 5.
        let scores = [vec![0.0, 2.0], vec![10.0], vec![4.0, 4.0, 4.0, 0.0]];
        assert!(close(optimality_gap(&scores, 5.0), (4.0 + 0.0 + 2.0) / 3.0));
    }

    #[test]
    fn nothing_has_no_aggregate() {
        assert!(pooled_interquartile_mean(&[]).is_nan());
        assert!(mean_of_means(&[]).is_nan() && median_of_means(&[]).is_nan());
        assert!(optimality_gap(&[], 1.0).is_nan());
    }
}
