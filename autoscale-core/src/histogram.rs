//! A mergeable histogram of response times with bounded relative error.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Natural logarithm of 1.008, the width of a bucket as a ratio. Reporting a bucket's geometric middle is then
/// at most 0.4 % off.
const LN_GROWTH: f64 = 0.007_968_169_649_176_874;
/// Shortest time that is told apart from zero.
const FLOOR: f64 = 1e-4;

/// Counts in logarithmic buckets, as in `DDSketch` (Masson, Rim, Lee, VLDB 2019): merging two histograms
/// gives exactly the histogram of both inputs together, so quantiles of an episode come from merged
/// intervals and never from quantiles of quantiles.
///
/// Quantiles have a relative error of at most 0.5 %, for times above 0.1 ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogHistogram {
    /// Index of the first stored bucket.
    first: usize,
    /// There is one of these for every interval of every episode under way, which is why counts are short.
    counts: Vec<u32>,
    total: u64,
    sum_s: f64,
}

fn bucket(seconds: f64) -> usize {
    if seconds <= FLOOR { 0 } else { 1 + (ln(seconds * (1.0 / FLOOR)) * (1.0 / LN_GROWTH)) as u32 as usize }
}

/// Natural logarithm of a normal number above zero, to 1e-10: ln m = 2 artanh((m − 1) / (m + 1)), with m between
/// √½ and √2. A bucket needs no more, and this happens for every request.
fn ln(x: f64) -> f64 {
    let exponent = (x.to_bits() as i64 - std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64) >> 52;
    let m = f64::from_bits((x.to_bits() as i64 - (exponent << 52)) as u64);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series =
        1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0)))));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

fn middle(bucket: usize) -> f64 {
    if bucket == 0 { FLOOR / 2.0 } else { FLOOR * libm::exp(LN_GROWTH * (bucket as f64 - 0.5)) }
}

/// Slope and intercept of the straight line between two neighbouring points.
fn line(x: &[f64], y: &[f64], upper: usize) -> (f64, f64) {
    let slope = (y[upper] - y[upper - 1]) / (x[upper] - x[upper - 1]);
    (slope, y[upper] - slope * x[upper])
}

impl LogHistogram {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one response time, in seconds.
    pub fn record_secs(&mut self, seconds: f64) {
        let index = bucket(seconds);
        if let Some(count) = self.counts.get_mut(index.wrapping_sub(self.first)) {
            *count += 1;
        } else {
            self.reach(index, index);
            self.counts[index - self.first] += 1;
        }
        self.total += 1;
        self.sum_s += seconds;
    }

    /// Counts response times, in seconds, and takes no more memory than they need.
    pub fn record_all_secs(&mut self, seconds: impl Iterator<Item = f64> + Clone) {
        let ends = seconds.clone().fold(None, |ends, s| {
            let (low, high) = ends.unwrap_or((s, s));
            Some((s.min(low), s.max(high)))
        });
        if let Some((low, high)) = ends {
            self.reach(bucket(low), bucket(high));
        }
        for s in seconds {
            self.record_secs(s);
        }
    }

    /// Counts expected numbers: up to each of the rising `times_s`, in seconds, the rising number in `below`, spread
    /// evenly between two of them; numbers are rounded so that no fraction gets lost on the way.
    pub fn record_expected(&mut self, times_s: &[f64], below: &[f64]) {
        // Adding a half and cutting is much faster than `round`, for numbers that are not negative.
        let round = |n: f64| (n + 0.5) as i64;
        let all = round(below.last().copied().unwrap_or(0.0));
        let Some(first) = below.iter().position(|&n| n >= 0.5) else { return };
        let last = below.iter().position(|&n| round(n) >= all).unwrap_or(below.len() - 1);
        let (low, high) = (bucket(times_s[first.saturating_sub(1)]), bucket(times_s[last]));
        self.reach(low, high);
        let (growth, half) = (libm::exp(LN_GROWTH), libm::exp(LN_GROWTH * -0.5));
        let mut end = FLOOR * libm::exp(LN_GROWTH * low as f64);
        let (mut counted, mut k) = (0, first.max(1));
        let (mut slope, mut intercept) = line(times_s, below, k);
        for (index, count) in (low..=high).zip(&mut self.counts[low - self.first..]) {
            while k < last && times_s[k] < end {
                k += 1;
                (slope, intercept) = line(times_s, below, k);
            }
            let so_far = (intercept + slope * end).clamp(below[k - 1], below[k]);
            let rounded = if index == high { all } else { round(so_far) };
            *count += (rounded - counted) as u32;
            self.sum_s += (rounded - counted) as f64 * end * half;
            counted = rounded;
            end *= growth;
        }
        self.total += all as u64;
    }

    /// Adds all that `other` counted.
    ///
    /// # Panics
    /// When 2^32 or more come together in one bucket.
    pub fn merge(&mut self, other: &Self) {
        if other.total == 0 {
            return;
        }
        self.reach(other.first, other.first + other.counts.len() - 1);
        let shift = other.first - self.first;
        for (mine, theirs) in self.counts[shift..].iter_mut().zip(&other.counts) {
            *mine = mine.checked_add(*theirs).expect("fewer than 2^32 in a bucket");
        }
        self.total += other.total;
        self.sum_s += other.sum_s;
    }

    /// Makes room for buckets `low..=high`.
    fn reach(&mut self, low: usize, high: usize) {
        if self.counts.is_empty() {
            self.first = low;
        }
        if low < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - low));
            self.first = low;
        }
        if high >= self.first + self.counts.len() {
            self.counts.resize(high - self.first + 1, 0);
        }
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Their mean (exact); `None` when nothing was counted.
    pub fn mean(&self) -> Option<Duration> {
        (self.total > 0).then(|| Duration::from_secs_f64(self.sum_s / self.total as f64))
    }

    /// The `q`-quantile: the smallest time that at least a share `q` of all do not exceed (the
    /// nearest-rank definition). `None` when nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (offset, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(Duration::from_secs_f64(middle(self.first + offset)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_numbers_are_spread_and_rounded() {
        // Exponential with mean 0.1 s, on 400 points.
        let times: Vec<f64> = (0..400).map(|k| 0.001 * libm::exp(f64::from(k) * 0.018)).collect();
        let below: Vec<f64> = times.iter().map(|t| 1000.4 * (1.0 - libm::exp(-t / 0.1))).collect();
        let mut histogram = LogHistogram::new();
        histogram.record_expected(&times, &below);
        assert_eq!(histogram.count(), 1000);
        for q in [0.1, 0.5, 0.95] {
            let exact = -0.1 * libm::log(1.0 - q);
            let found = histogram.quantile(q).unwrap().as_secs_f64();
            assert!((found / exact - 1.0).abs() < 0.01, "{q}: {found} against {exact}");
        }
        let mean = histogram.mean().unwrap().as_secs_f64();
        assert!((mean / 0.1 - 1.0).abs() < 0.01, "{mean}");
        // Too few to count.
        let mut empty = LogHistogram::new();
        empty.record_expected(&[0.1, 0.2], &[0.1, 0.4]);
        assert_eq!(empty, LogHistogram::new());
    }

    #[test]
    fn the_logarithm_is_one() {
        let mut x = 1e-9;
        while x < 1e9 {
            assert!((ln(x) - libm::log(x)).abs() < 1e-10 * libm::log(x).abs().max(1.0), "{x}");
            x *= 1.000_37;
        }
    }
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_within_half_a_percent(
            mut times in proptest::collection::vec(0.0002f64..100.0, 1..300), q in 0.01f64..1.0,
        ) {
            let mut histogram = LogHistogram::new();
            for &t in &times { histogram.record_secs(t); }
            times.sort_by(f64::total_cmp);
            let exact = times[((q * times.len() as f64).ceil() as usize).clamp(1, times.len()) - 1];
            let estimate = histogram.quantile(q).expect("not empty").as_secs_f64();
            prop_assert!((estimate / exact - 1.0).abs() <= 0.005, "{estimate} against {exact}");
        }

        #[test]
        fn merging_equals_counting_together(
            a in proptest::collection::vec(0.0f64..50.0, 0..100),
            b in proptest::collection::vec(0.0f64..50.0, 0..100),
        ) {
            let count = |times: &[f64]| {
                let mut h = LogHistogram::new();
                for &t in times { h.record_secs(t); }
                h
            };
            let mut merged = count(&a);
            merged.merge(&count(&b));
            let together = count(&[a, b].concat());
            prop_assert_eq!(merged.count(), together.count());
            for q in [0.01, 0.5, 0.9, 0.99, 1.0] {
                prop_assert_eq!(merged.quantile(q), together.quantile(q));
            }
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(LogHistogram::new().quantile(0.5), None);
        assert_eq!(LogHistogram::new().mean(), None);
    }
}
