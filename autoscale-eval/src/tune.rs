//! A search with a budget: random candidates, and successive halving among them (Jamieson and Talwalkar 2016).
//!
//! Every candidate runs a few episodes; a part of them goes on to more, and so forth, so that most of the budget goes to
//! the promising. Which policies are searched is the caller's business: all of them get the same search with the same
//! budget.

use autoscale_core::validate::{ConfigError, count_in_range};
use std::ops::Range;

/// The rounds of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halving {
    /// Episodes that a candidate has run at the end of each round, rising.
    until: &'static [u64],
    /// From each round one in so many goes on.
    kept: u64,
}

impl Halving {
    /// Among many, of which most are far from the best.
    pub const BROAD: Self = Self { until: &[2, 6, 18, 54], kept: 3 };
    /// Among a few that are alike: nobody is let go before it has run eight episodes. How much is lost against running all
    /// to the end is in `experiments/hpa-search`.
    pub const FEW: Self = Self { until: &[8, 15, 30], kept: 2 };

    /// Episodes of the last round and those before it.
    pub const fn episodes(self) -> u64 {
        self.until[self.until.len() - 1]
    }

    /// The smallest budget: as many candidates as divide without a remainder until one is left.
    pub fn least(self) -> u64 {
        self.cost(self.fewest())
    }

    /// As many candidates as `budget` episodes allow.
    ///
    /// # Errors
    /// When that is less than [`Self::least`].
    pub fn within(self, budget: u64) -> Result<u64, ConfigError> {
        count_in_range("budget", budget, self.least(), 100_000_000)?;
        let mut candidates = self.fewest();
        while self.cost(candidates + 1) <= budget {
            candidates += 1;
        }
        Ok(candidates)
    }

    fn fewest(self) -> u64 {
        self.until.iter().skip(1).map(|_| self.kept).product()
    }

    /// Episodes that a search among so many takes.
    pub fn cost(self, candidates: u64) -> u64 {
        let rounds = 0..self.until.len();
        rounds.map(|k| self.survivors(candidates, k) * self.episodes_of(k).count() as u64).sum()
    }

    /// How many of the candidates take part in a round, from 0.
    fn survivors(self, candidates: u64, round: usize) -> u64 {
        (0..round).fold(candidates, |left, _| left.div_ceil(self.kept))
    }

    /// The episodes of a round.
    fn episodes_of(self, round: usize) -> Range<u64> {
        let from = if round == 0 { 0 } else { self.until[round - 1] };
        from..self.until[round]
    }

    /// Runs the rounds. `run` gives the costs of each of the candidates on the episodes with these numbers. Returns
    /// those that reached the last round with their mean cost, cheapest first, the earlier one of equals.
    pub fn search<C: Clone>(
        self,
        candidates: &[C],
        mut run: impl FnMut(&[C], Range<u64>) -> Vec<Vec<f64>>,
    ) -> Vec<(C, f64)> {
        let mut alive: Vec<(C, Vec<f64>)> = candidates.iter().map(|c| (c.clone(), Vec::new())).collect();
        let mean = |costs: &[f64]| costs.iter().sum::<f64>() / costs.len().max(1) as f64;
        for round in 0..self.until.len() {
            alive.truncate(self.survivors(candidates.len() as u64, round) as usize);
            let configs: Vec<C> = alive.iter().map(|(config, _)| config.clone()).collect();
            for ((_, costs), more) in alive.iter_mut().zip(run(&configs, self.episodes_of(round))) {
                costs.extend(more);
            }
            alive.sort_by(|(_, a), (_, b)| mean(a).total_cmp(&mean(b)));
        }
        alive.into_iter().map(|(config, costs)| (config, mean(&costs))).collect()
    }
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
            let candidates = Halving::BROAD.within(budget).unwrap();
            let mut draw = Seed::root(budget).stream();
            let candidates: Vec<f64> = (0..candidates).map(|_| draw.random()).collect();
            let mut spent = 0;
            let found = Halving::BROAD.search(&candidates, |configs, episodes| {
                spent += configs.len() as u64 * episodes.clone().count() as u64;
                let noise = |k: u64| Seed::root(7).nth(k).stream().random::<f64>();
                configs.iter().map(|c| episodes.clone().map(|k| c + noise(k)).collect()).collect()
            });
            assert!(spent <= budget && spent * 10 >= budget * 9, "{spent} of {budget}");
            let least = candidates.iter().copied().fold(f64::INFINITY, f64::min);
            assert!((found[0].0 - least).abs() < 1e-12, "noise that is common to all does not matter");
            assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
        assert!(Halving::BROAD.within(10).is_err());
    }

    #[test]
    fn half_of_a_few_go_on() {
        let noise = |k: u64| Seed::root(3).nth(k).stream().random::<f64>();
        let mut rounds = Vec::new();
        let candidates = [("a", 0.5), ("b", 0.2), ("c", 0.4), ("d", 0.3), ("e", 0.2)];
        let found = Halving::FEW.search(&candidates, |configs, episodes| {
            rounds.push((configs.len(), episodes.clone()));
            configs.iter().map(|(_, cost)| episodes.clone().map(|k| cost + noise(k)).collect()).collect()
        });
        assert_eq!(rounds, [(5, 0..8), (3, 8..15), (2, 15..30)]);
        assert_eq!(Halving::FEW.cost(5), 5 * 8 + 3 * 7 + 2 * 15);
        // Of equals the first, with its mean over all.
        let mean = (0..Halving::FEW.episodes()).map(noise).sum::<f64>() / 30.0;
        assert!((found[0].1 - (0.2 + mean)).abs() < 1e-12, "{found:?}");
        assert_eq!(found.iter().map(|((name, _), _)| *name).collect::<String>(), "be");
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [(1.0, 5.0), (2.0, 2.0), (3.0, 2.0), (3.0, 1.0), (2.0, 2.0), (4.0, 4.0)];
        assert_eq!(front(&points), [true, true, false, true, true, false]);
    }
}
