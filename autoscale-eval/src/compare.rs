//! Two policies on the same seeds: both means, their paired difference, and what it means.

use crate::estimate::{Estimate, bootstrap_mean};
use crate::metric::{Direction, Family, metrics};
use crate::scores::Scores;
use crate::suite::PolicyEpisodes;
use crate::verdict::Verdict;
use autoscale_core::seed::Seed;
use serde::Serialize;

/// One metric of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The metric's family.
    pub family: Family,
    /// The metric's name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Direction,
    /// The baseline's mean over the compared seeds.
    pub baseline: Estimate,
    /// The candidate's mean over the same seeds.
    pub candidate: Estimate,
    /// Mean of candidate − baseline, seed by seed.
    pub difference: Estimate,
    /// What the difference means, by whether its interval contains zero.
    pub verdict: Verdict,
}

/// Compares all metrics and the return. A seed on which a metric lacks a value for one of the policies does not
/// count for it; a metric that is left without a seed has no row.
///
/// # Panics
/// When the two have not run on the same seeds in the same order: their differences would mean nothing.
pub fn compare(baseline: &PolicyEpisodes<Scores>, candidate: &PolicyEpisodes<Scores>) -> Vec<Row> {
    let seeds = |of: &PolicyEpisodes<Scores>| of.episodes.iter().map(|e| e.seed).collect::<Vec<_>>();
    assert_eq!(seeds(baseline), seeds(candidate), "only episodes of equal seeds are pairs");
    let pairs = |value: &dyn Fn(&Scores) -> Option<f64>| -> Vec<(f64, f64)> {
        let both = baseline.episodes.iter().zip(&candidate.episodes);
        both.filter_map(|(b, c)| Some((value(b)?, value(c)?))).collect()
    };
    let overall = pairs(&|e| Some(e.return_per_hour()));
    let overall = row(Family::Overall, "return", "price/h", Direction::Higher, &overall);
    let each = metrics()
        .enumerate()
        .filter_map(|(k, m)| row(m.family(), m.name(), m.unit(), m.better(), &pairs(&|e| e.metrics[k])));
    each.chain(overall).collect()
}

/// A row of pairs of the baseline's and the candidate's value.
fn row(
    family: Family,
    metric: &'static str,
    unit: &'static str,
    better: Direction,
    pairs: &[(f64, f64)],
) -> Option<Row> {
    // The same resamples for all three, so that the table is consistent in itself.
    let seed = Seed::root(0).child(metric);
    let estimate =
        |value: fn(&(f64, f64)) -> f64| bootstrap_mean(&pairs.iter().map(value).collect::<Vec<_>>(), seed);
    let difference = estimate(|(b, c)| c - b)?;
    let verdict = match (difference.low > 0.0, difference.high < 0.0, better) {
        _ if pairs.iter().all(|(b, c)| b.total_cmp(c).is_eq()) => Verdict::Identical,
        (true, _, Direction::Higher) | (_, true, Direction::Lower) => Verdict::Better,
        (true, _, Direction::Lower) | (_, true, Direction::Higher) => Verdict::Worse,
        _ => Verdict::WithinNoise,
    };
    let (baseline, candidate) = (estimate(|p| p.0)?, estimate(|p| p.1)?);
    Some(Row { family, metric, unit, better, baseline, candidate, difference, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{text_table, write_csv};
    use autoscale_core::histogram::LogHistogram;
    use autoscale_core::measurement::ReplicaCounts;
    use autoscale_core::record::{EPISODE_RECORD_VERSION, EpisodeRecord, IntervalRecord, RequestCounts};
    use autoscale_core::reward::{RewardTerms, RewardWeights};
    use autoscale_core::units::{Replicas, RequestRate, Timestamp};
    use rand::RngExt;
    use std::time::Duration;

    /// An hour in one interval, with so many pods and late requests out of 10,000; nothing was answered.
    fn episode(k: u64, pods: f64, late: u64) -> EpisodeRecord {
        let requests =
            RequestCounts { arrived: 10_000, in_time: 10_000 - late, late, ..RequestCounts::default() };
        let interval = IntervalRecord {
            start: Timestamp::ZERO,
            offered: RequestRate::new(10.0).unwrap(),
            requests,
            latency: None,
            histogram: LogHistogram::new(),
            replicas: ReplicaCounts::default(),
            mean_pods: pods,
            mean_ready: pods,
        };
        EpisodeRecord {
            version: EPISODE_RECORD_VERSION,
            seed: Seed::root(k),
            interval: Duration::from_hours(1),
            slo: Duration::from_millis(500),
            pod_capacity: RequestRate::new(10.0).unwrap(),
            replica_range: (Replicas::ONE, Replicas::new(50)),
            initial_replicas: Replicas::ONE,
            intervals: vec![interval],
            scale_events: Vec::new(),
            totals: RewardTerms { pod_hours: pods, violations: late, arrivals: 10_000, churn: 0 },
        }
    }

    /// Thirty episodes that differ widely among themselves, each `shift` pods above the usual.
    fn records(shift: f64) -> Vec<EpisodeRecord> {
        let mut stream = Seed::root(1).stream();
        (0..30).map(|k| episode(k, stream.random_range(5.0..50.0) + shift, 100)).collect()
    }

    fn scored(name: &str, records: &[EpisodeRecord]) -> PolicyEpisodes<Scores> {
        let episodes = records.iter().map(|e| Scores::of(e, &RewardWeights::default())).collect();
        PolicyEpisodes { name: name.to_owned(), episodes }
    }

    fn policy(name: &str, shift: f64) -> PolicyEpisodes<Scores> {
        scored(name, &records(shift))
    }

    fn find(rows: &[Row], metric: &str) -> Row {
        rows.iter().find(|row| row.metric == metric).unwrap().clone()
    }

    #[test]
    fn pairing_shows_a_shift_far_below_the_spread_between_seeds() {
        let rows = compare(&policy("a", 0.0), &policy("b", 0.1));
        let pods = find(&rows, "mean_pods");
        assert!(pods.baseline.high > pods.candidate.low, "unpaired the intervals overlap");
        assert!((pods.difference.point - 0.1).abs() < 1e-9);
        assert_eq!((pods.verdict, pods.difference.n), (Verdict::Worse, 30));
        // More pods cost more: the return falls, and lower is worse.
        let priced = find(&rows, "return");
        assert!((priced.difference.point + 0.1).abs() < 1e-9);
        assert_eq!(priced.verdict, Verdict::Worse);
        assert_eq!(find(&rows, "slo_violations").verdict, Verdict::Identical);
    }

    #[test]
    fn exchanging_the_two_turns_difference_and_verdict_round() {
        let rows = compare(&policy("b", 0.1), &policy("a", 0.0));
        assert!(find(&rows, "mean_pods").difference.high < 0.0);
        assert_eq!(find(&rows, "mean_pods").verdict, Verdict::Better);
        assert_eq!(find(&rows, "return").verdict, Verdict::Better);
    }

    #[test]
    fn noise_around_zero_is_within_noise() {
        let mut b = records(0.0);
        for (k, record) in b.iter_mut().enumerate() {
            record.intervals[0].mean_pods += if k % 2 == 0 { 1.0 } else { -1.0 };
        }
        let rows = compare(&policy("a", 0.0), &scored("b", &b));
        assert_eq!(find(&rows, "mean_pods").verdict, Verdict::WithinNoise);
    }

    #[test]
    fn a_seed_without_a_value_on_one_side_counts_on_neither() {
        let (mut a, mut b) = (records(0.0), records(0.0));
        let both = |a: &[EpisodeRecord], b: &[EpisodeRecord]| compare(&scored("a", a), &scored("b", b));
        assert!(both(&a, &b).iter().all(|row| row.metric != "latency_mean"));
        for e in &mut a[0..3] {
            e.intervals[0].histogram.record_secs(0.1);
        }
        for e in &mut b[1..4] {
            e.intervals[0].histogram.record_secs(0.3);
        }
        let latency = find(&both(&a, &b), "latency_mean");
        assert_eq!((latency.baseline.n, latency.candidate.n, latency.difference.n), (2, 2, 2));
        assert!((latency.difference.point - 200.0).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "equal seeds")]
    fn other_seeds_are_no_pairs() {
        let mut b = policy("b", 0.0);
        b.episodes.reverse();
        compare(&policy("a", 0.0), &b);
    }

    #[test]
    fn reports_are_tidy_and_finite() {
        let policies = [policy("a", 0.0), policy("b", 0.1)];
        let table = text_table("a", "b", &compare(&policies[0], &policies[1]));
        assert!(table.contains("mean_pods [pods]") && table.contains("worse"), "{table}");
        let mut bytes = Vec::new();
        write_csv(&policies, &mut bytes).unwrap();
        let mut csv = csv::Reader::from_reader(bytes.as_slice());
        assert_eq!(csv.headers().unwrap(), vec!["policy", "metric", "unit", "estimate", "low", "high"]);
        let lines: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        assert!(lines.iter().any(|line| &line[0] == "b" && &line[1] == "return"));
        for line in &lines {
            let [point, low, high] = [3, 4, 5].map(|column| line[column].parse::<f64>().unwrap());
            assert!(point.is_finite() && low <= point + 1e-9 && point <= high + 1e-9, "{line:?}");
        }
    }
}
