//! Decisions as Events: each change of scale, and what stands against one or decides instead, once when it begins.

use crate::controller::{Block, DecisionRecord, Effect};
use crate::shell::Journal;
use crate::spec::findings;
use crate::target::TargetRef;
use crate::target::events::{Announcer, Severity};
use crate::target::watch::Watch;
use autoscale_core::units::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Announcements that may wait; more than that are dropped, for Events are a courtesy.
const WAITING: usize = 256;

struct Announcement {
    target: TargetRef,
    at: Timestamp,
    severity: Severity,
    reason: &'static str,
    note: String,
}

/// Hands on what is worth telling.
pub(super) struct Announcements {
    /// By target, the reasons of its conditions when it was last heard of.
    told: BTreeMap<TargetRef, [&'static str; 3]>,
    hand_on: mpsc::Sender<Announcement>,
}

/// A journal, and the task that tells what it hands on; it ends with the journal.
pub(super) fn start(announcer: Announcer, watch: Arc<Watch>) -> (Announcements, JoinHandle<()>) {
    let (hand_on, mut waiting) = mpsc::channel::<Announcement>(WAITING);
    let telling = tokio::spawn(async move {
        while let Some(Announcement { target, at, severity, reason, note }) = waiting.recv().await {
            let uid = watch.uid(&target);
            // Nothing is tried twice: the decision stands in the log, too.
            let _ = announcer.say((&target, uid.as_deref()), at, (severity, reason), &note).await;
        }
    });
    (Announcements { told: BTreeMap::new(), hand_on }, telling)
}

impl Journal for Announcements {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        // Whoever leads speaks.
        if record.block == Some(Block::Standby) {
            self.told.remove(target);
            return;
        }
        let tell = |severity, reason, note| {
            let announcement = Announcement { target: target.clone(), at: record.at, severity, reason, note };
            let _ = self.hand_on.try_send(announcement);
        };
        if record.effect == Effect::Written {
            let (from, to) = (record.spec, record.granted.replicas);
            let reason = if to > from { "ScaledUp" } else { "ScaledDown" };
            let rule = record.wish.reason.rule;
            tell(
                Severity::Normal,
                reason,
                format!("spec.replicas {from} to {to}: {rule}, {} decides", record.policy),
            );
        }
        let findings = findings(record);
        let before = self.told.insert(target.clone(), findings.each_ref().map(|finding| finding.reason));
        for (k, finding) in findings.into_iter().enumerate() {
            let news = before.as_ref().is_some_and(|before| before[k] != finding.reason);
            // What is well from the start is no news.
            if news && !finding.message.is_empty() {
                let well = matches!(finding.reason, "Fresh" | "Ready" | "Shadow");
                let severity = if well { Severity::Normal } else { Severity::Warning };
                tell(severity, finding.reason, finding.message);
            }
        }
    }

    fn forget(&mut self, target: &TargetRef) {
        self.told.remove(target);
    }
}
