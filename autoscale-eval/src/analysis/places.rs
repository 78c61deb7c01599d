//! Every two policies over all scenarios, and the places that follow.

use super::overall::Relative;
use super::verdict::{Differ, Test, judge};
use crate::estimate::{Estimate, bootstrap_mean};
use crate::metric::Direction;
use crate::statistics::sign_flip_test;
use crate::study::Study;
use crate::verdict::Verdict;
use autoscale_core::seed::Seed;
use serde::Serialize;
use std::fmt;

/// Two policies over all scenarios.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// One policy.
    pub first: String,
    /// The other.
    pub second: String,
    /// What the first costs more than the second, in per cent of the baseline's mean cost, as the mean over scenarios. Its
    /// interval is that of this pair alone; `None` where no episode is finished by both in all scenarios.
    pub difference: Option<Estimate>,
    /// The verdict on the first, among all pairs.
    pub test: Option<Test>,
}

/// The first and the last place that a policy may have: from one more than there are policies below its cost beyond
/// noise, to as many as are not above it beyond noise. Policies that cannot be told apart overlap. As long as the pairs'
/// tests are right together, so are all places (Al Mohamad, Goeman and van Zwet 2022, "Simultaneous confidence intervals
/// for ranks with application to ranking institutions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// From 1.
    pub first: usize,
    /// Not below the first.
    pub last: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            f.pad(&self.first.to_string())
        } else {
            f.pad(&format!("{}–{}", self.first, self.last))
        }
    }
}

impl Pair {
    /// The verdict on `policy`, whichever of the two it is; `None` if it is neither, or nothing was tested.
    fn verdict_on(&self, policy: &str) -> Option<Verdict> {
        let verdict = self.test?.verdict;
        if self.first == policy {
            return Some(verdict);
        }
        let mirrored = match verdict {
            Verdict::Better => Verdict::Worse,
            Verdict::Worse => Verdict::Better,
            same => same,
        };
        (self.second == policy).then_some(mirrored)
    }

    /// The difference as seen by `policy`.
    pub fn difference_of(&self, policy: &str, other: &str) -> Option<Estimate> {
        if self.first == policy && self.second == other {
            self.difference
        } else if self.first == other && self.second == policy {
            self.difference.map(Estimate::negated)
        } else {
            None
        }
    }
}

/// Every two policies that are ranked; their tests are a family.
pub(super) fn pairs(study: &Study, relative: &Relative<'_>) -> Vec<Pair> {
    let ranked: Vec<usize> = (0..study.policies().len()).filter(|&p| relative.ranks(p)).collect();
    let both = ranked.iter().enumerate().flat_map(|(k, &a)| ranked[k + 1..].iter().map(move |&b| (a, b)));
    let both: Vec<(usize, usize)> = both.collect();
    let family: Vec<Vec<f64>> = both.iter().map(|&(a, b)| relative.differences(a, b)).collect();
    let name = |p: usize| study.policies()[p].name.clone();
    both.iter()
        .zip(tested(&family))
        .map(|(&(a, b), (difference, test))| Pair { first: name(a), second: name(b), difference, test })
        .collect()
}

/// The mean of each list of differences in cost, and whether it is more than noise among all of them; of an empty list
/// neither.
pub(super) fn tested(family: &[Vec<f64>]) -> Vec<(Option<Estimate>, Option<Test>)> {
    let seed = Seed::root(0).child("pairs");
    let test = |d: &Vec<f64>| Some((sign_flip_test(d, seed).ok()?, Differ::of(d)));
    let tests = judge(&family.iter().map(test).collect::<Vec<_>>(), Direction::Lower);
    family.iter().zip(tests).map(|(differences, test)| (bootstrap_mean(differences, seed), test)).collect()
}

/// The place of a ranked policy; every other ranked one forms a pair with it.
pub(super) fn place(policy: &str, pairs: &[Pair]) -> Place {
    let own = pairs.iter().filter(|pair| pair.first == policy || pair.second == policy);
    let ranked = 1 + own.count();
    let so_many =
        |verdict| pairs.iter().filter_map(|pair| pair.verdict_on(policy)).filter(|v| *v == verdict).count();
    Place { first: 1 + so_many(Verdict::Worse), last: ranked - so_many(Verdict::Better) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(first: &str, second: &str, verdict: Verdict) -> Pair {
        let test = Some(Test { p: 0.5, p_holm: 0.5, verdict });
        Pair { first: first.to_owned(), second: second.to_owned(), difference: None, test }
    }

    #[test]
    fn who_cannot_be_told_apart_overlaps() {
        // Only a and c are told apart; b may be anywhere.
        let noise = Verdict::WithinNoise;
        let pairs = [pair("a", "b", noise), pair("a", "c", Verdict::Better), pair("b", "c", noise)];
        let places = ["a", "b", "c"].map(|policy| place(policy, &pairs).to_string());
        assert_eq!(places, ["1–2", "1–3", "2–3"]);
        assert_eq!(pairs[1].verdict_on("c"), Some(Verdict::Worse));
    }

    #[test]
    fn a_strict_order_has_single_places() {
        let better = Verdict::Better;
        let pairs = [pair("a", "b", better), pair("a", "c", better), pair("c", "b", better)];
        assert_eq!(["a", "b", "c"].map(|policy| place(policy, &pairs).to_string()), ["1", "3", "2"]);
        assert_eq!(place("alone", &[]), Place { first: 1, last: 1 });
    }
}
