//! Decisions as the `status` of their custom resources: at once when something is different, else now and then.

use super::roster::Roster;
use super::sheet::Resource;
use crate::controller::{Block, DecisionRecord};
use crate::shell::Journal;
use crate::spec::{
    ConditionType, Finding, LastDecision, LearnedAutoscaler, LearnedAutoscalerStatus, Standing, conditions,
    findings, within_slo,
};
use crate::target::TargetRef;
use crate::target::kubernetes::{ANSWER_WITHIN, FIELD_MANAGER};
use autoscale_core::units::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

/// A status in which nothing changes is written this often, so that its time shows that somebody is there. Each target has its
/// own moment within that time, or thousands would be written at once.
const NOW_AND_THEN: Duration = Duration::from_secs(300);
/// Statuses that may wait to be written. Those that find no room are written with a later decision.
const WAITING: usize = 20_000;

/// What a status is made of once its turn has come, for thousands may wait.
struct Report {
    resource: Arc<Resource>,
    standing: Standing,
    about: About,
}

enum About {
    Decision(TargetRef, Arc<DecisionRecord>),
    Refusal(Finding),
}

/// What was reported last of a target, and of which resource.
struct Said {
    at: Timestamp,
    uid: Option<Arc<str>>,
    generation: Option<i64>,
    standing: Standing,
    gist: u64,
}

/// Hands on what is to be written.
pub(super) struct Reports {
    roster: Arc<Mutex<Roster>>,
    /// Boxed, for half of a tree's places are empty.
    said: BTreeMap<TargetRef, Box<Said>>,
    failed: Arc<Mutex<BTreeSet<TargetRef>>>,
    hand_on: mpsc::Sender<Report>,
}

/// Hands on what has no decision: that a resource cannot be used.
pub(super) struct Refusals {
    roster: Arc<Mutex<Roster>>,
    hand_on: mpsc::Sender<Report>,
}

/// A journal, a way to report those that have no decisions, and the task that writes; it ends with both.
pub(super) fn start(client: Client, roster: Arc<Mutex<Roster>>) -> (Reports, Refusals, JoinHandle<()>) {
    let (hand_on, mut waiting) = mpsc::channel::<Report>(WAITING);
    let failed = Arc::<Mutex<BTreeSet<TargetRef>>>::default();
    let (failures, known) = (Arc::clone(&failed), Arc::clone(&roster));
    let writing = tokio::spawn(async move {
        while let Some(report) = waiting.recv().await {
            let written = tokio::time::timeout(ANSWER_WITHIN, write(&client, &report)).await;
            if matches!(written, Ok(Ok(()))) {
                continue;
            }
            match report.about {
                About::Decision(target, _) => {
                    failures.lock().unwrap_or_else(PoisonError::into_inner).insert(target);
                }
                About::Refusal(_) => {
                    known.lock().unwrap_or_else(PoisonError::into_inner).unsay(&report.resource);
                }
            }
        }
    });
    let refusals = Refusals { roster: Arc::clone(&roster), hand_on: hand_on.clone() };
    (Reports { roster, said: BTreeMap::new(), failed, hand_on }, refusals, writing)
}

async fn write(client: &Client, report: &Report) -> kube::Result<()> {
    let resource = &report.resource;
    let api: Api<LearnedAutoscaler> = Api::namespaced(client.clone(), &resource.namespace);
    let patch = json!({
        "apiVersion": LearnedAutoscaler::api_version(&()),
        "kind": LearnedAutoscaler::kind(&()),
        "metadata": { "name": &resource.name },
        "status": report.status(),
    });
    api.patch_status(&resource.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(patch))
        .await
        .map(drop)
}

impl Report {
    fn status(&self) -> LearnedAutoscalerStatus {
        let Self { resource, standing, about } = self;
        let observed_generation = resource.generation;
        let conditions = |findings: &[Finding]| conditions(findings, standing, observed_generation);
        match about {
            About::Decision(_, record) => LearnedAutoscalerStatus {
                observed_generation,
                conditions: conditions(&found(record)),
                last_decision: Some(LastDecision::of(record)),
            },
            About::Refusal(finding) => LearnedAutoscalerStatus {
                observed_generation,
                conditions: conditions(std::slice::from_ref(finding)),
                last_decision: None,
            },
        }
    }
}

/// All that a decision shows.
fn found(record: &DecisionRecord) -> Vec<Finding> {
    let (kind, message) = (ConditionType::Accepted, String::new());
    let accepted = Finding { kind, status: "True", reason: "Used", message };
    [accepted].into_iter().chain(findings(record)).chain(within_slo(record)).collect()
}

/// What is said, but for its time. Two things of one gist would be told apart a little late, no more.
fn gist(findings: &[Finding], decision: LastDecision) -> u64 {
    let mut hasher = DefaultHasher::new();
    (findings, LastDecision { at_seconds: 0, ..decision }).hash(&mut hasher);
    hasher.finish()
}

/// How long before its time a target's status is written for the second time.
fn turn(target: &TargetRef) -> Duration {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    Duration::from_secs(hasher.finish() % NOW_AND_THEN.as_secs())
}

impl Refusals {
    /// Says of a resource that it is not used.
    pub(super) fn say(&self, now: Timestamp, (resource, finding): (Arc<Resource>, Finding)) {
        let standing = resource.standing.after(std::slice::from_ref(&finding), now);
        let report = Report { resource, standing, about: About::Refusal(finding) };
        if let Err(TrySendError::Full(report)) = self.hand_on.try_send(report) {
            self.roster.lock().unwrap_or_else(PoisonError::into_inner).unsay(&report.resource);
        }
    }
}

impl Journal for Reports {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        // Whoever leads speaks.
        if record.block == Some(Block::Standby) {
            self.said.remove(target);
            return;
        }
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(resource) = roster.resource(target) else { return };
        drop(roster);
        let findings = found(record);
        let gist = gist(&findings, LastDecision::of(record));
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
        let before = self.said.get(target).filter(|before| before.uid == resource.uid);
        let old = before.is_none_or(|said| {
            failed
                || record.at.since(said.at) >= NOW_AND_THEN
                || said.generation != resource.generation
                || said.gist != gist
        });
        if !old {
            return;
        }
        let known = before.map_or(resource.standing, |said| said.standing);
        let standing = known.after(&findings, record.at);
        let about = About::Decision(target.clone(), Arc::clone(record));
        let at = if before.is_some() { record.at } else { record.at - turn(target) };
        let (uid, generation) = (resource.uid.clone(), resource.generation);
        if self.hand_on.try_send(Report { resource, standing, about }).is_ok() {
            self.said.insert(target.clone(), Box::new(Said { at, uid, generation, standing, gist }));
        }
    }

    fn forget(&mut self, target: &TargetRef) {
        self.said.remove(target);
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{Effect, Mode, PodCounts, SloState};
    use autoscale_core::guard::Rung;
    use autoscale_core::limits::{Bound, Granted};
    use autoscale_core::policy::{Decision, Reason};
    use autoscale_core::units::Replicas;

    fn web(uid: &str) -> LearnedAutoscaler {
        serde_json::from_value(json!({
            "apiVersion": "autoscaleai.dev/v1alpha1",
            "kind": "LearnedAutoscaler",
            "metadata": { "name": "web", "namespace": "shop", "uid": uid, "generation": 1 },
            "spec": { "scaleTargetRef": { "name": "web" }, "maxReplicas": 9, "policy": { "horizontalPodAutoscaler": {} } },
        }))
        .unwrap()
    }

    fn record(at: i64, granted: u32) -> DecisionRecord {
        DecisionRecord {
            version: 1,
            at: Timestamp::from_secs(at),
            policy: "hpa".into(),
            rung: Rung::Policy,
            spec: Replicas::new(5),
            wish: Decision::scale_to(Replicas::new(granted), Reason::rule("ratio")),
            granted: Granted { replicas: Replicas::new(granted), bound: Bound::None },
            mode: Mode::Active,
            block: None,
            effect: Effect::Unchanged,
            slo: SloState::Unknown,
            measurement: None,
            pods: PodCounts::default(),
        }
    }

    #[test]
    fn what_is_new_is_reported_and_by_the_leader_alone() {
        let roster = Arc::<Mutex<Roster>>::default();
        let settle = |uid| {
            let sheet = Arc::new(super::super::sheet::Sheet::of(&web(uid)));
            let _ = roster.lock().unwrap().settle(vec![sheet], |_| Ok(()));
        };
        settle("u1");
        let (hand_on, mut waiting) = mpsc::channel(8);
        let failed = Arc::<Mutex<BTreeSet<TargetRef>>>::default();
        let mut reports = Reports {
            roster: Arc::clone(&roster),
            said: BTreeMap::new(),
            failed: Arc::clone(&failed),
            hand_on,
        };
        let target = web("u1").target();
        let mut said = |record: &DecisionRecord| {
            reports.keep(&target, &Arc::new(record.clone()));
            let status = waiting.try_recv().ok()?.status();
            let since = status.conditions[0].last_transition_time.0.as_second();
            Some((status.last_decision?.granted, since))
        };
        assert_eq!(said(&record(100, 5)), Some((5, 100)));
        assert_eq!(said(&record(115, 5)), None, "only time has passed");
        assert_eq!(said(&record(130, 6)), Some((6, 100)), "the condition stands since the beginning");
        failed.lock().unwrap().insert(target.clone());
        assert_eq!(said(&record(145, 6)), Some((6, 100)), "what was not written is said again");
        assert_eq!(said(&record(430, 6)), None);
        assert_eq!(said(&record(445, 6)), Some((6, 100)), "now and then all the same");
        let standby = DecisionRecord { block: Some(Block::Standby), ..record(460, 7) };
        assert_eq!(said(&standby), None);
        assert_eq!(said(&record(475, 6)), Some((6, 475)), "a new leader says it all");
        settle("u2");
        assert_eq!(said(&record(490, 6)), Some((6, 490)), "another resource of the same name knows nothing");
    }
}
