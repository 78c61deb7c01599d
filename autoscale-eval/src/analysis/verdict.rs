//! What a tested difference means.

use crate::metric::Direction;
use crate::statistics::{SignFlipTest, holm};
use crate::verdict::Verdict;
use serde::Serialize;

/// A Holm-adjusted p-value below this makes a difference more than noise.
pub const LEVEL: f64 = 0.05;

/// A test of a mean difference, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Test {
    /// The two-sided p-value of the sign-flip test.
    pub p: f64,
    /// The same among all of its family.
    pub p_holm: f64,
    /// What it means among all that was tested beside it.
    pub verdict: Verdict,
}

/// Judges a family of tests together; `None` is no hypothesis and stays so.
pub(super) fn judge(family: &[Option<(SignFlipTest, Differ)>], better: Direction) -> Vec<Option<Test>> {
    let p: Vec<f64> = family.iter().flatten().map(|(test, _)| test.p).collect();
    let mut adjusted = holm(&p).unwrap_or_else(|_| vec![1.0; p.len()]).into_iter();
    let mut judged = |(test, differ): &(SignFlipTest, Differ)| {
        let p_holm = adjusted.next().unwrap_or(1.0);
        let verdict = match (differ, better) {
            (Differ::Nowhere, _) => Verdict::Identical,
            _ if p_holm >= LEVEL => Verdict::WithinNoise,
            (_, Direction::Lower) if test.mean < 0.0 => Verdict::Better,
            (_, Direction::Higher) if test.mean > 0.0 => Verdict::Better,
            _ => Verdict::Worse,
        };
        Test { p: test.p, p_holm, verdict }
    };
    family.iter().map(|test| test.as_ref().map(&mut judged)).collect()
}

/// Whether any pair differs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Differ {
    Somewhere,
    Nowhere,
}

impl Differ {
    pub(super) fn of(differences: &[f64]) -> Self {
        if differences.iter().all(|&d| d == 0.0) { Self::Nowhere } else { Self::Somewhere }
    }
}
