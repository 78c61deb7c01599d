//! What pods use, from the resource metrics API (`metrics.k8s.io/v1beta1`).

use super::kubernetes::{ANSWER_WITHIN, late, timestamp, words};
use super::quantity::milli;
use autoscale_core::sample::{ContainerUsage, ResourceList, UsageSample};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why there are no usage samples.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UsageError {
    /// The cluster has no such API: no metrics-server runs there.
    #[error("the cluster does not serve metrics.k8s.io: no metrics-server is installed")]
    Absent,
    /// It did not answer, or not well.
    #[error("metrics.k8s.io: {0}")]
    Failed(Arc<str>),
}

#[derive(Debug, Deserialize)]
struct PodMetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Debug, Deserialize)]
struct PodMetrics {
    metadata: Named,
    timestamp: Time,
    /// As Go writes a duration: `15.02s`.
    window: kube::core::Duration,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: Arc<str>,
    #[serde(default)]
    usage: Used,
}

#[derive(Debug, Default, Deserialize)]
struct Used {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
}

/// Samples by pod.
pub type Samples = BTreeMap<Arc<str>, UsageSample>;

/// The samples of all pods in a namespace.
///
/// # Errors
/// When the API is absent or does not answer.
pub async fn usage(client: &Client, namespace: &str) -> Result<Samples, UsageError> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let request = Request::new(path).list(&ListParams::default());
    let request = request.map_err(|e| UsageError::Failed(e.to_string().into()))?;
    match tokio::time::timeout(ANSWER_WITHIN, client.request::<PodMetricsList>(request)).await {
        Err(_) => Err(UsageError::Failed(late())),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(UsageError::Absent),
        Ok(Err(e)) => Err(UsageError::Failed(words(&e))),
        Ok(Ok(list)) => Ok(list.items.into_iter().filter_map(sample).collect()),
    }
}

/// A pod without a name is nobody's.
fn sample(pod: PodMetrics) -> Option<(Arc<str>, UsageSample)> {
    let containers = pod.containers.into_iter();
    let value = |quantity: Option<Quantity>| quantity.and_then(|quantity| milli(&quantity.0));
    let list = |used: Used| ResourceList { cpu: value(used.cpu), memory: value(used.memory) };
    let containers = containers.map(|c| ContainerUsage { name: c.name, usage: list(c.usage) });
    let window = Duration::from(pod.window);
    let timestamp = timestamp(pod.timestamp.0);
    Some((pod.metadata.name?, UsageSample { timestamp, window, containers: containers.collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::units::{Milli, Timestamp};
    use serde_json::json;

    #[test]
    fn a_sample_keeps_its_moment_and_its_window() {
        let list: PodMetricsList = serde_json::from_value(json!({ "items": [{
            "metadata": { "name": "web-1" }, "timestamp": "1970-01-01T00:01:00Z", "window": "15.02s",
            "containers": [{ "name": "app", "usage": { "cpu": "156250000n", "memory": "1024Ki" } }, { "name": "new" }],
        }] }))
        .unwrap();
        let (name, sample) = list.items.into_iter().find_map(sample).unwrap();
        assert_eq!((&*name, sample.timestamp), ("web-1", Timestamp::from_secs(60)));
        assert_eq!(sample.window, Duration::from_millis(15_020));
        assert_eq!(sample.containers[0].usage.cpu, Some(Milli::new(157)));
        assert_eq!(sample.containers[0].usage.memory, Some(Milli::new(1_048_576_000)));
        assert_eq!(sample.cpu(), None, "a container without a value leaves none for the pod");
    }
}
