//! What a demo service counts.
//!
//! As a pod of the simulator does: a request that comes is received, whatever becomes of it; then it is answered, refused,
//! or its client gives up. Only answers have a response time.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Upper bounds of the buckets of response times in seconds: those of Prometheus' own libraries.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    Answered,
    Refused,
    /// The client closed the connection; nginx's status for it.
    Abandoned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    code: &'static str,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Abandoned];

    const fn labels(self) -> Labels {
        Labels {
            code: match self {
                Self::Answered => "200",
                Self::Refused => "503",
                Self::Abandoned => "499",
            },
        }
    }
}

/// Gauges as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    /// In service or waiting.
    pub(super) in_flight: usize,
    /// Waiting.
    pub(super) queued: usize,
}

#[derive(Debug)]
pub(super) struct Meters {
    registry: Registry,
    received: Counter,
    endings: Family<Labels, Counter>,
    duration: Histogram,
    in_flight: Gauge,
    queued: Gauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let (received, endings) = (Counter::default(), Family::<Labels, Counter>::default());
        let (in_flight, queued) = (Gauge::default(), Gauge::default());
        let duration = Histogram::new(BUCKETS);
        // A counter that appears with its first event hides that event from a rate.
        for ending in Ending::ALL {
            drop(endings.get_or_create(&ending.labels()));
        }
        registry.register("http_requests_received", "Requests that came", received.clone());
        registry.register("http_requests", "Requests that ended, by status", endings.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From coming to the answer, waiting included; of answered requests",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register("http_requests_in_flight", "Requests in service or waiting", in_flight.clone());
        registry.register("http_requests_queued", "Requests that wait for a worker", queued.clone());
        Self { registry, received, endings, duration, in_flight, queued }
    }

    pub(super) fn received(&self) {
        self.received.inc();
    }

    pub(super) fn ended(&self, ending: Ending) {
        self.endings.get_or_create(&ending.labels()).inc();
    }

    pub(super) fn answered(&self, after: Duration) {
        self.duration.observe(after.as_secs_f64());
        self.ended(Ending::Answered);
    }

    /// In the text format of `OpenMetrics`.
    pub(super) fn page(&self, inside: Inside) -> String {
        self.in_flight.set(inside.in_flight as i64);
        self.queued.set(inside.queued as i64);
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}
