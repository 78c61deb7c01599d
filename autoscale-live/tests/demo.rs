//! The demo service and its load, both over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    reason = "a test fails by panicking, and counts are whole"
)]

use autoscale_core::units::RequestRate;
use autoscale_live::demo::load::{self, LoadConfig};
use autoscale_live::demo::schedule::{Rates, Spacing};
use autoscale_live::demo::service::{Service, ServiceConfig, serve};
use autoscale_live::demo::{Cost, Spread, Work};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const SLEEP: Cost = Cost { work: Work::Sleep, mean_ms: 20.0, spread: Spread::Fixed };

struct Started {
    service: Service,
    url: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
}

async fn start(config: ServiceConfig) -> Started {
    let service = Service::new(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(listener, service.clone(), async {
        let _ = stopped.await;
    }));
    Started { service, url, stop, running }
}

impl Started {
    /// A line of the page: the value of this series.
    fn value(&self, series: &str) -> f64 {
        let page = self.service.page();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
    }

    /// Waits for a series to have a value. What is waited for comes as fast as the machine is; a test that waits in
    /// vain is ended from outside.
    async fn until(&self, series: &str, value: f64) {
        while self.value(series) != value {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A client that sends a request and does not wait for the answer.
async fn ask(url: &str) -> TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(b"GET /work HTTP/1.1\r\nHost: demo\r\n\r\n").await.unwrap();
    stream
}

fn client() -> reqwest::Client {
    // The service's own use of TLS has chosen; a test of plain HTTP has to choose by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn requests_are_served_or_wait_or_are_refused_and_whoever_leaves_is_counted() {
    let cost = Cost { mean_ms: 60_000.0, ..SLEEP };
    let demo = start(ServiceConfig { workers: 1, queue: 1, cost, ..ServiceConfig::default() }).await;
    let served = ask(&demo.url).await;
    demo.until("http_requests_in_flight", 1.0).await;
    let waits = ask(&demo.url).await;
    demo.until("http_requests_in_flight", 2.0).await;
    assert_eq!(demo.value("http_requests_queued"), 1.0);
    let refused = client().get(format!("{}/work", demo.url)).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(demo.value("http_requests_total{code=\"503\"}"), 1.0);
    drop(waits);
    demo.until("http_requests_total{code=\"499\"}", 1.0).await;
    demo.until("http_requests_queued", 0.0).await;
    // What has begun goes on without its client.
    drop(served);
    demo.until("http_requests_total{code=\"499\"}", 2.0).await;
    assert_eq!(demo.value("http_requests_in_flight"), 1.0);
    assert_eq!(demo.value("http_requests_received_total"), 3.0);
    assert_eq!(demo.value("http_requests_total{code=\"200\"}"), 0.0);
    assert_eq!(demo.value("http_request_duration_seconds_count"), 0.0);
}

#[tokio::test]
async fn costs_can_be_changed_while_it_runs() {
    let demo = start(ServiceConfig { cost: SLEEP, ..ServiceConfig::default() }).await;
    let (client, url) = (client(), format!("{}/cost", demo.url));
    let put =
        |body: &'static str| client.put(&url).header("content-type", "application/json").body(body).send();
    let changed = put(r#"{"work":"sleep","meanMs":0.5}"#).await.unwrap();
    assert_eq!(changed.status(), 200);
    let wrong = [
        (r#"{"work":"sleep","meanMs":-1}"#, "meanMs: -1 is not allowed; expected 0 to 60000"),
        (r#"{"work":"sing","meanMs":1}"#, "unknown variant `sing`"),
        (r#"{"work":"busy","meanMs":1,"x":1}"#, "unknown field `x`"),
    ];
    for (body, part) in wrong {
        let refused = put(body).await.unwrap();
        assert_eq!(refused.status(), 400);
        let said = refused.text().await.unwrap();
        assert!(said.contains(part), "{said}");
    }
    let shown = client.get(&url).send().await.unwrap().text().await.unwrap();
    assert_eq!(shown, r#"{"work":"sleep","meanMs":0.5,"spread":"fixed"}"#);
}

#[tokio::test]
async fn at_its_end_it_says_so_first_and_finishes_what_it_has() {
    let cost = Cost { mean_ms: 3000.0, ..SLEEP };
    let demo = start(ServiceConfig { cost, drain_ms: 1500, ..ServiceConfig::default() }).await;
    let (client, url) = (client(), demo.url.clone());
    let get = async |path: &str| client.get(format!("{url}{path}")).send().await.unwrap().status();
    assert_eq!(get("/readyz").await, 200);
    let served = tokio::spawn(client.get(format!("{url}/work")).send());
    demo.until("http_requests_in_flight", 1.0).await;
    demo.stop.send(()).unwrap();
    while get("/readyz").await != 503 {}
    assert_eq!(get("/healthz").await, 200, "it still takes connections");
    assert_eq!(served.await.unwrap().unwrap().status(), 200);
    demo.running.await.unwrap().unwrap();
    assert!(client.get(format!("{url}/healthz")).send().await.is_err(), "nobody is there any more");
}

#[tokio::test]
async fn response_times_count_from_when_a_request_was_meant_to_be_sent() {
    let demo = start(ServiceConfig { workers: 1, queue: 100, cost: SLEEP, ..ServiceConfig::default() }).await;
    let config = LoadConfig {
        spacing: Spacing::Even,
        patience_ms: 60_000,
        ..LoadConfig::to(&format!("{}/", demo.url))
    };
    let rates = Rates::constant(RequestRate::new(100.0).unwrap(), Duration::from_millis(500)).unwrap();
    let report = load::run(&config, &rates, std::future::pending()).await.unwrap();
    assert_eq!((report.due, report.answered), (50, 50));
    // The k-th request is meant to be sent after 5 + 10 k ms and done after 20 (k + 1) ms at the earliest. A client that
    // waited for each answer would see 20 ms every time.
    assert!(report.slowest >= Duration::from_millis(505), "{report}");
    assert!(report.latency.unwrap().p50 >= Duration::from_millis(250), "{report}");
    assert_eq!(demo.value("http_requests_total{code=\"200\"}"), 50.0);
}

#[tokio::test]
async fn both_sides_count_the_same() {
    let demo = start(ServiceConfig { workers: 1, queue: 3, cost: SLEEP, ..ServiceConfig::default() }).await;
    let config = LoadConfig { patience_ms: 70, ..LoadConfig::to(&format!("{}/work", demo.url)) };
    let rates = Rates::constant(RequestRate::new(120.0).unwrap(), Duration::from_secs(2)).unwrap();
    let report = load::run(&config, &rates, std::future::pending()).await.unwrap();
    assert_eq!(report.due, rates.moments(Spacing::Poisson, config.seed).count() as u64);
    assert!(report.answered > 0 && report.refused > 0 && report.timed_out > 0, "{report}");
    assert_eq!((report.failed, report.broken, report.unsent), (0, 0, 0), "{report}");
    let refused = demo.value("http_requests_total{code=\"503\"}");
    demo.until("http_requests_in_flight", 0.0).await;
    let all = |codes: &[&str]| -> f64 {
        codes.iter().map(|code| demo.value(&format!("http_requests_total{{code=\"{code}\"}}"))).sum()
    };
    assert_eq!(all(&["200", "499", "503"]), demo.value("http_requests_received_total"));
    // An answer and the client's patience may cross on the way; and whoever gives up before the request is there is
    // not seen at all.
    assert!(demo.value("http_requests_received_total") <= report.due as f64);
    assert!(refused >= report.refused as f64, "{refused} {report}");
    assert!(all(&["200"]) >= report.answered as f64, "{report}");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_and_nobody_there_is_counted() {
    let bad = Service::new(ServiceConfig { workers: 0, ..ServiceConfig::default() }).unwrap_err().to_string();
    assert!(bad.contains("workers: 0") && bad.contains("1 to 256"), "{bad}");
    let rates = Rates::constant(RequestRate::new(20.0).unwrap(), Duration::from_secs(1)).unwrap();
    let run = |config: LoadConfig| {
        let rates = rates.clone();
        async move { load::run(&config, &rates, std::future::pending()).await }
    };
    let nowhere = run(LoadConfig::to("somewhere")).await.unwrap_err().to_string();
    assert!(nowhere.contains("url: somewhere") && nowhere.contains("http://HOST:PORT"), "{nowhere}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let report = run(LoadConfig { spacing: Spacing::Even, ..LoadConfig::to(&url) }).await.unwrap();
    assert_eq!((report.due, report.broken, report.latency), (20, 20, None));
    let stopped = load::run(&LoadConfig::to(&url), &rates, async {}).await.unwrap();
    assert_eq!(stopped.due, 0);
}
