//! What a policy asks for, by what it sees: how busy the pods are, and where the load goes.

use crate::plot::Heat;
use autoscale_core::environment::Outcome;
use autoscale_core::policy::{Decision, Observation};
use autoscale_core::rollout::StepSink;
use std::collections::BTreeMap;
use std::time::Duration;

/// Over so long the load is compared with what it was.
const TREND: Duration = Duration::from_mins(2);
/// Width of a cell: CPU use as a share of the request.
const BUSY: f64 = 0.1;
/// Width of a cell: change of the load as a share.
const CHANGE: f64 = 0.1;
/// What is beyond counts in the last cell.
const MOST_BUSY: i32 = 14;
const MOST_CHANGE: i32 = 6;
/// A cell seen less often says nothing.
const FEWEST: u32 = 3;

/// Counts decisions in cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    /// By CPU use and trend: how often, and the sum of binary logarithms of wanted over current replicas.
    cells: BTreeMap<(i32, i32), (u32, f64)>,
}

impl Decisions {
    /// Adds what another has seen.
    pub(super) fn merge(mut self, other: &Self) -> Self {
        for (cell, (n, sum)) in &other.cells {
            let mine = self.cells.entry(*cell).or_default();
            mine.0 += n;
            mine.1 += sum;
        }
        self
    }

    /// The mean of each cell that was seen often enough.
    pub(super) fn heat(&self) -> Vec<Heat> {
        let often = self.cells.iter().filter(|(_, (n, _))| *n >= FEWEST);
        often
            .map(|(&(busy, trend), &(n, sum))| Heat {
                busy: (f64::from(busy) * BUSY, f64::from(busy + 1) * BUSY),
                trend: ((f64::from(trend) - 0.5) * CHANGE, (f64::from(trend) + 0.5) * CHANGE),
                change: sum / f64::from(n),
            })
            .collect()
    }
}

impl StepSink for Decisions {
    fn decided(&mut self, seen: &Observation<'_>, decision: &Decision) {
        let Some(newest) = seen.history.last() else { return };
        let Some(before) = seen.history.iter().rev().find(|m| newest.at.since(m.at) >= TREND) else { return };
        let (Some(busy), rate) = (newest.cpu_utilization, before.arrival_rate.per_second()) else { return };
        let current = seen.workload.spec.get();
        if rate <= 0.0 || current == 0 {
            return;
        }
        let wanted = decision.target.or(seen.workload.spec).get().max(1);
        let trend = newest.arrival_rate.per_second() / rate - 1.0;
        let cell = (
            ((busy.fraction() / BUSY) as i32).min(MOST_BUSY),
            ((trend / CHANGE).round() as i32).clamp(-MOST_CHANGE, MOST_CHANGE),
        );
        let counted = self.cells.entry(cell).or_default();
        counted.0 += 1;
        counted.1 += (f64::from(wanted) / f64::from(current)).log2();
    }

    fn stepped(&mut self, _: &Outcome) {}
}
