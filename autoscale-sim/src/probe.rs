//! What a scrape pipeline shows of the simulated service.
//!
//! Three clocks run for CPU and memory, as in a cluster: the kubelet samples each container at its own
//! jittered times, metrics-server reads the kubelets in its own, and the autoscaler reads metrics-server.
//! Everything else comes from counters that Prometheus scrapes and turns into rates over a window.

use crate::pod::Pod;
use crate::scenario::MetricsConfig;
use autoscale_core::measurement::LatencySummary;
use autoscale_core::sample::{ContainerUsage, ResourceList, UsageSample};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, RequestRate};
use rand::RngExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A kubelet's sample of one container: when, and CPU-seconds used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
struct KubeletSample {
    at: f64,
    cpu_used: f64,
    memory_bytes: f64,
}

/// What metrics-server knows of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodProbe {
    next_sample: Option<f64>,
    kubelet: Option<KubeletSample>,
    /// The last two distinct samples that metrics-server has read, older first.
    read: [Option<KubeletSample>; 2],
}

impl PodProbe {
    /// The pod's usage in the metrics API, `None` while it is missing there. `origin` is the world's time
    /// of the timestamp zero.
    pub(crate) fn usage(
        &self,
        container: &Arc<str>,
        resolution: f64,
        started: f64,
        origin: f64,
    ) -> Option<UsageSample> {
        let newest = self.read[1]?;
        // One sample suffices for a container that is younger than the resolution but not too young;
        // otherwise two are needed (metrics-server `storage/pod.go`).
        let age = newest.at - started;
        let (since, used_before) = match self.read[0] {
            Some(older) => (older.at, older.cpu_used),
            None if (10.0..resolution).contains(&age) => (started, 0.0),
            None => return None,
        };
        let window = newest.at - since;
        let cpu = Milli::from_units_ceil((newest.cpu_used - used_before) / window);
        let memory = Milli::from_units_ceil(newest.memory_bytes);
        let usage = ResourceList { cpu: Some(cpu), memory: Some(memory) };
        Some(UsageSample {
            timestamp: autoscale_core::units::Timestamp::from_secs_f64(newest.at - origin),
            window: Duration::from_secs_f64(window),
            containers: vec![ContainerUsage { name: Arc::clone(container), usage }],
        })
    }
}

/// Counters as an application exports them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) arrived: u64,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
}

/// One scrape: the counters, gauges, and the latencies observed since the scrape before.
#[derive(Clone, Debug)]
struct Scrape {
    at: f64,
    counters: Counters,
    in_flight: usize,
    queued: usize,
    latencies: Vec<f32>,
}

/// The aggregates of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Aggregates {
    pub(crate) age: Duration,
    pub(crate) arrival_rate: RequestRate,
    pub(crate) error_rate: RequestRate,
    pub(crate) timeout_rate: RequestRate,
    pub(crate) in_flight: f64,
    pub(crate) queued: f64,
    pub(crate) latency: Option<LatencySummary>,
}

/// The scrape pipeline of one episode.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    config: MetricsConfig,
    scrape_phase: u64,
    resolution_phase: u64,
    pending: Vec<f32>,
    scrapes: VecDeque<Scrape>,
    scratch: Vec<f32>,
}

impl Probe {
    pub(crate) fn new(config: MetricsConfig, seed: Seed) -> Self {
        let mut stream = seed.child("scrape-phase").stream();
        Self {
            config,
            scrape_phase: stream.random_range(0..u64::from(config.scrape_interval_s)),
            resolution_phase: stream.random_range(0..u64::from(config.resolution_s)),
            pending: Vec::new(),
            scrapes: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// Latencies of requests that were answered in the second now ending.
    pub(crate) fn answered(&mut self, latencies: &[f32]) {
        self.pending.extend_from_slice(latencies);
    }

    /// The world's clock reached the whole second `now`.
    pub(crate) fn tick(
        &mut self,
        now: u64,
        pods: &mut [(Pod, PodProbe)],
        counters: Counters,
        memory: impl Fn(usize) -> f64,
    ) {
        let t = now as f64;
        for (pod, probe) in pods.iter_mut() {
            if t < pod.started {
                continue;
            }
            let period = self.config.kubelet_period_s;
            // The first sample comes at the container's own time; long-running pods are in mid-cycle.
            let due = probe
                .next_sample
                .unwrap_or_else(|| pod.started.max(t - period) + pod.stream.random::<f64>() * period);
            probe.next_sample = Some(due);
            if t >= due {
                let memory_bytes = memory(pod.outstanding(t));
                probe.kubelet = Some(KubeletSample { at: t, cpu_used: pod.cpu_used, memory_bytes });
                probe.next_sample = Some(t + period * (1.0 + pod.stream.random::<f64>()));
            }
            if now % u64::from(self.config.resolution_s) == self.resolution_phase
                && probe.kubelet != probe.read[1]
            {
                probe.read = [probe.read[1], probe.kubelet];
            }
        }
        if now % u64::from(self.config.scrape_interval_s) == self.scrape_phase {
            self.scrape(t, pods, counters);
        }
    }

    fn scrape(&mut self, at: f64, pods: &mut [(Pod, PodProbe)], counters: Counters) {
        let (mut in_flight, mut queued) = (0, 0);
        for (pod, _) in pods {
            in_flight += pod.outstanding(at);
            queued += pod.queued(at);
        }
        let oldest = at - f64::from(self.config.rate_window_s);
        let mut latencies = Vec::new();
        while self.scrapes.front().is_some_and(|s| s.at < oldest) {
            // The buffer of an outdated scrape serves again.
            latencies = self.scrapes.pop_front().map_or_else(Vec::new, |s| s.latencies);
        }
        latencies.clear();
        std::mem::swap(&mut latencies, &mut self.pending);
        self.scrapes.push_back(Scrape { at, counters, in_flight, queued, latencies });
    }

    /// What a query at `now` gives.
    pub(crate) fn aggregates(&mut self, now: f64) -> Aggregates {
        let nothing = Aggregates {
            age: Duration::from_secs_f64(now),
            arrival_rate: RequestRate::ZERO,
            error_rate: RequestRate::ZERO,
            timeout_rate: RequestRate::ZERO,
            in_flight: 0.0,
            queued: 0.0,
            latency: None,
        };
        let from = now - f64::from(self.config.rate_window_s);
        let mut window = self.scrapes.iter().filter(|s| s.at >= from);
        let (Some(first), Some(last)) = (window.next(), self.scrapes.back()) else { return nothing };
        let span = Duration::from_secs_f64(last.at - first.at);
        let rate = |count: fn(&Counters) -> u64| {
            RequestRate::from_count(count(&last.counters) - count(&first.counters), span)
        };
        self.scratch.clear();
        for scrape in window {
            self.scratch.extend_from_slice(&scrape.latencies);
        }
        Aggregates {
            age: Duration::from_secs_f64(now - last.at),
            arrival_rate: rate(|c| c.arrived),
            error_rate: rate(|c| c.refused),
            timeout_rate: rate(|c| c.timed_out),
            in_flight: last.in_flight as f64,
            queued: last.queued as f64,
            latency: summarize(&mut self.scratch),
        }
    }
}

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
