//! Demo services, their load, and what they have counted.

use super::history::History;
use super::server::Scraped;
use autoscale_core::units::RequestRate;
use autoscale_live::demo::load::{self, LoadConfig};
use autoscale_live::demo::schedule::Rates;
use autoscale_live::demo::service::{Service, ServiceConfig, serve};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A client for the test itself.
pub(super) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A running demo service.
pub(super) struct Pod {
    pub(super) history: History,
    address: String,
    tasks: JoinSet<()>,
}

impl Pod {
    pub(super) async fn start(config: ServiceConfig) -> Self {
        let service = Service::new(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        let history = History::of(service.clone(), &mut tasks);
        tasks.spawn(async { serve(listener, service, std::future::pending()).await.unwrap() });
        Self { history, address, tasks }
    }

    /// How Prometheus finds it.
    pub(super) fn scraped(&self, app: &'static str, pod: &'static str) -> Scraped {
        Scraped { address: self.address.clone(), namespace: "shop", app, pod }
    }

    /// Sends random requests for as long as the test takes.
    pub(super) fn load(&mut self, per_second: f64, patience: Duration) {
        let rates =
            Rates::constant(RequestRate::new(per_second).unwrap(), Duration::from_secs(3600)).unwrap();
        let config = LoadConfig {
            patience_ms: patience.as_millis() as u32,
            ..LoadConfig::to(&format!("http://{}/work", self.address))
        };
        self.tasks.spawn(async move {
            load::run(&config, &rates, std::future::pending()).await.unwrap();
        });
    }
}
