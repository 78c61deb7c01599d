//! The custom resources of the cluster, as they come, change and go.

use super::sheet::{Key, Sheet};
use crate::spec::LearnedAutoscaler;
use crate::target::shared::Shared;
use crate::target::table::{Change, Table};
use crate::target::watch::{watched, why};
use futures_util::StreamExt;
use futures_util::stream::select_all;
use kube::api::ApiResource;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
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
    All(Vec<Arc<Sheet>>),
    /// This one has another status.
    Status(Arc<Sheet>),
    /// They cannot be watched in this namespace at the moment, for this reason.
    Trouble(String, Arc<str>),
}

/// The resources that one watch shows.
#[derive(Default)]
struct Shown {
    table: Table<Arc<Sheet>, Key>,
    namespaces: Shared<str>,
}

/// Tells of all resources in these namespaces, in the whole cluster where there are none named, whenever they change.
pub(super) async fn follow(client: Client, namespaces: Vec<Arc<str>>, tell: mpsc::Sender<Heard>) {
    let kind = ApiResource::erase::<LearnedAutoscaler>(&());
    let scopes: Vec<(String, Api<DynamicObject>)> = if namespaces.is_empty() {
        vec![("the cluster".to_owned(), Api::all_with(client, &kind))]
    } else {
        let here = |namespace: &Arc<str>| {
            (namespace.to_string(), Api::namespaced_with(client.clone(), namespace, &kind))
        };
        namespaces.iter().map(here).collect()
    };
    let (mut shown, mut streams) = (Vec::new(), Vec::new());
    for (k, (place, api)) in scopes.into_iter().enumerate() {
        shown.push((format!("{} in {place}", kind.plural), Shown::default()));
        streams.push(watched(api).map(move |event| (k, event)).boxed());
    }
    let mut events = select_all(streams);
    let mut look_at = Instant::now() + TRY_AGAIN;
    loop {
        tokio::select! {
            event = events.next() => match event {
                None => return,
                Some((k, Ok(event))) => {
                    match shown[k].1.take(event) {
                        Told::News => look_at = look_at.min(Instant::now() + GATHER),
                        Told::Status(sheet) => _ = tell.send(Heard::Status(sheet)).await,
                        Told::Part => {}
                    }
                }
                Some((k, Err(error))) => _ = tell.send(Heard::Trouble(shown[k].0.clone(), why(&error))).await,
            },
            () = sleep_until(look_at) => {
                look_at = Instant::now() + TRY_AGAIN;
                if shown.iter().all(|(_, shown)| shown.table.is_known()) {
                    let all = shown.iter().flat_map(|(_, shown)| shown.table.rows());
                    let _ = tell.send(Heard::All(all.map(|(_, sheet)| Arc::clone(sheet)).collect())).await;
                }
            }
        }
    }
}

/// What an event means.
enum Told {
    /// There are others, or others than there were.
    News,
    /// The same one has another status.
    Status(Arc<Sheet>),
    /// Nothing by itself.
    Part,
}

impl Shown {
    /// Takes in what happened.
    fn take(&mut self, event: Event<DynamicObject>) -> Told {
        let key = |object: &DynamicObject| -> Key {
            (object.namespace().as_deref().unwrap_or("default").into(), object.name_any().into())
        };
        let read = |object: &DynamicObject| {
            let key = key(object);
            let before = self.table.get(&key).map(|before| &**before);
            Arc::new(Sheet::read(object, self.namespaces.one(key.0), before))
        };
        // It is called by its own name, which is there once then.
        let change = match Change::by(event, key, read) {
            Change::Listed(_, sheet) => Change::Listed(sheet.resource.key(), sheet),
            Change::Set(_, sheet) => Change::Set(sheet.resource.key(), sheet),
            other => other,
        };
        let told = match &change {
            Change::List | Change::Listed(..) => Told::Part,
            Change::Whole | Change::Gone(_) => Told::News,
            Change::Set(key, sheet) => match self.table.get(key) {
                Some(before) if before.resource.is_as(&sheet.resource) => Told::Status(Arc::clone(sheet)),
                _ => Told::News,
            },
        };
        self.table.take(change);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, generation: i64, spec: &serde_json::Value) -> DynamicObject {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "autoscaleai.dev/v1alpha1",
            "kind": "LearnedAutoscaler",
            "metadata": { "name": "web", "namespace": "shop", "uid": uid, "generation": generation },
            "spec": spec,
        }))
        .unwrap()
    }

    fn spec(max: u32) -> serde_json::Value {
        serde_json::json!({
            "scaleTargetRef": { "name": "web" }, "maxReplicas": max, "policy": { "horizontalPodAutoscaler": {} },
        })
    }

    #[test]
    fn a_status_is_no_news_and_another_object_of_the_name_is() {
        let mut shown = Shown::default();
        let is_news = |shown: &mut Shown, event| matches!(shown.take(event), Told::News);
        assert!(!is_news(&mut shown, Event::Init));
        assert!(!is_news(&mut shown, Event::InitApply(object("a", 1, &spec(5)))));
        assert!(is_news(&mut shown, Event::InitDone));
        let mut told = object("a", 1, &spec(5));
        told.data["status"] = serde_json::json!({ "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Used", "message": "",
            "lastTransitionTime": "2026-03-01T10:00:00Z",
        }]});
        let Told::Status(sheet) = shown.take(Event::Apply(told)) else { panic!("a status is no news") };
        assert_ne!(sheet.resource.standing, crate::spec::Standing::default());
        let kept = |shown: &Shown| Arc::clone(shown.table.rows().next().unwrap().1);
        let max = |sheet: &Sheet| sheet.autoscaler().unwrap().spec.max_replicas;
        assert_eq!(max(&kept(&shown)), 5);
        assert_eq!(kept(&shown).resource.standing, sheet.resource.standing);
        assert!(is_news(&mut shown, Event::Apply(object("a", 2, &spec(6)))));
        assert_eq!(max(&kept(&shown)), 6);
        assert!(is_news(&mut shown, Event::Apply(object("b", 2, &spec(7)))), "made anew");
        assert_eq!(max(&kept(&shown)), 7);
        let odd = object("b", 3, &serde_json::json!({ "maxReplicas": 7 }));
        assert!(is_news(&mut shown, Event::Apply(odd)));
        assert!(kept(&shown).target().unwrap_err().contains("scaleTargetRef"));
        shown.take(Event::Apply(object("b", 3, &spec(8))));
        assert_eq!(max(&kept(&shown)), 8, "readable again, by a new definition for instance");
        assert!(is_news(&mut shown, Event::Delete(object("b", 3, &spec(7)))));
        assert_eq!(shown.table.rows().count(), 0);
    }
}
