//! Several tests at once.

use super::StatisticsError;

/// The p-values of a family of tests, each adjusted such that refusing all hypotheses with an adjusted value of at most
/// α makes even one mistake with probability at most α, however the tests depend on each other (Holm 1979). In the
/// order of `p_values`: the k-th smallest of m becomes the largest of (m − j + 1) p₍ⱼ₎ for j ≤ k, and at most 1.
///
/// # Errors
/// When one is not a probability.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, StatisticsError> {
    if let Some(&p) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(StatisticsError::NotAProbability(p));
    }
    let mut ascending: Vec<usize> = (0..p_values.len()).collect();
    ascending.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, at) in ascending.into_iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[at]).min(1.0);
        adjusted[at] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_tests_as_on_paper() {
        // Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: the last would be 0.04, but may not fall below 0.06.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]).unwrap();
        for (ours, paper) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((ours - paper).abs() < 1e-12, "{adjusted:?}");
        }
    }

    #[test]
    fn nothing_exceeds_one_and_no_other_than_probabilities_are_taken() {
        assert_eq!(holm(&[0.6, 0.7]).unwrap(), [1.0, 1.0]);
        assert_eq!(holm(&[]).unwrap(), Vec::<f64>::new());
        assert_eq!(holm(&[0.5, 1.5]).unwrap_err(), StatisticsError::NotAProbability(1.5));
        assert!(holm(&[f64::NAN]).is_err());
    }

    proptest! {
        /// Between doing nothing and Bonferroni's correction, and in the same order.
        #[test]
        fn adjusted_values_keep_order_and_bounds(p in prop::collection::vec(0.0..=1.0_f64, 1..12)) {
            let adjusted = holm(&p).unwrap();
            for (k, &a) in adjusted.iter().enumerate() {
                prop_assert!(p[k] <= a && a <= (p.len() as f64 * p[k]).min(1.0));
                for (j, &b) in adjusted.iter().enumerate() {
                    prop_assert!(p[k] > p[j] || a <= b);
                }
            }
        }
    }
}
