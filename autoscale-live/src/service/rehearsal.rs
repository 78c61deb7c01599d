//! What a start would find, without one: each target is looked at once, and nothing is written.

use super::{ServiceError, runtime, system};
use crate::shell::{Clock, SystemClock};
use crate::source::{Collector, MetricsFault, PrometheusConfig, ServiceMetrics};
use crate::target::TargetRef;
use crate::target::kubernetes::{ANSWER_WITHIN, ClusterError, Kinds, connect_as_usual, late, words};
use autoscale_core::units::Replicas;
use futures_util::{StreamExt, stream};

/// Targets that are asked for at the same time.
const AT_ONCE: usize = 8;

/// What there is of a target.
pub struct Sight {
    /// What it is.
    pub target: TargetRef,
    /// The pods that it asks for now.
    pub replicas: Result<Replicas, ClusterError>,
    /// What Prometheus knows of it.
    pub metrics: Result<ServiceMetrics, MetricsFault>,
}

/// Looks at each of them.
///
/// # Errors
/// When there is no cluster, or Prometheus cannot be asked at all.
pub fn rehearse(targets: &[TargetRef], prometheus: PrometheusConfig) -> Result<Vec<Sight>, ServiceError> {
    runtime().map_err(|error| system("timers", error))?.block_on(async {
        let kinds = Kinds::new(connect_as_usual().await?);
        let collector = Collector::new(prometheus)?;
        let asked = stream::iter(targets).map(|target| replicas(&kinds, target)).buffered(AT_ONCE).collect();
        let (replicas, answers): (Vec<_>, _) =
            tokio::join!(asked, collector.collect(targets, SystemClock.now()));
        let seen = targets.iter().zip(replicas).enumerate();
        Ok(seen
            .map(|(k, (target, replicas))| Sight { target: target.clone(), replicas, metrics: answers.of(k) })
            .collect())
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
