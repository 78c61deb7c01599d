//! What a start would find, without one: each target is looked at once, and nothing is written.

use super::{ServiceError, runtime, system};
use crate::shell::{Clock, SystemClock};
use crate::source::{Collector, MetricsFault, PrometheusConfig, ServiceMetrics, UsageSource};
use crate::target::TargetRef;
use crate::target::kubernetes::{ANSWER_WITHIN, ClusterError, Kinds, connect_as_usual, late, words};
use crate::target::usage::usage;
use autoscale_core::units::Replicas;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Questions that are asked at the same time.
const AT_ONCE: usize = 8;

/// What there is of targets.
pub struct Sighted {
    /// Of each of them, in the same order: the pods that it asks for, and what Prometheus knows of it.
    pub targets: Vec<(Result<Replicas, ClusterError>, Result<ServiceMetrics, MetricsFault>)>,
    /// The namespaces for which nobody says what pods use, and why.
    pub without_usage: BTreeMap<Arc<str>, String>,
}

/// Looks at each of them.
///
/// # Errors
/// When there is no cluster, or Prometheus cannot be asked at all.
pub fn rehearse(targets: &[TargetRef], prometheus: PrometheusConfig) -> Result<Sighted, ServiceError> {
    runtime().map_err(|error| system("timers", error))?.block_on(async {
        let client = connect_as_usual().await?;
        let (kinds, collector) = (Kinds::new(client.clone()), Collector::new(prometheus)?);
        let now = SystemClock.now();
        let asked = stream::iter(targets).map(|target| replicas(&kinds, target)).buffered(AT_ONCE).collect();
        let (replicas, answers): (Vec<_>, _) = tokio::join!(asked, collector.collect(targets, now));
        let seen = replicas.into_iter().enumerate().map(|(k, replicas)| (replicas, answers.of(k)));
        let namespaces: BTreeSet<_> = targets.iter().map(|target| Arc::clone(&target.namespace)).collect();
        let namespaces: Vec<_> = namespaces.into_iter().collect();
        let without_usage = match collector.usage_source() {
            UsageSource::Prometheus => match collector.usage(&namespaces, now).await {
                Ok(_) => BTreeMap::new(),
                Err(fault) => {
                    namespaces.into_iter().map(|namespace| (namespace, fault.to_string())).collect()
                }
            },
            UsageSource::MetricsApi => {
                let asked = stream::iter(namespaces).map(|namespace| async {
                    let answer = tokio::time::timeout(ANSWER_WITHIN, usage(&client, &namespace)).await;
                    let fault = match answer {
                        Ok(samples) => samples.err().map(|fault| fault.to_string()),
                        Err(_) => Some(late().to_string()),
                    };
                    fault.map(|fault| (namespace, fault))
                });
                asked.buffered(AT_ONCE).filter_map(async |fault| fault).collect().await
            }
        };
        Ok(Sighted { targets: seen.collect(), without_usage })
    })
}

async fn replicas(kinds: &Kinds, target: &TargetRef) -> Result<Replicas, ClusterError> {
    let objects = kinds.objects(target).await?;
    let scale = tokio::time::timeout(ANSWER_WITHIN, objects.get_scale(&target.name)).await;
    let scale = scale.map_err(|_| ClusterError::Refused(late()))?;
    let scale = scale.map_err(|error| ClusterError::Refused(words(&error)))?;
    let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or_default();
    Ok(Replicas::new(u32::try_from(replicas).unwrap_or_default()))
}
