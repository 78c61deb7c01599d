//! What became of the requests.

use autoscale_core::measurement::LatencySummary;
use autoscale_core::units::RequestRate;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// With success, this long after it was meant to be sent.
    Answered(Duration),
    /// With 503 or 429.
    Refused,
    /// With another status.
    Failed,
    /// The client gave up.
    TimedOut,
    /// The connection failed.
    Broken,
}

/// What became of all requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// How long it took, the last answer included.
    pub took: Duration,
    /// Requests that were due.
    pub due: u64,
    /// Answered with success.
    pub answered: u64,
    /// Answered with 503 or 429.
    pub refused: u64,
    /// Answered with another status.
    pub failed: u64,
    /// Given up on.
    pub timed_out: u64,
    /// The connection failed.
    pub broken: u64,
    /// Not sent, since too many others were under way.
    pub unsent: u64,
    /// Response times from the moment that a request was meant to be sent at; one that timed out counts with the patience
    /// of its client, since it took at least that long. `None` without any.
    pub latency: Option<LatencySummary>,
    /// The longest of them.
    pub slowest: Duration,
    /// How late requests were sent, at the 99th percentile: if this is not small, the generator is too slow for the load.
    pub late: Duration,
}

impl LoadReport {
    /// Successful answers a second.
    pub fn goodput(&self) -> RequestRate {
        RequestRate::from_count(self.answered, self.took)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { took, due, answered, refused, failed, timed_out, broken, unsent, .. } = self;
        writeln!(
            f,
            "{due} requests in {:.1} s: {answered} answered, {refused} refused, {failed} failed, {timed_out} timed out, {broken} broken, {unsent} not sent",
            took.as_secs_f64()
        )?;
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        match self.latency {
            None => writeln!(f, "no response times")?,
            Some(LatencySummary { mean, p50, p90, p95, p99 }) => writeln!(
                f,
                "response times in ms: mean {:.1}, p50 {:.1}, p90 {:.1}, p95 {:.1}, p99 {:.1}, longest {:.1}",
                ms(mean),
                ms(p50),
                ms(p90),
                ms(p95),
                ms(p99),
                ms(self.slowest)
            )?,
        }
        write!(
            f,
            "{:.1} answers a second; requests were sent up to {:.1} ms late (p99)",
            self.goodput().per_second(),
            ms(self.late)
        )
    }
}

/// Times with an error of a thousandth, from a microsecond up.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        // As wide as it must be: it grows by itself. Three digits are among those that are allowed.
        Self(Histogram::new(3).unwrap_or_else(|_| unreachable!("1 to 5 digits are allowed")))
    }

    fn add(&mut self, time: Duration) {
        // It fails only where it must not grow.
        let _ = self.0.record(time.as_micros() as u64);
    }

    fn quantile(&self, q: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(q))
    }
}

/// Counts while requests are under way.
pub(super) struct Tally {
    patience: Duration,
    report: LoadReport,
    latency: Times,
    late: Times,
}

impl Tally {
    pub(super) fn new(patience: Duration) -> Self {
        let report = LoadReport {
            took: Duration::ZERO,
            due: 0,
            answered: 0,
            refused: 0,
            failed: 0,
            timed_out: 0,
            broken: 0,
            unsent: 0,
            latency: None,
            slowest: Duration::ZERO,
            late: Duration::ZERO,
        };
        Self { patience, report, latency: Times::new(), late: Times::new() }
    }

    /// The next request's moment has come, `late` ago.
    pub(super) fn due(&mut self, late: Duration) {
        self.report.due += 1;
        self.late.add(late);
    }

    pub(super) fn unsent(&mut self) {
        self.report.unsent += 1;
    }

    pub(super) fn count(&mut self, fate: Fate) {
        let report = &mut self.report;
        let time = match fate {
            Fate::Answered(time) => {
                report.answered += 1;
                Some(time)
            }
            Fate::TimedOut => {
                report.timed_out += 1;
                Some(self.patience)
            }
            Fate::Refused => {
                report.refused += 1;
                None
            }
            Fate::Failed => {
                report.failed += 1;
                None
            }
            Fate::Broken => {
                report.broken += 1;
                None
            }
        };
        if let Some(time) = time {
            self.latency.add(time);
            report.slowest = report.slowest.max(time);
        }
    }

    pub(super) fn report(self, took: Duration) -> LoadReport {
        let Self { report, latency, late, .. } = self;
        // The histogram gives the upper end of a value's class, which may be above all values.
        let quantile = |q| latency.quantile(q).min(report.slowest);
        let summary = LatencySummary {
            mean: Duration::from_secs_f64(latency.0.mean() / 1e6),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
        };
        LoadReport {
            took,
            latency: (!latency.0.is_empty()).then_some(summary),
            late: late.quantile(0.99),
            ..report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_gave_up_waited_too() {
        let mut tally = Tally::new(Duration::from_secs(10));
        for k in 1..=89 {
            tally.due(Duration::ZERO);
            tally.count(Fate::Answered(Duration::from_millis(k)));
        }
        for _ in 0..11 {
            tally.due(Duration::from_millis(2));
            tally.count(Fate::TimedOut);
        }
        for fate in [Fate::Refused, Fate::Failed, Fate::Broken] {
            tally.count(fate);
        }
        let report = tally.report(Duration::from_secs(100));
        let LatencySummary { p50, p90, mean, .. } = report.latency.unwrap();
        let near = |time: Duration, expected: f64| (time.as_secs_f64() / expected - 1.0).abs() < 0.002;
        assert!(near(p50, 0.05) && near(p90, 10.0), "{p50:?} {p90:?}");
        assert!(p90 <= report.slowest, "{p90:?} {:?}", report.slowest);
        assert!(near(mean, (89.0 * 90.0 / 2.0 * 0.001 + 110.0) / 100.0), "{mean:?}");
        assert!(near(report.late, 0.002));
        assert!((report.goodput().per_second() - 0.89).abs() < 1e-9);
        let text = report.to_string();
        assert!(text.contains("89 answered, 1 refused, 1 failed, 11 timed out, 1 broken"), "{text}");
    }
}
