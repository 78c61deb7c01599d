//! The custom resources of the cluster, as they come, change and go.

use crate::spec::LearnedAutoscaler;
use crate::target::watch::{watched, why};
use futures_util::StreamExt;
use futures_util::stream::select_all;
use kube::api::ApiResource;
use kube::core::DynamicObject;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Changes come in bursts; they are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// What could not be used is tried again after this: its model may have been put in place.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// What is known of the custom resources.
pub(super) enum Heard {
    /// All that there are.
    All(Vec<DynamicObject>),
    /// They cannot be watched in this namespace at the moment, for this reason.
    Trouble(String, Arc<str>),
}

/// Tells of all resources in these namespaces, in the whole cluster where there are none named, whenever they change.
pub(super) async fn follow(client: Client, namespaces: Vec<Arc<str>>, tell: mpsc::Sender<Heard>) {
    let kind = ApiResource::erase::<LearnedAutoscaler>(&());
    let scopes = if namespaces.is_empty() {
        vec![("the cluster".to_owned(), Api::all_with(client, &kind))]
    } else {
        let here = |namespace: &Arc<str>| {
            (namespace.to_string(), Api::namespaced_with(client.clone(), namespace, &kind))
        };
        namespaces.iter().map(here).collect()
    };
    let (mut stores, mut streams) = (Vec::new(), Vec::new());
    for (place, api) in scopes {
        let writer: Writer<DynamicObject> = Writer::new(kind.clone());
        stores.push(writer.as_reader());
        let name = format!("{} in {place}", kind.plural);
        streams.push(watched(api).reflect(writer).map(move |event| (name.clone(), event)).boxed());
    }
    let mut events = select_all(streams);
    let (mut known, mut look_at) = (Known::default(), Instant::now() + TRY_AGAIN);
    loop {
        tokio::select! {
            event = events.next() => match event {
                None => return,
                Some((_, Ok(event))) => {
                    if known.is_news(&event) {
                        look_at = look_at.min(Instant::now() + GATHER);
                    }
                }
                Some((name, Err(error))) => _ = tell.send(Heard::Trouble(name, why(&error))).await,
            },
            () = sleep_until(look_at) => {
                look_at = Instant::now() + TRY_AGAIN;
                if let Some(all) = all(&stores) {
                    let _ = tell.send(Heard::All(all)).await;
                }
            }
        }
    }
}

/// Generations by uid. A status that is written, by this process most of all, is no news.
#[derive(Default)]
struct Known(BTreeMap<String, Option<i64>>);

impl Known {
    fn is_news(&mut self, event: &watcher::Event<DynamicObject>) -> bool {
        let mut note = |object: &DynamicObject| {
            let generation = object.metadata.generation;
            self.0.insert(object.uid().unwrap_or_default(), generation) != Some(generation)
        };
        match event {
            watcher::Event::Init => {
                // What is not in the list that comes is gone.
                self.0.clear();
                false
            }
            watcher::Event::InitApply(object) => {
                note(object);
                false
            }
            watcher::Event::InitDone => true,
            watcher::Event::Apply(object) => note(object),
            watcher::Event::Delete(object) => {
                self.0.remove(&object.uid().unwrap_or_default());
                true
            }
        }
    }
}

/// `None` before each store has seen a whole list.
fn all(stores: &[Store<DynamicObject>]) -> Option<Vec<DynamicObject>> {
    let ready =
        |store: &Store<DynamicObject>| futures_util::FutureExt::now_or_never(store.wait_until_ready());
    if stores.iter().any(|store| !matches!(ready(store), Some(Ok(())))) {
        return None;
    }
    Some(stores.iter().flat_map(Store::state).map(|object| (*object).clone()).collect())
}
