//! Samples of one metric with one set of labels.

use autoscale_core::units::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// An instant selector looks back this far for a sample (`--query.lookback-delta`, its default).
pub const LOOKBACK_DELTA: Duration = Duration::from_mins(5);

/// A moment as Prometheus keeps it: whole milliseconds from the driver's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(i64);

impl Millis {
    /// `millis` milliseconds after the origin.
    pub const fn new(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds after the origin.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The moment `span` earlier; what `span` has beyond whole milliseconds does not count.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Seconds since `earlier`; negative when that is in fact later.
    pub fn secs_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / 1000.0
    }
}

impl From<Timestamp> for Millis {
    /// The last whole millisecond, as `timestamp.FromTime` (model/timestamp) has it.
    fn from(at: Timestamp) -> Self {
        // Timestamps are whole microseconds; rounding to them undoes what the detour over seconds lost.
        Self(((at.as_secs_f64() * 1e6).round() as i64).div_euclid(1000))
    }
}

/// A sample that is not newer than the newest one of its series: `ErrOutOfOrderSample` (storage/interface.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("sample at {at:?} is not after the newest at {newest:?}")]
pub struct OutOfOrder {
    /// The sample's time.
    pub at: Millis,
    /// The newest time in the series.
    pub newest: Millis,
}

/// What a series holds at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    Value(f64),
    /// The series ended. Prometheus writes a NaN with a bit pattern of its own (`StaleNaN`, model/value).
    Stale,
}

/// The samples of one series, oldest first.
///
/// Of a lost scrape there are two kinds. A target that fails to answer, or that leaves service discovery, has all
/// its series marked stale ([`Self::append_stale`]; `scrapeAndReport` and `endOfRunStaleness` in
/// scrape/scrape.go). A scrape that Prometheus itself missed leaves nothing but a gap: append nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    points: VecDeque<(Millis, Point)>,
}

impl Series {
    /// A series without samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a scraped value. A counter that restarts from zero is appended as it is.
    ///
    /// # Errors
    /// When `at` is not after the newest sample.
    pub fn append(&mut self, at: Millis, value: f64) -> Result<(), OutOfOrder> {
        self.push(at, Point::Value(value))
    }

    /// Adds a staleness marker: from `at` on the series has no value until the next sample.
    ///
    /// # Errors
    /// When `at` is not after the newest sample.
    pub fn append_stale(&mut self, at: Millis) -> Result<(), OutOfOrder> {
        self.push(at, Point::Stale)
    }

    fn push(&mut self, at: Millis, point: Point) -> Result<(), OutOfOrder> {
        match self.newest() {
            Some(newest) if newest >= at => Err(OutOfOrder { at, newest }),
            _ => {
                self.points.push_back((at, point));
                Ok(())
            }
        }
    }

    /// Time of the newest sample or marker.
    pub fn newest(&self) -> Option<Millis> {
        self.points.back().map(|&(at, _)| at)
    }

    /// Forgets samples at or before `at`, which no range that begins there or later contains.
    pub fn forget_until(&mut self, at: Millis) {
        while self.points.front().is_some_and(|&(t, _)| t <= at) {
            self.points.pop_front();
        }
    }

    /// The value of an instant selector at `at`: the newest sample in `(at − lookback, at]`, unless the newest
    /// is a staleness marker (`vectorSelectorSingle`, promql/engine.go). See [`LOOKBACK_DELTA`].
    pub fn value_at(&self, at: Millis, lookback: Duration) -> Option<f64> {
        match self.between(at, lookback).next_back()? {
            (_, Point::Value(value)) => Some(value),
            (_, Point::Stale) => None,
        }
    }

    /// The samples of a range selector at `at`: those in `(at − range, at]`, oldest first, without staleness
    /// markers (`matrixIterSlice`, promql/engine.go).
    pub fn window(&self, at: Millis, range: Duration) -> impl DoubleEndedIterator<Item = (Millis, f64)> {
        self.between(at, range).filter_map(|(t, point)| match point {
            Point::Value(value) => Some((t, value)),
            Point::Stale => None,
        })
    }

    fn between(&self, at: Millis, range: Duration) -> impl DoubleEndedIterator<Item = (Millis, Point)> {
        let left = at.before(range);
        let first = self.points.partition_point(|&(t, _)| t <= left);
        let end = self.points.partition_point(|&(t, _)| t <= at);
        self.points.range(first..end.max(first)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: i64) -> Millis {
        Millis::new(secs * 1000)
    }

    #[test]
    fn time_is_cut_to_milliseconds() {
        assert_eq!(Millis::from(Timestamp::from_secs_f64(1.001)), Millis::new(1001));
        assert_eq!(Millis::from(Timestamp::from_secs_f64(1.001_999)), Millis::new(1001));
        assert_eq!(Millis::from(Timestamp::from_secs_f64(-0.000_1)), Millis::new(-1));
        assert_eq!(s(3).before(Duration::from_micros(1500)), Millis::new(2999));
    }

    #[test]
    fn samples_come_in_order() {
        let mut series = Series::new();
        series.append(s(5), 1.0).unwrap();
        assert_eq!(series.append(s(5), 1.0), Err(OutOfOrder { at: s(5), newest: s(5) }));
        assert!(series.append_stale(s(4)).is_err());
        assert_eq!(series.newest(), Some(s(5)));
    }

    #[test]
    fn windows_are_open_on_the_left() {
        let mut series = Series::new();
        for t in [0, 15, 30, 45] {
            series.append(s(t), t as f64).unwrap();
        }
        let seen =
            |at, range| series.window(s(at), Duration::from_secs(range)).map(|(_, v)| v).collect::<Vec<_>>();
        assert_eq!(seen(45, 30), [30.0, 45.0]);
        assert_eq!(seen(44, 30), [15.0, 30.0]);
        assert!(seen(-1, 30).is_empty());
        assert!(seen(30, 0).is_empty());
    }

    #[test]
    fn a_value_lasts_for_the_look_back_or_until_it_is_stale() {
        let mut series = Series::new();
        series.append(s(10), 7.0).unwrap();
        let at = |series: &Series, millis| series.value_at(Millis::new(millis), LOOKBACK_DELTA);
        assert_eq!(at(&series, 9_999), None);
        assert_eq!(at(&series, 10_000), Some(7.0));
        assert_eq!(at(&series, 309_999), Some(7.0));
        assert_eq!(at(&series, 310_000), None);
        series.append_stale(s(20)).unwrap();
        assert_eq!(at(&series, 19_999), Some(7.0));
        assert_eq!(at(&series, 20_000), None);
    }

    #[test]
    fn what_is_forgotten_was_outside_the_window() {
        let mut series = Series::new();
        for t in 0..10 {
            series.append(s(t), t as f64).unwrap();
        }
        let range = Duration::from_secs(4);
        let before: Vec<_> = series.window(s(9), range).collect();
        series.forget_until(s(9).before(range));
        assert_eq!(series.window(s(9), range).collect::<Vec<_>>(), before);
        assert_eq!(series.points.len(), 4);
    }
}
