//! A simple policy that knows the load ahead: a yardstick for what anticipation can win at most, not an
//! optimum.

use crate::scenario::Scenario;
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, Utilization};
use std::time::Duration;

/// Replicas for each control interval of the episode with this seed: enough that the highest load between
/// now and the time when a pod ordered at the next decision would surely be ready keeps ready pods at most
/// `busy` of their capacity. Scaling down is at once.
pub fn clairvoyant_schedule(
    scenario: &Scenario,
    seed: Seed,
    length: Duration,
    busy: Utilization,
) -> Vec<Replicas> {
    let scenario = scenario.episode(seed);
    let path = scenario.load_path(seed, length.as_secs() as u32);
    let rates = &path[scenario.config().episode.warmup_s as usize..];
    let interval = scenario.control_interval().as_secs() as usize;
    // The 98th percentile of either random part of the start-up, and the time to the next decision.
    let lag = scenario.config().startup.lag_s(2.05);
    let ahead = lag.ceil() as usize + interval;
    let per_pod = scenario.pod_capacity().per_second() * busy.fraction();
    (0..rates.len())
        .step_by(interval)
        .map(|now| {
            let peak = rates[now..rates.len().min(now + ahead)].iter().copied().fold(0.0, f64::max);
            Replicas::from_ceil(peak / per_pod)
        })
        .collect()
}
