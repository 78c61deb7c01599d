//! What Prometheus answers: series as it stores them, and the few `PromQL` functions that autoscalers use.
//!
//! A [`Series`] holds scraped samples and staleness markers. [`Series::value_at`] is an instant selector,
//! [`rate`], [`increase`] and [`irate`] are the functions of that name over a range selector, and
//! [`histogram_quantile`] works on the classic buckets of a [`HistogramSeries`]. The query of most dashboards,
//! `histogram_quantile(0.95, sum by (le) (rate(x_bucket[1m])))`, is
//!
//! ```
//! use autoscale_sim::prometheus::{HistogramSeries, Millis, histogram_quantile, sum_by_le};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), autoscale_sim::prometheus::OutOfOrder> {
//! let mut pod = HistogramSeries::new(&[0.1, 1.0]);
//! for scrape in 0..5 {
//!     // Ten requests between scrapes: eight below 0.1 s, two more below 1 s.
//!     pod.append(Millis::new(15_000 * scrape), &[8.0 * scrape as f64, 10.0 * scrape as f64, 10.0 * scrape as f64])?;
//! }
//! let buckets = sum_by_le(pod.rates(Millis::new(60_000), Duration::from_secs(60)));
//! assert_eq!(histogram_quantile(0.9, buckets), Some(0.55));
//! # Ok(())
//! # }
//! ```
//!
//! The rules are those of Prometheus 3, written from its documentation and the functions named at each item; its
//! `promtool test rules` is the oracle (`tests/prometheus.rs`). Prometheus 2 differs: there a range, and the
//! look-back of an instant selector, include a sample on their left border; and before 2.51 a rate that reached back
//! to a counter's zero point could do so by 1.1 sampling intervals instead of half of one.
//!
//! `PromQL` knows floats only, so values here are plain `f64` in whatever unit the metric has; times have types.
//! Native histograms, the `offset` and `@` modifiers, and subqueries are absent.

mod histogram;
mod rate;
mod series;

pub use histogram::{Bucket, DEFAULT_BUCKETS, HistogramSeries, histogram_quantile, sum_by_le};
pub(crate) use histogram::{monotone, quantile};
pub(crate) use rate::EDGE_INTERVALS;
pub use rate::{increase, irate, rate};
pub use series::{LOOKBACK_DELTA, Millis, OutOfOrder, Series};
