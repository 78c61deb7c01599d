//! A point with its interval: no number goes out bare.

use crate::statistics::student_quantile;
use autoscale_core::seed::Seed;
use rand::RngExt;
use serde::Serialize;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 5_000;

/// Of so many sorted resamples, this many lie beyond each end of the interval: 2.5 %.
const BEYOND: usize = RESAMPLES / 40;

/// Fewer values than this have too few different resamples.
const FEWEST: usize = 5;

/// No end is farther from the mean than this many times Student's.
const FARTHEST: f64 = 4.0;

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub point: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many values it comes from.
    pub n: usize,
}

impl Estimate {
    /// The same seen from the other side: of a − b, that of b − a.
    pub fn negated(self) -> Self {
        Self { point: -self.point, low: -self.high, high: -self.low, n: self.n }
    }
}

/// The mean of `values` with a 95 % interval by the bootstrap-t, but nowhere closer to the mean than Student's.
/// For the difference of two policies pass the differences on equal seeds: pairing is what makes them comparable.
/// `None` without a value; the point alone for one value or for equal ones.
///
/// Each resample gives a t of its own, its distance from the mean over its own standard error, and the quantiles of
/// these take the place of Student's (Efron and Tibshirani 1993, section 12.5). That follows skewed values, for which
/// Student's interval is too short on the long side. Heavy tails on both sides make it too short itself, so that an end
/// is never closer than Student's; and values of which nearly all are equal give it no bound at all, so that none is
/// farther than four times Student's. Below five values it is Student's. An end may lie where no value can, such as
/// below zero.
///
/// Of 4,000 samples of 30 it covered the mean in 95.8 % (normal), 95.6 % (exponential), 93.9 % (lognormal, σ = 1) and
/// 95.7 % (Student's t, 3 degrees), ± 0.8 %; the percentile bootstrap in 93.9, 91.2, 87.7 and 92.4 %. Where nine values
/// in ten are zero, it is 90 % (`experiments/statistics`).
pub fn bootstrap_mean(values: &[f64], seed: Seed) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let point = values.iter().sum::<f64>() / n as f64;
    let deviations: Vec<f64> = values.iter().map(|value| value - point).collect();
    let error = standard_error(deviations.iter().sum(), squares(&deviations), n as f64);
    if n == 1 || error <= 0.0 {
        return Some(Estimate { point, low: point, high: point, n });
    }
    let student = student_quantile(n - 1);
    let (below, above) = if n < FEWEST { (-student, student) } else { t_quantiles(&deviations, error, seed) };
    let (nearest, farthest) = (student, FARTHEST * student);
    // A resample with a large t has a mean above that of the values, as these may have above the truth.
    let low = point - error * above.clamp(nearest, farthest);
    let high = point - error * below.clamp(-farthest, -nearest);
    Some(Estimate { point, low, high, n })
}

/// The 2.5 % and the 97.5 % quantile of t over resamples of `deviations`, whose mean has the standard error `error`.
fn t_quantiles(deviations: &[f64], error: f64, seed: Seed) -> (f64, f64) {
    let n = deviations.len();
    let size = n as f64;
    // A resample of one value many times over has no error but that of rounding. Its t is huge, or zero for a zero.
    let least = 1e-6 * error;
    let mut stream = seed.child("bootstrap").stream();
    let mut ts: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let deviation = deviations[stream.random_range(0..n)];
                sum += deviation;
                squares += deviation * deviation;
            }
            sum / size / standard_error(sum, squares, size).max(least)
        })
        .collect();
    ts.sort_unstable_by(f64::total_cmp);
    (ts[BEYOND], ts[RESAMPLES - 1 - BEYOND])
}

/// The standard error of the mean of n values with this sum and this sum of squares.
fn standard_error(sum: f64, squares: f64, n: f64) -> f64 {
    ((squares - sum * sum / n).max(0.0) / (n - 1.0) / n).sqrt()
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Stream;
    use rand_distr::{Distribution, Exp1, LogNormal, StandardNormal, StudentT};

    /// Share of so many samples of n whose interval covers the true mean.
    fn coverage(samples: u64, n: usize, mean: f64, draw: impl Fn(&mut Stream) -> f64) -> f64 {
        let covered = (0..samples).filter(|&k| {
            let mut stream = Seed::root(k).stream();
            let sample: Vec<f64> = (0..n).map(|_| draw(&mut stream)).collect();
            let estimate = bootstrap_mean(&sample, Seed::root(k)).unwrap();
            estimate.low <= mean && mean <= estimate.high
        });
        covered.count() as f64 / samples as f64
    }

    #[test]
    fn thirty_values_are_covered_as_often_as_the_interval_says() {
        // The experiment in experiments/statistics has more samples, sizes and distributions.
        let lognormal = LogNormal::new(0.0, 1.0).unwrap();
        let covered = [
            coverage(700, 30, 0.0, |s| StandardNormal.sample(s)),
            coverage(700, 30, 0.5_f64.exp(), |s| lognormal.sample(s)),
            coverage(700, 30, 0.0, |s| StudentT::new(3.0).unwrap().sample(s)),
        ];
        assert!(covered.iter().all(|c| (0.93..=0.97).contains(c)), "{covered:?}");
    }

    #[test]
    fn the_long_side_of_skewed_values_gets_the_longer_arm() {
        let mut stream = Seed::root(3).stream();
        let sample: Vec<f64> = (0..30).map(|_| Exp1.sample(&mut stream)).collect();
        let e = bootstrap_mean(&sample, Seed::root(3)).unwrap();
        assert!(e.high - e.point > 1.2 * (e.point - e.low), "{e:?}");
        let mirrored: Vec<f64> = sample.iter().map(|v| -v).collect();
        let m = bootstrap_mean(&mirrored, Seed::root(3)).unwrap();
        assert!((m.low + e.high).abs() < 1e-12 && (m.high + e.low).abs() < 1e-12, "{e:?} {m:?}");
    }

    #[test]
    fn units_and_offsets_change_nothing() {
        let values = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0, 1.5];
        let e = bootstrap_mean(&values, Seed::root(1)).unwrap();
        let moved = bootstrap_mean(&values.map(|v| 1e6 + 1e-3 * v), Seed::root(1)).unwrap();
        for (ours, moved) in [(e.point, moved.point), (e.low, moved.low), (e.high, moved.high)] {
            assert!((moved - 1e6 - 1e-3 * ours).abs() < 1e-7, "{e:?} {moved:?}");
        }
    }

    #[test]
    fn two_values_have_student_s_interval() {
        // Mean 1, standard error 1, 12.706 for one degree of freedom.
        let e = bootstrap_mean(&[0.0, 2.0], Seed::root(1)).unwrap();
        assert!((e.low - (1.0 - 12.706)).abs() < 1e-3 && (e.high - (1.0 + 12.706)).abs() < 1e-3, "{e:?}");
    }

    #[test]
    fn one_odd_value_among_equals_has_a_bounded_interval() {
        let mut values = [0.0; 30];
        values[4] = 1.0;
        let e = bootstrap_mean(&values, Seed::root(1)).unwrap();
        assert!((e.high - e.point - 4.0 * 2.045 / 30.0).abs() < 1e-3, "{e:?}");
        assert!((e.point - e.low - 2.045 / 30.0).abs() < 1e-3, "{e:?}");
    }

    #[test]
    fn equal_values_have_an_empty_interval_and_none_has_none() {
        let estimate = bootstrap_mean(&[3.0; 5], Seed::root(1)).unwrap();
        assert_eq!((estimate.point, estimate.low, estimate.high, estimate.n), (3.0, 3.0, 3.0, 5));
        // The sum of three tenths is not three times a tenth, and the two zeros are equal.
        let tenths = bootstrap_mean(&[0.1; 3], Seed::root(1)).unwrap();
        assert_eq!((tenths.low, tenths.high), (tenths.point, tenths.point));
        let zeros = bootstrap_mean(&[0.0, -0.0, 0.0, 0.0, 0.0], Seed::root(1)).unwrap();
        assert_eq!((zeros.low, zeros.high), (0.0, 0.0));
        let single = bootstrap_mean(&[3.0], Seed::root(1)).unwrap();
        assert_eq!((single.point, single.low, single.high, single.n), (3.0, 3.0, 3.0, 1));
        assert_eq!(bootstrap_mean(&[], Seed::root(1)), None);
    }
}
