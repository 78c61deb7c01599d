//! Counters on their way from a pod to the answer of a query.
//!
//! Each pod counts by itself and begins anew when its container does; Prometheus scrapes each at a phase of its
//! own, and a query adds up the pods' rates. So a pod shows up in a rate only after its second scrape, one that
//! has gone stays in it for a window, and quantiles are those of histogram buckets.

use crate::pod::Pod;
use crate::prometheus::{HistogramSeries, LOOKBACK_DELTA, Millis, OutOfOrder, Series};
use crate::prometheus::{rate, sum_by_le};
use crate::scenario::MetricsConfig;
use autoscale_core::measurement::LatencySummary;
use autoscale_core::seed::Stream;
use autoscale_core::units::RequestRate;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// What a pod counts, and what Prometheus has scraped of it.
#[derive(Clone, Debug)]
pub(crate) struct Exporter {
    counters: Counters,
    /// Seconds after each whole scrape interval; drawn at the first scrape.
    phase: Option<u64>,
    scraped: Scraped,
}

/// Counters since the container's start.
#[derive(Clone, Debug)]
struct Counters {
    received: u64,
    refused: u64,
    abandoned: u64,
    /// Upper bounds in seconds.
    bounds: Arc<[f64]>,
    /// Answers in each bucket, the last unbounded.
    answered: Vec<u64>,
    answered_s: f64,
}

#[derive(Clone, Debug)]
struct Scraped {
    received: Series,
    refused: Series,
    abandoned: Series,
    in_flight: Series,
    queued: Series,
    answered: HistogramSeries,
    answered_s: Series,
    /// Room for the cumulative counts of a scrape.
    cumulative: Vec<f64>,
}

impl Exporter {
    fn new(bounds: &Arc<[f64]>) -> Self {
        Self {
            counters: Counters {
                received: 0,
                refused: 0,
                abandoned: 0,
                bounds: Arc::clone(bounds),
                answered: vec![0; bounds.len() + 1],
                answered_s: 0.0,
            },
            phase: None,
            scraped: Scraped {
                received: Series::new(),
                refused: Series::new(),
                abandoned: Series::new(),
                in_flight: Series::new(),
                queued: Series::new(),
                answered: HistogramSeries::new(bounds),
                answered_s: Series::new(),
                cumulative: Vec::new(),
            },
        }
    }

    /// A request was taken in.
    pub(crate) fn received(&mut self) {
        self.counters.received += 1;
    }

    /// A request was turned away.
    pub(crate) fn refused(&mut self) {
        self.counters.received += 1;
        self.counters.refused += 1;
    }

    /// `clients` closed their connections before the answer.
    pub(crate) fn abandoned(&mut self, clients: u64) {
        self.counters.abandoned += clients;
    }

    /// A request was answered after `seconds` in the pod.
    pub(crate) fn answered(&mut self, seconds: f64) {
        let counters = &mut self.counters;
        // Comparing with all is faster than a search among so few.
        let bucket: usize = counters.bounds.iter().map(|&bound| usize::from(bound < seconds)).sum();
        counters.answered[bucket] += 1;
        counters.answered_s += seconds;
    }

    /// The container starts again: its counters are zero.
    pub(crate) fn begin_anew(&mut self) {
        let counters = &mut self.counters;
        (counters.received, counters.refused, counters.abandoned, counters.answered_s) = (0, 0, 0, 0.0);
        counters.answered.fill(0);
    }
}

impl Scraped {
    fn append(&mut self, at: Millis, counters: &Counters, gauges: Gauges) -> Result<(), OutOfOrder> {
        self.received.append(at, counters.received as f64)?;
        self.refused.append(at, counters.refused as f64)?;
        self.abandoned.append(at, counters.abandoned as f64)?;
        self.in_flight.append(at, gauges.in_flight as f64)?;
        self.queued.append(at, gauges.queued as f64)?;
        self.answered_s.append(at, counters.answered_s)?;
        let mut sum = 0;
        self.cumulative.clear();
        self.cumulative.extend(counters.answered.iter().map(|&count| {
            sum += count;
            sum as f64
        }));
        self.answered.append(at, &self.cumulative)
    }

    /// Only the gauges need it: a range selector passes over markers.
    fn append_stale(&mut self, at: Millis) -> Result<(), OutOfOrder> {
        self.in_flight.append_stale(at)?;
        self.queued.append_stale(at)
    }

    fn forget_until(&mut self, window: Millis, lookback: Millis) {
        for series in [&mut self.received, &mut self.refused, &mut self.abandoned, &mut self.answered_s] {
            series.forget_until(window);
        }
        self.answered.forget_until(window);
        self.in_flight.forget_until(lookback);
        self.queued.forget_until(lookback);
    }
}

/// What a pod shows besides its counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) in_flight: usize,
    pub(crate) queued: usize,
}

/// The aggregates of one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Aggregates {
    pub(crate) age: Duration,
    pub(crate) arrival_rate: RequestRate,
    pub(crate) error_rate: RequestRate,
    pub(crate) timeout_rate: RequestRate,
    pub(crate) in_flight: f64,
    pub(crate) queued: f64,
    pub(crate) latency: Option<LatencySummary>,
}

/// The Prometheus of one episode.
#[derive(Clone, Debug)]
pub(crate) struct Prometheus {
    interval: u64,
    loss: f64,
    window: Duration,
    bounds: Arc<[f64]>,
    /// Pods that are no more, until no query reaches back to them.
    gone: Vec<Exporter>,
}

fn millis(seconds: u64) -> Millis {
    Millis::new(seconds as i64 * 1000)
}

impl Prometheus {
    pub(crate) fn new(config: &MetricsConfig) -> Self {
        Self {
            interval: u64::from(config.scrape_interval_s),
            loss: config.scrape_loss,
            window: Duration::from_secs(u64::from(config.rate_window_s)),
            bounds: config.latency_buckets_ms.iter().map(|ms| ms / 1000.0).collect(),
            gone: Vec::new(),
        }
    }

    /// The exporter of a new pod.
    pub(crate) fn exporter(&self) -> Exporter {
        Exporter::new(&self.bounds)
    }

    /// The whole second `now` is reached; the pod is scraped if it is due.
    pub(crate) fn tick(
        &self,
        pod: &mut Exporter,
        now: u64,
        stream: &mut Stream,
        gauges: impl FnOnce() -> Gauges,
    ) {
        let phase = *pod.phase.get_or_insert_with(|| stream.random_range(0..self.interval));
        if now % self.interval != phase {
            return;
        }
        let at = millis(now);
        let lost = self.loss > 0.0 && stream.random::<f64>() < self.loss;
        let appended =
            if lost { pod.scraped.append_stale(at) } else { pod.scraped.append(at, &pod.counters, gauges()) };
        debug_assert!(appended.is_ok(), "the clock never goes back");
        pod.scraped.forget_until(at.before(self.window + self.margin()), at.before(LOOKBACK_DELTA));
    }

    /// Queries come between scrapes, so a scrape must leave a whole window behind for them.
    fn margin(&self) -> Duration {
        Duration::from_secs(self.interval)
    }

    /// The pod has left service discovery at `now`.
    pub(crate) fn forget(&mut self, mut pod: Exporter, now: u64) {
        // A scrape of this very second came first.
        let _ = pod.scraped.append_stale(millis(now));
        self.gone.push(pod);
        let oldest = millis(now).before(self.window);
        self.gone.retain(|pod| pod.scraped.received.newest().is_some_and(|newest| newest > oldest));
    }

    /// What queries over all pods give at the whole second `now`.
    pub(crate) fn aggregates(&self, now: u64, pods: &[Pod]) -> Aggregates {
        let at = millis(now);
        let all = || pods.iter().map(|pod| &pod.exporter).chain(&self.gone).map(|pod| &pod.scraped);
        let total = |series: fn(&Scraped) -> &Series| -> f64 {
            all().filter_map(|pod| rate(series(pod), at, self.window)).sum()
        };
        let per_second = |value: f64| RequestRate::new(value).unwrap_or_default();
        let gauge = |series: fn(&Scraped) -> &Series| -> f64 {
            all().filter_map(|pod| series(pod).value_at(at, LOOKBACK_DELTA)).sum()
        };
        let newest = all().filter_map(|pod| pod.received.newest()).max();
        Aggregates {
            age: Duration::from_secs_f64(newest.map_or(now as f64, |newest| at.secs_since(newest))),
            arrival_rate: per_second(total(|pod| &pod.received)),
            error_rate: per_second(total(|pod| &pod.refused)),
            timeout_rate: per_second(total(|pod| &pod.abandoned)),
            in_flight: gauge(|pod| &pod.in_flight),
            queued: gauge(|pod| &pod.queued),
            latency: self.latency(at, all(), total(|pod| &pod.answered_s)),
        }
    }

    /// Mean and quantiles in the window; `None` without answers in it.
    fn latency<'a>(
        &self,
        at: Millis,
        pods: impl Iterator<Item = &'a Scraped>,
        answered_s: f64,
    ) -> Option<LatencySummary> {
        let buckets = sum_by_le(pods.flat_map(|pod| pod.answered.rates(at, self.window)));
        let count = buckets.last()?.count;
        (count > 0.0).then(|| super::summarize_buckets(answered_s / count, buckets))
    }
}
