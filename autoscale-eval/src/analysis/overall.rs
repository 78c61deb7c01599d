//! Each policy over all scenarios, by what it costs relative to the baseline.

use super::cell::{value, values};
use super::places::{Pair, Place, place, tested};
use super::verdict::Test;
use super::{PRIMARY, ScenarioAnalysis, position};
use crate::estimate::{Estimate, bootstrap_mean};
use crate::statistics::aggregate::pooled_interquartile_mean;
use crate::statistics::{ProfilePoint, joint_interval, performance_profile, probability_of_improvement};
use crate::study::{self, Role, Study};
use crate::verdict::Verdict;
use autoscale_core::seed::Seed;
use rayon::prelude::*;
use serde::Serialize;

/// Distance of the profile's thresholds.
const STEP: f64 = 0.05;

/// Relative costs beyond this are not told apart in the profile.
const BEYOND: f64 = 3.0;

/// A policy over all scenarios. All but the tally is taken over the scenarios in which it has a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyOverall {
    /// Its name.
    pub policy: String,
    /// Whether it competes.
    pub role: Role,
    /// In how many scenarios it has a relative cost.
    pub scenarios: usize,
    /// Its place; `None` for the clairvoyant, and for a policy without a cost in some scenario.
    pub place: Option<Place>,
    /// Interquartile mean of the relative cost: of each episode's cost over the baseline's mean cost in the scenario, which
    /// is taken as it is. Of the episodes that have a cost in all of these scenarios.
    pub relative_cost: Option<Estimate>,
    /// What it costs more than the baseline, in per cent of the baseline's mean cost, as the mean over scenarios; `None`
    /// where it is not ranked, and for the baseline.
    pub against: Option<Estimate>,
    /// Is that more than noise, among the differences of all ranked contenders to the baseline?
    pub test: Option<Test>,
    /// The probability that an episode of it costs less than one of the baseline in the same scenario; `None` for the
    /// baseline.
    pub improvement: Option<Estimate>,
    /// Mean over scenarios of the regret, price/h. Of the episodes that have one in all of them, as is the next.
    pub regret: Option<Estimate>,
    /// Mean over scenarios of the share of requests that missed the objective, %.
    pub violations: Option<Estimate>,
    /// Its verdicts on cost; `None` for the baseline and for the clairvoyant.
    pub tally: Option<Tally>,
    /// The share of episodes whose relative cost is below each threshold, every scenario weighing the same.
    pub profile: Vec<ProfilePoint>,
}

/// In how many scenarios a policy got which verdict on its cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Better than the baseline.
    pub won: usize,
    /// Worse.
    pub lost: usize,
    /// Neither was shown.
    pub within_noise: usize,
    /// The same in every episode.
    pub identical: usize,
    /// Nothing could be compared.
    pub empty: usize,
}

/// Costs as multiples of the baseline's mean in the same scenario.
pub(super) struct Relative<'a> {
    study: &'a Study,
    primary: usize,
    /// The scenarios in which the baseline has a cost above zero, with that.
    baseline: Vec<(usize, f64)>,
}

impl<'a> Relative<'a> {
    pub(super) fn of(study: &'a Study) -> Self {
        let (primary, _) = position(PRIMARY);
        let mean = |s: usize| {
            let costs = values(study, s, study.baseline(), primary);
            let mean = costs.iter().sum::<f64>() / costs.len() as f64;
            (mean > 0.0).then_some((s, mean))
        };
        let baseline = (0..study.scenarios().len()).filter_map(mean).collect();
        Self { study, primary, baseline }
    }

    /// Of a policy, by scenario; without those in which it has no cost.
    fn strata(&self, policy: usize) -> Vec<(usize, Vec<f64>)> {
        let costs = |&(s, base): &(usize, f64)| {
            let costs = values(self.study, s, policy, self.primary);
            (!costs.is_empty()).then(|| (s, costs.iter().map(|cost| cost / base).collect()))
        };
        self.baseline.iter().filter_map(costs).collect()
    }

    /// Of a policy whose strata are these, those episodes alone that have a cost in all of them: episodes of equal number
    /// share their draws.
    fn shared(&self, policy: usize, strata: &[(usize, Vec<f64>)]) -> Vec<Vec<f64>> {
        let cost =
            |scenario, episode| value(self.study, study::Place { scenario, policy, episode }, self.primary);
        let whole = |&episode: &usize| strata.iter().all(|(s, _)| cost(*s, episode).is_some());
        let episodes: Vec<usize> = (0..self.study.episodes()).filter(whole).collect();
        let bases = self.baseline.iter().filter(|(s, _)| strata.iter().any(|(t, _)| s == t));
        bases
            .map(|&(s, base)| episodes.iter().filter_map(|&episode| Some(cost(s, episode)? / base)).collect())
            .collect()
    }

    /// Whether a policy can be ranked.
    pub(super) fn ranks(&self, policy: usize) -> bool {
        self.study.policies()[policy].role != Role::Clairvoyant
            && !self.baseline.is_empty()
            && self.strata(policy).len() == self.baseline.len()
    }

    /// What `first` costs more than `second`, in per cent of the baseline's mean cost, as the mean over scenarios: one value
    /// for each number that an episode can have, if both have a cost in all scenarios. Episodes of equal number
    /// share their draws in all scenarios, so that they count as one.
    pub(super) fn differences(&self, first: usize, second: usize) -> Vec<f64> {
        let one = |episode: usize, (scenario, base): (usize, f64)| {
            let cost = |policy| value(self.study, study::Place { scenario, policy, episode }, self.primary);
            Some(100.0 * (cost(first)? - cost(second)?) / base)
        };
        let mean = |episode: usize| {
            let all: Option<Vec<f64>> = self.baseline.iter().map(|&stratum| one(episode, stratum)).collect();
            all.map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        (0..self.study.episodes()).filter_map(mean).collect()
    }
}

/// What each ranked contender costs more than the baseline over all scenarios, by policy. Their tests are a family.
fn against(study: &Study, relative: &Relative<'_>) -> Vec<(Option<Estimate>, Option<Test>)> {
    let differences = |p: usize| {
        let tested = study.policies()[p].role == Role::Contender && relative.ranks(p);
        if tested { relative.differences(p, study.baseline()) } else { Vec::new() }
    };
    let family: Vec<Vec<f64>> = (0..study.policies().len()).map(differences).collect();
    tested(&family)
}

/// A figure as the mean over the scenarios in which the policy has it: a value for each number that an episode can have, if
/// it has one in all of them. Episodes of equal number share their draws, so that they count as one.
fn means(study: &Study, policy: usize, figure: usize) -> Vec<f64> {
    let scenarios: Vec<usize> =
        (0..study.scenarios().len()).filter(|&s| !values(study, s, policy, figure).is_empty()).collect();
    let mean = |episode: usize| {
        let one = |&scenario: &usize| value(study, study::Place { scenario, policy, episode }, figure);
        let all: Option<Vec<f64>> = scenarios.iter().map(one).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
    };
    (0..study.episodes()).filter_map(mean).collect()
}

pub(super) fn overall(
    study: &Study,
    relative: &Relative<'_>,
    pairs: &[Pair],
    scenarios: &[ScenarioAnalysis],
) -> Vec<PolicyOverall> {
    let strata: Vec<Vec<(usize, Vec<f64>)>> =
        (0..study.policies().len()).map(|p| relative.strata(p)).collect();
    let thresholds = thresholds(strata.iter().flatten().flat_map(|(_, costs)| costs.iter().copied()));
    let against = against(study, relative);
    // The same resamples for all policies.
    let seed = Seed::root(0).child("overall");
    let one = |p: usize| {
        let (policy, own) = (&study.policies()[p], &strata[p]);
        let costs: Vec<Vec<f64>> = own.iter().map(|(_, costs)| costs.clone()).collect();
        let same = |(s, _): &(usize, Vec<f64>)| own.iter().any(|(t, _)| s == t);
        let baseline = strata[study.baseline()].iter().filter(|stratum| same(stratum));
        let baseline: Vec<Vec<f64>> = baseline.map(|(_, costs)| costs.clone()).collect();
        let improvement = || {
            probability_of_improvement(&negated(&costs), &negated(&baseline), seed.child("improvement")).ok()
        };
        let mean = |name: &str| {
            let (k, _) = position(name);
            bootstrap_mean(&means(study, p, k), seed.child(name))
        };
        let shared = relative.shared(p, own);
        PolicyOverall {
            policy: policy.name.clone(),
            role: policy.role,
            scenarios: own.len(),
            place: relative.ranks(p).then(|| place(&policy.name, pairs)),
            relative_cost: joint_interval(&shared, seed.child(PRIMARY), pooled_interquartile_mean).ok(),
            against: against[p].0,
            test: against[p].1,
            improvement: (p != study.baseline()).then(improvement).flatten(),
            regret: mean("regret"),
            violations: mean("slo_violations"),
            tally: (policy.role == Role::Contender).then(|| tally(scenarios, p)),
            profile: profile(&costs, &thresholds, seed.child("profile")),
        }
    };
    (0..study.policies().len()).into_par_iter().map(one).collect()
}

fn negated(scores: &[Vec<f64>]) -> Vec<Vec<f64>> {
    scores.iter().map(|runs| runs.iter().map(|score| -score).collect()).collect()
}

fn tally(scenarios: &[ScenarioAnalysis], policy: usize) -> Tally {
    let mut tally = Tally::default();
    for scenario in scenarios {
        let count = match scenario.policies[policy].primary().test().map(|test| test.verdict) {
            Some(Verdict::Better) => &mut tally.won,
            Some(Verdict::Worse) => &mut tally.lost,
            Some(Verdict::WithinNoise) => &mut tally.within_noise,
            Some(Verdict::Identical) => &mut tally.identical,
            None => &mut tally.empty,
        };
        *count += 1;
    }
    tally
}

/// Multiples of [`STEP`] from below all costs to above them, as far as [`BEYOND`].
fn thresholds(costs: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let lowest = costs.clone().fold(f64::INFINITY, f64::min).clamp(0.0, BEYOND);
    let highest = costs.fold(0.0, f64::max).min(BEYOND);
    let (first, last) = ((lowest / STEP).floor() as u32, (highest / STEP).ceil() as u32);
    (first..=last).map(|k| f64::from(k) * STEP).collect()
}

/// The share below each threshold is that of negated costs above the negated one.
fn profile(costs: &[Vec<f64>], thresholds: &[f64], seed: Seed) -> Vec<ProfilePoint> {
    let falling: Vec<f64> = thresholds.iter().rev().map(|threshold| -threshold).collect();
    let mut points = performance_profile(&negated(costs), &falling, seed).unwrap_or_default();
    points.reverse();
    for (point, &threshold) in points.iter_mut().zip(thresholds) {
        point.threshold = threshold;
    }
    points
}
