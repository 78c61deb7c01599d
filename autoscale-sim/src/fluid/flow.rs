//! What became of the requests.

use super::model::{FluidModel, GRID};
use super::station::NEGLIGIBLE;
use autoscale_core::measurement::LatencySummary;
use std::time::Duration;

/// What flowed through the pods since it was last cleared: expected numbers of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct FluidFlow {
    /// Requests that arrived.
    pub arrived: f64,
    /// Requests refused.
    pub refused: f64,
    /// Worker-seconds in use.
    pub busy_s: f64,
    /// Requests that came in, by the place in the queue that they got; 0 is a worker.
    pub(super) places: Vec<f64>,
}

impl FluidFlow {
    /// Nothing yet.
    pub fn new(model: &FluidModel) -> Self {
        Self { arrived: 0.0, refused: 0.0, busy_s: 0.0, places: vec![0.0; model.places + 1] }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        (self.arrived, self.refused, self.busy_s) = (0.0, 0.0, 0.0);
        self.places.fill(0.0);
    }

    fn sum(&self, table: &[f64]) -> f64 {
        self.places.iter().zip(table).map(|(n, share)| n * share).sum()
    }

    /// Requests that will be answered within the objective.
    pub fn in_time(&self, model: &FluidModel) -> f64 {
        self.sum(&model.in_time)
    }

    /// Requests that will be answered, in time or late.
    pub fn answered(&self, model: &FluidModel) -> f64 {
        self.sum(&model.answered)
    }

    /// Requests whose clients will give up.
    pub fn timed_out(&self, model: &FluidModel) -> f64 {
        self.places.iter().sum::<f64>() - self.answered(model)
    }

    /// Mean and quantiles of the response times of those answered; `None` when there are next to none.
    pub fn latency(&self, model: &FluidModel) -> Option<LatencySummary> {
        let answered = self.answered(model);
        if answered < 1e-9 {
            return None;
        }
        let mut below = [0.0; GRID];
        for (n, row) in self.places.iter().zip(model.responses.chunks_exact(GRID)) {
            if *n > NEGLIGIBLE * answered {
                below.iter_mut().zip(row).for_each(|(below, share)| *below += n * share);
            }
        }
        let quantile = |q: f64| {
            let wanted = q * answered;
            let k = below.partition_point(|&n| n < wanted).clamp(1, GRID - 1);
            let share = ((wanted - below[k - 1]) / (below[k] - below[k - 1]).max(1e-300)).clamp(0.0, 1.0);
            Duration::from_secs_f64(model.grid[k - 1] + share * (model.grid[k] - model.grid[k - 1]))
        };
        // The mean of what is answered before the timeout, by parts on the grid.
        let mean = if model.timeout_s.is_finite() {
            let pairs = model.grid.windows(2).zip(below.windows(2));
            let head = model.grid[0] * (answered - 0.5 * below[0]);
            let rest: f64 =
                pairs.map(|(t, n)| (t[1] - t[0]) * (answered - f64::midpoint(n[0], n[1])).max(0.0)).sum();
            (head + rest) / answered
        } else {
            self.sum(&model.mean_s) / answered
        };
        Some(LatencySummary {
            mean: Duration::from_secs_f64(mean),
            p50: quantile(0.50),
            p90: quantile(0.90),
            p95: quantile(0.95),
            p99: quantile(0.99),
        })
    }
}
