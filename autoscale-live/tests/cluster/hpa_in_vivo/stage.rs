//! A cluster with a hurried HPA controller, pods that live, metrics, and a record of it all.

use super::super::plane::{Plane, until};
use super::fleet;
use super::metrics_api::MetricsApi;
use super::recorder::Recorder;
use autoscale_policies::hpa::{ControllerConfig, Legacy, Readiness};
use futures_util::{Stream, StreamExt};
use kube::Api;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How often the controller looks.
pub(super) const SYNC: Duration = Duration::from_secs(2);
/// No multiple of [`SYNC`], nor is any window or period of an HPA here: whether a recommendation still counts must not
/// hang on milliseconds.
const DOWNSCALE_STABILIZATION: Duration = Duration::from_secs(15);
const CPU_INITIALIZATION: Duration = Duration::from_secs(12);
const INITIAL_READINESS: Duration = Duration::from_secs(5);

pub(crate) struct Stage {
    pub(crate) plane: Plane,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: MetricsApi,
    /// Outlives the tests, which have runtimes of their own.
    _runtime: Runtime,
}

/// What the controller is told, for the emulation.
pub(super) fn settings() -> ControllerConfig {
    ControllerConfig {
        readiness: Readiness {
            cpu_initialization_period: CPU_INITIALIZATION,
            initial_readiness_delay: INITIAL_READINESS,
        },
        legacy: Legacy { downscale_stabilization: DOWNSCALE_STABILIZATION, ..Legacy::default() },
        ..ControllerConfig::default()
    }
}

impl Stage {
    /// The one that the tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Stage> = OnceLock::new();
        // On a thread of its own, since a test is in a runtime already.
        SHARED.get_or_init(|| std::thread::spawn(Self::start).join().unwrap())
    }

    fn start() -> Self {
        let flag =
            |name: &str, time: Duration| format!("--horizontal-pod-autoscaler-{name}={}s", time.as_secs());
        let flags = [
            flag("sync-period", SYNC),
            flag("downscale-stabilization", DOWNSCALE_STABILIZATION),
            flag("cpu-initialization-period", CPU_INITIALIZATION),
            flag("initial-readiness-delay", INITIAL_READINESS),
        ];
        let plane = Plane::start("hpa", &flags.each_ref().map(String::as_str));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (recorder, metrics) = runtime.block_on(async {
            let client = plane.client().await;
            let recorder = Recorder::start(&client);
            tokio::spawn(fleet::run(client.clone()));
            let metrics = MetricsApi::start(&plane, &recorder).await;
            for group in ["metrics.k8s.io", "external.metrics.k8s.io"] {
                until(group, async || {
                    client.list_api_group_resources(&format!("{group}/v1beta1")).await.ok()
                })
                .await;
            }
            (recorder, metrics)
        });
        Self { plane, recorder, metrics, _runtime: runtime }
    }
}

/// All that happens to such objects, for ever.
pub(super) fn watched<K>(api: Api<K>) -> impl Stream<Item = Event<K>>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(api, Config::default()).default_backoff().filter_map(|event| std::future::ready(event.ok()))
}
