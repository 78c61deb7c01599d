//! The five families of metrics. A metric reads a finished episode and never the reward.

use autoscale_core::record::{EpisodeRecord, IntervalRecord};
use autoscale_core::units::Replicas;
use serde::Serialize;
use std::fmt;

/// What a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Response times, end to end.
    Latency,
    /// How calm the replica count is.
    Stability,
    /// What is paid for.
    Cost,
    /// How fast and how exactly capacity follows the load.
    Responsiveness,
    /// Requests that miss the objective.
    SloViolations,
    /// All of it at the scenario's prices.
    Overall,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Latency => "latency",
            Self::Stability => "stability",
            Self::Cost => "cost",
            Self::Responsiveness => "responsiveness",
            Self::SloViolations => "SLO violations",
            Self::Overall => "overall",
        })
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

/// A figure that can be read from a finished episode.
pub trait Metric: Sync {
    /// Its name in tables and files.
    fn name(&self) -> &'static str;
    /// Its unit.
    fn unit(&self) -> &'static str;
    /// Its family.
    fn family(&self) -> Family;
    /// Which way is better.
    fn better(&self) -> Direction {
        Direction::Lower
    }
    /// Its definition, in a sentence.
    fn definition(&self) -> &'static str;
    /// Its value in an episode; `None` where it has none (no answered request, no load step).
    fn measure(&self, episode: &EpisodeRecord) -> Option<f64>;
}

/// A metric as data: everything but the name is better read in one table than in a dozen impls.
struct Entry {
    name: &'static str,
    unit: &'static str,
    family: Family,
    definition: &'static str,
    measure: fn(&EpisodeRecord) -> Option<f64>,
}

impl Metric for Entry {
    fn name(&self) -> &'static str {
        self.name
    }
    fn unit(&self) -> &'static str {
        self.unit
    }
    fn family(&self) -> Family {
        self.family
    }
    fn definition(&self) -> &'static str {
        self.definition
    }
    fn measure(&self, episode: &EpisodeRecord) -> Option<f64> {
        (self.measure)(episode)
    }
}

/// All metrics, by family.
pub fn metrics() -> impl Iterator<Item = &'static dyn Metric> {
    METRICS.iter().map(|metric| metric as &dyn Metric)
}

const METRICS: &[Entry] = &[
    Entry {
        name: "latency_mean",
        unit: "ms",
        family: Family::Latency,
        definition: "mean response time of answered requests, end to end",
        measure: |e| e.latency_histogram().mean().map(|d| d.as_secs_f64() * 1e3),
    },
    Entry {
        name: "latency_p50",
        unit: "ms",
        family: Family::Latency,
        definition: "median response time of answered requests",
        measure: |e| quantile_ms(e, 0.50),
    },
    Entry {
        name: "latency_p90",
        unit: "ms",
        family: Family::Latency,
        definition: "90th percentile of the response time of answered requests",
        measure: |e| quantile_ms(e, 0.90),
    },
    Entry {
        name: "latency_p95",
        unit: "ms",
        family: Family::Latency,
        definition: "95th percentile of the response time of answered requests",
        measure: |e| quantile_ms(e, 0.95),
    },
    Entry {
        name: "latency_p99",
        unit: "ms",
        family: Family::Latency,
        definition: "99th percentile of the response time of answered requests",
        measure: |e| quantile_ms(e, 0.99),
    },
    Entry {
        name: "scale_toggles",
        unit: "1/h",
        family: Family::Stability,
        definition: "changes of spec.replicas whose direction differs from that of the change before, per hour",
        measure: |e| per_hour(e, reversals(e) as f64),
    },
    Entry {
        name: "scale_events",
        unit: "1/h",
        family: Family::Stability,
        definition: "changes of spec.replicas per hour",
        measure: |e| per_hour(e, e.scale_events.len() as f64),
    },
    Entry {
        name: "replica_variance",
        unit: "pods²",
        family: Family::Stability,
        definition: "variance over control intervals of the desired replicas at their end",
        measure: replica_variance,
    },
    Entry {
        name: "mean_pods",
        unit: "pods",
        family: Family::Cost,
        definition: "pods paid for, averaged over time: starting, ready and draining",
        measure: |e| mean(e.intervals.iter().map(|i| i.mean_pods)),
    },
    Entry {
        name: "pod_hours",
        unit: "pod-h/h",
        family: Family::Cost,
        definition: "pod-hours per hour of episode, from each pod's creation until it is gone",
        measure: |e| per_hour(e, e.totals.pod_hours),
    },
    Entry {
        name: "reaction_time",
        unit: "s",
        family: Family::Responsiveness,
        definition: "mean time from a rise of the load until ready pods suffice for it",
        measure: reaction_time,
    },
    Entry {
        name: "overshoot",
        unit: "pods",
        family: Family::Responsiveness,
        definition: "pods paid for beyond what the load needs, averaged over time",
        measure: |e| mean(e.intervals.iter().map(|i| (i.mean_pods - needed(e, i)).max(0.0))),
    },
    Entry {
        name: "undershoot",
        unit: "pods",
        family: Family::Responsiveness,
        definition: "ready pods short of what the load needs, averaged over time",
        measure: |e| mean(e.intervals.iter().map(|i| (needed(e, i) - i.mean_ready).max(0.0))),
    },
    Entry {
        name: "slo_violations",
        unit: "%",
        family: Family::SloViolations,
        definition: "share of requests that were late, timed out, refused, lost or never finished",
        measure: |e| {
            let requests = e.requests();
            (requests.arrived > 0).then(|| 100.0 * requests.violations() as f64 / requests.arrived as f64)
        },
    },
];

/// Share of a pod's capacity that counts as fully used by the definitions of need: beyond it queues grow.
pub const BUSY: f64 = 0.8;

/// How much the load must rise over the mean of the four intervals before to count as a load step.
pub const STEP: f64 = 1.5;

fn quantile_ms(episode: &EpisodeRecord, q: f64) -> Option<f64> {
    episode.latency_histogram().quantile(q).map(|d| d.as_secs_f64() * 1e3)
}

fn per_hour(episode: &EpisodeRecord, count: f64) -> Option<f64> {
    let hours = episode.duration().as_secs_f64() / 3600.0;
    (hours > 0.0).then(|| count / hours)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0u32, 0.0), |(n, sum), v| (n + 1, sum + v));
    (n > 0).then(|| sum / f64::from(n))
}

fn reversals(episode: &EpisodeRecord) -> usize {
    let up: Vec<bool> = episode.scale_events.iter().map(|e| e.to > e.from).collect();
    up.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

fn replica_variance(episode: &EpisodeRecord) -> Option<f64> {
    let desired = || episode.intervals.iter().map(|i| f64::from(i.replicas.desired.get()));
    let centre = mean(desired())?;
    mean(desired().map(|d| (d - centre).powi(2)))
}

/// Pods that the interval's load needs at [`BUSY`] of their capacity.
fn needed(episode: &EpisodeRecord, interval: &IntervalRecord) -> f64 {
    let capacity = episode.pod_capacity.per_second() * BUSY;
    let least = episode.replica_range.0.max(Replicas::ONE).get();
    (interval.offered.per_second() / capacity).max(f64::from(least))
}

/// Mean over all load steps (a rise to [`STEP`] times the mean of the four intervals before) of the time from
/// the step's interval until ready pods suffice for the load of the moment. A step that is never caught up
/// with counts until the episode's end; steps during a catch-up are part of it. `None` without a step.
fn reaction_time(episode: &EpisodeRecord) -> Option<f64> {
    let intervals = &episode.intervals;
    let suffices = |k: usize| intervals[k].mean_ready >= needed(episode, &intervals[k]);
    let mut waits = Vec::new();
    let mut k = 4;
    while k < intervals.len() {
        let before = intervals[k - 4..k].iter().map(|i| i.offered.per_second()).sum::<f64>() / 4.0;
        if intervals[k].offered.per_second() < STEP * before || before == 0.0 {
            k += 1;
            continue;
        }
        let caught_up = (k..intervals.len()).find(|&j| suffices(j)).unwrap_or(intervals.len());
        waits.push((caught_up - k) as f64 * episode.interval.as_secs_f64());
        // The same rise is not counted again while it is within the four intervals before.
        k = caught_up.max(k) + 4;
    }
    mean(waits.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::histogram::LogHistogram;
    use autoscale_core::limits::Bound;
    use autoscale_core::measurement::ReplicaCounts;
    use autoscale_core::record::{EPISODE_RECORD_VERSION, RequestCounts, ScaleEvent};
    use autoscale_core::reward::RewardTerms;
    use autoscale_core::seed::Seed;
    use autoscale_core::units::{RequestRate, Timestamp};
    use std::time::Duration;

    /// Pods serve 10 requests/s each; `(offered, ready pods)` per interval of 15 s.
    fn episode(intervals: &[(f64, f64)]) -> EpisodeRecord {
        let interval = |(k, &(offered, ready)): (usize, &(f64, f64))| {
            let mut histogram = LogHistogram::new();
            histogram.record_secs(0.1 * (k + 1) as f64);
            IntervalRecord {
                start: Timestamp::from_secs(15 * k as i64),
                offered: RequestRate::new(offered).unwrap(),
                requests: RequestCounts {
                    arrived: 100,
                    in_time: 95,
                    late: 2,
                    timed_out: 2,
                    refused: 1,
                    lost: 0,
                    unfinished: 0,
                },
                latency: None,
                histogram,
                replicas: ReplicaCounts { desired: Replicas::new(ready as u32), ..ReplicaCounts::default() },
                mean_pods: ready + 1.0,
                mean_ready: ready,
            }
        };
        EpisodeRecord {
            version: EPISODE_RECORD_VERSION,
            seed: Seed::root(1),
            interval: Duration::from_secs(15),
            slo: Duration::from_millis(500),
            pod_capacity: RequestRate::new(10.0).unwrap(),
            replica_range: (Replicas::ONE, Replicas::new(50)),
            initial_replicas: Replicas::new(2),
            intervals: intervals.iter().enumerate().map(interval).collect(),
            scale_events: Vec::new(),
            totals: RewardTerms::default(),
        }
    }

    fn value(name: &str, episode: &EpisodeRecord) -> Option<f64> {
        metrics().find(|m| m.name() == name).unwrap().measure(episode)
    }

    #[test]
    fn reaction_time_runs_from_the_step_until_ready_pods_suffice() {
        let mut load = vec![(16.0, 2.0); 6];
        load.extend([(32.0, 2.0), (32.0, 3.0), (32.0, 4.0), (32.0, 4.0)]);
        assert_eq!(value("reaction_time", &episode(&load)), Some(30.0));
        assert_eq!(value("reaction_time", &episode(&[(16.0, 2.0); 10])), None);
        // Never caught up with: until the end.
        let mut load = vec![(16.0, 2.0); 6];
        load.extend([(32.0, 2.0); 4]);
        assert_eq!(value("reaction_time", &episode(&load)), Some(60.0));
    }

    #[test]
    fn over_and_undershoot_are_against_the_need() {
        // 16 requests/s need 2 pods at 80 %; 5 are paid for and 4 ready, then 2 and 1.
        let e = episode(&[(16.0, 4.0), (16.0, 1.0)]);
        assert_eq!(value("overshoot", &e), Some(1.5));
        assert_eq!(value("undershoot", &e), Some(0.5));
        assert_eq!(value("mean_pods", &e), Some(3.5));
    }

    #[test]
    fn violations_count_every_way_to_miss() {
        assert_eq!(value("slo_violations", &episode(&[(1.0, 1.0); 3])), Some(5.0));
    }

    #[test]
    fn stability_counts_changes_and_reversals() {
        let mut e = episode(&[(16.0, 2.0), (16.0, 4.0)]);
        let event = |from, to| ScaleEvent {
            at: Timestamp::ZERO,
            from: Replicas::new(from),
            to: Replicas::new(to),
            bound: Bound::None,
        };
        e.scale_events = vec![event(2, 3), event(3, 4), event(4, 1), event(1, 2)];
        // 30 s are 1/120 h.
        assert!((value("scale_events", &e).unwrap() - 480.0).abs() < 1e-9);
        assert!((value("scale_toggles", &e).unwrap() - 240.0).abs() < 1e-9);
        assert_eq!(value("replica_variance", &e), Some(1.0));
        e.totals.pod_hours = 0.05;
        assert!((value("pod_hours", &e).unwrap() - 6.0).abs() < 1e-9);
    }

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
