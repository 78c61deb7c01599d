//! Other autoscalers, and what they scale.

use super::TargetRef;
use super::table::{Change, Table};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// KEDA's ScaledObject, which a cluster may or may not know.
pub(super) fn scaled_objects() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"))
}

/// An object that is scaled, whatever the version that it is named in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scaled {
    group: Arc<str>,
    kind: Arc<str>,
    name: Arc<str>,
}

impl Scaled {
    fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self { group: group.into(), kind: kind.into(), name: name.into() }
    }
}

impl From<&TargetRef> for Scaled {
    fn from(target: &TargetRef) -> Self {
        Self::new(&target.api_version, &target.kind, &target.name)
    }
}

/// An object that says what it scales.
pub(super) trait Autoscaler: Resource {
    /// What it scales, if it says so.
    fn scaled(&self) -> Option<Scaled>;
}

impl Autoscaler for HorizontalPodAutoscaler {
    fn scaled(&self) -> Option<Scaled> {
        let target = &self.spec.as_ref()?.scale_target_ref;
        Some(Scaled::new(target.api_version.as_deref().unwrap_or_default(), &target.kind, &target.name))
    }
}

/// A ScaledObject; nothing else is watched as a bare object here.
impl Autoscaler for DynamicObject {
    fn scaled(&self) -> Option<Scaled> {
        let target = &self.data["spec"]["scaleTargetRef"];
        let stated = |field: &str, usual| target[field].as_str().filter(|s| !s.is_empty()).unwrap_or(usual);
        Some(Scaled::new(
            stated("apiVersion", "apps/v1"),
            stated("kind", "Deployment"),
            target["name"].as_str()?,
        ))
    }
}

/// The autoscalers of one kind in one namespace.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    table: Table<Option<Scaled>>,
    by_scaled: BTreeMap<Scaled, BTreeSet<Arc<str>>>,
}

/// Whose rivals may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concerned {
    /// Everybody's.
    All,
    /// Those of these.
    Only(BTreeSet<Scaled>),
}

impl Rivals {
    /// Whether all of them are known.
    pub(super) fn is_known(&self) -> bool {
        self.table.is_known()
    }

    /// Takes in what happened, and says whom it concerns.
    pub(super) fn take(&mut self, change: Change<Option<Scaled>>) -> Concerned {
        let name = match &change {
            Change::Set(name, _) | Change::Gone(name) => Arc::clone(name),
            Change::List | Change::Listed(..) => {
                self.table.take(change);
                return Concerned::Only(BTreeSet::new());
            }
            Change::Whole => {
                self.table.take(change);
                self.by_scaled.clear();
                for (name, scaled) in self.table.rows() {
                    if let Some(scaled) = scaled {
                        self.by_scaled.entry(scaled.clone()).or_default().insert(Arc::clone(name));
                    }
                }
                return Concerned::All;
            }
        };
        let before = self.table.get(&name).cloned().flatten();
        self.table.take(change);
        let after = self.table.get(&name).cloned().flatten();
        // An autoscaler's status changes all the time.
        if before == after {
            return Concerned::Only(BTreeSet::new());
        }
        if let Some(before) = &before
            && let Some(names) = self.by_scaled.get_mut(before)
        {
            names.remove(&name);
            if names.is_empty() {
                self.by_scaled.remove(before);
            }
        }
        if let Some(after) = &after {
            self.by_scaled.entry(after.clone()).or_default().insert(name);
        }
        Concerned::Only(before.into_iter().chain(after).collect())
    }

    /// The first by name that scales this object.
    pub(super) fn of(&self, scaled: &Scaled) -> Option<&str> {
        self.by_scaled.get(scaled)?.first().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn scaled_object(name: &str, target: &serde_json::Value) -> DynamicObject {
        let value = json!({ "metadata": { "name": name }, "spec": { "scaleTargetRef": target } });
        serde_json::from_value(value).unwrap()
    }

    fn hpa(name: &str, target: &str) -> HorizontalPodAutoscaler {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1beta2", "kind": "Deployment", "name": target } },
        }))
        .unwrap()
    }

    #[test]
    fn a_rival_is_found_in_any_version_and_until_it_turns_elsewhere() {
        let (web, api) =
            (Scaled::new("apps/v1", "Deployment", "web"), Scaled::new("apps/v1", "Deployment", "api"));
        let mut rivals = Rivals::default();
        let take = |rivals: &mut Rivals, event| rivals.take(Change::of(event, Autoscaler::scaled));
        take(&mut rivals, Event::<HorizontalPodAutoscaler>::Init);
        take(&mut rivals, Event::InitApply(hpa("b", "web")));
        assert!(!rivals.is_known() && rivals.of(&web).is_none(), "not before the list is whole");
        assert_eq!(take(&mut rivals, Event::InitDone), Concerned::All);
        assert!(rivals.is_known());
        assert_eq!(rivals.of(&web), Some("b"));
        let both = Concerned::Only([web.clone(), api.clone()].into());
        assert_eq!(take(&mut rivals, Event::Apply(hpa("b", "api"))), both);
        assert_eq!((rivals.of(&web), rivals.of(&api)), (None, Some("b")));
        take(&mut rivals, Event::Delete(hpa("b", "api")));
        assert_eq!(rivals.of(&api), None);
    }

    #[test]
    fn a_scaled_object_means_a_deployment_where_it_does_not_say() {
        let object = scaled_object("keda", &json!({ "name": "web" }));
        assert_eq!(object.scaled(), Some(Scaled::new("apps/v1", "Deployment", "web")));
        let game = json!({ "apiVersion": "games.example/v1", "kind": "Arena", "name": "web" });
        assert_eq!(
            scaled_object("keda", &game).scaled(),
            Some(Scaled::new("games.example/v1", "Arena", "web"))
        );
        assert_eq!(scaled_object("keda", &json!({})).scaled(), None);
    }
}
