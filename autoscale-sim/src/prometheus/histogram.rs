//! Quantiles from classic histograms: a cumulative counter for each upper bound `le`.

use super::rate::rate;
use super::series::{Millis, OutOfOrder, Series};
use std::time::Duration;

/// Upper bounds in seconds that client libraries use unless told otherwise, without the last, +Inf
/// (`DefBuckets`, `client_golang` prometheus/histogram.go).
pub const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts of neighbouring buckets that differ by less than this share of their sum are the same
/// (`smallDeltaTolerance`, promql/quantile.go).
const SAME_COUNT: f64 = 1e-12;

/// How many observations, or how many per second, are at most `upper_bound`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The label `le`, in the unit of the observations; +Inf for the last.
    pub upper_bound: f64,
    /// The cumulative count or rate.
    pub count: f64,
}

/// `histogram_quantile(q, buckets)`: an estimate of the `q`-quantile in the unit of the bounds, from cumulative
/// buckets in any order (`BucketQuantile`, promql/quantile.go). `None` without any bucket.
///
/// Observations are taken to be spread evenly within a bucket, and the lowest bucket to begin at zero if its bound
/// is positive; if not, a quantile in it is its bound. A quantile in the +Inf bucket is the highest finite bound.
/// Buckets with equal bounds are added up. Counts that fall from a bucket to the next one (scrapes are not
/// atomic, sums of floats not exact) are lifted to the one before, and differences below a relative 1e-12 are
/// removed.
///
/// The result is NaN when the +Inf bucket is absent or the only one, when nothing was observed, when `q` is NaN,
/// and for `q` = 0 with an empty lowest bucket of positive bound; it is −∞ for `q` below 0 and +∞ above 1.
pub fn histogram_quantile(q: f64, buckets: Vec<Bucket>) -> Option<f64> {
    quantile(q, &monotone(buckets))
}

/// Buckets by rising bound, whose counts do not fall.
pub(crate) fn monotone(buckets: Vec<Bucket>) -> Vec<Bucket> {
    let mut buckets = sum_by_le(buckets);
    make_monotone(&mut buckets);
    buckets
}

/// [`histogram_quantile`] of buckets that are [`monotone`].
pub(crate) fn quantile(q: f64, buckets: &[Bucket]) -> Option<f64> {
    if buckets.is_empty() {
        return None;
    }
    if q.is_nan() {
        return Some(f64::NAN);
    }
    if !(0.0..=1.0).contains(&q) {
        return Some(if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let [finite @ .., Bucket { upper_bound: f64::INFINITY, count: total }] = buckets else {
        return Some(f64::NAN);
    };
    let Some(highest) = finite.last() else { return Some(f64::NAN) };
    if *total == 0.0 {
        return Some(f64::NAN);
    }
    let rank = q * total;
    let index = finite.partition_point(|b| b.count < rank);
    let Some(bucket) = finite.get(index) else { return Some(highest.upper_bound) };
    let below = match index.checked_sub(1) {
        Some(previous) => finite[previous],
        None if bucket.upper_bound <= 0.0 => return Some(bucket.upper_bound),
        None => Bucket { upper_bound: 0.0, count: 0.0 },
    };
    let share = (rank - below.count) / (bucket.count - below.count);
    Some(below.upper_bound + (bucket.upper_bound - below.upper_bound) * share)
}

/// Gives every count that is not clearly above the one before it that one's value
/// (`ensureMonotonicAndIgnoreSmallDeltas`, promql/quantile.go).
fn make_monotone(buckets: &mut [Bucket]) {
    let mut reached = f64::NEG_INFINITY;
    for bucket in buckets {
        if bucket.count < reached || same_count(bucket.count, reached) {
            bucket.count = reached;
        } else {
            reached = bucket.count;
        }
    }
}

/// Whether two counts differ by rounding only (`almost.Equal`, util/almost).
fn same_count(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if difference == 0.0 {
        true
    } else if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        // Relative to zero everything is large.
        difference < SAME_COUNT * f64::MIN_POSITIVE
    } else {
        difference / sum.min(f64::MAX) < SAME_COUNT
    }
}

/// `sum by (le)`: the buckets of several histograms added up, by rising bound.
///
/// With Neumaier's compensation (ZAMM 54, 1974), as Prometheus has it (`kahanSumInc`, promql/functions.go): a
/// rounding error could otherwise move a rank across a row of empty buckets.
pub fn sum_by_le(buckets: impl IntoIterator<Item = Bucket>) -> Vec<Bucket> {
    let mut all: Vec<Bucket> = buckets.into_iter().collect();
    all.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    all.chunk_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound).is_eq())
        .map(|same| Bucket {
            upper_bound: same[0].upper_bound,
            count: compensated_sum(same.iter().map(|b| b.count)),
        })
        .collect()
}

fn compensated_sum(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, lost) = values.fold((0.0_f64, 0.0), |(sum, lost), value| {
        let next = sum + value;
        let (large, small) = if sum.abs() >= value.abs() { (sum, value) } else { (value, sum) };
        (next, if next.is_infinite() { 0.0 } else { lost + ((large - next) + small) })
    });
    sum + lost
}

/// The bucket series that are scraped from one target.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSeries {
    /// A series for each upper bound, rising; the last bound is +Inf.
    series: Vec<(f64, Series)>,
}

impl HistogramSeries {
    /// Buckets with these finite upper bounds, rising, and one with the bound +Inf.
    pub fn new(finite_bounds: &[f64]) -> Self {
        let bounds = finite_bounds.iter().copied().chain([f64::INFINITY]);
        Self { series: bounds.map(|bound| (bound, Series::new())).collect() }
    }

    /// Adds a scrape: the cumulative counts in the order of the bounds, that of +Inf last.
    ///
    /// # Errors
    /// When `at` is not after the newest scrape.
    ///
    /// # Panics
    /// When there are not as many counts as bounds.
    pub fn append(&mut self, at: Millis, cumulative: &[f64]) -> Result<(), OutOfOrder> {
        assert_eq!(cumulative.len(), self.series.len(), "a count for every bound and +Inf");
        self.series.iter_mut().zip(cumulative).try_for_each(|((_, series), &count)| series.append(at, count))
    }

    /// Marks all buckets stale: the target failed to answer, or is gone.
    ///
    /// # Errors
    /// When `at` is not after the newest scrape.
    pub fn append_stale(&mut self, at: Millis) -> Result<(), OutOfOrder> {
        self.series.iter_mut().try_for_each(|(_, series)| series.append_stale(at))
    }

    /// Forgets scrapes at or before `at`.
    pub fn forget_until(&mut self, at: Millis) {
        for (_, series) in &mut self.series {
            series.forget_until(at);
        }
    }

    /// `rate(x_bucket[range])` at `at`, in observations per second; nothing with fewer than two scrapes in the
    /// range.
    pub fn rates(&self, at: Millis, range: Duration) -> impl Iterator<Item = Bucket> {
        self.series.iter().filter_map(move |(upper_bound, series)| {
            Some(Bucket { upper_bound: *upper_bound, count: rate(series, at, range)? })
        })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected numbers are exact")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INF: f64 = f64::INFINITY;

    fn quantile(q: f64, buckets: &[(f64, f64)]) -> f64 {
        let bucket = |&(upper_bound, count): &(f64, f64)| Bucket { upper_bound, count };
        histogram_quantile(q, buckets.iter().map(bucket).collect()).unwrap()
    }

    #[test]
    fn examples_by_hand() {
        let buckets = [(1.0, 4.0), (2.0, 8.0), (4.0, 10.0), (INF, 12.0)];
        assert_eq!(quantile(0.25, &buckets), 0.75);
        assert_eq!(quantile(0.5, &buckets), 1.5);
        assert_eq!(quantile(0.75, &buckets), 3.0);
        assert_eq!(quantile(0.99, &buckets), 4.0);
        assert_eq!(quantile(-0.1, &buckets), -INF);
        assert_eq!(quantile(1.1, &buckets), INF);
        assert!(quantile(f64::NAN, &buckets).is_nan());
        // A lowest bound of zero or less is an answer of its own.
        assert_eq!(quantile(0.1, &[(-3.0, 5.0), (1.0, 10.0), (INF, 10.0)]), -3.0);
        assert_eq!(quantile(0.75, &[(-3.0, 5.0), (1.0, 10.0), (INF, 10.0)]), -1.0);
    }

    #[test]
    fn without_observations_or_bounds_there_is_no_number() {
        assert!(quantile(0.5, &[(1.0, 0.0), (INF, 0.0)]).is_nan());
        assert!(quantile(0.5, &[(1.0, 5.0), (2.0, 6.0)]).is_nan());
        assert!(quantile(0.5, &[(INF, 6.0)]).is_nan());
        assert!(quantile(0.0, &[(1.0, 0.0), (INF, 6.0)]).is_nan());
        assert_eq!(histogram_quantile(0.5, Vec::new()), None);
    }

    #[test]
    fn a_falling_count_is_lifted_and_a_tiny_rise_is_none() {
        assert_eq!(quantile(0.5, &[(1.0, 4.0), (2.0, 3.0), (3.0, 8.0), (INF, 8.0)]), 1.0);
        assert_eq!(quantile(1.0, &[(1.0, 1e12), (2.0, 1e12 + 1.0), (INF, 1e12 + 1.0)]), 1.0);
        assert_eq!(quantile(1.0, &[(1.0, 1e12), (2.0, 1e12 + 3.0), (INF, 1e12 + 3.0)]), 2.0);
    }

    #[test]
    fn sums_do_not_lose_small_parts() {
        let part = |count| Bucket { upper_bound: 1.0, count };
        assert_eq!(sum_by_le([part(1.0), part(1e100), part(1.0), part(-1e100)]), [part(2.0)]);
    }

    #[test]
    fn a_target_that_is_gone_leaves_the_rate_slowly() {
        let mut pod = HistogramSeries::new(&DEFAULT_BUCKETS);
        let counts = |n: f64| [n; DEFAULT_BUCKETS.len() + 1];
        pod.append(Millis::new(15_000), &counts(100.0)).unwrap();
        pod.append(Millis::new(30_000), &counts(115.0)).unwrap();
        pod.append_stale(Millis::new(45_000)).unwrap();
        let rates = |at| pod.rates(Millis::new(at), Duration::from_secs(60)).count();
        assert_eq!(rates(74_999), 12);
        assert_eq!(rates(75_000), 0);
        pod.forget_until(Millis::new(45_000));
        assert_eq!(pod.rates(Millis::new(45_000), Duration::from_secs(60)).count(), 0);
    }

    /// Positive bounds and cumulative counts, +Inf last, something observed in the lowest bucket.
    fn histogram() -> impl Strategy<Value = Vec<(f64, f64)>> {
        let steps = proptest::collection::vec((0.001f64..10.0, 0u32..50), 1..12);
        (steps, 1u32..50, 0u32..50).prop_map(|(steps, first, beyond)| {
            let (mut bound, mut count) = (0.0, f64::from(first));
            let mut buckets = Vec::new();
            for (width, grown) in steps {
                bound += width;
                count += f64::from(grown);
                buckets.push((bound, count));
            }
            buckets.push((INF, count + f64::from(beyond)));
            buckets
        })
    }

    proptest! {
        #[test]
        fn quantiles_rise_and_stay_within_their_buckets(
            buckets in histogram(), q in 0.0f64..=1.0, r in 0.0f64..=1.0,
        ) {
            let (low, high) = (quantile(q.min(r), &buckets), quantile(q.max(r), &buckets));
            prop_assert!(low <= high * (1.0 + 1e-12));
            let (_, total) = buckets[buckets.len() - 1];
            let (top, _) = buckets[buckets.len() - 2];
            let holds = buckets.iter().position(|&(_, count)| count >= q * total).unwrap();
            let lower = if holds == 0 { 0.0 } else { buckets[holds - 1].0 };
            let found = quantile(q, &buckets);
            prop_assert!(found >= lower.min(top) && found <= buckets[holds].0.min(top) * (1.0 + 1e-12));
        }

        #[test]
        fn order_and_scale_do_not_matter(buckets in histogram(), q in 0.0f64..=1.0) {
            let other: Vec<_> = buckets.iter().rev().map(|&(bound, count)| (bound, count / 64.0)).collect();
            prop_assert_eq!(quantile(q, &other), quantile(q, &buckets));
        }
    }
}
