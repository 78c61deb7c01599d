//! What a service has counted, over time, and what Prometheus may make of it.
//!
//! Prometheus scrapes once a second, so at a moment `t` its newest sample is from `t - e`, where 0 <= e < 1, and a window of
//! `w` whole seconds has `w` samples, the oldest from `t - w + (1 - e)`. `rate` is the increase between the two, over
//! `w - 1` seconds: the rest of the window is taken to be like it. So for each `e` the services' own counters say what the
//! rate is, and it must lie between the least and the greatest of these. The counters of a scrape are read a little after
//! the time that it is given: at most [`READ_WITHIN`]. That time is a whole number of seconds after that of the one before,
//! unless the scrape was late by more than 2 ms (`scrape.timestamp-tolerance`), as on a busy machine: at most [`LATE`].
//! Where either was not so, nothing is known of a rate: Prometheus itself says it, and so such a moment is passed over
//! ([`Prometheus::on_time`](super::server::Prometheus::on_time)).

use autoscale_core::units::Timestamp;
use autoscale_live::demo::service::Service;
use autoscale_live::shell::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// From the time of a scrape to its values.
pub(super) const READ_WITHIN: Duration = Duration::from_millis(100);

/// A scrape may be later than it should be.
pub(super) const LATE: Duration = Duration::from_millis(50);

/// Between two looks at the service.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Gauges change unseen between looks that are further apart.
const LOOKED_WITHIN: Duration = Duration::from_millis(50);

type Page = BTreeMap<String, f64>;

/// A service's own numbers.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Vec<(Timestamp, Page)>>>);

/// Between these.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Between {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Between {
    pub(super) fn holds(self, value: f64) -> bool {
        // Sums of floats differ in their last digits by order.
        (self.low - 1e-9..=self.high + 1e-9).contains(&value)
    }
}

impl std::iter::Sum for Between {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self { low: sum.low + one.low, high: sum.high + one.high })
    }
}

impl History {
    /// Looks at a service again and again.
    pub(super) fn of(service: Service, tasks: &mut JoinSet<()>) -> Self {
        let history = Self::default();
        let kept = history.clone();
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            loop {
                ticks.tick().await;
                let (at, page) = (SystemClock.now(), service.page());
                // Otherwise it may be of any moment since, and is as good as none.
                if SystemClock.now().since(at) < LOOK_EVERY {
                    kept.0.lock().unwrap().push((at, numbers(&page)));
                }
            }
        });
        history
    }

    /// What rates of this counter Prometheus may show at `t` over so many seconds, by the phase of its scrapes.
    pub(super) fn rate(&self, series: &str, t: Timestamp, window: u32) -> Between {
        let looks = self.0.lock().unwrap();
        let value = |at: usize| looks[at].1[series];
        // The last look that was surely before, the first that was surely after.
        let before = |t: Timestamp| value(looks.partition_point(|look| look.0 <= t).saturating_sub(1));
        let after = |t: Timestamp| value(looks.partition_point(|look| look.0 < t).min(looks.len() - 1));
        let apart = Duration::from_secs(u64::from(window) - 1);
        // Each covers all phases down to the next. One that is late itself should have been there a little earlier.
        let step = Duration::from_millis(10);
        let phases = (0..100 + LATE.as_millis() as u32 / 10).map(|k| t - step * k);
        let rates = phases.map(|newest| {
            let oldest = newest - apart;
            let least = before(newest - step) - after(oldest + LATE + READ_WITHIN);
            let most = after(newest + LATE + READ_WITHIN) - before(oldest - step);
            (least / (apart + LATE).as_secs_f64(), most / apart.saturating_sub(LATE).as_secs_f64())
        });
        rates.fold(Between { low: f64::INFINITY, high: f64::NEG_INFINITY }, |so_far, (least, most)| Between {
            low: so_far.low.min(least),
            high: so_far.high.max(most),
        })
    }

    /// What it truly was.
    pub(super) fn true_rate(&self, series: &str, t: Timestamp, window: u32) -> f64 {
        let looks = self.0.lock().unwrap();
        let value =
            |t: Timestamp| looks[looks.partition_point(|look| look.0 <= t).saturating_sub(1)].1[series];
        let window = Duration::from_secs(u64::from(window));
        (value(t) - value(t - window)) / window.as_secs_f64()
    }

    /// Whether it was looked at often enough around `t` to know its gauges then.
    pub(super) fn knows(&self, t: Timestamp) -> bool {
        let looks = self.0.lock().unwrap();
        let (from, to) = (newest_since(t), t + LATE + READ_WITHIN);
        let near: Vec<Timestamp> = looks.iter().map(|look| look.0).filter(|&at| from <= at).collect();
        near.last().is_some_and(|&last| to <= last)
            && near[0].since(from) <= LOOKED_WITHIN
            && near.windows(2).all(|pair| pair[1].since(pair[0]) <= LOOKED_WITHIN)
    }

    /// What this gauge was at any of the scrapes that may be the newest at `t`. Between two looks a request may have come
    /// or gone.
    pub(super) fn gauge(&self, series: &str, t: Timestamp) -> Between {
        let looks = self.0.lock().unwrap();
        let (from, to) = (newest_since(t), t + READ_WITHIN);
        let values = looks.iter().filter(|look| from <= look.0 && look.0 <= to).map(|look| look.1[series]);
        let seen = values.fold(None, |seen: Option<Between>, value| {
            let seen = seen.unwrap_or(Between { low: value, high: value });
            Some(Between { low: seen.low.min(value), high: seen.high.max(value) })
        });
        let Between { low, high } = seen.expect("it is looked at all the time");
        Between { low: low - 1.0, high: high + 1.0 }
    }

    /// The upper bounds of the buckets of response times in seconds, as they are written.
    pub(super) fn bounds(&self) -> Vec<String> {
        let looks = self.0.lock().unwrap();
        let bound = |series: &String| {
            let bound = series.strip_prefix("http_request_duration_seconds_bucket{le=\"")?;
            Some(bound.strip_suffix("\"}")?.to_owned())
        };
        let mut bounds: Vec<String> = looks[0].1.keys().filter_map(bound).collect();
        bounds.sort_by(|a, b| number(a).total_cmp(&number(b)));
        bounds
    }
}

/// From when the newest sample at `t` is at the earliest; the look before it counts, too.
fn newest_since(t: Timestamp) -> Timestamp {
    t - Duration::from_secs(1) - LATE - LOOK_EVERY
}

/// Of a bound or a value.
pub(super) fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// A page's series by name and labels.
fn numbers(page: &str) -> Page {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), number(value)))
        .collect()
}
