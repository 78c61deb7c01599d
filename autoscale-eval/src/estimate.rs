//! A point with its interval: no number goes out bare.

use autoscale_core::seed::Seed;
use rand::RngExt;
use serde::Serialize;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

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

/// The mean of `values` with a 95 % percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).
/// For the difference of two policies pass the differences on equal seeds: pairing is what makes them
/// comparable. `None` without a value.
pub fn bootstrap_mean(values: &[f64], seed: Seed) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let point = values.iter().sum::<f64>() / n as f64;
    let mut stream = seed.child("bootstrap").stream();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[stream.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |q: f64| means[(q * (RESAMPLES - 1) as f64).round() as usize];
    Some(Estimate { point, low: at(0.025), high: at(0.975), n })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of samples of 30 whose interval covers the true mean.
    fn coverage(draw: impl Fn(&mut autoscale_core::seed::Stream) -> f64, mean: f64) -> f64 {
        let covered = (0..400).filter(|&k| {
            let mut stream = Seed::root(k).stream();
            let sample: Vec<f64> = (0..30).map(|_| draw(&mut stream)).collect();
            let estimate = bootstrap_mean(&sample, Seed::root(k)).unwrap();
            estimate.low <= mean && mean <= estimate.high
        });
        covered.count() as f64 / 400.0
    }

    #[test]
    fn intervals_cover_the_mean_about_as_often_as_they_say() {
        // The percentile bootstrap is a little narrow at n = 30; three standard errors of 400 runs are 3.3 %.
        let uniform = coverage(RngExt::random::<f64>, 0.5);
        assert!((0.90..=0.985).contains(&uniform), "{uniform}");
        let exponential = coverage(|s| -(1.0 - s.random::<f64>()).ln(), 1.0);
        assert!((0.88..=0.985).contains(&exponential), "{exponential}");
    }

    #[test]
    fn equal_values_have_an_empty_interval_and_none_has_none() {
        let estimate = bootstrap_mean(&[3.0; 5], Seed::root(1)).unwrap();
        assert_eq!((estimate.point, estimate.low, estimate.high, estimate.n), (3.0, 3.0, 3.0, 5));
        assert_eq!(bootstrap_mean(&[], Seed::root(1)), None);
    }
}
