//! Pods that take their time: ready some seconds after they start, gone some time after they were told to go. Each
//! fifth takes longer than the controller waits for a new pod, each third is not ready for a while later on.

use super::super::node;
use super::stage::watched;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

/// From the start of a pod until it is ready, in milliseconds: the least, how much it varies, and what a slow one takes.
const READY_MS: u64 = 2_000;
const SPREAD_MS: u64 = 4_000;
const SLOW_MS: u64 = 15_000;
/// A pod that falters does so this long after it became ready, for this long.
const STEADY: Duration = Duration::from_secs(15);
const FALTERS: Duration = Duration::from_secs(5);
/// From the order to go until it is gone.
const ENDS: Duration = Duration::from_millis(1_500);

/// Looks after all pods of the cluster, for ever.
pub(super) async fn run(client: Client) {
    node::register(&client).await;
    let (mut begun, mut ending) = (BTreeSet::new(), BTreeSet::new());
    let mut events = std::pin::pin!(watched(Api::<Pod>::all(client.clone())));
    while let Some(event) = events.next().await {
        let (Event::Apply(pod) | Event::InitApply(pod)) = event else { continue };
        if !node::has(&pod) {
            continue;
        }
        let pods = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        let (name, id) = (pod.name_any(), pod.uid().unwrap());
        if pod.metadata.deletion_timestamp.is_some() {
            if ending.insert(id) {
                tokio::spawn(async move {
                    sleep(ENDS).await;
                    node::let_go(&pods, &name).await;
                });
            }
        } else if begun.insert(id) {
            tokio::spawn(live(pods, name, begun.len() as u64));
        }
    }
}

async fn live(pods: Api<Pod>, name: String, ordinal: u64) {
    node::started(&pods, &name, None).await;
    let lag = if ordinal.is_multiple_of(5) { SLOW_MS } else { READY_MS + ordinal * 733 % SPREAD_MS };
    sleep(Duration::from_millis(lag)).await;
    node::ready(&pods, &name, true).await;
    if ordinal.is_multiple_of(3) {
        sleep(STEADY).await;
        node::ready(&pods, &name, false).await;
        sleep(FALTERS).await;
        node::ready(&pods, &name, true).await;
    }
}
