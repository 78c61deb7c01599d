//! What the world keeps about its requests: the ledger, and true figures for the record of the episode.

use crate::episode::Truth;
use crate::probe::summarize;
use crate::request::{Ledger, Request, RequestEnd, RequestTrace};
use autoscale_core::histogram::LogHistogram;
use autoscale_core::record::RequestCounts;
use autoscale_core::units::Timestamp;
use std::time::Duration;

/// Truth about one control interval.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) counts: RequestCounts,
    latencies: Vec<f32>,
    pub(crate) offered: f64,
    pub(crate) pod_seconds: f64,
    pub(crate) ready_seconds: f64,
}

impl Gathered {
    /// What the interval was; the next one begins, and the buffer goes round.
    pub(crate) fn close(&mut self) -> Truth {
        let mut histogram = LogHistogram::new();
        histogram.record_all_secs(self.latencies.iter().map(|&latency| f64::from(latency)));
        let truth = Truth {
            offered: self.offered,
            requests: self.counts,
            latency: summarize(&mut self.latencies),
            histogram,
            pod_seconds: self.pod_seconds,
            ready_seconds: self.ready_seconds,
        };
        self.begin_anew();
        truth
    }

    fn begin_anew(&mut self) {
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.clear();
        *self = Self { latencies, ..Self::default() };
    }
}

/// Everything that is written down about requests.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    /// The episode begins at this time of the world's clock; requests that came before are none of it.
    begin: f64,
    slo: f64,
    pub(crate) ledger: Ledger,
    pub(crate) gathered: Gathered,
    log: Option<Vec<RequestTrace>>,
}

impl Books {
    pub(crate) fn new(begin: f64, slo: Duration) -> Self {
        let slo = slo.as_secs_f64();
        Self { begin, slo, ledger: Ledger::default(), gathered: Gathered::default(), log: None }
    }

    pub(crate) fn keep_log(&mut self) {
        self.log = Some(Vec::new());
    }

    pub(crate) fn log(&self) -> &[RequestTrace] {
        self.log.as_deref().unwrap_or_default()
    }

    pub(crate) fn clear_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.clear();
        }
    }

    /// Everything from the start, except whether a log is kept.
    pub(crate) fn begin_anew(&mut self) {
        self.ledger = Ledger::default();
        self.gathered.begin_anew();
        self.clear_log();
    }

    pub(crate) fn arrived(&mut self, now: f64) {
        self.ledger.arrived += 1;
        self.gathered.counts.arrived += u64::from(now >= self.begin);
    }

    /// A request left the system for good at `left`; `pod` answered it, if it was answered.
    pub(crate) fn left(&mut self, request: &Request, left: f64, end: RequestEnd, pod: Option<u64>) {
        let ledger = &mut self.ledger;
        match end {
            RequestEnd::Answered => ledger.answered += 1,
            RequestEnd::TimedOut => ledger.timed_out += 1,
            RequestEnd::Refused => ledger.refused += 1,
            RequestEnd::Lost => ledger.lost += 1,
        }
        self.count(request, left, end);
        if let Some(log) = &mut self.log {
            let time = |clock: f64| Timestamp::from_secs_f64(clock - self.begin);
            log.push(RequestTrace {
                ordinal: request.ordinal,
                arrived: time(request.first),
                demand: Duration::from_secs_f64(request.demand),
                attempts: request.attempt,
                left: time(left),
                end,
                pod,
            });
        }
    }

    /// Counts an end in the current interval.
    pub(crate) fn count(&mut self, request: &Request, left: f64, end: RequestEnd) {
        if request.first < self.begin {
            return;
        }
        let counts = &mut self.gathered.counts;
        match end {
            RequestEnd::TimedOut => counts.timed_out += 1,
            RequestEnd::Refused => counts.refused += 1,
            RequestEnd::Lost => counts.lost += 1,
            RequestEnd::Answered => {
                let latency = left - request.first;
                if latency > self.slo {
                    counts.late += 1;
                } else {
                    counts.in_time += 1;
                }
                self.gathered.latencies.push(latency as f32);
            }
        }
    }

    /// A request is still in the system when the drain after the episode ends.
    pub(crate) fn unfinished(&mut self, request: &Request) {
        self.gathered.counts.unfinished += u64::from(request.first >= self.begin);
    }
}
