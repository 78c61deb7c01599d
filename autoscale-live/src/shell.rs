//! The controllers of many workloads, with the world around them: the one place that has a clock and waits.
//!
//! All that is due at one moment is collected in one go, so that a metric is one query whatever the number of workloads. The
//! shell decides nothing; it carries inputs to the controllers and their commands out.

mod clock;
mod fleet;

pub use clock::{Clock, SystemClock};
pub use fleet::{Fleet, FleetState};

use crate::controller::{
    Collected, Controller, DecisionRecord, Input, Leadership, Round, Ticket, Workload, WriteFailure,
};
use crate::target::TargetRef;
use autoscale_core::measurement::Measurement;
use autoscale_core::sample::{PodSample, Reading};
use autoscale_core::units::{Replicas, Timestamp};
use fleet::Order;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What could be learnt of one workload.
#[derive(Clone, Debug, Default)]
pub struct Sighting {
    /// What Prometheus shows of the service.
    pub measurement: Option<Measurement>,
    /// Its pods, oldest first.
    pub pods: Option<Vec<PodSample>>,
    /// Object, external and custom metrics.
    pub series: Vec<Reading>,
}

/// Where measurements come from.
pub trait Source: Send + Sync + 'static {
    /// Asks once for all of them, and tells of some at a time, as soon as all is known of these. Whatever fails is absent, and
    /// so is a target that nothing is known of.
    fn collect(
        &self,
        targets: Vec<TargetRef>,
        at: Timestamp,
        tell: mpsc::Sender<Vec<(TargetRef, Sighting)>>,
    ) -> impl Future<Output = ()> + Send;
}

/// Where replica counts go to.
pub trait Scaler: Send + Sync + 'static {
    /// Writes `spec.replicas`.
    fn scale(
        &self,
        target: TargetRef,
        from: Replicas,
        to: Replicas,
    ) -> impl Future<Output = Result<(), WriteFailure>> + Send;
}

/// Where decisions are kept. Called for each, in order; must not wait.
pub trait Journal: Send + 'static {
    /// Keeps it.
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>);

    /// There will be no more of this target: what is known of its last decision is of no use any more.
    fn forget(&mut self, target: &TargetRef);
}

/// What is told to the shell from outside.
pub enum News {
    /// The scaled object is like this, or is gone.
    Workload(TargetRef, Option<Workload>),
    /// Whether this process is the one that writes.
    Leadership(Leadership),
    /// This controller is the target's from now on, in place of another one if there was one.
    Controller(TargetRef, Box<Controller>),
    /// The target is not to be scaled any more.
    Dismissed(TargetRef),
}

/// A look at the clock at least this often, since it may be set.
const LONGEST: Duration = Duration::from_secs(60);

enum Answer {
    Sighted(Vec<(TargetRef, Round, Sighting)>),
    Written { target: TargetRef, ticket: Ticket, outcome: Result<(), WriteFailure> },
}

/// See the [module](self).
pub struct Shell<S, W, J, C> {
    fleet: Arc<Mutex<Fleet>>,
    source: Arc<S>,
    scaler: Arc<W>,
    journal: J,
    clock: C,
}

impl<S: Source, W: Scaler, J: Journal, C: Clock> Shell<S, W, J, C> {
    /// A shell around these controllers.
    pub fn new(fleet: Fleet, source: S, scaler: W, journal: J, clock: C) -> Self {
        let (source, scaler) = (Arc::new(source), Arc::new(scaler));
        Self { fleet: Arc::new(Mutex::new(fleet)), source, scaler, journal, clock }
    }

    /// The controllers, for whoever wants to look at them while they work.
    pub fn fleet(&self) -> Arc<Mutex<Fleet>> {
        Arc::clone(&self.fleet)
    }

    /// Works until `stop`. Writes that are under way are waited for.
    pub async fn run(mut self, mut news: mpsc::Receiver<News>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let (answers, mut answered) = mpsc::channel(64);
        let mut due = self.step(&answers, Fleet::wake);
        loop {
            let wait = due.map_or(LONGEST, |at| at.since(self.clock.now()).min(LONGEST));
            tokio::select! {
                () = &mut stop => break,
                Some(told) = news.recv() => {
                    if let News::Dismissed(target) = &told {
                        self.journal.forget(target);
                    }
                    due = self.step(&answers, |fleet, now| fleet.hear(now, told));
                }
                Some(answer) = answered.recv() => due = self.step(&answers, |fleet, now| take(fleet, now, answer)),
                () = tokio::time::sleep(wait) => due = self.step(&answers, Fleet::wake),
            }
        }
        drop(answers);
        while let Some(answer) = answered.recv().await {
            let now = self.clock.now();
            take(&mut lock(&self.fleet), now, answer);
        }
    }

    /// Lets the controllers handle something, carries out what they say, and says when they want to be woken.
    fn step(
        &mut self,
        answers: &mpsc::Sender<Answer>,
        happen: impl FnOnce(&mut Fleet, Timestamp) -> Vec<Order>,
    ) -> Option<Timestamp> {
        let now = self.clock.now();
        let (orders, due) = {
            let mut fleet = lock(&self.fleet);
            let orders = happen(&mut fleet, now);
            (orders, fleet.due())
        };
        let mut rounds = BTreeMap::new();
        for order in orders {
            match order {
                Order::Collect(target, round) => _ = rounds.insert(target, round),
                Order::Scale { target, ticket, from, to } => self.scale(answers, target, ticket, (from, to)),
                Order::Record(target, record) => self.journal.keep(&target, &record),
            }
        }
        if !rounds.is_empty() {
            let (source, answers) = (Arc::clone(&self.source), answers.clone());
            tokio::spawn(look(source, rounds, now, answers));
        }
        due
    }

    fn scale(
        &self,
        answers: &mpsc::Sender<Answer>,
        target: TargetRef,
        ticket: Ticket,
        (from, to): (Replicas, Replicas),
    ) {
        let (scaler, answers) = (Arc::clone(&self.scaler), answers.clone());
        tokio::spawn(async move {
            let outcome = scaler.scale(target.clone(), from, to).await;
            let _ = answers.send(Answer::Written { target, ticket, outcome }).await;
        });
    }
}

/// Asks for all of them. Those that the source does not tell of are answered for at the end, with nothing.
async fn look<S: Source>(
    source: Arc<S>,
    mut rounds: BTreeMap<TargetRef, Round>,
    at: Timestamp,
    answers: mpsc::Sender<Answer>,
) {
    let (tell, mut told) = mpsc::channel(1);
    let collect = source.collect(rounds.keys().cloned().collect(), at, tell);
    let hand_on = async {
        while let Some(sightings) = told.recv().await {
            let asked = |(target, sighting): (TargetRef, Sighting)| {
                rounds.remove(&target).map(|round| (target, round, sighting))
            };
            // Nobody waits for it when the shell is gone.
            let _ = answers.send(Answer::Sighted(sightings.into_iter().filter_map(asked).collect())).await;
        }
    };
    tokio::join!(collect, hand_on);
    let unseen = rounds.into_iter().map(|(target, round)| (target, round, Sighting::default()));
    let _ = answers.send(Answer::Sighted(unseen.collect())).await;
}

/// A controller that panicked has harmed nobody but itself; the others go on.
fn lock(fleet: &Mutex<Fleet>) -> MutexGuard<'_, Fleet> {
    fleet.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(fleet: &mut Fleet, now: Timestamp, answer: Answer) -> Vec<Order> {
    match answer {
        Answer::Sighted(sightings) => sightings
            .into_iter()
            .flat_map(|(target, round, sighting)| {
                let Sighting { measurement, pods, series } = sighting;
                fleet.give(now, &target, Input::Collected(Collected { round, measurement, pods, series }))
            })
            .collect(),
        Answer::Written { target, ticket, outcome } => {
            fleet.give(now, &target, Input::Written(ticket, outcome))
        }
    }
}

#[cfg(test)]
mod tests;
