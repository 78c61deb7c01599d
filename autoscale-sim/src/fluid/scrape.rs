//! What Prometheus makes of flows: the counters that every pod that serves would show on average, second by second,
//! seen through each pod's own scrapes; gauges show what was there at the moment of the scrape.

use super::flow::FluidFlow;
use super::model::FluidModel;
use super::pods::{FluidPod, Life};
use crate::engine::Detail;
use crate::probe::{Aggregates, summarize_buckets};
use crate::prometheus::{Bucket, EDGE_INTERVALS};
use crate::scenario::MetricsConfig;
use autoscale_core::measurement::LatencySummary;
use autoscale_core::units::RequestRate;
use std::time::Duration;

// Columns: CPU of a pod since the world's beginning and its mean number of requests, which its usage is made of; other
// counters since the beginning, and its histogram's buckets.
const CPU: usize = 0;
const IN_FLIGHT: usize = 1;
const USAGE: usize = 2;
const RECEIVED: usize = USAGE;
const REFUSED: usize = 3;
const ABANDONED: usize = 4;
const ANSWERED_S: usize = 5;
const BUCKETS: usize = 6;

/// A ring of rows, one a second.
#[derive(Clone, Debug)]
pub(super) struct Scraper {
    interval: u32,
    window: u32,
    bounds: Vec<f64>,
    columns: usize,
    capacity: u32,
    rows: Vec<f64>,
    /// The newest row.
    current: Vec<f64>,
    now: u32,
    before: Vec<f64>,
    /// How often each row counts in the answer to a query.
    weights: Vec<f64>,
    answer: Vec<f64>,
}

impl Scraper {
    /// `reach` is how many seconds back anybody else looks.
    pub(super) fn new(config: &MetricsConfig, reach: u32, detail: Detail) -> Self {
        let buckets = config.latency_buckets_ms.len() + 1;
        let columns = if detail == Detail::ResourceMetrics { USAGE } else { BUCKETS + buckets };
        let capacity = reach.max(config.rate_window_s + config.scrape_interval_s) + 2;
        Self {
            interval: config.scrape_interval_s,
            window: config.rate_window_s,
            bounds: config.latency_buckets_ms.iter().map(|ms| ms / 1000.0).collect(),
            columns,
            capacity,
            rows: vec![0.0; columns * capacity as usize],
            current: vec![0.0; columns],
            now: 0,
            before: vec![0.0; columns],
            weights: vec![0.0; capacity as usize],
            answer: vec![0.0; columns],
        }
    }

    /// `seconds` have passed in which this flowed through `pods` pods, with now so many requests in them on average.
    pub(super) fn passed(
        &mut self,
        seconds: u32,
        flow: &FluidFlow,
        model: &FluidModel,
        pods: f64,
        cpu_s: f64,
        in_flight: f64,
    ) {
        self.before.copy_from_slice(&self.current);
        if pods > 0.0 {
            self.current[CPU] += cpu_s / pods;
            if self.columns > USAGE {
                self.count(flow, model, pods);
            }
        }
        let per_pod = if pods > 0.0 { 1.0 / pods } else { 0.0 };
        self.current[IN_FLIGHT] = in_flight * per_pod;
        for second in 1..=seconds {
            let share = f64::from(second) / f64::from(seconds);
            let slot = self.slot(self.now + second);
            let row = &mut self.rows[slot..slot + self.columns];
            for ((value, before), after) in row.iter_mut().zip(&self.before).zip(&self.current) {
                *value = before + share * (after - before);
            }
        }
        self.now += seconds;
    }

    /// Adds what flowed to the counters of a pod.
    fn count(&mut self, flow: &FluidFlow, model: &FluidModel, pods: f64) {
        let row = &mut self.current;
        let buckets = row.len() - 1;
        row[BUCKETS..].fill(0.0);
        flow.add_buckets(model, &mut row[BUCKETS..buckets]);
        row[buckets] = flow.answered(model);
        for (value, before) in row[BUCKETS..].iter_mut().zip(&self.before[BUCKETS..]) {
            *value = *value / pods + before;
        }
        row[RECEIVED] += flow.arrived / pods;
        row[REFUSED] += flow.refused / pods;
        row[ABANDONED] += flow.timed_out(model) / pods;
        row[ANSWERED_S] += flow.answered_s(model) / pods;
    }

    fn slot(&self, second: u32) -> usize {
        (second % self.capacity) as usize * self.columns
    }

    fn at(&self, second: u32, column: usize) -> f64 {
        self.rows[self.slot(second) + column]
    }

    /// CPU-seconds of a pod that has always served.
    pub(super) fn cpu(&self, second: u32) -> f64 {
        self.at(second, CPU)
    }

    /// Requests in a pod that serves.
    pub(super) fn in_flight(&self, second: u32) -> f64 {
        self.at(second, IN_FLIGHT)
    }

    /// What queries over these pods give now.
    pub(super) fn aggregates<'a>(&mut self, pods: impl Iterator<Item = &'a FluidPod>) -> Aggregates {
        let (mut weights, mut answer) = (std::mem::take(&mut self.weights), std::mem::take(&mut self.answer));
        weights.fill(0.0);
        let (mut newest_of_all, mut in_flight, mut queued) = (None, 0.0, 0.0);
        for pod in pods {
            let Some(scrapes) = self.scrapes(pod) else { continue };
            newest_of_all = newest_of_all.max(Some(scrapes.newest));
            if pod.life.gone > self.now && pod.life.serves_at(scrapes.newest) {
                in_flight += pod.gauges.in_flight;
                queued += pod.gauges.queued;
            }
            self.weigh(&pod.life, scrapes, &mut weights);
        }
        answer.fill(0.0);
        for (&weight, row) in weights.iter().zip(self.rows.chunks_exact(self.columns)) {
            if weight != 0.0 {
                answer.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        let rate = |column: usize| RequestRate::new(answer[column].max(0.0)).unwrap_or_default();
        let age = newest_of_all.map_or(self.now, |newest| self.now - newest);
        let aggregates = Aggregates {
            age: Duration::from_secs(u64::from(age)),
            arrival_rate: rate(RECEIVED),
            error_rate: rate(REFUSED),
            timeout_rate: rate(ABANDONED),
            in_flight,
            queued,
            latency: self.latency(&answer),
        };
        (self.weights, self.answer) = (weights, answer);
        aggregates
    }

    /// The scrapes of a pod within the window; `None` without any.
    fn scrapes(&self, pod: &FluidPod) -> Option<Scrapes> {
        let (interval, phase) = (self.interval, pod.scrape_phase);
        let last = self.now.min(pod.life.gone - 1);
        let first = (self.now + 1).saturating_sub(self.window).max(pod.life.ready_second.max(1));
        let newest = last.checked_sub((last + interval - phase) % interval)?;
        let oldest = first + (phase + interval - first % interval) % interval;
        (oldest <= newest).then_some(Scrapes { oldest, newest })
    }

    /// Adds what `rate()` makes of the pod's scrapes: see [`crate::prometheus::rate`].
    fn weigh(&self, life: &Life, Scrapes { oldest, newest }: Scrapes, weights: &mut [f64]) {
        let (from, to) = (life.clamp(oldest), life.clamp(newest));
        if from == to {
            return;
        }
        let (interval, sampled) = (f64::from(self.interval), f64::from(newest - oldest));
        let reach = |gap: f64| if gap < EDGE_INTERVALS * interval { gap } else { interval / 2.0 };
        let mut before = reach(f64::from(oldest + self.window - self.now));
        if self.now - life.serves.min(self.now) < self.capacity - 1 {
            let growth = self.at(to, RECEIVED) - self.at(from, RECEIVED);
            let first = self.at(from, RECEIVED) - self.at(life.serves, RECEIVED);
            if growth > 0.0 {
                before = before.min(sampled * (first / growth));
            }
        }
        let after = reach(f64::from(self.now - newest));
        let weight = (sampled + before + after) / sampled / f64::from(self.window);
        weights[(to % self.capacity) as usize] += weight;
        weights[(from % self.capacity) as usize] -= weight;
    }

    fn latency(&self, answer: &[f64]) -> Option<LatencySummary> {
        let count = *answer.last()?;
        if count <= 1e-9 {
            return None;
        }
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<Bucket> = bounds
            .zip(&answer[BUCKETS..])
            .map(|(upper_bound, &count)| Bucket { upper_bound, count })
            .collect();
        Some(summarize_buckets(answer[ANSWERED_S] / count, buckets))
    }
}

/// Whole seconds.
#[derive(Clone, Copy, Debug)]
struct Scrapes {
    oldest: u32,
    newest: u32,
}
