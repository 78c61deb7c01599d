//! Requests at the moments of a schedule, whatever becomes of the ones before: an open loop.
//!
//! A response time counts from the moment that the request was *meant* to be sent at. A generator that waits for slow
//! answers, or is itself late, would otherwise leave out just the requests that had to wait (coordinated omission).

mod report;

pub use report::LoadReport;

use super::schedule::{Rates, Spacing};
use autoscale_core::seed::Seed;
use autoscale_core::validate::{ConfigError, count_in_range};
use report::{Fate, Tally};
use reqwest::{Client, StatusCode, Url};
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Whom to send requests to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadConfig {
    /// What to get: `http://127.0.0.1:8080/work`.
    pub url: String,
    /// How requests lie in time.
    pub spacing: Spacing,
    /// Of their moments.
    pub seed: Seed,
    /// A client gives up this long after it meant to send: 1 to 600,000 ms.
    pub patience_ms: u32,
    /// No more requests than this are under way, so that the machine has sockets for them: 1 to 50,000. One that would
    /// be more is not sent, and counted.
    pub most_open: u32,
}

impl LoadConfig {
    /// Random clients that wait for 10 s.
    pub fn to(url: &str) -> Self {
        let url = url.to_owned();
        Self { url, spacing: Spacing::Poisson, seed: Seed::root(0), patience_ms: 10_000, most_open: 10_000 }
    }
}

/// Sends all requests of a schedule, or those until `end`, and waits for what becomes of them.
///
/// # Errors
/// Names what of the configuration cannot be used.
pub async fn run(
    config: &LoadConfig,
    rates: &Rates,
    end: impl Future<Output = ()>,
) -> Result<LoadReport, ConfigError> {
    count_in_range("patience_ms", u64::from(config.patience_ms), 1, 600_000)?;
    count_in_range("most_open", u64::from(config.most_open), 1, 50_000)?;
    let expected = "an address such as http://HOST:PORT/work";
    let url = Url::parse(&config.url).map_err(|_| ConfigError::new("url", &config.url, expected))?;
    if url.scheme() != "http" {
        return Err(ConfigError::new("url", &config.url, expected));
    }
    let client = crate::tls::client_for(&url).no_proxy();
    let client = client.pool_max_idle_per_host(config.most_open as usize).build();
    let client = client.map_err(|error| ConfigError::new("url", &config.url, error.to_string()))?;

    let patience = Duration::from_millis(u64::from(config.patience_ms));
    let mut tally = Tally::new(patience);
    let mut under_way = JoinSet::new();
    let mut end = std::pin::pin!(end);
    let begin = Instant::now();
    for moment in rates.moments(config.spacing, config.seed) {
        let meant = begin + moment;
        tokio::select! {
            biased;
            () = &mut end => break,
            () = tokio::time::sleep_until(meant) => {}
        }
        while let Some(Ok(fate)) = under_way.try_join_next() {
            tally.count(fate);
        }
        tally.due(meant.elapsed());
        if under_way.len() >= config.most_open as usize {
            tally.unsent();
            continue;
        }
        under_way.spawn(send(client.clone(), url.clone(), meant, patience));
    }
    while let Some(Ok(fate)) = under_way.join_next().await {
        tally.count(fate);
    }
    Ok(tally.report(begin.elapsed()))
}

/// One request.
async fn send(client: Client, url: Url, meant: Instant, patience: Duration) -> Fate {
    let answer = async {
        let response = client.get(url).send().await?;
        let status = response.status();
        response.bytes().await?;
        Ok::<_, reqwest::Error>(status)
    };
    match tokio::time::timeout_at(meant + patience, answer).await {
        Err(_) => Fate::TimedOut,
        Ok(Err(_)) => Fate::Broken,
        Ok(Ok(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)) => Fate::Refused,
        Ok(Ok(status)) if status.is_success() => Fate::Answered(meant.elapsed()),
        Ok(Ok(_)) => Fate::Failed,
    }
}
