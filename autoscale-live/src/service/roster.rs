//! Which autoscalers there are, and what has changed since they were looked at last.

use super::sheet::{Key, Resource, Sheet};
use crate::spec::{ConditionType, Finding, LearnedAutoscaler};
use crate::target::TargetRef;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was said, and of which object in which generation.
type Said = (Option<Arc<str>>, Option<i64>, Finding);

/// What to do about a change. `C` is what is made of an autoscaler that can be used.
#[derive(Debug)]
pub(super) struct Changes<C> {
    /// These have a new controller.
    pub(super) taken_on: Vec<(TargetRef, C)>,
    /// These have none any more.
    pub(super) dismissed: Vec<TargetRef>,
    /// These resources have no target any more.
    pub(super) released: Vec<Key>,
    /// These cannot be used, which is said once.
    pub(super) refused: Vec<(Arc<Resource>, Finding)>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Roster {
    taken_on: BTreeMap<TargetRef, Arc<Resource>>,
    /// By namespace and name, what was said of those that were refused.
    refused: BTreeMap<Key, Said>,
}

impl Roster {
    /// These are all there are. Of several for one target the oldest has it; `make` makes something of one, or says in a
    /// word and a sentence why it cannot.
    pub(super) fn settle<C>(
        &mut self,
        mut all: Vec<Arc<Sheet>>,
        mut make: impl FnMut(&LearnedAutoscaler) -> Result<C, (&'static str, String)>,
    ) -> Changes<C> {
        all.sort_by(|a, b| (a.created, &a.resource.name).cmp(&(b.created, &b.resource.name)));
        let mut changes = Changes {
            taken_on: Vec::new(),
            dismissed: Vec::new(),
            released: Vec::new(),
            refused: Vec::new(),
        };
        let before: BTreeMap<TargetRef, Key> =
            self.taken_on.iter().map(|(target, resource)| (target.clone(), resource.key())).collect();
        let mut holders: BTreeMap<TargetRef, Arc<str>> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for sheet in all {
            let resource = &sheet.resource;
            let made = match sheet.target() {
                Err(why) => Err(("Invalid", why.to_owned())),
                Ok(target) => {
                    if let Some(holder) = holders.get(target) {
                        let message =
                            format!("{target} is scaled by the LearnedAutoscaler {holder}, which is older");
                        Err(("TargetTaken", message))
                    } else {
                        holders.insert(target.clone(), Arc::clone(&resource.name));
                        if self.is_unchanged(target, resource) {
                            continue;
                        }
                        self.taken_on.remove(target);
                        let autoscaler = sheet.autoscaler().map_err(|error| ("Invalid", error));
                        autoscaler.and_then(|autoscaler| Ok((target, make(&autoscaler)?)))
                    }
                }
            };
            match made {
                Ok((target, made)) => {
                    self.taken_on.insert(target.clone(), Arc::clone(resource));
                    changes.taken_on.push((target.clone(), made));
                }
                Err((reason, message)) => {
                    let kind = ConditionType::Accepted;
                    let finding = Finding { kind, status: "False", reason, message };
                    let said = (resource.uid.clone(), resource.generation, finding.clone());
                    if self.refused.get(&resource.key()) != Some(&said) {
                        changes.refused.push((Arc::clone(resource), finding));
                    }
                    refused.insert(resource.key(), said);
                }
            }
        }
        self.refused = refused;
        self.taken_on.retain(|target, _| holders.contains_key(target));
        let now: BTreeSet<Key> = self.taken_on.values().map(|resource| resource.key()).collect();
        for (target, key) in before {
            if !self.taken_on.contains_key(&target) {
                changes.dismissed.push(target);
            }
            if !now.contains(&key) {
                changes.released.push(key);
            }
        }
        changes
    }

    /// Takes over its newest status, which changes with each decision. Only another specification, which the API server
    /// counts, or another resource, is news.
    fn is_unchanged(&mut self, target: &TargetRef, resource: &Arc<Resource>) -> bool {
        let Some(before) = self.taken_on.get_mut(target) else { return false };
        let same = resource.generation.is_some() && before.key() == resource.key() && before.is_as(resource);
        if same {
            *before = Arc::clone(resource);
        }
        same
    }

    /// Another process, or an earlier decision, has written this one's status.
    pub(super) fn refresh(&mut self, sheet: &Sheet) {
        if let Ok(target) = sheet.target() {
            self.is_unchanged(target, &sheet.resource);
        }
    }

    /// Its status could not be written: it is said again.
    pub(super) fn unsay(&mut self, resource: &Resource) {
        self.refused.remove(&resource.key());
    }

    /// The resource that has this target.
    pub(super) fn resource(&self, target: &TargetRef) -> Option<Arc<Resource>> {
        self.taken_on.get(target).map(Arc::clone)
    }

    /// Those that cannot be used, and why.
    pub(super) fn refusals(&self) -> BTreeMap<String, Arc<str>> {
        let told = |((namespace, name), (.., finding)): (&Key, &Said)| {
            (format!("LearnedAutoscaler {namespace}/{name}"), finding.message.as_str().into())
        };
        self.refused.iter().map(told).collect()
    }

    /// What is scaled or watched.
    pub(super) fn targets(&self) -> BTreeSet<TargetRef> {
        self.taken_on.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::SpecMode;
    use kube::ResourceExt;

    fn sheets<const N: usize>(all: [&LearnedAutoscaler; N]) -> Vec<Arc<Sheet>> {
        all.into_iter().map(|autoscaler| Arc::new(Sheet::of(autoscaler))).collect()
    }

    fn autoscaler(name: &str, target: &str, created: &str) -> LearnedAutoscaler {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "autoscaleai.dev/v1alpha1",
            "kind": "LearnedAutoscaler",
            "metadata": { "name": name, "namespace": "shop", "creationTimestamp": created, "generation": 1 },
            "spec": {
                "scaleTargetRef": { "name": target }, "maxReplicas": 9, "policy": { "horizontalPodAutoscaler": {} },
            },
        }))
        .unwrap()
    }

    fn targets(changes: &Changes<String>) -> Vec<(&str, &str)> {
        changes.taken_on.iter().map(|(target, made)| (&*target.name, made.as_str())).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it is called")]
    fn name(autoscaler: &LearnedAutoscaler) -> Result<String, (&'static str, String)> {
        Ok(autoscaler.name_any())
    }

    const EARLY: &str = "2026-03-01T10:00:00Z";
    const LATE: &str = "2026-03-01T11:00:00Z";

    #[test]
    fn only_what_is_new_or_has_changed_is_taken_on() {
        let (mut roster, web) = (Roster::default(), autoscaler("web", "web", EARLY));
        let changes = roster.settle(sheets([&web, &autoscaler("api", "api", EARLY)]), name);
        assert_eq!(targets(&changes), [("api", "api"), ("web", "web")]);
        let mut active = web.clone();
        active.status = Some(crate::spec::LearnedAutoscalerStatus::default());
        let changes = roster.settle(sheets([&active]), name);
        assert_eq!((targets(&changes), changes.dismissed.len()), (vec![], 1), "a status is no news");
        let since = "2026-03-01T10:00:00Z";
        let condition = serde_json::json!({
            "type": "Accepted", "status": "True", "reason": "Used", "message": "", "lastTransitionTime": since,
        });
        active.status = serde_json::from_value(serde_json::json!({ "conditions": [condition] })).unwrap();
        let written = Sheet::of(&active);
        roster.refresh(&written);
        assert_eq!(roster.resource(&active.target()).unwrap().standing, written.resource.standing);
        let mut anew = active.clone();
        anew.metadata.uid = Some("another".to_owned());
        assert_eq!(targets(&roster.settle(sheets([&anew]), name)), [("web", "web")], "made anew");
        (active.spec.mode, active.metadata.generation) = (SpecMode::Active, Some(2));
        assert_eq!(targets(&roster.settle(sheets([&active]), name)), [("web", "web")]);
        let other = autoscaler("other", "web", LATE);
        let changes = roster.settle(sheets([&other]), name);
        assert_eq!((targets(&changes), changes.dismissed.len()), (vec![("web", "other")], 0));
        assert_eq!(changes.released, [("shop".into(), "web".into())]);
    }

    #[test]
    fn the_oldest_has_the_target_and_the_other_is_told_once() {
        let (mut roster, old, new) =
            (Roster::default(), autoscaler("z", "web", EARLY), autoscaler("a", "web", LATE));
        let changes = roster.settle(sheets([&new, &old]), name);
        assert_eq!(targets(&changes), [("web", "z")]);
        let (resource, finding) = &changes.refused[0];
        assert_eq!((&*resource.name, finding.reason), ("a", "TargetTaken"));
        assert!(finding.message.contains("LearnedAutoscaler z"), "{}", finding.message);
        assert!(roster.settle(sheets([&new, &old]), name).refused.is_empty());
        let changes = roster.settle(sheets([&new]), name);
        assert_eq!((targets(&changes), changes.dismissed.len()), (vec![("web", "a")], 0));
    }

    #[test]
    fn what_cannot_be_used_is_tried_again_and_told_once() {
        let (mut roster, web) = (Roster::default(), autoscaler("web", "web", EARLY));
        let fail = |_: &LearnedAutoscaler| Err::<String, _>(("Unusable", "no such folder".to_owned()));
        assert_eq!(roster.settle(sheets([&web]), fail).refused.len(), 1);
        assert!(roster.settle(sheets([&web]), fail).refused.is_empty());
        roster.unsay(&Sheet::of(&web).resource);
        assert_eq!(roster.settle(sheets([&web]), fail).refused.len(), 1, "it was not heard");
        let mut anew = web.clone();
        anew.metadata.uid = Some("another".to_owned());
        assert_eq!(roster.settle(sheets([&anew]), fail).refused.len(), 1, "another object of the name");
        assert_eq!(targets(&roster.settle(sheets([&web]), name)), [("web", "web")]);
        let mut worse = web;
        (worse.spec.max_replicas, worse.metadata.generation) = (1, Some(2));
        let changes = roster.settle(sheets([&worse]), fail);
        assert_eq!((changes.refused.len(), changes.dismissed.len()), (1, 1), "nothing runs by an old word");
        assert!(roster.targets().is_empty());
    }
}
