//! How often the interval of a report's relative cost covers the truth: `joint_interval` of the interquartile mean of all
//! runs of six strata together. Prints a Markdown table.
//!
//! `cargo run --release -p autoscale-eval --example joint_coverage`

#![expect(clippy::print_stdout, reason = "the table is the result")]

use autoscale_core::seed::{Seed, Stream};
use autoscale_eval::statistics::aggregate::pooled_interquartile_mean;
use autoscale_eval::statistics::joint_interval;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

const SAMPLES: u64 = 2_000;
const RUNS: usize = 30;
/// What the runs of a stratum are multiplied by, as scenarios differ in what a policy saves there.
const SCALES: [f64; 6] = [0.6, 0.8, 0.9, 1.0, 1.1, 1.4];
/// Runs of a stratum from which the truth is computed.
const MANY: usize = 1_000_000;

/// Makes a run of a normal number.
type Population = fn(f64) -> f64;

/// Whether runs of equal number share their draws.
#[derive(Clone, Copy, PartialEq)]
enum Draws {
    Own,
    Shared,
}

/// So many runs of each stratum.
fn strata(of: Population, runs: usize, draws: Draws, stream: &mut Stream) -> Vec<Vec<f64>> {
    let mut normal = || -> Vec<f64> { (0..runs).map(|_| StandardNormal.sample(stream)).collect() };
    let shared = normal();
    let stratum = |scale: f64| {
        let own = if draws == Draws::Own { normal() } else { shared.clone() };
        own.into_iter().map(|z| scale * of(z)).collect()
    };
    SCALES.map(stratum).into()
}

fn main() {
    let populations: [(&str, Population); 3] = [
        ("normal, a fifth of its mean wide", |z| 1.0 + 0.2 * z),
        ("lognormal, σ = 0.5", |z| (0.5 * z).exp()),
        ("lognormal, σ = 1", f64::exp),
    ];
    println!("| runs | draws of strata | covered, % of {SAMPLES} | too high, % | too low, % |");
    println!("|---|---|---|---|---|");
    for (name, of) in populations {
        let seed = Seed::root(1).child(name);
        let truth =
            pooled_interquartile_mean(&strata(of, MANY, Draws::Own, &mut seed.child("truth").stream()));
        for (draws, said) in [(Draws::Own, "their own"), (Draws::Shared, "shared")] {
            let missed: Vec<(bool, bool)> = (0..SAMPLES)
                .into_par_iter()
                .filter_map(|k| {
                    let seed = seed.child(said).nth(k);
                    let sample = strata(of, RUNS, draws, &mut seed.stream());
                    let e = joint_interval(&sample, seed, pooled_interquartile_mean).ok()?;
                    Some((e.low > truth, e.high < truth))
                })
                .collect();
            let share = |n: usize| 100.0 * n as f64 / missed.len() as f64;
            let high = share(missed.iter().filter(|m| m.0).count());
            let low = share(missed.iter().filter(|m| m.1).count());
            println!("| {name} | {said} | {:.1} | {high:.1} | {low:.1} |", 100.0 - high - low);
        }
    }
}
