//! What a cluster's metrics pipelines show of the simulated service.
//!
//! CPU and memory go through kubelet and metrics-server (`kubelet`); everything else comes from counters of the
//! pods that Prometheus scrapes (`scrape`). Three clocks run for the first and one a pod for the second, as in a
//! cluster.

mod kubelet;
mod scrape;

pub(crate) use kubelet::{Kubelet, MetricsServer};
pub(crate) use scrape::{Aggregates, Exporter, Gauges, Prometheus};

use crate::prometheus::{Bucket, monotone, quantile};
use autoscale_core::measurement::LatencySummary;
use std::time::Duration;

/// Exact mean and quantiles (nearest rank) of response times in seconds; reorders them. `None` of none.
pub(crate) fn summarize(latencies: &mut [f32]) -> Option<LatencySummary> {
    let n = latencies.len();
    if n == 0 {
        return None;
    }
    let mean = latencies.iter().map(|&l| f64::from(l)).sum::<f64>() / n as f64;
    let rank = |q: f64| ((q * n as f64).ceil() as usize).clamp(1, n) - 1;
    // From the top down: each selection leaves all smaller values to its left, so the next looks there.
    let mut select = |upper: usize, q: f64| {
        let (_, value, _) = latencies[..upper].select_nth_unstable_by(rank(q), f32::total_cmp);
        Duration::from_secs_f32(*value)
    };
    let p99 = select(n, 0.99);
    let p95 = select(rank(0.99) + 1, 0.95);
    let p90 = select(rank(0.95) + 1, 0.90);
    let p50 = select(rank(0.90) + 1, 0.50);
    Some(LatencySummary { mean: Duration::from_secs_f64(mean), p50, p90, p95, p99 })
}

/// What dashboards show of response times with this mean, in seconds, and these buckets.
pub(crate) fn summarize_buckets(mean_s: f64, buckets: Vec<Bucket>) -> LatencySummary {
    let buckets = monotone(buckets);
    let time = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
    let quantile = |q: f64| time(quantile(q, &buckets).filter(|s| s.is_finite()).unwrap_or(0.0));
    LatencySummary {
        mean: time(mean_s),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_values(mut times in proptest::collection::vec(0.0f32..50.0, 1..400)) {
            let summary = summarize(&mut times.clone()).expect("not empty");
            times.sort_by(f32::total_cmp);
            let exact = |q: f64| {
                let rank = (q * times.len() as f64).ceil() as usize;
                Duration::from_secs_f32(times[rank.clamp(1, times.len()) - 1])
            };
            prop_assert_eq!(
                [summary.p50, summary.p90, summary.p95, summary.p99],
                [exact(0.5), exact(0.9), exact(0.95), exact(0.99)]
            );
        }
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert!(summarize(&mut []).is_none());
    }
}
