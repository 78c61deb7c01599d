//! What the watches have shown so far, and what is news of it.

use super::super::TargetRef;
use super::super::pods::{Labelled, Pods};
use super::super::rivals::{Concerned, Rivals, Scaled};
use super::super::table::{Change, Table};
use super::super::workload::Seen;
use crate::controller::Workload;
use crate::shell::News;
use autoscale_core::sample::PodSample;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

/// Kinds of autoscalers that objects may be scaled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RivalKind {
    HorizontalPodAutoscaler,
    ScaledObject,
}

impl RivalKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
        }
    }
}

/// Version and kind of objects.
pub(super) type Kind = (Arc<str>, Arc<str>);

/// One namespace.
#[derive(Debug, Default)]
struct Space {
    targets: BTreeSet<TargetRef>,
    objects: BTreeMap<Kind, Table<Seen>>,
    hpas: Rivals,
    scaled_objects: Rivals,
    pods: Pods,
}

/// What was told last: nothing of an object that is not there.
type Told = Option<(Arc<str>, Workload)>;

#[derive(Debug, Default)]
pub(super) struct Cache {
    spaces: BTreeMap<Arc<str>, Space>,
    /// Boxed, for half of a tree's places are empty.
    told: BTreeMap<TargetRef, Box<Told>>,
    /// Watches that did not work when last heard of, why, and when that was.
    pub(super) trouble: BTreeMap<String, (Arc<str>, Instant)>,
}

impl Space {
    fn seen(&self, target: &TargetRef) -> Option<&Seen> {
        let kind = (Arc::clone(&target.api_version), Arc::clone(&target.kind));
        self.objects.get(&kind)?.get(&target.name)
    }

    /// The target as it is told of; `None` while not all is known that matters.
    fn look(&self, target: &TargetRef) -> Option<Told> {
        let kind = (Arc::clone(&target.api_version), Arc::clone(&target.kind));
        let object = self.objects.get(&kind).filter(|table| table.is_known())?;
        if !self.hpas.is_known() || !self.scaled_objects.is_known() {
            return None;
        }
        Some(object.get(&target.name).map(|seen| {
            let workload = Workload {
                generation: seen.generation,
                spec: seen.spec,
                status: seen.status,
                rival: self.rival(&target.into()),
                owner: seen.owner.clone(),
            };
            (Arc::clone(&seen.uid), workload)
        }))
    }

    /// KEDA's object comes first: the HorizontalPodAutoscaler that it makes is not what people would look for.
    fn rival(&self, scaled: &Scaled) -> Option<Arc<str>> {
        let named = |kind: RivalKind, name: &str| format!("{}/{name}", kind.name()).into();
        let keda = self.scaled_objects.of(scaled).map(|name| named(RivalKind::ScaledObject, name));
        keda.or_else(|| self.hpas.of(scaled).map(|name| named(RivalKind::HorizontalPodAutoscaler, name)))
    }
}

impl Cache {
    /// These are the targets from now on. Gives one of each kind and namespace that has to be listed, for the sake of those
    /// that were none before.
    pub(super) fn set_targets(&mut self, targets: &BTreeSet<TargetRef>) -> Vec<TargetRef> {
        for space in self.spaces.values_mut() {
            space.targets.retain(|target| targets.contains(target));
        }
        self.told.retain(|target, _| targets.contains(target));
        let mut unlisted = BTreeMap::new();
        for target in targets {
            let space = self.spaces.entry(Arc::clone(&target.namespace)).or_default();
            if space.targets.insert(target.clone()) {
                let kind = (Arc::clone(&target.api_version), Arc::clone(&target.kind));
                // Its table has only those that were targets when it was made.
                space.objects.remove(&kind);
                unlisted.entry((Arc::clone(&target.namespace), kind)).or_insert_with(|| target.clone());
            }
        }
        self.spaces.retain(|_, space| !space.targets.is_empty());
        unlisted.into_values().collect()
    }

    /// Where there are targets, and of which version and kind.
    pub(super) fn kinds(&self) -> BTreeMap<Arc<str>, BTreeSet<Kind>> {
        let kind = |target: &TargetRef| (Arc::clone(&target.api_version), Arc::clone(&target.kind));
        let kinds = |space: &Space| space.targets.iter().map(kind).collect();
        self.spaces.iter().map(|(namespace, space)| (Arc::clone(namespace), kinds(space))).collect()
    }

    /// Whether the object of that name and of this one's kind and namespace is a target.
    pub(super) fn is_target(&self, like: &TargetRef, name: &str) -> bool {
        self.spaces.get(&like.namespace).is_some_and(|space| space.targets.contains(&like.sibling(name)))
    }

    /// An object of this one's kind and namespace has changed.
    pub(super) fn take_target(&mut self, like: &TargetRef, change: Change<Seen>) -> Vec<News> {
        let Some(space) = self.spaces.get_mut(&like.namespace) else { return Vec::new() };
        // A target is called by its own name, which is there once then.
        let own = |name: Arc<str>| {
            space.targets.get(&like.sibling(Arc::clone(&name))).map_or(name, |own| Arc::clone(&own.name))
        };
        let change = match change {
            Change::Listed(name, seen) => Change::Listed(own(name), seen),
            Change::Set(name, seen) => Change::Set(own(name), seen),
            other => other,
        };
        let concerned: Vec<TargetRef> = match &change {
            Change::List | Change::Listed(..) => Vec::new(),
            Change::Set(name, _) | Change::Gone(name) => vec![like.sibling(Arc::clone(name))],
            Change::Whole => {
                let same = |t: &&TargetRef| (&t.api_version, &t.kind) == (&like.api_version, &like.kind);
                space.targets.iter().filter(same).cloned().collect()
            }
        };
        let kind = (Arc::clone(&like.api_version), Arc::clone(&like.kind));
        space.objects.entry(kind).or_default().take(change);
        self.news(&like.namespace, &concerned)
    }

    /// An autoscaler has changed.
    pub(super) fn take_rival(
        &mut self,
        namespace: &Arc<str>,
        kind: RivalKind,
        change: Change<Option<Scaled>>,
    ) -> Vec<News> {
        let Some(space) = self.spaces.get_mut(namespace) else { return Vec::new() };
        let rivals = match kind {
            RivalKind::HorizontalPodAutoscaler => &mut space.hpas,
            RivalKind::ScaledObject => &mut space.scaled_objects,
        };
        let concerned: Vec<TargetRef> = match rivals.take(change) {
            Concerned::All => space.targets.iter().cloned().collect(),
            Concerned::Only(scaled) if scaled.is_empty() => Vec::new(),
            Concerned::Only(scaled) => {
                space.targets.iter().filter(|&target| scaled.contains(&target.into())).cloned().collect()
            }
        };
        self.news(namespace, &concerned)
    }

    /// A pod has changed, which is no news: pods are asked for.
    pub(super) fn take_pod(&mut self, namespace: &Arc<str>, change: Change<Labelled>) -> Vec<News> {
        if let Some(space) = self.spaces.get_mut(namespace) {
            space.pods.take(change);
        }
        Vec::new()
    }

    pub(super) fn pods(&self, target: &TargetRef) -> Option<Vec<PodSample>> {
        let space = self.spaces.get(&target.namespace)?;
        space.pods.of(space.seen(target)?.selector.as_ref()?)
    }

    pub(super) fn uid(&self, target: &TargetRef) -> Option<Arc<str>> {
        self.spaces.get(&target.namespace)?.seen(target).map(|seen| Arc::clone(&seen.uid))
    }

    /// What is different from what was told last.
    fn news(&mut self, namespace: &Arc<str>, concerned: &[TargetRef]) -> Vec<News> {
        let Some(space) = self.spaces.get(namespace) else { return Vec::new() };
        let mut news = Vec::new();
        for target in concerned {
            let Some(look) = space.look(target) else { continue };
            let before = self.told.get(target);
            if before.is_some_and(|before| **before == look) {
                continue;
            }
            let uid = |told: &Told| told.as_ref().map(|(uid, _)| Arc::clone(uid));
            let replaced = before
                .and_then(|before| uid(before))
                .is_some_and(|before| uid(&look).is_some_and(|now| now != before));
            if replaced {
                news.push(News::Workload(target.clone(), None));
            }
            news.push(News::Workload(target.clone(), look.as_ref().map(|(_, workload)| workload.clone())));
            self.told.insert(target.clone(), Box::new(look));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Generation;
    use autoscale_core::units::Replicas;

    fn target(name: &str) -> TargetRef {
        TargetRef::deployment("shop", name)
    }

    fn seen(uid: &str, generation: i64, spec: u32) -> Seen {
        Seen {
            uid: uid.into(),
            generation: Generation::new(generation),
            spec: Replicas::new(spec),
            status: Replicas::new(spec),
            selector: None,
            owner: None,
        }
    }

    /// Name, replicas and rival of a piece of news.
    type Said = (String, Option<(u32, Option<String>)>);

    fn told(news: &[News]) -> Vec<Said> {
        news.iter()
            .map(|news| match news {
                News::Workload(target, workload) => (
                    target.name.to_string(),
                    workload.as_ref().map(|w| (w.spec.get(), w.rival.as_deref().map(str::to_owned))),
                ),
                _ => panic!("not from a watch"),
            })
            .collect()
    }

    /// A cache that knows of no autoscaler, and of web with three replicas.
    fn cache(names: &[&str]) -> Cache {
        let mut cache = Cache::default();
        cache.set_targets(&names.iter().map(|name| target(name)).collect());
        cache
    }

    fn known() -> Cache {
        let (shop, mut cache) = ("shop".into(), cache(&["web", "api"]));
        for kind in [RivalKind::HorizontalPodAutoscaler, RivalKind::ScaledObject] {
            for change in [Change::List, Change::Whole] {
                assert!(
                    cache.take_rival(&shop, kind, change).is_empty(),
                    "nothing is known of the targets yet"
                );
            }
        }
        assert!(cache.take_target(&target("web"), Change::List).is_empty());
        assert!(cache.take_target(&target("web"), Change::Listed("web".into(), seen("u1", 1, 3))).is_empty());
        let news = told(&cache.take_target(&target("web"), Change::Whole));
        assert_eq!(news, [("api".into(), None), ("web".into(), Some((3, None)))]);
        cache
    }

    #[test]
    fn nothing_is_told_before_all_rivals_are_known() {
        let (shop, mut cache) = ("shop".into(), cache(&["web"]));
        cache.take_target(&target("web"), Change::Listed("web".into(), seen("u1", 1, 3)));
        assert!(cache.take_target(&target("web"), Change::Whole).is_empty());
        let hpa = Change::Listed("h".into(), Some(Scaled::from(&target("web"))));
        cache.take_rival(&shop, RivalKind::HorizontalPodAutoscaler, hpa);
        assert!(cache.take_rival(&shop, RivalKind::HorizontalPodAutoscaler, Change::Whole).is_empty());
        let news = cache.take_rival(&shop, RivalKind::ScaledObject, Change::Whole);
        let rival = Some("HorizontalPodAutoscaler/h".to_owned());
        assert_eq!(told(&news), [("web".into(), Some((3, rival)))]);
    }

    #[test]
    fn a_target_that_comes_later_is_told_of_once_it_is_listed() {
        let mut cache = known();
        let later = [target("web"), target("late")].into_iter().collect();
        assert_eq!(cache.set_targets(&later).len(), 1, "its kind is listed anew");
        assert!(cache.set_targets(&later).is_empty());
        let set = Change::Set("web".into(), seen("u1", 2, 5));
        assert!(cache.take_target(&target("web"), set).is_empty(), "the list is not whole yet");
        cache.take_target(&target("web"), Change::List);
        for (name, uid) in [("web", "u1"), ("late", "u9")] {
            cache.take_target(&target("web"), Change::Listed(name.into(), seen(uid, 1, 3)));
        }
        let news = cache.take_target(&target("web"), Change::Whole);
        assert_eq!(told(&news), [("late".into(), Some((3, None)))], "web is as it was");
        assert!(!cache.is_target(&target("web"), "api"));
        cache.set_targets(&BTreeSet::new());
        assert!(cache.kinds().is_empty());
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut cache = known();
        assert!(cache.take_target(&target("web"), Change::Set("web".into(), seen("u1", 1, 3))).is_empty());
        let news = cache.take_target(&target("web"), Change::Set("web".into(), seen("u1", 2, 5)));
        assert_eq!(told(&news), [("web".into(), Some((5, None)))]);
        let news = cache.take_target(&target("web"), Change::Gone("web".into()));
        assert_eq!(told(&news), [("web".into(), None)]);
    }

    #[test]
    fn another_object_of_the_same_name_is_a_loss_first() {
        let mut cache = known();
        cache.take_target(&target("web"), Change::List);
        cache.take_target(&target("web"), Change::Listed("web".into(), seen("u2", 1, 3)));
        let news = cache.take_target(&target("web"), Change::Whole);
        assert_eq!(told(&news), [("web".into(), None), ("web".into(), Some((3, None)))]);
        assert_eq!(cache.uid(&target("web")).as_deref(), Some("u2"));
    }

    #[test]
    fn a_scaled_object_is_named_before_the_autoscaler_that_it_makes() {
        let (shop, mut cache) = ("shop".into(), known());
        let web = || Some(Scaled::from(&target("web")));
        let set = |name: &str, scaled| Change::Set(name.into(), scaled);
        let news = cache.take_rival(&shop, RivalKind::HorizontalPodAutoscaler, set("keda-hpa-web", web()));
        assert_eq!(told(&news)[0].1, Some((3, Some("HorizontalPodAutoscaler/keda-hpa-web".into()))));
        let news = cache.take_rival(&shop, RivalKind::ScaledObject, set("web", web()));
        assert_eq!(told(&news)[0].1, Some((3, Some("ScaledObject/web".into()))));
        let other = Some(Scaled::from(&target("elsewhere")));
        let news = cache.take_rival(&shop, RivalKind::ScaledObject, set("web", other));
        assert_eq!(told(&news)[0].1, Some((3, Some("HorizontalPodAutoscaler/keda-hpa-web".into()))));
    }
}
