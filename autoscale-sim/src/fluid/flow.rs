//! What became of the requests.

use super::model::{FluidModel, GRID};
use super::station::NEGLIGIBLE;
use autoscale_core::measurement::LatencySummary;
use std::time::Duration;

/// What flowed through the pods since it was last cleared: expected numbers of requests, counted when they arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct FluidFlow {
    /// Requests that arrived.
    pub arrived: f64,
    /// Requests refused.
    pub refused: f64,
    /// Worker-seconds in use.
    pub busy_s: f64,
    /// Requests that came in, by position.
    positions: Vec<f64>,
    /// Positions from here on are empty.
    reach: usize,
}

impl FluidFlow {
    /// Nothing yet.
    pub fn new(model: &FluidModel) -> Self {
        Self { arrived: 0.0, refused: 0.0, busy_s: 0.0, positions: vec![0.0; model.positions()], reach: 0 }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        (self.arrived, self.refused, self.busy_s) = (0.0, 0.0, 0.0);
        self.positions[..self.reach].fill(0.0);
        self.reach = 0;
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.arrived += other.arrived;
        self.refused += other.refused;
        self.busy_s += other.busy_s;
        self.reach = self.reach.max(other.reach);
        self.positions.iter_mut().zip(other.used()).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Adds requests at a position.
    pub(super) fn put(&mut self, position: usize, requests: f64) {
        self.positions[position] += requests;
        self.reach = self.reach.max(position + 1);
    }

    /// Adds requests at a position between two that are told apart.
    pub(super) fn put_between(&mut self, position: f64, requests: f64) {
        let (k, share) = (position as usize, position.fract());
        self.put(k, requests * (1.0 - share));
        if share > 0.0 {
            self.put(k + 1, requests * share);
        }
    }

    fn used(&self) -> &[f64] {
        &self.positions[..self.reach]
    }

    fn sum(&self, table: &[f64]) -> f64 {
        self.used().iter().zip(table).map(|(n, share)| n * share).sum()
    }

    /// Requests that will be answered within the objective.
    pub fn in_time(&self, model: &FluidModel) -> f64 {
        self.sum(&model.in_time)
    }

    /// Requests that will be answered, in time or late.
    pub fn answered(&self, model: &FluidModel) -> f64 {
        self.sum(&model.answered)
    }

    /// Their response times together, in seconds.
    pub(super) fn answered_s(&self, model: &FluidModel) -> f64 {
        self.sum(&model.answered_s)
    }

    /// Requests whose clients will give up.
    pub fn timed_out(&self, model: &FluidModel) -> f64 {
        self.used().iter().sum::<f64>() - self.answered(model)
    }

    /// Adds to `counts` those answered within the bounds of each histogram bucket.
    pub(super) fn add_buckets(&self, model: &FluidModel, counts: &mut [f64]) {
        for (n, shares) in self.used().iter().zip(model.buckets.chunks_exact(counts.len())) {
            if *n > 0.0 {
                counts.iter_mut().zip(shares).for_each(|(count, share)| *count += n * share);
            }
        }
    }

    /// Those of the `answered` that are answered within each point of the model's grid; within the last, all.
    fn below(&self, model: &FluidModel, answered: f64) -> [f64; GRID] {
        let mut below = [0.0; GRID];
        for (n, row) in self.used().iter().zip(model.responses.chunks_exact(GRID)) {
            if *n > NEGLIGIBLE * self.arrived {
                below.iter_mut().zip(row).for_each(|(below, share)| *below += n * share);
            }
        }
        for below in &mut below {
            *below = below.min(answered);
        }
        below[GRID - 1] = answered;
        below
    }

    /// Mean and quantiles of the response times of those answered; `None` when there are next to none.
    pub fn latency(&self, model: &FluidModel) -> Option<LatencySummary> {
        self.distribution(model).map(|(summary, _)| summary)
    }

    /// The same, and how many are answered within each point of the model's grid.
    pub(super) fn distribution(&self, model: &FluidModel) -> Option<(LatencySummary, [f64; GRID])> {
        let answered = self.answered(model);
        if answered < 1e-9 {
            return None;
        }
        let below = self.below(model, answered);
        let quantile = |q: f64| {
            let wanted = q * answered;
            let k = below.partition_point(|&n| n < wanted).clamp(1, GRID - 1);
            let share = ((wanted - below[k - 1]) / (below[k] - below[k - 1]).max(1e-300)).clamp(0.0, 1.0);
            Duration::from_secs_f64(model.grid[k - 1] + share * (model.grid[k] - model.grid[k - 1]))
        };
        let summary = LatencySummary {
            mean: Duration::from_secs_f64((self.answered_s(model) / answered).max(0.0)),
            p50: quantile(0.50),
            p90: quantile(0.90),
            p95: quantile(0.95),
            p99: quantile(0.99),
        };
        Some((summary, below))
    }
}
