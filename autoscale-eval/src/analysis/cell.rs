//! One figure of one policy in one scenario.

use super::verdict::{Differ, Test, judge};
use crate::estimate::{Estimate, bootstrap_mean};
use crate::figure::Figure;
use crate::statistics::{SignFlipTest, sign_flip_test};
use crate::study::{Place, Role, Study};
use autoscale_core::seed::Seed;
use serde::Serialize;

/// A figure of a policy in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The figure's name.
    pub metric: &'static str,
    /// Its mean over all episodes in which it has a value; `None` where there is none.
    pub mean: Option<Estimate>,
    /// What it differs from the baseline by; `None` for the baseline itself, and where no episode has both values.
    pub against: Option<Difference>,
}

/// A paired difference to the baseline, over the episodes in which both have a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The baseline's mean over these episodes.
    pub baseline_mean: f64,
    /// The policy's.
    pub mean: f64,
    /// The mean of policy − baseline; its `n` is the number of pairs.
    pub difference: Estimate,
    /// Is it more than noise? `None` for the clairvoyant, of which this is not asked.
    pub test: Option<Test>,
}

impl Cell {
    /// The test against the baseline, if there was one.
    pub fn test(&self) -> Option<&Test> {
        self.against.as_ref().and_then(|against| against.test.as_ref())
    }
}

/// A pair of the baseline's and the policy's value.
type ValuePair = (f64, f64);

/// The k-th figure of every policy, by scenario and policy. Its tests are a family.
pub(super) fn column(study: &Study, k: usize, figure: &Figure) -> Vec<Vec<Cell>> {
    let policies = study.policies().len();
    let places: Vec<(usize, usize)> =
        (0..study.scenarios().len()).flat_map(|s| (0..policies).map(move |p| (s, p))).collect();
    // The same resamples for means and differences, so that a row is consistent in itself.
    let seed = Seed::root(0).child(figure.name);
    let pairs: Vec<Vec<ValuePair>> = places.iter().map(|&(s, p)| against_baseline(study, s, p, k)).collect();
    let tests: Vec<Option<(SignFlipTest, Differ)>> = places
        .iter()
        .zip(&pairs)
        .map(|(&(_, p), pairs)| {
            let differences: Vec<f64> = pairs.iter().map(|(b, v)| v - b).collect();
            let contends = study.policies()[p].role == Role::Contender;
            let test = contends.then(|| sign_flip_test(&differences, seed).ok()).flatten()?;
            Some((test, Differ::of(&differences)))
        })
        .collect();
    let tests = judge(&tests, figure.better);
    let cells: Vec<Cell> = places
        .iter()
        .zip(pairs.iter().zip(tests))
        .map(|(&(s, p), (pairs, test))| Cell {
            metric: figure.name,
            mean: bootstrap_mean(&values(study, s, p, k), seed),
            against: difference(pairs, test, seed),
        })
        .collect();
    cells.chunks(policies).map(<[Cell]>::to_vec).collect()
}

fn difference(pairs: &[ValuePair], test: Option<Test>, seed: Seed) -> Option<Difference> {
    let differences: Vec<f64> = pairs.iter().map(|(b, v)| v - b).collect();
    let difference = bootstrap_mean(&differences, seed)?;
    let n = pairs.len() as f64;
    let baseline_mean = pairs.iter().map(|pair| pair.0).sum::<f64>() / n;
    let mean = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
    Some(Difference { baseline_mean, mean, difference, test })
}

fn against_baseline(study: &Study, scenario: usize, policy: usize, k: usize) -> Vec<ValuePair> {
    if policy == study.baseline() {
        return Vec::new();
    }
    let mut pairs = study.pairs(scenario, (study.baseline(), policy), k);
    pairs.retain(|(b, v)| b.is_finite() && v.is_finite());
    pairs
}

/// The finite values of a figure.
pub(super) fn values(study: &Study, scenario: usize, policy: usize, k: usize) -> Vec<f64> {
    (0..study.episodes()).filter_map(|episode| value(study, Place { scenario, policy, episode }, k)).collect()
}

/// A value, if it is a finite one; of others, [`notes`](super::notes) tell.
pub(super) fn value(study: &Study, place: Place, k: usize) -> Option<f64> {
    study.value(place, k).filter(|value| value.is_finite())
}
