//! Which of several processes writes: the one that holds a Lease (`coordination.k8s.io/v1`).
//!
//! Clocks of different machines are never compared. Whoever wants the Lease watches it by its own clock, and takes it when
//! it has not been renewed for as long as its holder said it would be ([`Ballot`]). A holder that cannot renew it steps
//! back before that.

mod ballot;

pub use ballot::{Ballot, Step};

use super::kubernetes::{FIELD_MANAGER, jiff_time};
use crate::controller::Leadership;
use crate::shell::{Clock, News};
use autoscale_core::units::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// The Lease, and who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// The Lease's namespace.
    pub namespace: Arc<str>,
    /// The Lease's name.
    pub lease: Arc<str>,
    /// This process: its pod's name. No two may have the same.
    pub identity: Arc<str>,
    /// For how long it holds without being renewed; whole seconds, at least 1.
    pub duration: Duration,
}

/// Until when nobody else can lead, for those who write: news of a lost Lease may come late, where a process was stopped or a
/// write had to wait its turn.
#[derive(Clone, Debug)]
pub struct Term(Arc<AtomicI64>);

impl Term {
    /// Of a process that is alone.
    pub fn for_ever() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }

    /// Of one that has not been elected.
    pub fn not_yet() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }

    /// Whether writing is safe.
    pub fn holds(&self, now: Timestamp) -> bool {
        micros(now) < self.0.load(Ordering::Relaxed)
    }

    fn set(&self, until: Option<Timestamp>) {
        self.0.store(until.map_or(i64::MIN, micros), Ordering::Relaxed);
    }
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.since(Timestamp::ZERO).as_micros()).unwrap_or(i64::MAX)
}

/// Takes, keeps and gives back a Lease.
pub struct Elector {
    leases: Api<Lease>,
    name: Arc<str>,
    identity: Arc<str>,
    duration: Duration,
    ballot: Ballot,
    /// Nobody else can have taken it before.
    safe_until: Option<Timestamp>,
    term: Term,
}

impl Elector {
    /// Not elected yet. It keeps the term up to date.
    pub fn new(client: Client, candidacy: Candidacy, term: Term) -> Self {
        Self {
            leases: Api::namespaced(client, &candidacy.namespace),
            name: candidacy.lease,
            ballot: Ballot::new(Arc::clone(&candidacy.identity)),
            identity: candidacy.identity,
            duration: Duration::from_secs(candidacy.duration.as_secs().max(1)),
            safe_until: None,
            term,
        }
    }

    /// Tells of each change of leadership until `stop`, and gives the Lease back then.
    pub async fn run(mut self, clock: impl Clock, tell: mpsc::Sender<News>, stop: impl Future<Output = ()>) {
        // Five tries within the duration, and an end of leading after two thirds of it.
        let (pause, deadline) = (self.duration / 5, self.duration * 2 / 3);
        let mut stop = pin!(stop);
        loop {
            let asked = clock.now();
            let patience = self.safe_until.map_or(pause, |until| until.since(asked).min(pause));
            let held = tokio::select! {
                held = tokio::time::timeout(patience, self.try_once(asked)) => held,
                () = &mut stop => break,
            };
            let now = clock.now();
            let before = self.safe_until;
            match held {
                Ok(Ok(true)) => self.safe_until = Some(asked + deadline),
                // Another one has it.
                Ok(Ok(false)) => self.safe_until = None,
                // Nobody knows; what was held is held for a while.
                Ok(Err(_)) | Err(_) => self.safe_until = before.filter(|&until| now < until),
            }
            self.term.set(self.safe_until);
            let leads = self.safe_until.is_some();
            let leadership = if leads { Leadership::Leading } else { Leadership::Standby };
            if before.is_some() != leads && tell.send(News::Leadership(leadership)).await.is_err() {
                break;
            }
            let rest = self.safe_until.map_or(pause, |until| until.since(now).min(pause));
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = &mut stop => break,
            }
        }
        self.term.set(None);
        // Nobody may listen any more.
        let _ = tell.send(News::Leadership(Leadership::Standby)).await;
        if self.safe_until.is_some() {
            // Where this fails the Lease runs out by itself.
            let _ = tokio::time::timeout(pause, self.give_back()).await;
        }
    }

    /// Looks at the Lease and does what is to be done; whether it is held now.
    async fn try_once(&mut self, now: Timestamp) -> Result<bool, kube::Error> {
        let found = self.leases.get_opt(&self.name).await?;
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let held = match self.ballot.look(spec, now) {
            Step::Wait => return Ok(false),
            Step::Take => LeaseSpec {
                acquire_time: jiff_time(now).map(MicroTime),
                lease_transitions: Some(
                    spec.map_or(0, |s| s.lease_transitions.unwrap_or(0).saturating_add(1)),
                ),
                ..LeaseSpec::default()
            },
            Step::Renew => spec.cloned().unwrap_or_default(),
        };
        let held = LeaseSpec {
            holder_identity: Some(self.identity.to_string()),
            lease_duration_seconds: Some(i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX)),
            renew_time: jiff_time(now).map(MicroTime),
            ..held
        };
        self.write(found, held).await
    }

    /// Writes unless somebody else was faster; whether it did.
    async fn write(&self, found: Option<Lease>, spec: LeaseSpec) -> Result<bool, kube::Error> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let written = if let Some(mut lease) = found {
            // It carries the version that was looked at.
            lease.spec = Some(spec);
            self.leases.replace(&self.name, &params, &lease).await
        } else {
            let metadata = ObjectMeta { name: Some(self.name.to_string()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            self.leases.create(&params, &lease).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Leaves it to whoever comes first.
    async fn give_back(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        let Some(spec) = lease.spec.clone() else { return Ok(()) };
        if spec.holder_identity.as_deref() == Some(&*self.identity) {
            self.write(Some(lease), LeaseSpec { holder_identity: None, ..spec }).await?;
        }
        Ok(())
    }
}
