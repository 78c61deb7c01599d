//! How often one policy beats another.

use super::StatisticsError;
use super::stratified::{check_strata, percentile_estimate, redraw, resamples, runs};
use crate::estimate::Estimate;
use autoscale_core::seed::Seed;

/// The probability that a run of `x` has a higher score than a run of `y` on the same scenario, ties counting one half:
/// the mean over strata of P(X > Y) + ½ P(X = Y) over all pairs of runs, which is the U of Mann and Whitney (1947)
/// over the number of pairs; Agarwal et al. (2021, section 4.3). 0.5 is a draw. Pass negated scores when lower is
/// better.
///
/// The 95 % interval is the stratified percentile bootstrap that draws runs of `x` and of `y` independently, as
/// `rliable` does. On equal seeds this ignores the pairing, which makes it wider than it had to be. Its `n` is the number
/// of runs of both. The two may have different numbers of runs.
///
/// # Errors
/// When the two have not the same number of strata, or none, or one lacks runs, or a score is not finite.
pub fn probability_of_improvement(
    x: &[Vec<f64>],
    y: &[Vec<f64>],
    seed: Seed,
) -> Result<Estimate, StatisticsError> {
    check_strata(x)?;
    check_strata(y)?;
    if x.len() != y.len() {
        return Err(StatisticsError::UnequalStrata(x.len(), y.len()));
    }
    let mut stream = seed.child("improvement").stream();
    let (mut x_drawn, mut y_drawn) = (x.to_vec(), y.to_vec());
    let resampled = resamples(|| {
        redraw(x, &mut x_drawn, &mut stream);
        redraw(y, &mut y_drawn, &mut stream);
        improvement(&x_drawn, &y_drawn)
    });
    Ok(percentile_estimate(improvement(x, y), resampled, runs(&[x, y].concat())))
}

fn improvement(x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
    x.iter().zip(y).map(|(x, y)| share_of_wins(x, y)).sum::<f64>() / x.len() as f64
}

/// The share of pairs that x wins.
fn share_of_wins(x: &[f64], y: &[f64]) -> f64 {
    // In halves, which are whole numbers and need no rounding: two for a win, one for a tie.
    let halves = |x: f64| y.iter().map(|&y| u32::from(x > y) + u32::from(x >= y)).sum::<u32>();
    let won: u64 = x.iter().map(|&x| u64::from(halves(x))).sum();
    won as f64 / (2 * x.len() * y.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wins_and_ties_are_counted_over_all_pairs() {
        // 2 beats 1; 2 ties 2; 3 beats both: 3.5 of 4. In the second stratum nothing is won.
        let x = [vec![2.0, 3.0], vec![0.0]];
        let y = [vec![1.0, 2.0], vec![5.0, 6.0, 7.0]];
        let e = probability_of_improvement(&x, &y, Seed::root(1)).unwrap();
        assert_eq!((e.point, e.n), (3.5 / 4.0 / 2.0, 8));
        assert!(e.low >= 0.25 && e.low <= e.point && e.point <= e.high && e.high <= 0.5, "{e:?}");
        let other = probability_of_improvement(&y, &x, Seed::root(1)).unwrap();
        assert!((e.point + other.point - 1.0).abs() < 1e-12);
    }

    #[test]
    fn whoever_always_wins_wins_for_certain_and_equals_draw() {
        let (low, high) = ([vec![1.0, 2.0, 3.0]], [vec![4.0, 5.0]]);
        let e = probability_of_improvement(&high, &low, Seed::root(1)).unwrap();
        assert_eq!((e.point, e.low, e.high), (1.0, 1.0, 1.0));
        let e = probability_of_improvement(&low, &low, Seed::root(1)).unwrap();
        assert!(e.point.to_bits() == 0.5_f64.to_bits() && e.low < 0.5 && e.high > 0.5, "{e:?}");
    }

    #[test]
    fn other_scenarios_are_refused() {
        let one = [vec![1.0]];
        let two = [vec![1.0], vec![2.0]];
        let error = probability_of_improvement(&one, &two, Seed::root(1)).unwrap_err();
        assert_eq!(error, StatisticsError::UnequalStrata(1, 2));
        assert!(probability_of_improvement(&one, &[vec![]], Seed::root(1)).is_err());
    }
}
