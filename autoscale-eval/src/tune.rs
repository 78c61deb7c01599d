//! A search with a budget: random candidates, and successive halving among them (Jamieson and Talwalkar 2016).
//!
//! Every candidate runs a few episodes; a third of them goes on to twice as many more, and so forth, so that most of
//! the budget goes to the promising. Which policies are searched is the caller's business: all of them get the same
//! search with the same budget.

use autoscale_core::validate::{ConfigError, count_in_range};
use std::ops::Range;

/// Episodes of the first round, of `ROUNDS` rounds, from each of which one in `KEPT` goes on.
const FIRST: u64 = 2;
const ROUNDS: u32 = 4;
const KEPT: u64 = 3;

/// How the budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halving {
    candidates: u64,
}

impl Halving {
    /// The smallest budget. A candidate costs `FIRST` episodes, and the third that goes on twice as many more, each
    /// round anew.
    pub const LEAST: u64 = KEPT.pow(ROUNDS - 1) * FIRST * (1 + 2 * (ROUNDS as u64 - 1));

    /// As many candidates as `budget` episodes allow.
    ///
    /// # Errors
    /// When that is not even one in the last round.
    pub fn within(budget: u64) -> Result<Self, ConfigError> {
        count_in_range("budget", budget, Self::LEAST, 100_000_000)?;
        let mut candidates = KEPT.pow(ROUNDS - 1);
        while Self::cost(candidates + 1) <= budget {
            candidates += 1;
        }
        Ok(Self { candidates })
    }

    /// Episodes that a search among so many takes.
    pub fn cost(candidates: u64) -> u64 {
        (0..ROUNDS).map(|k| survivors(candidates, k) * episodes_of(k).count() as u64).sum()
    }

    /// How many candidates to draw.
    pub const fn candidates(self) -> u64 {
        self.candidates
    }

    /// Runs the rounds. `run` gives the costs of each of the candidates on the episodes with these numbers. Returns
    /// those that reached the last round with their mean cost, cheapest first, the earlier one of equals.
    pub fn search<C: Clone>(
        candidates: &[C],
        mut run: impl FnMut(&[C], Range<u64>) -> Vec<Vec<f64>>,
    ) -> Vec<(C, f64)> {
        let mut alive: Vec<(C, Vec<f64>)> = candidates.iter().map(|c| (c.clone(), Vec::new())).collect();
        let mean = |costs: &[f64]| costs.iter().sum::<f64>() / costs.len().max(1) as f64;
        for round in 0..ROUNDS {
            alive.truncate(survivors(candidates.len() as u64, round) as usize);
            let configs: Vec<C> = alive.iter().map(|(config, _)| config.clone()).collect();
            for ((_, costs), more) in alive.iter_mut().zip(run(&configs, episodes_of(round))) {
                costs.extend(more);
            }
            alive.sort_by(|(_, a), (_, b)| mean(a).total_cmp(&mean(b)));
        }
        alive.into_iter().map(|(config, costs)| (config, mean(&costs))).collect()
    }
}

/// How many of the candidates take part in a round, from 0.
fn survivors(candidates: u64, round: u32) -> u64 {
    candidates.div_ceil(KEPT.pow(round))
}

/// The episodes of a round.
fn episodes_of(round: u32) -> Range<u64> {
    let until = |round: u32| FIRST * KEPT.pow(round);
    if round == 0 { 0..FIRST } else { until(round - 1)..until(round) }
}

/// Which of the points are on the front: no other is at most as high in both, and lower in one.
pub fn front(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 <= b.1 && (a.0 < b.0 || a.1 < b.1);
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::seed::Seed;
    use rand::RngExt;

    #[test]
    fn the_budget_is_kept_and_the_best_is_found_through_noise() {
        for budget in [400, 1000, 3000, 12_345] {
            let halving = Halving::within(budget).unwrap();
            let mut draw = Seed::root(budget).stream();
            let candidates: Vec<f64> = (0..halving.candidates()).map(|_| draw.random()).collect();
            let mut spent = 0;
            let found = Halving::search(&candidates, |configs, episodes| {
                spent += configs.len() as u64 * episodes.clone().count() as u64;
                let noise = |k: u64| Seed::root(7).nth(k).stream().random::<f64>();
                configs.iter().map(|c| episodes.clone().map(|k| c + noise(k)).collect()).collect()
            });
            assert!(spent <= budget && spent * 10 >= budget * 9, "{spent} of {budget}");
            let least = candidates.iter().copied().fold(f64::INFINITY, f64::min);
            assert!((found[0].0 - least).abs() < 1e-12, "noise that is common to all does not matter");
            assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
        assert!(Halving::within(10).is_err());
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [(1.0, 5.0), (2.0, 2.0), (3.0, 2.0), (3.0, 1.0), (2.0, 2.0), (4.0, 4.0)];
        assert_eq!(front(&points), [true, true, false, true, true, false]);
    }
}
