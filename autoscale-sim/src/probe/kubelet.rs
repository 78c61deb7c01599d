//! CPU and memory on their way from a container to the metrics API.
//!
//! The kubelet samples each container at its own jittered times, metrics-server reads the kubelets in its own
//! period, and the autoscaler reads metrics-server.

use crate::scenario::MetricsConfig;
use autoscale_core::sample::{ContainerUsage, ResourceList, UsageSample};
use autoscale_core::seed::{Seed, Stream};
use autoscale_core::units::{Milli, Timestamp};
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// A kubelet's sample of one container: when, CPU-seconds used so far, and memory.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    at: f64,
    cpu_used: f64,
    memory_bytes: f64,
}

/// What the kubelet and metrics-server know of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kubelet {
    next_sample: Option<f64>,
    sampled: Option<Sample>,
    /// The last two distinct samples that metrics-server has read, older first.
    read: [Option<Sample>; 2],
}

/// When metrics-server reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsServer {
    kubelet_period: f64,
    resolution: u64,
    phase: u64,
}

impl MetricsServer {
    pub(crate) fn new(config: &MetricsConfig, seed: Seed) -> Self {
        let resolution = u64::from(config.resolution_s);
        let phase = seed.child("resolution-phase").stream().random_range(0..resolution);
        Self { kubelet_period: config.kubelet_period_s, resolution, phase }
    }

    /// The whole second `now` is reached by a pod whose containers started at `started`.
    pub(crate) fn tick(
        &self,
        pod: &mut Kubelet,
        now: u64,
        started: f64,
        stream: &mut Stream,
        usage: impl FnOnce() -> (f64, f64),
    ) {
        let t = now as f64;
        if t < started {
            return;
        }
        let period = self.kubelet_period;
        // The first sample comes at the container's own time; long-running pods are in mid-cycle.
        let due =
            *pod.next_sample.get_or_insert_with(|| started.max(t - period) + stream.random::<f64>() * period);
        if t >= due {
            let (cpu_used, memory_bytes) = usage();
            pod.sampled = Some(Sample { at: t, cpu_used, memory_bytes });
            pod.next_sample = Some(t + period * (1.0 + stream.random::<f64>()));
        }
        if now % self.resolution == self.phase && pod.sampled != pod.read[1] {
            pod.read = [pod.read[1], pod.sampled];
        }
    }

    /// When it reads next, from the whole second `now` on.
    pub(crate) fn next_read(&self, now: u64) -> u64 {
        now + (self.phase + self.resolution - now % self.resolution) % self.resolution
    }

    /// The same as a [`Self::tick`] in every second up to the read at `at`, for a pod that has had none since the
    /// read before; `usage` answers for any whole second.
    pub(crate) fn read(
        &self,
        pod: &mut Kubelet,
        at: u64,
        started: f64,
        stream: &mut Stream,
        usage: impl Fn(f64) -> (f64, f64),
    ) {
        let (read, period) = (at as f64, self.kubelet_period);
        // The first second of a world ends at 1.
        let first = started.ceil().max(1.0);
        if read < first {
            return;
        }
        let mut due = match pod.next_sample {
            Some(due) => due,
            None => started.max(first - period) + stream.random::<f64>() * period,
        };
        let mut newest = None;
        while due.max(first).ceil() <= read {
            let taken = due.max(first).ceil();
            newest = Some(taken);
            due = taken + period * (1.0 + stream.random::<f64>());
        }
        pod.next_sample = Some(due);
        if let Some(at) = newest {
            let (cpu_used, memory_bytes) = usage(at);
            pod.sampled = Some(Sample { at, cpu_used, memory_bytes });
        }
        if pod.sampled != pod.read[1] {
            pod.read = [pod.read[1], pod.sampled];
        }
    }

    /// Renews a pod's usage in the metrics API, `None` while it is missing there. `origin` is the world's time
    /// of the timestamp zero.
    pub(crate) fn show(
        &self,
        pod: &Kubelet,
        container: &Arc<str>,
        started: f64,
        origin: f64,
        shown: &mut Option<UsageSample>,
    ) {
        let Some((newest, since, used_before)) = self.window(pod, started) else {
            *shown = None;
            return;
        };
        let window = newest.at - since;
        let cpu = Milli::from_units_ceil((newest.cpu_used - used_before) / window);
        let memory = Milli::from_units_ceil(newest.memory_bytes);
        let usage = ResourceList { cpu: Some(cpu), memory: Some(memory) };
        let sample = shown.get_or_insert_with(|| UsageSample {
            timestamp: Timestamp::ZERO,
            window: Duration::ZERO,
            containers: vec![ContainerUsage { name: Arc::clone(container), usage }],
        });
        sample.timestamp = Timestamp::from_secs_f64(newest.at - origin);
        sample.window = Duration::from_secs_f64(window);
        sample.containers[0].usage = usage;
    }

    /// The newest sample, with the start of its window and the CPU-seconds used until then.
    fn window(&self, pod: &Kubelet, started: f64) -> Option<(Sample, f64, f64)> {
        let newest = pod.read[1]?;
        // One sample suffices for a container that is younger than the resolution but not too young;
        // otherwise two are needed (metrics-server `storage/pod.go`).
        let age = newest.at - started;
        match pod.read[0] {
            Some(older) => Some((newest, older.at, older.cpu_used)),
            None if (10.0..self.resolution as f64).contains(&age) => Some((newest, started, 0.0)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_find_what_ticks_would_have_left() {
        let server = MetricsServer::new(&MetricsConfig::default(), Seed::root(3));
        let usage = |t: f64| (t * t, 3.0 * t);
        for started in [-3600.0, 0.0, 0.4, 7.0, 33.3] {
            let (mut ticked, mut read) = (Kubelet::default(), Kubelet::default());
            let (mut one, mut other) = (Seed::root(9).stream(), Seed::root(9).stream());
            let mut next = server.next_read(1);
            for now in 1..600u64 {
                server.tick(&mut ticked, now, started, &mut one, || usage(now as f64));
                if now == next {
                    server.read(&mut read, now, started, &mut other, usage);
                    assert_eq!(read.read, ticked.read, "at {now}, started at {started}");
                    next = server.next_read(now + 1);
                }
            }
            assert!(ticked.read[1].is_some());
        }
    }
}
