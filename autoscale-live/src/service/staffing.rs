//! A controller for each autoscaler that can be used, from its specification.

use super::MakeDeciders;
use super::report::Refusals;
use super::resources::{Heard, follow};
use super::roster::{Changes, Roster};
use super::sheet::{Key, Sheet};
use crate::controller::{Controller, Deciders};
use crate::keda::{AutoscalerRef, Board};
use crate::shell::{Clock, News, SystemClock};
use crate::spec::{LearnedAutoscaler, in_terms_of_the_spec};
use crate::target::executor::Executor;
use crate::target::watch::Watch;
use autoscale_core::seed::Seed;
use autoscale_core::validate::Validate;
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// What stands against using or seeing autoscalers, by what it is about.
pub(super) type Troubles = Arc<Mutex<BTreeMap<String, Arc<str>>>>;

/// Those who decide for each of some autoscalers, or what is wrong with what it names.
pub(super) type Prepared = BTreeMap<Key, Result<Deciders, String>>;

/// See the [module](self).
pub(super) struct Staffing {
    pub(super) roster: Arc<Mutex<Roster>>,
    pub(super) deciders: Box<MakeDeciders>,
    pub(super) executor: Arc<Executor>,
    /// Where KEDA looks, if it does.
    pub(super) board: Option<Board>,
}

/// Where changes go to.
pub(super) struct Outlets {
    pub(super) watch: Arc<Watch>,
    pub(super) tell: mpsc::Sender<News>,
    pub(super) refusals: Refusals,
    pub(super) troubles: Troubles,
    /// Set once it is known what there is to scale.
    pub(super) informed: Arc<AtomicBool>,
}

impl Staffing {
    /// Those who decide for each of these that is new, or is not as it was. To read a model takes a moment, and there may be
    /// thousands, while there is a Lease to keep: the others on this thread have their turn after each.
    async fn prepare(&self, all: &[Arc<Sheet>]) -> Prepared {
        let new: Vec<Arc<Sheet>> = {
            let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter(|sheet| !roster.has(sheet)).cloned().collect()
        };
        let mut prepared = Prepared::new();
        for sheet in new {
            if let Ok(autoscaler) = sheet.autoscaler() {
                prepared.insert(sheet.resource.key(), (self.deciders)(&autoscaler));
            }
            tokio::task::yield_now().await;
        }
        prepared
    }

    /// These are all there are; those who decide for some of them are there already.
    pub(super) fn settle(&self, all: Vec<Arc<Sheet>>, mut prepared: Prepared) -> Changes<Box<Controller>> {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = roster.settle(all, |autoscaler, key| {
            let deciders = prepared.remove(key).unwrap_or_else(|| (self.deciders)(autoscaler));
            self.controller(autoscaler, deciders).map(Box::new)
        });
        if let Some(board) = &self.board {
            for (namespace, name) in &changes.released {
                board.strike(&AutoscalerRef { namespace: Arc::clone(namespace), name: Arc::clone(name) });
            }
        }
        changes
    }

    fn controller(
        &self,
        autoscaler: &LearnedAutoscaler,
        deciders: Result<Deciders, String>,
    ) -> Result<Controller, (&'static str, String)> {
        let told = autoscaler.spec.controller();
        let setup =
            told.validate().map_err(|error| ("Invalid", format!("spec.{}", in_terms_of_the_spec(&error))))?;
        let deciders = deciders.map_err(|error| ("PolicyUnusable", error))?;
        let target = autoscaler.target();
        self.executor.respect(&target, told.ownership);
        if let Some(board) = &self.board {
            let namespace = Arc::clone(&target.namespace);
            let named = AutoscalerRef { namespace, name: autoscaler.name_any().into() };
            board.list(named, target, deciders.policy.cadence().period);
        }
        Ok(Controller::new(setup, deciders, Seed::root(0)))
    }

    /// Keeps up with the custom resources of these namespaces.
    pub(super) async fn keep_up(self, client: Client, namespaces: Vec<Arc<str>>, outlets: Outlets) {
        let (tell, mut heard) = mpsc::channel(8);
        let follow = follow(client, namespaces, tell);
        let listen = async {
            while let Some(heard) = heard.recv().await {
                self.take(heard, &outlets).await;
            }
        };
        tokio::join!(follow, listen);
    }

    async fn take(&self, heard: Heard, outlets: &Outlets) {
        let troubles = || outlets.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let all = match heard {
            Heard::All(all) => all,
            Heard::Status(sheet) => {
                self.roster.lock().unwrap_or_else(PoisonError::into_inner).refresh(&sheet);
                return;
            }
            Heard::Trouble(name, why) => {
                troubles().insert(name, why);
                return;
            }
        };
        let prepared = self.prepare(&all).await;
        let Changes { taken_on, dismissed, refused, .. } = self.settle(all, prepared);
        for target in dismissed {
            let _ = outlets.tell.send(News::Dismissed(target)).await;
        }
        for (target, controller) in taken_on {
            let _ = outlets.tell.send(News::Controller(target, controller)).await;
        }
        let (targets, standing) = {
            let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
            (roster.targets(), roster.refusals())
        };
        // What the watch tells is for controllers that are there already.
        outlets.watch.set(&targets);
        *troubles() = standing;
        outlets.informed.store(true, Ordering::Relaxed);
        for refusal in refused {
            outlets.refusals.say(SystemClock.now(), refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::executor::WriteLimit;
    use crate::target::kubernetes::connect;
    use autoscale_core::units::Replicas;
    use autoscale_policies::fixed::Fixed;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;
    use tokio::task::yield_now;

    fn sheet(name: &str) -> Arc<Sheet> {
        let autoscaler: LearnedAutoscaler = serde_json::from_value(serde_json::json!({
            "apiVersion": "autoscaleai.dev/v1alpha1",
            "kind": "LearnedAutoscaler",
            "metadata": { "name": name, "namespace": "shop", "generation": 1 },
            "spec": { "scaleTargetRef": { "name": name }, "maxReplicas": 9, "policy": { "horizontalPodAutoscaler": {} } },
        }))
        .unwrap();
        Arc::new(Sheet::of(&autoscaler))
    }

    #[tokio::test]
    async fn models_are_read_once_and_others_have_their_turn_meanwhile() {
        // Nothing is sent.
        let client = connect(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let turns = Arc::<AtomicUsize>::default();
        let others = Arc::clone(&turns);
        tokio::spawn(async move {
            loop {
                others.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let read_at = Arc::<Mutex<Vec<usize>>>::default();
        let reads = Arc::clone(&read_at);
        let staffing = Staffing {
            roster: Arc::default(),
            deciders: Box::new(move |autoscaler| {
                reads.lock().unwrap().push(turns.load(Ordering::Relaxed));
                if autoscaler.name_any() == "odd" {
                    return Err("no such folder".to_owned());
                }
                let policy = Box::new(Fixed::new(Replicas::new(3), Duration::from_secs(15)));
                Ok(Deciders { name: "fixed".into(), policy, fallback: None })
            }),
            executor: Arc::new(Executor::new(client, WriteLimit::default())),
            board: None,
        };
        let all = ["api", "odd", "web"].map(sheet).to_vec();
        let prepared = staffing.prepare(&all).await;
        let changes = staffing.settle(all.clone(), prepared);
        let names: Vec<&str> = changes.taken_on.iter().map(|(target, _)| &*target.name).collect();
        assert_eq!(names, ["api", "web"]);
        assert_eq!(changes.refused[0].1.message, "no such folder");
        let read_at = read_at.lock().unwrap().clone();
        assert!(read_at.len() == 3 && read_at.is_sorted_by(|a, b| a < b), "{read_at:?}");
        let again = staffing.prepare(&all).await;
        let names: Vec<&str> = again.keys().map(|(_, name)| &**name).collect();
        assert_eq!(names, ["odd"], "the others are known");
    }
}
