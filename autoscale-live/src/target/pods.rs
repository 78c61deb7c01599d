//! Pods, as an autoscaler sees them.

use super::kubernetes::timestamp;
use super::quantity::milli;
use super::shared::Shared;
use super::table::{Change, Table};
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, PodPhase, PodSample, ReadyCondition, ReadyStatus, ResourceList,
};
use autoscale_core::units::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::core::{Expression, Selector, SelectorExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Key and value.
type Label = (Box<str>, Box<str>);

/// A pod, with what it is selected by. There may be tens of thousands, so that room matters.
#[derive(Debug)]
pub(super) struct Labelled {
    labels: Box<[Arc<Label>]>,
    sample: PodSample,
}

impl Labelled {
    /// What matters of a pod.
    pub(super) fn of(pod: &Pod) -> Self {
        let label = |(key, value): (&String, &String)| Arc::new((key.as_str().into(), value.as_str().into()));
        Self { labels: pod.labels().iter().map(label).collect(), sample: sample(pod) }
    }

    fn is_selected(&self, selector: &Selector) -> bool {
        let label = |label: &Arc<Label>| (label.0.to_string(), label.1.to_string());
        selector.matches(&self.labels.iter().map(label).collect())
    }
}

/// The pods of one namespace.
#[derive(Debug, Default)]
pub(super) struct Pods {
    table: Table<Labelled>,
    /// Names of those that have it, in order.
    by_label: BTreeMap<Arc<Label>, Vec<Arc<str>>>,
    /// What the pods of a workload have in common.
    labels: Shared<Label>,
    containers: Shared<[ContainerSpec]>,
}

impl Pods {
    /// Takes in what happened.
    pub(super) fn take(&mut self, change: Change<Labelled>) {
        match change {
            Change::Set(_, pod) => {
                let (name, pod) = self.sharing(pod);
                // Most news of a pod is of its status.
                if self.table.get(&name).is_none_or(|before| before.labels != pod.labels) {
                    self.unlabel(&name);
                    for label in &pod.labels {
                        label_with(&mut self.by_label, label, &name);
                    }
                }
                self.table.take(Change::Set(name, pod));
            }
            Change::Gone(name) => {
                self.unlabel(&name);
                self.table.take(Change::Gone(name));
            }
            Change::Whole => {
                self.table.take(Change::Whole);
                self.by_label.clear();
                self.labels.sweep();
                self.containers.sweep();
                for (name, pod) in self.table.rows() {
                    for label in &pod.labels {
                        label_with(&mut self.by_label, label, name);
                    }
                }
            }
            Change::Listed(_, pod) => {
                let (name, pod) = self.sharing(pod);
                self.table.take(Change::Listed(name, pod));
            }
            Change::List => self.table.take(Change::List),
        }
    }

    /// The pod by its own name, with one copy of what others have too.
    fn sharing(&mut self, mut pod: Labelled) -> (Arc<str>, Labelled) {
        for label in &mut pod.labels {
            *label = self.labels.one(Arc::clone(label));
        }
        pod.sample.containers = self.containers.one(Arc::clone(&pod.sample.containers));
        // Whoever has this name already goes on having it.
        if let Some(name) = self.table.name(&pod.sample.name) {
            pod.sample.name = Arc::clone(name);
        }
        (Arc::clone(&pod.sample.name), pod)
    }

    /// Those that are selected, oldest first, without usage; `None` while the pods are not known.
    pub(super) fn of(&self, selector: &Selector) -> Option<Vec<PodSample>> {
        if !self.table.is_known() {
            return None;
        }
        let selected = |pod: &&Labelled| pod.is_selected(selector);
        // Among the pods of a namespace that holds many workloads, a label that few have leads to those that matter.
        let candidates = selector.clone().into_iter().filter_map(|part| match part {
            Expression::Equal(key, value) => {
                let label: Label = (key.into(), value.into());
                let having = self.by_label.get(&label);
                Some(having.map_or(&[][..], Vec::as_slice))
            }
            _ => None,
        });
        let mut found: Vec<PodSample> = if let Some(names) = candidates.min_by_key(|names| names.len()) {
            let pods = names.iter().filter_map(|name| self.table.get(name));
            pods.filter(selected).map(|pod| pod.sample.clone()).collect()
        } else {
            let pods = self.table.rows().map(|(_, pod)| pod);
            pods.filter(selected).map(|pod| pod.sample.clone()).collect()
        };
        found.shrink_to_fit();
        found.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Some(found)
    }

    fn unlabel(&mut self, name: &Arc<str>) {
        let Some(pod) = self.table.get(name) else { return };
        for label in &pod.labels {
            if let Some(names) = self.by_label.get_mut(label) {
                if let Ok(place) = names.binary_search(name) {
                    names.remove(place);
                }
                if names.is_empty() {
                    self.by_label.remove(label);
                }
            }
        }
    }
}

fn label_with(index: &mut BTreeMap<Arc<Label>, Vec<Arc<str>>>, label: &Arc<Label>, name: &Arc<str>) {
    match index.get_mut(label) {
        Some(names) => {
            if let Err(place) = names.binary_search(name) {
                names.insert(place, Arc::clone(name));
            }
        }
        None => _ = index.insert(Arc::clone(label), vec![Arc::clone(name)]),
    }
}

/// What an autoscaler sees of a pod, without usage.
pub fn sample(pod: &Pod) -> PodSample {
    let (metadata, status) = (&pod.metadata, pod.status.as_ref());
    let moment = |time: &Time| timestamp(time.0);
    PodSample {
        name: pod.name_any().into(),
        phase: match status.and_then(|s| s.phase.as_deref()) {
            Some("Running") => PodPhase::Running,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some("Unknown") => PodPhase::Unknown,
            // A pod that nobody has looked at yet.
            _ => PodPhase::Pending,
        },
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::ZERO, moment),
        started: status.and_then(|s| s.start_time.as_ref()).map(moment),
        ready: ready(pod),
        deletion: metadata.deletion_timestamp.as_ref().map(moment),
        containers: containers(pod),
        pod_level_requests: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.resources.as_ref())
            .and_then(|resources| resources.requests.as_ref())
            .map(resource_list),
        usage: None,
    }
}

fn ready(pod: &Pod) -> Option<ReadyCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let status = match ready.status.as_str() {
        "True" => ReadyStatus::True,
        "False" => ReadyStatus::False,
        _ => ReadyStatus::Unknown,
    };
    let last_transition = ready.last_transition_time.as_ref().map_or(Timestamp::ZERO, |t| timestamp(t.0));
    Some(ReadyCondition { status, last_transition })
}

fn containers(pod: &Pod) -> Arc<[ContainerSpec]> {
    let Some(spec) = &pod.spec else { return Arc::default() };
    let main = spec.containers.iter().map(|container| (container, ContainerKind::Main));
    let init = spec.init_containers.iter().flatten().map(|container| {
        let always = container.restart_policy.as_deref() == Some("Always");
        (container, if always { ContainerKind::Sidecar } else { ContainerKind::Init })
    });
    main.chain(init).map(|(container, kind)| container_spec(container, kind)).collect()
}

fn container_spec(container: &Container, kind: ContainerKind) -> ContainerSpec {
    let requests = |r: &ResourceRequirements| r.requests.as_ref().map(resource_list);
    let requests = container.resources.as_ref().and_then(requests).unwrap_or_default();
    ContainerSpec { name: container.name.as_str().into(), kind, requests }
}

/// What is stated of CPU and memory.
fn resource_list(quantities: &BTreeMap<String, Quantity>) -> ResourceList {
    let of = |resource: &str| quantities.get(resource).and_then(|quantity| milli(&quantity.0));
    ResourceList { cpu: of("cpu"), memory: of("memory") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::units::Milli;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    fn pod(name: &str, minute: u32, labels: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels, "creationTimestamp": format!("1970-01-01T00:{minute:02}:00Z") },
            "spec": {
                "containers": [{ "name": "app", "resources": { "requests": { "cpu": "250m", "memory": "1Gi" } } }],
                "initContainers": [
                    { "name": "proxy", "restartPolicy": "Always", "resources": { "requests": { "cpu": "0.1" } } },
                    { "name": "setup" },
                ],
            },
            "status": {
                "phase": "Running", "startTime": "1970-01-01T01:00:00Z",
                "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T02:00:00Z" }],
            },
        }))
        .unwrap()
    }

    fn names(pods: &Pods, selector: &str) -> Option<Vec<String>> {
        let selector = super::super::selector::parse(selector).unwrap();
        Some(pods.of(&selector)?.iter().map(|pod| pod.name.to_string()).collect())
    }

    #[test]
    fn a_pod_keeps_what_a_policy_asks() {
        let sample = Labelled::of(&pod("web-1", 5, &json!({}))).sample;
        assert_eq!(sample.phase, PodPhase::Running);
        assert_eq!(sample.created, Timestamp::from_secs(300));
        assert_eq!(sample.started, Some(Timestamp::from_secs(3600)));
        assert_eq!(sample.ready.unwrap().last_transition, Timestamp::from_secs(7200));
        assert!(sample.is_serving());
        assert_eq!(sample.cpu_request(), Some(Milli::new(350)), "main container and sidecar");
        let kinds: Vec<_> = sample.containers.iter().map(|c| c.kind).collect();
        assert_eq!(kinds, [ContainerKind::Main, ContainerKind::Sidecar, ContainerKind::Init]);
        let bare = Labelled::of(&Pod::default()).sample;
        assert_eq!((bare.phase, bare.ready, bare.started), (PodPhase::Pending, None, None));
    }

    #[test]
    fn a_workload_has_the_pods_of_its_selector_oldest_first() {
        let mut pods = Pods::default();
        let take = |pods: &mut Pods, event| pods.take(Change::of(event, Labelled::of));
        let web = json!({ "app": "web", "tier": "a" });
        take(&mut pods, Event::Init);
        take(&mut pods, Event::InitApply(pod("late", 9, &web)));
        take(&mut pods, Event::InitApply(pod("early", 1, &web)));
        take(&mut pods, Event::InitApply(pod("other", 0, &json!({ "app": "db" }))));
        assert_eq!(names(&pods, "app=web"), None, "not before the list is whole");
        take(&mut pods, Event::InitDone);
        assert_eq!(names(&pods, "app=web,tier!=b").unwrap(), ["early", "late"]);
        let [early, late] = ["early", "late"].map(|name| pods.table.get(name).unwrap());
        assert!(Arc::ptr_eq(&early.sample.containers, &late.sample.containers));
        assert!(Arc::ptr_eq(&early.labels[0], &late.labels[0]));
        let mut news = pod("early", 1, &web);
        news.metadata.generation = Some(2);
        take(&mut pods, Event::Apply(news));
        let [early, late] = ["early", "late"].map(|name| pods.table.get(name).unwrap());
        assert!(Arc::ptr_eq(&early.sample.containers, &late.sample.containers));
        assert!(Arc::ptr_eq(&early.sample.name, pods.table.name("early").unwrap()));
        assert_eq!(names(&pods, "app").unwrap(), ["other", "early", "late"]);
        take(&mut pods, Event::Apply(pod("early", 1, &json!({ "app": "db" }))));
        take(&mut pods, Event::Delete(pod("other", 0, &json!({}))));
        assert_eq!(names(&pods, "app=web").unwrap(), ["late"]);
        assert_eq!(names(&pods, "app=db").unwrap(), ["early"]);
        take(&mut pods, Event::Init);
        take(&mut pods, Event::InitDone);
        assert_eq!(names(&pods, "app=web").unwrap(), <[&str; 0]>::default());
    }
}
