//! Response times of answered requests.

use super::{Entry, Family};
use autoscale_core::record::EpisodeRecord;

/// Quantiles of an episode come from merged histograms, never from quantiles of intervals.
const QUANTILE: &str = "nearest rank (type 1 of Hyndman and Fan 1996), to 0.5 % by a histogram like DDSketch (Masson, \
                        Rim and Lee, VLDB 2019)";

pub(super) const METRICS: &[Entry] = &[
    Entry {
        name: "latency_mean",
        unit: "ms",
        family: Family::Latency,
        definition: "mean response time of answered requests, end to end",
        source: "arithmetic mean, exact",
        measure: |e| e.latency_histogram().mean().map(|d| d.as_secs_f64() * 1e3),
    },
    Entry {
        name: "latency_p50",
        unit: "ms",
        family: Family::Latency,
        definition: "median response time of answered requests",
        source: QUANTILE,
        measure: |e| quantile_ms(e, 0.50),
    },
    Entry {
        name: "latency_p90",
        unit: "ms",
        family: Family::Latency,
        definition: "90th percentile of the response time of answered requests",
        source: QUANTILE,
        measure: |e| quantile_ms(e, 0.90),
    },
    Entry {
        name: "latency_p95",
        unit: "ms",
        family: Family::Latency,
        definition: "95th percentile of the response time of answered requests",
        source: QUANTILE,
        measure: |e| quantile_ms(e, 0.95),
    },
    Entry {
        name: "latency_p99",
        unit: "ms",
        family: Family::Latency,
        definition: "99th percentile of the response time of answered requests",
        source: QUANTILE,
        measure: |e| quantile_ms(e, 0.99),
    },
];

fn quantile_ms(episode: &EpisodeRecord, q: f64) -> Option<f64> {
    episode.latency_histogram().quantile(q).map(|d| d.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use crate::metric::sample::{episode, value};

    #[test]
    fn latency_comes_from_the_merged_histogram() {
        let e = episode(&[(1.0, 1.0); 10]);
        let close = |name, expected: f64| {
            let found = value(name, &e).unwrap();
            assert!((found / expected - 1.0).abs() < 0.005, "{name}: {found} against {expected}");
        };
        close("latency_p50", 500.0);
        close("latency_p90", 900.0);
        close("latency_p99", 1000.0);
        assert!((value("latency_mean", &e).unwrap() - 550.0).abs() < 1e-6);
    }
}
