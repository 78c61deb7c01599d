//! A decision as a controller in shadow records it.

use autoscale_core::guard::Rung;
use autoscale_core::limits::{Bound, Granted};
use autoscale_core::policy::{Decision, Reason};
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_live::controller::{DecisionRecord, Effect, Mode, PodCounts, SloState};
use std::sync::Arc;

/// Of 40 pods that were wished for, so many were granted.
pub(crate) fn decision(at: Timestamp, rung: Rung, granted: u32) -> Arc<DecisionRecord> {
    Arc::new(DecisionRecord {
        version: 1,
        at,
        policy: "ppo".into(),
        rung,
        spec: Replicas::new(5),
        wish: Decision::scale_to(Replicas::new(40), Reason::rule("learned")),
        granted: Granted { replicas: Replicas::new(granted), bound: Bound::Max },
        mode: Mode::Shadow,
        block: None,
        effect: Effect::Shadow,
        slo: SloState::Unknown,
        measurement: None,
        pods: PodCounts::default(),
    })
}
