//! A controller for each autoscaler that can be used, from its specification.

use super::MakeDeciders;
use super::report::Refusals;
use super::resources::{Heard, follow};
use super::roster::{Changes, Roster};
use super::sheet::Sheet;
use crate::controller::Controller;
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
    /// These are all there are.
    pub(super) fn settle(&self, all: Vec<Arc<Sheet>>) -> Changes<Box<Controller>> {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = roster.settle(all, |autoscaler| self.controller(autoscaler).map(Box::new));
        if let Some(board) = &self.board {
            for (namespace, name) in &changes.released {
                board.strike(&AutoscalerRef { namespace: Arc::clone(namespace), name: Arc::clone(name) });
            }
        }
        changes
    }

    fn controller(&self, autoscaler: &LearnedAutoscaler) -> Result<Controller, (&'static str, String)> {
        let told = autoscaler.spec.controller();
        let setup = told.validate().map_err(|error| ("Invalid", in_terms_of_the_spec(&error).to_string()))?;
        let deciders = (self.deciders)(autoscaler).map_err(|error| ("PolicyUnusable", error))?;
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
        let Changes { taken_on, dismissed, refused, .. } = self.settle(all);
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
