//! A picture of the targets, of who else scales them and of their pods, kept up to date by watches.
//!
//! One watch for each namespace and kind, whatever the number of targets. When a watch breaks it is begun anew, with a whole
//! list where the API server has forgotten what happened meanwhile; until that is whole the last picture stands. Nothing is
//! told of a target before all is known that stands against scaling it.

mod cache;

use super::TargetRef;
use super::kubernetes::{Kinds, WATCH_FOR, cut, in_apps, words};
use super::pods::Labelled;
use super::rivals::{Autoscaler, scaled_objects};
use super::table::Change;
use super::workload::{Seen, read_apps, read_scale};
use crate::shell::News;
use autoscale_core::sample::PodSample;
use cache::{Cache, Kind, RivalKind};
use futures_util::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A kind that the cluster does not know is looked for again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Objects of a list that come at a time. An object takes many times the room of what is kept of it.
const PAGE: u32 = 50;

/// A watch that works again says nothing before something happens; one that does not fails again well within this time.
const OVER_AFTER: Duration = Duration::from_secs(120);

/// See the [module](self). The watches end when it is dropped.
pub struct Watch {
    client: Client,
    kinds: Kinds,
    teller: Teller,
    watches: Mutex<BTreeMap<Arc<str>, Watches>>,
}

/// Those of one namespace; a set ends what it holds when it is dropped.
#[derive(Default)]
struct Watches {
    targets: BTreeMap<Kind, JoinSet<()>>,
    others: JoinSet<()>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new(client: &Client, tell: &mpsc::Sender<News>) -> Self {
        Self {
            client: client.clone(),
            kinds: Kinds::new(client.clone()),
            teller: Teller { cache: Arc::default(), tell: tell.clone() },
            watches: Mutex::default(),
        }
    }

    /// Begins to watch these targets, and tells of them at once and whenever they change.
    pub fn start(client: &Client, targets: &[TargetRef], tell: &mpsc::Sender<News>) -> Self {
        let watch = Self::new(client, tell);
        watch.set(&targets.iter().cloned().collect());
        watch
    }

    /// Watches these targets from now on, and tells of those that are new. Whatever needs no new list goes on undisturbed.
    pub fn set(&self, targets: &BTreeSet<TargetRef>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let (unlisted, kinds) = {
            let mut cache = lock(&self.teller.cache);
            (cache.set_targets(targets), cache.kinds())
        };
        watches.retain(|namespace, _| kinds.contains_key(namespace));
        for (namespace, watches) in watches.iter_mut() {
            watches.targets.retain(|kind, _| kinds[namespace].contains(kind));
        }
        for sample in unlisted {
            let namespace = &sample.namespace;
            let watches =
                watches.entry(Arc::clone(namespace)).or_insert_with(|| self.watch_others(namespace));
            let kind = (Arc::clone(&sample.api_version), Arc::clone(&sample.kind));
            let mut follow = JoinSet::new();
            follow.spawn(follow_targets(
                self.kinds.clone(),
                self.client.clone(),
                self.teller.clone(),
                sample.clone(),
            ));
            watches.targets.insert(kind, follow);
        }
    }

    /// Autoscalers and pods of a namespace.
    fn watch_others(&self, namespace: &Arc<str>) -> Watches {
        let mut watches = Watches::default();
        let here = |what: &str| format!("{what} in {namespace}");
        let (client, teller) = (&self.client, &self.teller);
        let kind = RivalKind::HorizontalPodAutoscaler;
        let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
        let hpas = follow_rivals(hpas, here(kind.name()), teller.clone(), Arc::clone(namespace), kind);
        watches.others.spawn(hpas);
        let kind = RivalKind::ScaledObject;
        let keda: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &scaled_objects());
        let keda = follow_rivals(keda, here(kind.name()), teller.clone(), Arc::clone(namespace), kind);
        watches.others.spawn(keda);
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        watches.others.spawn(follow_pods(pods, here("pods"), teller.clone(), Arc::clone(namespace)));
        watches
    }

    /// The target's pods, oldest first, without usage; `None` while they, or how it selects them, are not known.
    pub fn pods(&self, target: &TargetRef) -> Option<Vec<PodSample>> {
        lock(&self.teller.cache).pods(target)
    }

    /// The very object that bears the target's name now.
    pub fn uid(&self, target: &TargetRef) -> Option<Arc<str>> {
        lock(&self.teller.cache).uid(target)
    }

    /// Which watches do not work at the moment, and why.
    pub fn trouble(&self) -> BTreeMap<String, Arc<str>> {
        let fresh = |(name, (why, at)): (&String, &(Arc<str>, Instant))| {
            (at.elapsed() < OVER_AFTER).then(|| (name.clone(), Arc::clone(why)))
        };
        lock(&self.teller.cache).trouble.iter().filter_map(fresh).collect()
    }
}

fn lock(cache: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Teller {
    cache: Arc<Mutex<Cache>>,
    tell: mpsc::Sender<News>,
}

impl Teller {
    /// Lets the cache take something in and tells what follows. Where nobody listens any more the process is about to end.
    async fn apply(&self, watch: &str, happen: impl FnOnce(&mut Cache) -> Vec<News>) {
        let news = {
            let mut cache = lock(&self.cache);
            cache.trouble.remove(watch);
            happen(&mut cache)
        };
        for told in news {
            let _ = self.tell.send(told).await;
        }
    }

    fn trouble(&self, watch: &str, why: Arc<str>) {
        lock(&self.cache).trouble.insert(watch.to_owned(), (why, Instant::now()));
    }
}

async fn follow_targets(kinds: Kinds, client: Client, teller: Teller, sample: TargetRef) {
    let name = format!("{} {} in {}", sample.api_version, sample.kind, sample.namespace);
    let mut pauses = Pauses::default();
    let resource = loop {
        match kinds.resource(&sample).await {
            Ok(resource) => break resource,
            Err(e) => teller.trouble(&name, e.to_string().into()),
        }
        tokio::time::sleep(pauses.longer()).await;
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, &sample.namespace, &resource);
    let mut stream = std::pin::pin!(watched(api.clone()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let Some(change) = seen(&api, &teller, (&name, &sample), event).await else { continue };
                teller.apply(&name, |cache| cache.take_target(&sample, change)).await;
            }
            Err(e) => teller.trouble(&name, why(&e)),
        }
    }
}

/// What an event means for the targets; `None` where it is about another object.
async fn seen(
    api: &Api<DynamicObject>,
    teller: &Teller,
    (name, sample): (&str, &TargetRef),
    event: Event<DynamicObject>,
) -> Option<Change<Seen>> {
    if let Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) = &event
        && !lock(&teller.cache).is_target(sample, &object.name_any())
    {
        return None;
    }
    let (Event::Apply(object) | Event::InitApply(object)) = &event else {
        return Some(Change::of(event, read_apps));
    };
    if in_apps(sample) {
        return Some(Change::of(event, read_apps));
    }
    let mut pauses = Pauses::default();
    loop {
        match api.get_scale(&object.name_any()).await {
            Ok(scale) => return Some(Change::of(event, |object| read_scale(object, &scale))),
            // It is gone again; an event will say so.
            Err(kube::Error::Api(status)) if status.code == 404 => return None,
            Err(e) => teller.trouble(name, words(&e)),
        }
        tokio::time::sleep(pauses.longer()).await;
    }
}

async fn follow_rivals<K>(api: Api<K>, name: String, teller: Teller, namespace: Arc<str>, kind: RivalKind)
where
    K: Autoscaler + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut stream = std::pin::pin!(watched(api));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let change = Change::of(event, Autoscaler::scaled);
                teller.apply(&name, |cache| cache.take_rival(&namespace, kind, change)).await;
            }
            // The cluster has no such kind, so that there are none.
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                for change in [Change::List, Change::Whole] {
                    teller.apply(&name, |cache| cache.take_rival(&namespace, kind, change)).await;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(e) => teller.trouble(&name, why(&e)),
        }
    }
}

async fn follow_pods(api: Api<Pod>, name: String, teller: Teller, namespace: Arc<str>) {
    let mut stream = std::pin::pin!(watched(api));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let change = Change::of(event, Labelled::of);
                teller.apply(&name, |cache| cache.take_pod(&namespace, change)).await;
            }
            Err(e) => teller.trouble(&name, why(&e)),
        }
    }
}

/// All objects that the API reaches, for ever.
pub(crate) fn watched<K>(api: Api<K>) -> impl futures_util::Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().timeout(WATCH_FOR.as_secs() as u32).page_size(PAGE);
    watch(api, config).backoff(Pauses::default())
}

pub(crate) fn why(error: &watcher::Error) -> Arc<str> {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(e) | WatchStartFailed(e) | WatchFailed(e) => words(e),
        WatchError(status) => cut(&format!("{} ({})", status.message, status.code)),
        NoResourceVersion => cut(&error.to_string()),
    }
}

/// Pauses between tries: twice as long each time, from half a second to eight.
#[derive(Debug, Default)]
struct Pauses {
    tries: u32,
}

impl Pauses {
    fn longer(&mut self) -> Duration {
        let pause = Duration::from_millis(500) * 2_u32.pow(self.tries.min(4));
        self.tries += 1;
        pause
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.longer())
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.tries = 0;
    }
}
