use super::*;
use crate::source::auth::Auth;
use axum::Form;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What the stub has been asked: query, moment, credentials.
type Asked = Arc<Mutex<Vec<(String, String, Option<String>)>>>;

#[derive(Deserialize)]
struct Question {
    query: String,
    time: String,
}

/// An answer, and what is said of it.
type Case = (fn() -> Response, &'static str);

/// A Prometheus that answers each question by `answer`.
async fn stub(answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static) -> (String, Asked) {
    slow_stub(Duration::ZERO, answer).await
}

/// The same after a while.
async fn slow_stub(
    delay: Duration,
    answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static,
) -> (String, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let handler = move |headers: HeaderMap, Form(question): Form<Question>| {
        let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push((question.query.clone(), question.time, token));
        let response = answer(&question.query);
        async move {
            tokio::time::sleep(delay).await;
            response
        }
    };
    let router = Router::new().route("/api/v1/query", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

/// The same value for `shop/web`, and for others what is given.
fn vector(value: &str, others: &[(&str, &str)]) -> Response {
    let all = [("web", value)].into_iter().chain(others.iter().copied());
    let series = all.map(|(app, value)| {
        serde_json::json!({"metric": {"namespace": "shop", "app": app}, "value": [1_000_000, value]})
    });
    let data = serde_json::json!({"resultType": "vector", "result": series.collect::<Vec<_>>()});
    axum::Json(serde_json::json!({"status": "success", "data": data})).into_response()
}

fn target(name: &str) -> TargetRef {
    TargetRef::deployment("shop", name)
}

const AT: Timestamp = Timestamp::from_secs(1_000_000);

async fn collect(config: PrometheusConfig, name: &str) -> Result<ServiceMetrics, MetricsFault> {
    let collector = Collector::new(config).unwrap();
    let names = ["web", "cache"];
    let answers = collector.collect(&names.map(target), AT + Duration::from_millis(300)).await;
    answers.of(names.iter().position(|known| *known == name).expect("one of them"))
}

/// A stub whose answer to queries that hold `part` is another one.
async fn failing(part: &'static str, otherwise: fn() -> Response) -> PrometheusConfig {
    let answer = move |query: &str| if query.contains(part) { otherwise() } else { vector("2", &[]) };
    PrometheusConfig { timeout_ms: 60_000, ..PrometheusConfig::at(&stub(answer).await.0) }
}

#[tokio::test]
async fn all_metrics_of_all_targets_come_by_one_query_each_at_one_moment() {
    let answer = |query: &str| {
        let of = |part: &str| query.contains(part);
        if of("histogram_quantile(0.95") {
            vector("0.25", &[("cache", "NaN")])
        } else if of("duration") {
            vector("0.1", &[("cache", "NaN")])
        } else if of("time()") {
            vector("7.5", &[("cache", "3")])
        } else if of("code=") || of("queued") {
            vector("1", &[])
        } else {
            vector("120", &[("cache", "40"), ("stranger", "9")])
        }
    };
    let (url, asked) = stub(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "sesame").unwrap();
    let config = PrometheusConfig { auth: Auth::Bearer { token_file }, ..PrometheusConfig::at(&url) };
    let collector = Collector::new(config).unwrap();
    let found = collector.collect(&[target("web"), target("cache")], AT + Duration::from_millis(300)).await;
    let web = found.of(0).unwrap();
    assert_eq!((web.at, web.age), (AT, Duration::from_millis(7500)));
    assert_eq!((web.arrival_rate.per_second(), web.error_rate.per_second()), (120.0, 1.0));
    assert_eq!((web.in_flight, web.queued), (120.0, 1.0));
    assert_eq!(web.latency.unwrap().p95, Duration::from_millis(250));
    let cache = found.of(1).unwrap();
    assert_eq!((cache.arrival_rate.per_second(), cache.error_rate.per_second()), (40.0, 0.0));
    assert_eq!(cache.latency, None, "nobody was answered");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), Metric::OF_SERVICES.len());
    assert!(
        asked.iter().all(|(_, time, token)| time == "1000000" && token.as_deref() == Some("Bearer sesame"))
    );
}

#[tokio::test]
async fn what_is_missing_or_no_number_is_named() {
    let config = failing("nothing", || unreachable!()).await;
    let fault = collect(config, "cache").await.unwrap_err();
    assert!(matches!(fault, MetricsFault::Missing(Metric::ArrivalRate | Metric::Age)), "{fault}");
    for value in ["NaN", "+Inf", "-1"] {
        let answer = move |query: &str| vector(if query.contains("received") { value } else { "2" }, &[]);
        let fault = collect(PrometheusConfig::at(&stub(answer).await.0), "web").await.unwrap_err();
        assert!(matches!(fault, MetricsFault::Value { metric: Metric::ArrivalRate, .. }), "{fault}");
    }
}

#[tokio::test]
async fn a_query_that_fails_is_named_with_what_came() {
    let bad = || {
        let error = serde_json::json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
        (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
    };
    let half = || ([("content-type", "application/json")], "{\"status\":\"success\",\"da").into_response();
    let scalar = || {
        let data = serde_json::json!({"resultType": "scalar", "result": [1_000_000, "1"]});
        axum::Json(serde_json::json!({"status": "success", "data": data})).into_response()
    };
    let busy = || (StatusCode::TOO_MANY_REQUESTS, "later").into_response();
    let broken = || (StatusCode::INTERNAL_SERVER_ERROR, "oh").into_response();
    let twice = || vector("1", &[("web", "2")]);
    let partial = || {
        let data = serde_json::json!({"resultType": "vector", "result": []});
        axum::Json(serde_json::json!({"status": "success", "data": data, "warnings": ["store-2 is away"]}))
            .into_response()
    };
    let cases: [Case; 7] = [
        (bad, "parse error"),
        (half, "no answer of Prometheus"),
        (scalar, "vector"),
        (busy, "HTTP status 429"),
        (broken, "HTTP status 500"),
        (twice, "two series for shop/web"),
        (partial, "warning: store-2 is away"),
    ];
    for (answer, part) in cases {
        let fault = collect(failing("in_flight", answer).await, "web").await.unwrap_err();
        let MetricsFault::Query { metric: Metric::InFlight, reason } = &fault else { panic!("{fault}") };
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn who_is_busy_is_asked_once_more_and_who_does_not_understand_is_not() {
    for (status, asked_for_it) in [
        (StatusCode::SERVICE_UNAVAILABLE, 2),
        (StatusCode::TOO_MANY_REQUESTS, 2),
        (StatusCode::UNPROCESSABLE_ENTITY, 1),
    ] {
        let seen = Arc::new(Mutex::new(0));
        let times = Arc::clone(&seen);
        let answer = move |query: &str| {
            let mut times = times.lock().unwrap();
            *times += u32::from(query.contains("queued"));
            if query.contains("queued") && *times == 1 {
                let error = serde_json::json!({"status": "error", "errorType": "x", "error": "not now"});
                (status, axum::Json(error)).into_response()
            } else {
                vector("2", &[])
            }
        };
        let answer = collect(PrometheusConfig::at(&stub(answer).await.0), "web").await;
        assert_eq!(*seen.lock().unwrap(), asked_for_it, "{status}");
        match answer {
            Ok(metrics) => assert_eq!((metrics.queued, asked_for_it), (2.0, 2)),
            Err(fault) => assert_eq!((fault.to_string().as_str(), asked_for_it), ("queued: not now", 1)),
        }
    }
}

#[tokio::test]
async fn silence_is_a_fault_in_time() {
    // A socket that takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = PrometheusConfig { timeout_ms: 200, ..PrometheusConfig::at(&url) };
    let fault = collect(config, "web").await.unwrap_err();
    assert!(fault.to_string().contains("all queries together have 200ms"), "{fault}");
    drop(listener);
    let gone = collect(PrometheusConfig { timeout_ms: 60_000, ..PrometheusConfig::at(&url) }, "web").await;
    let fault = gone.unwrap_err().to_string();
    assert!(fault.contains("refused"), "{fault}");
}

#[tokio::test]
async fn all_queries_share_one_deadline() {
    // Each is answered well within it; the third four of them are asked when more than half of it is gone.
    let (url, _) = slow_stub(Duration::from_millis(240), |_| vector("2", &[])).await;
    let config = PrometheusConfig { timeout_ms: 600, ..PrometheusConfig::at(&url) };
    let fault = collect(config, "web").await.unwrap_err();
    assert!(fault.to_string().contains("all queries together have 600ms"), "{fault}");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let said = |config: PrometheusConfig| Collector::new(config).err().expect("refused").to_string();
    let config = PrometheusConfig::at("http://localhost:9090");
    let short = said(PrometheusConfig { timeout_ms: 5, ..config.clone() });
    assert!(short.contains("timeoutMs: 5") && short.contains("100 to 60000"), "{short}");
    let nowhere = said(PrometheusConfig::at("somewhere"));
    assert!(nowhere.contains("somewhere") && nowhere.contains("http://HOST:PORT"), "{nowhere}");
    let told = said(PrometheusConfig::at("http://ann:sesame@localhost:9090"));
    assert!(told.contains("auth") && !told.contains("sesame"), "{told}");
    let ca_file = Some(PathBuf::from("no-such.pem"));
    assert!(said(PrometheusConfig { ca_file, ..config }).contains("no-such.pem"));
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let file = "url: http://localhost:9090\nwindowSeconds: 30\nauth: none\nqueries:\n  age: \"1\"\n";
    let read = PrometheusConfig::from_yaml(file).unwrap();
    assert_eq!((read.window_seconds, read.queries.age.as_str(), read.auth), (30, "1", Auth::None));
    for (from, to, said) in [
        (
            "http://localhost:9090",
            "localhost:9090",
            "line 1: url: \"localhost:9090\" is not allowed; expected http://HOST:PORT",
        ),
        (
            "http://localhost:9090",
            "http://",
            "line 1: url: \"http://\" is not allowed; expected http://HOST:PORT",
        ),
        ("url: http://localhost:9090\n", "", "line 1: url: is missing; expected a text"),
        ("30", "0", "line 2: windowSeconds: 0 is not allowed; expected a whole number of 5 to 3600"),
        (
            "30",
            "sixty",
            "line 2: windowSeconds: \"sixty\" is not allowed; expected a whole number of 5 to 3600",
        ),
        ("windowSeconds", "window", "line 2: window: is no field; expected auth, caFile, "),
        (
            "auth: none",
            "auth: some",
            "line 3: auth: what is there is not allowed; expected none, bearer or basic",
        ),
        ("auth: none", "auth: {bearer: {}}", "line 3: auth.bearer.tokenFile: is missing; expected a text"),
        (
            "auth: none",
            "usage: promethius",
            "line 3: usage: \"promethius\" is not allowed; expected metricsApi or prometheus",
        ),
        (
            "auth: none",
            "workloadLabel: a b",
            "line 3: workloadLabel: \"a b\" is not allowed; expected a label's name",
        ),
        (
            "\"1\"",
            "x{{selector}}[{windo}]",
            "line 5: queries.age: {windo} is not allowed; expected {selector}, ",
        ),
        ("auth: none", "---\nurl: http://other:1", "line 1: 2 YAML documents; expected one"),
    ] {
        let error = PrometheusConfig::from_yaml(&file.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with(said), "{to}: {error}");
    }
    for (from, to) in [
        ("http://localhost", "http://ann:sesame@localhost:99999/"),
        ("http://localhost", "ann:sesame@localhost"),
        ("auth: none", "auth: sesame"),
        ("auth: none", "auth: {bearer: sesame}"),
        ("auth: none", "auth: {basic: [sesame]}"),
    ] {
        let error = PrometheusConfig::from_yaml(&file.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{to}: {error}");
    }
    for auth in ["{bearer: {tokenFile: a}}", "{basic: {username: ann, passwordFile: a}}"] {
        let file = file.replacen("none", auth, 1);
        assert!(PrometheusConfig::from_yaml(&file).is_ok(), "{auth}");
    }
}
