//! How fast a counter grows.

use super::series::{Millis, Series};
use std::time::Duration;

/// A range without a sample for this many average sampling intervals at one of its ends is taken to reach beyond
/// the life of the series (`extrapolationThreshold` in `extrapolatedRate`, promql/functions.go).
pub(crate) const EDGE_INTERVALS: f64 = 1.1;

/// `increase(series[range])` at `at`: the growth over the whole range, in the unit of the counter. `None` with
/// fewer than two samples in the range.
///
/// A value below the one before it is a reset: the counter started again from zero. The growth between the first
/// and the last sample is stretched to the range's ends, at each end the whole way or, where a sample is missing
/// (1.1 average intervals or more without one), half an average interval; and at the left end never beyond
/// the moment at which a counter growing so fast would have been zero. So the result is seldom a whole number
/// (`extrapolatedRate`, promql/functions.go).
pub fn increase(series: &Series, at: Millis, range: Duration) -> Option<f64> {
    let mut samples = series.window(at, range);
    let (first_at, first) = samples.next()?;
    let (mut last_at, mut last) = (first_at, first);
    let (mut lost_to_resets, mut intervals) = (0.0, 0_u32);
    for (t, value) in samples {
        if value < last {
            lost_to_resets += last;
        }
        (last_at, last) = (t, value);
        intervals += 1;
    }
    if intervals == 0 {
        return None;
    }
    let growth = last - first + lost_to_resets;

    let sampled = last_at.secs_since(first_at);
    let average = sampled / f64::from(intervals);
    let reach = |gap: f64| if gap < EDGE_INTERVALS * average { gap } else { average / 2.0 };
    let mut before = reach(first_at.secs_since(at.before(range)));
    if growth > 0.0 && first >= 0.0 {
        before = before.min(sampled * (first / growth));
    }
    let after = reach(at.secs_since(last_at));
    Some(growth * ((sampled + before + after) / sampled))
}

/// `rate(series[range])` at `at`: [`increase`] per second of the range.
pub fn rate(series: &Series, at: Millis, range: Duration) -> Option<f64> {
    Some(increase(series, at, range)? / range.as_secs_f64())
}

/// `irate(series[range])` at `at`: growth per second between the last two samples in the range, without any
/// extrapolation; after a reset the counter grew from zero (`instantValue`, promql/functions.go). `None` with
/// fewer than two samples in the range.
pub fn irate(series: &Series, at: Millis, range: Duration) -> Option<f64> {
    let mut newest_first = series.window(at, range).rev();
    let (last_at, last) = newest_first.next()?;
    let (previous_at, previous) = newest_first.next()?;
    let growth = if last < previous { last } else { last - previous };
    Some(growth / last_at.secs_since(previous_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(samples: impl IntoIterator<Item = (i64, f64)>) -> Series {
        let mut series = Series::new();
        for (millis, value) in samples {
            series.append(Millis::new(millis), value).unwrap();
        }
        series
    }

    /// Gaps between scrapes in milliseconds, and growth in each.
    fn counter() -> impl Strategy<Value = Vec<(i64, u32)>> {
        proptest::collection::vec((1i64..40_000, 0u32..1000), 0..30)
    }

    fn cumulative(steps: &[(i64, u32)]) -> Vec<(i64, f64)> {
        let add = |(t, v): &mut (i64, f64), &(gap, grown): &(i64, u32)| {
            *t += gap;
            *v += f64::from(grown);
            Some((*t, *v))
        };
        steps.iter().scan((0, 0.0), add).collect()
    }

    #[test]
    fn examples_by_hand() {
        let minute = Duration::from_secs(60);
        // 5 s before the first sample, 10 s after the last: all of the range is covered.
        let s = series([(5_000, 100.0), (20_000, 115.0), (35_000, 130.0), (50_000, 145.0)]);
        assert_eq!(increase(&s, Millis::new(60_000), minute), Some(60.0));
        assert_eq!(rate(&s, Millis::new(60_000), minute), Some(1.0));
        // The last sample lacks: 25 s without one is more than 16.5 s, so half of 15 s is added.
        let s = series([(5_000, 100.0), (20_000, 115.0), (35_000, 130.0)]);
        assert_eq!(increase(&s, Millis::new(60_000), minute), Some(30.0 + 5.0 + 7.5));
        // At 1 per second the counter was zero 2 s before its first sample.
        let s = series([(5_000, 2.0), (20_000, 17.0), (35_000, 32.0), (50_000, 47.0)]);
        assert_eq!(increase(&s, Millis::new(60_000), minute), Some(45.0 + 2.0 + 10.0));
        // A reset: 12 before it, 3 right after it.
        let s = series([(15_000, 100.0), (30_000, 112.0), (45_000, 3.0), (60_000, 18.0)]);
        assert_eq!(increase(&s, Millis::new(60_000), minute), Some(30.0 * 60.0 / 45.0));
        assert_eq!(irate(&s, Millis::new(59_999), minute), Some(0.2));
        assert_eq!(irate(&s, Millis::new(60_000), minute), Some(1.0));
    }

    #[test]
    fn one_sample_has_no_rate() {
        let s = series([(1_000, 4.0)]);
        let minute = Duration::from_secs(60);
        assert_eq!(rate(&s, Millis::new(2_000), minute), None);
        assert_eq!(increase(&s, Millis::new(2_000), minute), None);
        assert_eq!(irate(&s, Millis::new(2_000), minute), None);
    }

    #[test]
    fn staleness_markers_do_not_count_as_samples() {
        let mut s = series([(15_000, 100.0), (30_000, 110.0)]);
        let without = rate(&s, Millis::new(50_000), Duration::from_secs(60));
        s.append_stale(Millis::new(45_000)).unwrap();
        assert_eq!(rate(&s, Millis::new(50_000), Duration::from_secs(60)), without);
    }

    proptest! {
        #[test]
        fn a_steady_counter_has_its_slope(
            slope in 0.001f64..1e4, interval in 1_000i64..20_000, phase in 0i64..20_000, after in 0i64..20_000,
        ) {
            // Long before the window, so that the zero point does not matter.
            let times = (0..60).map(|k| phase % interval + k * interval);
            let s = series(times.map(|t| (t, 1e6 + slope * t as f64 / 1000.0)));
            let at = Millis::new(40 * interval + after % interval);
            let range = Duration::from_millis(interval.unsigned_abs() * 4);
            let found = rate(&s, at, range).unwrap();
            prop_assert!((found / slope - 1.0).abs() < 1e-4, "{found} for {slope}");
        }

        #[test]
        fn rates_scale_with_the_counter(steps in counter(), at in 0i64..400_000, range in 1u64..300) {
            let samples = cumulative(&steps);
            // A power of two changes no digit.
            let scaled = series(samples.iter().map(|&(t, v)| (t, v * 8.0)));
            let (at, range) = (Millis::new(at), Duration::from_secs(range));
            let original = series(samples);
            prop_assert_eq!(rate(&scaled, at, range), rate(&original, at, range).map(|r| r * 8.0));
            prop_assert_eq!(irate(&scaled, at, range), irate(&original, at, range).map(|r| r * 8.0));
        }

        #[test]
        fn a_counter_with_resets_never_shrinks(
            samples in proptest::collection::vec((1i64..40_000, 0u32..1000), 2..30), range in 1u64..300,
        ) {
            // The second number is the value itself here: any fall is a reset.
            let clock = |t: &mut i64, &(gap, value): &(i64, u32)| {
                *t += gap;
                Some((*t, f64::from(value)))
            };
            let s = series(samples.iter().scan(0, clock));
            let (at, range) = (s.newest().unwrap(), Duration::from_secs(range));
            prop_assert!(rate(&s, at, range).is_none_or(|r| r >= 0.0));
            prop_assert!(irate(&s, at, range).is_none_or(|r| r >= 0.0));
        }

        #[test]
        fn the_stretch_is_bounded(steps in counter(), range in 1u64..300) {
            // Between what was seen and what fills the range: extrapolation never leaves it.
            let s = series(cumulative(&steps));
            let (Some(at), range) = (s.newest(), Duration::from_secs(range)) else { return Ok(()) };
            let seen: Vec<_> = s.window(at, range).collect();
            let Some(found) = increase(&s, at, range) else { return Ok(()) };
            let (first, last) = (seen[0], seen[seen.len() - 1]);
            let full = (last.1 - first.1) * range.as_secs_f64() / last.0.secs_since(first.0);
            prop_assert!(found >= (last.1 - first.1) * (1.0 - 1e-12) && found <= full * (1.0 + 1e-12));
        }
    }
}
