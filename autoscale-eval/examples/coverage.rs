//! How often intervals of a mean cover the truth, and how wide they are: `bootstrap_mean` and what else it could be, on
//! distributions whose mean is known. Prints a Markdown table.
//!
//! `cargo run --release -p autoscale-eval --example coverage`

#![expect(clippy::print_stdout, reason = "the table is the result")]

use autoscale_core::seed::{Seed, Stream};
use autoscale_eval::estimate::bootstrap_mean;
use autoscale_eval::statistics::student_quantile;
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rayon::prelude::*;
use std::f64::consts::SQRT_2;

const SAMPLES: u64 = 4_000;
const SIZES: [usize; 3] = [10, 30, 100];
/// Resamples of the rivals; as many as `bootstrap_mean` takes.
const RESAMPLES: usize = 5_000;
/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// What is drawn from.
struct Population {
    name: &'static str,
    mean: f64,
    draw: fn(&mut Stream) -> f64,
}

fn normal(stream: &mut Stream) -> f64 {
    StandardNormal.sample(stream)
}

fn exponential(stream: &mut Stream) -> f64 {
    Exp1.sample(stream)
}

fn populations() -> [Population; 8] {
    let of = |name, mean, draw| Population { name, mean, draw };
    [
        of("normal", 0.0, normal),
        of("uniform", 0.5, RngExt::random),
        of("exponential", 1.0, exponential),
        of("lognormal, σ = 0.5", 0.125_f64.exp(), |s| (0.5 * normal(s)).exp()),
        of("lognormal, σ = 1", 0.5_f64.exp(), |s| normal(s).exp()),
        of("difference of two lognormals, σ = 1", 0.0, |s| normal(s).exp() - normal(s).exp()),
        of("Student's t, 3 degrees", 0.0, |s| {
            // Three squares of normal numbers are chi-squared with three degrees of freedom.
            let chi: f64 = (0..3).map(|_| normal(s).powi(2)).sum();
            normal(s) / (chi / 3.0).sqrt()
        }),
        of(
            "nine in ten zero, else exponential",
            0.1,
            |s| {
                if s.random_bool(0.9) { 0.0 } else { exponential(s) }
            },
        ),
    ]
}

const METHODS: [&str; 6] =
    ["percentile bootstrap", "Student", "BCa", "bootstrap-t", "Hall's transformation", "`bootstrap_mean`"];

type Interval = (f64, f64);

/// What the rivals need of a sample or a resample.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    /// With divisor n − 1.
    deviation: f64,
    /// Third central moment over the cube of the deviation.
    skewness: f64,
}

impl Moments {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let (second, third) = values.fold((0.0, 0.0), |(second, third), value| {
            let d = value - mean;
            (second + d * d, third + d * d * d)
        });
        let deviation = (second / (n - 1.0)).sqrt();
        Self { mean, deviation, skewness: third / n / (second / n).powf(1.5) }
    }
}

/// All of [`METHODS`], in their order.
fn intervals(sample: &[f64], seed: Seed) -> [Interval; 6] {
    let n = sample.len() as f64;
    let own = Moments::of(sample.iter().copied());
    let error = own.deviation / n.sqrt();
    let mut stream = seed.child("rivals").stream();
    let mut places = vec![0_usize; sample.len()];
    let resamples: Vec<Moments> = (0..RESAMPLES)
        .map(|_| {
            places.fill_with(|| stream.random_range(0..sample.len()));
            Moments::of(places.iter().map(|&place| sample[place]))
        })
        .collect();

    let means = sorted(resamples.iter().map(|r| r.mean));
    let student = student_quantile(sample.len() - 1) * error;
    let ts = sorted(resamples.iter().map(|r| standardised(r, own.mean) * n.sqrt()));
    let hall = sorted(resamples.iter().map(|r| without_skewness(r, own.mean, n)));
    let ours = bootstrap_mean(sample, seed).map_or((f64::NAN, f64::NAN), |e| (e.low, e.high));
    [
        (quantile(&means, 0.025), quantile(&means, 0.975)),
        (own.mean - student, own.mean + student),
        bias_corrected(sample, own.mean, &means),
        (own.mean - quantile(&ts, 0.975) * error, own.mean - quantile(&ts, 0.025) * error),
        (
            own.mean - own.deviation * with_skewness(quantile(&hall, 0.975), own.skewness, n),
            own.mean - own.deviation * with_skewness(quantile(&hall, 0.025), own.skewness, n),
        ),
        ours,
    ]
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[(q * (sorted.len() - 1) as f64).round() as usize]
}

/// How many deviations a resample's mean is off; as good as infinitely many where all its values are equal.
fn standardised(resample: &Moments, mean: f64) -> f64 {
    (resample.mean - mean) / resample.deviation.max(1e-9)
}

/// Hall (1992, "On the removal of skewness by transformation"): a cubic of the standardised mean that is nearly symmetric.
fn without_skewness(resample: &Moments, mean: f64, n: f64) -> f64 {
    let w = standardised(resample, mean);
    let skewness = if resample.skewness.is_finite() { resample.skewness } else { 0.0 };
    w + skewness * w * w / 3.0 + skewness * skewness * w * w * w / 27.0 + skewness / (6.0 * n)
}

/// Its inverse.
fn with_skewness(value: f64, skewness: f64, n: f64) -> f64 {
    if skewness.abs() < 1e-9 {
        return value;
    }
    3.0 / skewness * ((1.0 + skewness * (value - skewness / (6.0 * n))).cbrt() - 1.0)
}

/// `BCa`: percentiles moved by the bias of the bootstrap's median and by the skewness (Efron 1987).
fn bias_corrected(sample: &[f64], mean: f64, means: &[f64]) -> Interval {
    let below = means.partition_point(|m| *m < mean) + means.partition_point(|m| *m <= mean);
    let bias = normal_quantile(below as f64 / (2 * means.len()) as f64);
    let (squares, cubes) = sample.iter().fold((0.0, 0.0), |(squares, cubes), value| {
        let d = value - mean;
        (squares + d * d, cubes + d * d * d)
    });
    let acceleration = cubes / (6.0 * f64::powf(squares, 1.5));
    let end = |z: f64| {
        let moved = bias + (bias + z) / (1.0 - acceleration * (bias + z));
        quantile(means, normal_probability(moved))
    };
    (end(-Z), end(Z))
}

fn normal_probability(z: f64) -> f64 {
    0.5 * libm::erfc(-z / SQRT_2)
}

fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal_probability(middle) < probability { low = middle } else { high = middle }
    }
    low
}

/// How a method did on all samples.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Intervals that lie above the truth, and below it.
    missed: [u64; 2],
    width: f64,
}

fn tally(population: &Population, n: usize, seed: Seed) -> [Tally; 6] {
    let of_samples: Vec<[Interval; 6]> = (0..SAMPLES)
        .into_par_iter()
        .filter_map(|k| {
            let seed = seed.nth(k);
            let mut stream = seed.stream();
            let sample: Vec<f64> = (0..n).map(|_| (population.draw)(&mut stream)).collect();
            // No method has an interval for nothing but zeros.
            sample.iter().any(|value| value.abs() > 0.0).then(|| intervals(&sample, seed))
        })
        .collect();
    let mut tallies = [Tally::default(); 6];
    for intervals in &of_samples {
        for (tally, (low, high)) in tallies.iter_mut().zip(intervals) {
            tally.missed[0] += u64::from(*low > population.mean);
            tally.missed[1] += u64::from(*high < population.mean);
            tally.width += (high - low) / of_samples.len() as f64;
        }
    }
    // An empty interval at zero misses a mean above zero.
    for tally in &mut tallies {
        tally.missed[1] += SAMPLES - of_samples.len() as u64;
    }
    tallies
}

/// Wilson's 95 % interval of a share, in percent.
fn wilson(share: f64, n: f64) -> (f64, f64) {
    let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    (100.0 * (centre - half), 100.0 * (centre + half))
}

/// Of all populations here the standard deviation is below 4: a width beyond this comes from dividing by zero.
fn width(mean: f64) -> String {
    if mean < 1000.0 { format!("{mean:.3}") } else { "no bound".to_owned() }
}

fn main() {
    println!(
        "| distribution | n | method | coverage, % [95 % interval] | too high, % | too low, % | mean width |"
    );
    println!("|---|---|---|---|---|---|---|");
    for population in populations() {
        for n in SIZES {
            let seed = Seed::root(1).child(population.name).nth(n as u64);
            for (method, tally) in METHODS.iter().zip(tally(&population, n, seed)) {
                let share = |count: u64| count as f64 / SAMPLES as f64;
                let covered = 1.0 - share(tally.missed[0] + tally.missed[1]);
                let (low, high) = wilson(covered, SAMPLES as f64);
                println!(
                    "| {} | {n} | {method} | {:.1} [{low:.1}, {high:.1}] | {:.1} | {:.1} | {} |",
                    population.name,
                    100.0 * covered,
                    100.0 * share(tally.missed[0]),
                    100.0 * share(tally.missed[1]),
                    width(tally.width),
                );
            }
        }
    }
}
