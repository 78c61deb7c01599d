//! What is kept of a decision: enough to see why.

use super::config::Mode;
use super::slo::SloState;
use autoscale_core::guard::Rung;
use autoscale_core::limits::Granted;
use autoscale_core::measurement::Measurement;
use autoscale_core::policy::Decision;
use autoscale_core::units::{Replicas, Timestamp};
use serde::Serialize;
use std::sync::Arc;

/// Version of the layout of [`DecisionRecord`].
pub const DECISION_RECORD_VERSION: u32 = 1;

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionRecord {
    /// [`DECISION_RECORD_VERSION`].
    pub version: u32,
    /// When it was made.
    pub at: Timestamp,
    /// Which policy it is that decides while all is well.
    pub policy: Arc<str>,
    /// Who decided.
    pub rung: Rung,
    /// `spec.replicas` at that moment.
    pub spec: Replicas,
    /// What was wished for, and why.
    pub wish: Decision,
    /// What the guards and limits left of it.
    pub granted: Granted,
    /// Whether decisions are carried out at all.
    pub mode: Mode,
    /// What stands against writing, whether or not there was anything to write.
    pub block: Option<Block>,
    /// What was done about it.
    pub effect: Effect,
    /// Whether the service kept to its objective.
    pub slo: SloState,
    /// The newest measurement that it was made on.
    pub measurement: Option<Measurement>,
    /// Pods that serve, and those of them with a usage sample.
    pub pods: PodCounts,
}

/// Pods as the metrics API shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PodCounts {
    /// Pods that receive traffic.
    pub serving: u32,
    /// Those of them with a usage sample.
    pub sampled: u32,
}

/// What was done about a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// `spec.replicas` is being written.
    Written,
    /// It is what it should be.
    Unchanged,
    /// It would have been written, but this controller only watches.
    Shadow,
    /// It would have been written, but something stands against it.
    Blocked(Block),
}

/// What stands against writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// Another controller leads.
    Standby,
    /// `spec.replicas` is 0, which is how people switch an autoscaler off.
    Disabled,
    /// An autoscaler scales the same object.
    Rival(Arc<str>),
    /// A manager has applied `spec.replicas`: remove the field from what it applies, or let this controller take over.
    Owned(Arc<str>),
    /// Others keep changing what was written.
    Contested {
        /// Until when nothing is written.
        until: Timestamp,
    },
    /// The last write has not been answered.
    InFlight,
    /// The server asked to be left alone.
    Busy {
        /// Until when.
        until: Timestamp,
    },
}
