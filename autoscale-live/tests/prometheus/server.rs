//! A Prometheus of one's own.

use super::history::{LATE, READ_WITHIN};
use autoscale_core::units::Timestamp;
use reqwest::Url;
use serde_json::Value;
use std::fmt::Write;
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Whom to scrape, and how it shall be known.
pub(super) struct Scraped {
    pub(super) address: String,
    pub(super) namespace: &'static str,
    pub(super) app: &'static str,
    pub(super) pod: &'static str,
}

/// Ends when it is dropped.
pub(super) struct Prometheus {
    pub(super) url: String,
    process: Child,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these once a second, and waits until it answers.
    pub(super) async fn start(scraped: &[Scraped]) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, configuration(scraped)).unwrap();
        // Free now, and most likely still when it is taken again.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let program = std::env::var_os("PROMETHEUS").map_or_else(|| "prometheus".into(), PathBuf::from);
        let process = Command::new(&program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; .ci/cluster fetches Prometheus and runs this, or set PROMETHEUS to where it is",
                    program.display()
                )
            });
        let mut started = Self { url: format!("http://{address}"), process, folder };
        started.wait_until_ready().await;
        started
    }

    /// Whether at `at` the samples at both ends of such a window were scraped when they should have been, of each of so
    /// many pods, by what Prometheus keeps of its own scrapes.
    pub(super) async fn on_time(&self, pods: usize, at: Timestamp, window: u32) -> bool {
        let (query, time) = (format!("scrape_duration_seconds[{window}s]"), at.as_secs_f64().to_string());
        let url = format!("{}/api/v1/query", self.url);
        let url = Url::parse_with_params(&url, [("query", query), ("time", time)]).unwrap();
        let answer = super::pods::client().get(url).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let series = answer["data"]["result"].as_array().unwrap();
        let end = at.as_secs_f64();
        series.len() == pods
            && series.iter().all(|one| are_on_time(one["values"].as_array().unwrap(), end, window))
    }

    async fn wait_until_ready(&mut self) {
        let client = super::pods::client();
        let ready = format!("{}/-/ready", self.url);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
                panic!("Prometheus has ended, {status}:\n{log}");
            }
            if client.get(&ready).send().await.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Scrapes in the window to `end`, each with its time and how many seconds it took.
fn are_on_time(scrapes: &[Value], end: f64, window: u32) -> bool {
    // With a gap of more than 1.1 intervals at an end, Prometheus takes it that the series begins or ends there.
    const NEAR: f64 = 1.05;
    let [oldest, .., newest] = scrapes else { return false };
    let [first, last] = [oldest, newest].map(|scrape| scrape[0].as_f64().unwrap());
    let lasted = |scrape: &Value| scrape[1].as_str().unwrap().parse::<f64>().unwrap();
    let window = f64::from(window);
    first - (end - window) <= NEAR
        && end - last <= NEAR
        && (last - first - (window - 1.0)).abs() <= LATE.as_secs_f64()
        && lasted(oldest).max(lasted(newest)) <= READ_WITHIN.as_secs_f64()
}

fn configuration(scraped: &[Scraped]) -> String {
    let mut yaml = String::from(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: pods\n  honor_labels: true\n  static_configs:\n",
    );
    for Scraped { address, namespace, app, pod } in scraped {
        writeln!(
            yaml,
            "  - {{targets: ['{address}'], labels: {{namespace: {namespace}, app: {app}, pod: {pod}}}}}"
        )
        .unwrap();
    }
    yaml
}
