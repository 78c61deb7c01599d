//! What the collector says, held against what is so.

use super::history::{Between, LATE, number};
use super::pods::Pod;
use super::server::Prometheus;
use autoscale_core::seed::Seed;
use autoscale_core::units::Timestamp;
use autoscale_live::demo::service::ServiceConfig;
use autoscale_live::demo::{Cost, Spread, Work};
use autoscale_live::shell::{Clock, SystemClock};
use autoscale_live::source::{Collector, Metric, MetricsFault, PrometheusConfig, Queries, ServiceMetrics};
use autoscale_live::target::TargetRef;
use std::time::Duration;

/// Of the rates, in seconds.
const WINDOW: u32 = 20;
/// So many looks must be what the services have counted, of no more than this.
const GOOD: u32 = 10;
const LOOKS: u32 = 60;

fn target(name: &str) -> TargetRef {
    TargetRef::deployment("shop", name)
}

fn config(prometheus: &Prometheus) -> PrometheusConfig {
    PrometheusConfig { window_seconds: WINDOW, ..PrometheusConfig::at(&prometheus.url) }
}

/// One that keeps up, and one that is asked for more than it can do, by clients that do not wait long.
async fn pods() -> [Pod; 2] {
    let cost = Cost { work: Work::Sleep, mean_ms: 20.0, spread: Spread::Exponential };
    let keeps_up =
        ServiceConfig { workers: 4, queue: 100, cost, seed: Seed::root(1), ..ServiceConfig::default() };
    let cost = Cost { mean_ms: 50.0, spread: Spread::Fixed, ..cost };
    let too_small = ServiceConfig { workers: 1, queue: 2, cost, ..keeps_up };
    let mut pods = [Pod::start(keeps_up).await, Pod::start(too_small).await];
    pods[0].load(60.0, Duration::from_secs(10));
    pods[1].load(30.0, Duration::from_millis(120));
    pods
}

/// What the services' own counters leave open.
struct Truth<'a> {
    pods: &'a [Pod],
    at: Timestamp,
}

impl Truth<'_> {
    fn rate(&self, series: &str) -> Between {
        self.pods.iter().map(|pod| pod.history.rate(series, self.at, WINDOW)).sum()
    }

    fn gauge(&self, series: &str) -> Between {
        self.pods.iter().map(|pod| pod.history.gauge(series, self.at)).sum()
    }

    fn check_rate(&self, series: &str, shown: f64) {
        let between = self.rate(series);
        let so: f64 = self.pods.iter().map(|pod| pod.history.true_rate(series, self.at, WINDOW)).sum();
        println!("{series}: shown {shown:.3}, {:.3} to {:.3}, in truth {so:.3}", between.low, between.high);
        assert!(so > 0.0, "{series}: nothing happened");
        assert!(between.holds(shown), "{series}: {shown} is not within {between:?}");
    }

    fn check_gauge(&self, series: &str, shown: f64) {
        let between = self.gauge(series);
        assert!(between.holds(shown), "{series}: {shown} is not within {between:?}");
    }

    fn check_mean(&self, shown: Duration) {
        let (sum, count) = (
            self.rate("http_request_duration_seconds_sum"),
            self.rate("http_request_duration_seconds_count"),
        );
        let between = Between { low: sum.low / count.high, high: sum.high / count.low };
        println!("mean: shown {shown:?}, {:.4} to {:.4} s", between.low, between.high);
        assert!(between.holds(shown.as_secs_f64()), "mean: {shown:?} is not within {between:?}");
    }

    /// Prometheus interpolates within a bucket; in which one the quantile lies, the counters say.
    fn check_quantile(&self, q: f64, shown: Duration) {
        let shown = shown.as_secs_f64();
        let bounds = self.pods[0].history.bounds();
        let above = bounds.iter().position(|bound| shown <= number(bound)).expect("the last is infinite");
        let upto =
            |bound: &str| self.rate(&format!("http_request_duration_seconds_bucket{{le=\"{bound}\"}}"));
        let all = upto("+Inf");
        assert!(upto(&bounds[above]).high >= q * all.low, "p{q}: {shown} s is too short");
        if above > 0 {
            assert!(upto(&bounds[above - 1]).low <= q * all.high, "p{q}: {shown} s is too long");
        }
    }

    fn check(&self, shown: &ServiceMetrics) {
        assert_eq!(shown.at, self.at);
        assert!(shown.age <= Duration::from_secs(1) + LATE, "{:?}", shown.age);
        self.check_rate("http_requests_received_total", shown.arrival_rate.per_second());
        self.check_rate("http_requests_total{code=\"503\"}", shown.error_rate.per_second());
        self.check_rate("http_requests_total{code=\"499\"}", shown.timeout_rate.per_second());
        self.check_gauge("http_requests_in_flight", shown.in_flight);
        self.check_gauge("http_requests_queued", shown.queued);
        let latency = shown.latency.expect("requests are answered");
        self.check_mean(latency.mean);
        for (q, quantile) in
            [(0.5, latency.p50), (0.9, latency.p90), (0.95, latency.p95), (0.99, latency.p99)]
        {
            self.check_quantile(q, quantile);
        }
    }
}

/// The last whole second that all scrapes are surely in of.
pub(super) fn settled() -> Timestamp {
    Timestamp::from_secs((SystemClock.now().as_secs_f64() - 0.5).floor() as i64)
}

/// Waits for the first samples of all of these.
async fn until_seen(collector: &Collector, targets: &[TargetRef]) {
    let all_seen = async || {
        let found = collector.collect(targets, SystemClock.now()).await;
        (0..targets.len()).all(|k| found.of(k).is_ok())
    };
    let wait = async {
        while !all_seen().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), wait).await.expect("samples come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measurements_are_what_the_services_have_counted() {
    let pods = pods().await;
    let idle = Pod::start(ServiceConfig::default()).await;
    let mut prometheus = Prometheus::start(&[
        pods[0].scraped("web", "web-0"),
        pods[1].scraped("web", "web-1"),
        idle.scraped("cache", "cache-0"),
    ])
    .await;
    let collector = Collector::new(config(&prometheus)).unwrap();
    let targets = ["web", "cache", "absent"].map(target);
    // Prometheus takes seconds to find whom to scrape; then a window must fill.
    until_seen(&collector, &targets[..2]).await;
    tokio::time::sleep(Duration::from_secs(u64::from(WINDOW) + 3)).await;
    let mut good = 0;
    for look in 0..LOOKS {
        tokio::time::sleep(Duration::from_millis(1300)).await;
        let at = settled();
        // On a busy machine nobody may know just what was so then.
        let known = pods.iter().all(|pod| pod.history.knows(at));
        let on_time = prometheus.on_time(pods.len() + 1, at, WINDOW).await;
        if !(known && on_time) {
            println!("look {look} is spoilt: scraped on time: {on_time}, looked at often enough: {known}");
            continue;
        }
        let found = collector.collect(&targets, at).await;
        Truth { pods: &pods, at }.check(&found.of(0).unwrap());
        let idle = found.of(1).unwrap();
        assert_eq!((idle.arrival_rate.per_second(), idle.in_flight, idle.latency), (0.0, 0.0, None));
        let absent = found.of(2).unwrap_err();
        assert_eq!(absent, MetricsFault::Missing(Metric::Age));
        good += 1;
        if good == GOOD {
            break;
        }
    }
    assert_eq!(good, GOOD, "the other looks of {LOOKS} were spoilt: this machine is too busy");
    prometheus.kill();
    let found = collector.collect(&targets, settled()).await;
    for (k, target) in targets.iter().enumerate() {
        let answer = found.of(k);
        let Err(MetricsFault::Query { reason, .. }) = answer else { panic!("{target}: {answer:?}") };
        assert!(reason.contains("refused"), "{target}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_prometheus_does_not_understand_is_named_in_its_words() {
    let prometheus = Prometheus::start(&[]).await;
    let queries = Queries { latency_mean: "sum by ({by}) (".to_owned(), ..Queries::default() };
    let collector = Collector::new(PrometheusConfig { queries, ..config(&prometheus) }).unwrap();
    let fault = collector.collect(&[target("web")], settled()).await.of(0);
    let Err(MetricsFault::Query { metric: Metric::LatencyMean, reason }) = fault else { panic!("{fault:?}") };
    assert!(reason.contains("parse error"), "{reason}");
}
