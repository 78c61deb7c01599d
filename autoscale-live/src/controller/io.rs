//! What goes into a controller and what comes out.

use super::record::DecisionRecord;
use autoscale_core::measurement::Measurement;
use autoscale_core::sample::{PodSample, Reading};
use autoscale_core::units::{Replicas, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Which round of collecting an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Round(pub(super) u64);

/// Which write an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ticket(pub(super) u64);

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The controller starts, or a moment that it asked to be woken at has come.
    Wake,
    /// What could be learnt for a [`Command::Collect`].
    Collected(Collected),
    /// The scaled object as the API server has it.
    Workload(Workload),
    /// The scaled object is gone, replaced by another of its name, or nothing is known of it any more.
    WorkloadLost,
    /// Whether this controller is the one that writes; it is not until it is told so.
    Leadership(Leadership),
    /// What became of a [`Command::Scale`].
    Written(Ticket, Result<(), WriteFailure>),
}

/// Of several controllers for the same objects, one writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leadership {
    /// Looks and decides, so as to know the past when it is needed.
    #[default]
    Standby,
    /// Writes.
    Leading,
}

/// The answers of one round. Sources fail one by one.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The round that asked.
    pub round: Round,
    /// What Prometheus shows of the service; `None` where it does not answer, or with less than all of it.
    pub measurement: Option<Measurement>,
    /// The pods, oldest first, with what the metrics API has of them; `None` where they could not be listed.
    pub pods: Option<Vec<PodSample>>,
    /// Object, external and custom metrics.
    pub series: Vec<Reading>,
}

/// `metadata.generation`: it rises with every change of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Generation(i64);

impl Generation {
    /// As the API server has it.
    pub const fn new(generation: i64) -> Self {
        Self(generation)
    }

    /// The one after it.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The scaled object, and who else cares for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// Of the whole object.
    pub generation: Generation,
    /// `spec.replicas`.
    pub spec: Replicas,
    /// `status.replicas`.
    pub status: Replicas,
    /// An autoscaler that scales the same object, as `kind/name`.
    pub rival: Option<Arc<str>>,
    /// A manager other than this one that has applied `spec.replicas`: kubectl, Helm, a GitOps agent.
    pub owner: Option<Arc<str>>,
}

/// Why a write did not get through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteFailure {
    /// Another manager owns `spec.replicas`, or it has changed meanwhile.
    Conflict,
    /// The server is busy and says when to come again.
    Busy(Duration),
    /// Anything else, in the server's words.
    Failed(Arc<str>),
}

/// What to do outside.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask all sources once, and answer with [`Input::Collected`] within the period.
    Collect(Round),
    /// Set `spec.replicas`, and answer with [`Input::Written`].
    Scale {
        /// To be given back with the answer.
        ticket: Ticket,
        /// What it is, as far as is known.
        from: Replicas,
        /// What it shall be.
        to: Replicas,
    },
    /// Send [`Input::Wake`] then. A later command replaces an earlier one.
    WakeAt(Timestamp),
    /// Keep this: in a log, as an Event, in a status.
    Record(Arc<DecisionRecord>),
}
