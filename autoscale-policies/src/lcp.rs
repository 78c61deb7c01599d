//! Lazy capacity provisioning (Lin, Wierman, Andrew and Thereska, "Dynamic right-sizing for power-proportional data
//! centers", INFOCOM 2011, algorithm LCP): never more than three times as dear as the best schedule in hindsight.

use crate::service::PodCapacity;
use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, RequestRate};
use autoscale_core::validate::{ConfigError, in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The bounds between which the algorithm is lazy, kept by dynamic programming over all counts.
///
/// Costs are convex in the count. `lower[x]` is the least cost of a schedule up to now that ends with `x` pods when
/// starts are paid for; `upper[x]` when stops are. The last counts of the cheapest of either are the bounds (theorem 3).
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    lower: Vec<f64>,
    upper: Vec<f64>,
    count: usize,
}

impl Bounds {
    /// At no pods, with at most `most`.
    pub fn new(most: Replicas) -> Self {
        let counts = most.get() as usize + 1;
        // Before the start there are none: starts cost from there, stops cannot happen.
        let from_none = |k: usize| if k == 0 { 0.0 } else { f64::INFINITY };
        let none: Vec<f64> = (0..counts).map(from_none).collect();
        Self { lower: none.clone(), upper: none, count: 0 }
    }

    /// An interval costs `running` of so many pods, and `start` for each that was started: the lazy count for it.
    pub fn step(&mut self, running: impl Fn(usize) -> f64, start: f64) -> Replicas {
        raise(&mut self.lower, start, 0.0);
        raise(&mut self.upper, 0.0, start);
        for x in 0..self.lower.len() {
            let cost = running(x);
            self.lower[x] += cost;
            self.upper[x] += cost;
        }
        let least = |costs: &[f64]| costs.iter().copied().fold(f64::INFINITY, f64::min);
        let (low, high) = (least(&self.lower), least(&self.upper));
        let from = self.lower.iter().position(|&cost| cost <= low).unwrap_or(0);
        let to = self.upper.iter().rposition(|&cost| cost <= high).unwrap_or(0).max(from);
        self.count = self.count.clamp(from, to);
        // Only differences matter; so the numbers stay small however long it runs.
        self.lower.iter_mut().for_each(|cost| *cost -= low);
        self.upper.iter_mut().for_each(|cost| *cost -= high);
        Replicas::new(self.count as u32)
    }
}

/// Lets every count be reached from every other, at `up` for each pod more and `down` for each one fewer.
fn raise(costs: &mut [f64], up: f64, down: f64) {
    for x in 1..costs.len() {
        costs[x] = costs[x].min(costs[x - 1] + up);
    }
    for x in (0..costs.len().saturating_sub(1)).rev() {
        costs[x] = costs[x].min(costs[x + 1] + down);
    }
}

/// What can be set on lazy capacity provisioning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LcpConfig {
    /// How busy pods may be before requests are taken to be violated, as a share of their capacity, 0.05 to 1.
    pub target_utilization: f64,
    /// What a start costs, as time of a pod, 0 to 86,400 s.
    pub start_s: f64,
}

impl Default for LcpConfig {
    fn default() -> Self {
        Self { target_utilization: 0.7, start_s: 120.0 }
    }
}

/// The algorithm on the measured rate.
///
/// An interval costs its pods at their price, and each request beyond what the pods serve at the target utilisation at
/// the price of a violation.
#[derive(Clone, Debug)]
pub struct Lcp {
    capacity: PodCapacity,
    config: LcpConfig,
    weights: RewardWeights,
    period: Duration,
    bounds: Option<Bounds>,
}

impl Lcp {
    /// The algorithm for pods of this capacity, asked every `period`.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn new(
        capacity: PodCapacity,
        config: LcpConfig,
        weights: RewardWeights,
        period: Duration,
    ) -> Result<Self, ConfigError> {
        in_range("target_utilization", config.target_utilization, 0.05, 1.0)?;
        in_range("start_s", config.start_s, 0.0, 86_400.0)?;
        Ok(Self { capacity, config, weights, period, bounds: None })
    }

    /// What an interval of this rate costs with so many pods.
    fn running(&self, rate: RequestRate, pods: usize) -> f64 {
        let served = self.capacity.rate().per_second() * self.config.target_utilization * pods as f64;
        let span = self.period.as_secs_f64();
        let beyond = (rate.per_second() - served).max(0.0) * span;
        self.weights.pod_hour * pods as f64 * span / 3600.0 + self.weights.violation * beyond
    }
}

impl Policy for Lcp {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {
        self.bounds = None;
    }

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let Some(last) = observation.history.last() else {
            return Decision::hold(Reason::rule("no-measurement"));
        };
        let most = observation.limits.max();
        let mut bounds = self.bounds.take().unwrap_or_else(|| Bounds::new(most));
        let start = self.weights.pod_hour * self.config.start_s / 3600.0 + 2.0 * self.weights.churn;
        let wish = bounds.step(|pods| self.running(last.arrival_rate, pods), start);
        self.bounds = Some(bounds);
        let metric = Some("arrival_rate");
        Decision::scale_to(wish, Reason { rule: "lazy", metric, raw: Some(wish), bound: Bound::None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the best schedule in hindsight costs, by trying all.
    fn best(loads: &[u8], most: usize, start: f64, running: impl Fn(u8, usize) -> f64) -> f64 {
        let mut costs: Vec<f64> = (0..=most).map(|x| if x == 0 { 0.0 } else { f64::INFINITY }).collect();
        for &load in loads {
            costs = (0..=most)
                .map(|to| {
                    let from = |from: usize| costs[from] + start * to.saturating_sub(from) as f64;
                    (0..=most).map(from).fold(f64::INFINITY, f64::min) + running(load, to)
                })
                .collect();
        }
        costs.into_iter().fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn it_is_three_competitive(
            loads in proptest::collection::vec(0u8..12, 1..60), price in 0.1f64..3.0, penalty in 0.0f64..20.0,
            start in 0.0f64..20.0,
        ) {
            const MOST: usize = 12;
            let running = |load: u8, x: usize| price * x as f64 + penalty * f64::from(load).max(x as f64) - penalty * x as f64;
            let mut bounds = Bounds::new(Replicas::new(MOST as u32));
            let (mut cost, mut before) = (0.0, 0);
            for &load in &loads {
                let x = bounds.step(|x| running(load, x), start).get() as usize;
                cost += running(load, x) + start * x.saturating_sub(before) as f64;
                before = x;
            }
            let least = best(&loads, MOST, start, running);
            prop_assert!(cost <= 3.0 * least + 1e-9, "{cost} against {least}");
        }
    }

    #[test]
    fn it_is_lazy_in_a_short_pause_and_not_in_a_long_one() {
        let running = |load: f64, x: usize| x as f64 + 100.0 * (load - x as f64).max(0.0);
        let mut bounds = Bounds::new(Replicas::new(10));
        let mut step = |load: f64| bounds.step(|x| running(load, x), 5.0).get();
        assert_eq!(step(6.0), 6);
        // A pod that idles for five intervals costs what a start costs.
        let idle: Vec<u32> = (0..8).map(|_| step(2.0)).collect();
        assert_eq!(idle, [6, 6, 6, 6, 6, 2, 2, 2]);
        assert_eq!(step(7.0), 7);
    }
}
