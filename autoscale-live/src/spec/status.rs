//! What a `LearnedAutoscaler` says of itself.

use crate::controller::{Block, DecisionRecord, Effect, Mode, SloState};
use crate::target::kubernetes::{jiff_time, timestamp};
use autoscale_core::guard::Rung;
use autoscale_core::units::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was decided last, and what stands against it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearnedAutoscalerStatus {
    /// The generation of the specification that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `MetricsFresh`, `AbleToScale`, `Contested`, `WithinSlo`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,
}

/// A decision in short.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// When, in seconds since the Unix epoch.
    pub at_seconds: i64,
    /// `policy`, `hold`, `fallback` or `hands-off`.
    pub decided_by: String,
    /// `spec.replicas` at that moment.
    pub spec: u32,
    /// What guards and limits left of the wish.
    pub granted: u32,
    /// The rule that made the wish, and what bound it.
    pub reason: String,
    /// What was done about it.
    pub effect: String,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// Whether the specification can be used.
    Accepted,
    /// Whether the policy decides, on measurements that can be trusted.
    MetricsFresh,
    /// Whether decisions are written.
    AbleToScale,
    /// Whether others keep changing `spec.replicas`.
    Contested,
    /// Whether the service keeps to its objective.
    WithinSlo,
}

impl ConditionType {
    const ALL: [Self; 5] =
        [Self::Accepted, Self::MetricsFresh, Self::AbleToScale, Self::Contested, Self::WithinSlo];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::MetricsFresh => "MetricsFresh",
            Self::AbleToScale => "AbleToScale",
            Self::Contested => "Contested",
            Self::WithinSlo => "WithinSlo",
        }
    }
}

/// Since when each condition has been as it is: all that has to be kept of conditions that are written anew each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing([Option<(bool, Timestamp)>; ConditionType::ALL.len()]);

impl Standing {
    /// As an object's conditions have it.
    pub fn of(conditions: &[Condition]) -> Self {
        Self(ConditionType::ALL.map(|kind| {
            let condition = conditions.iter().find(|condition| condition.type_ == kind.name())?;
            Some((condition.status == "True", timestamp(condition.last_transition_time.0)))
        }))
    }

    /// Once these are found at `now`: what is as it was keeps its time, and what is not found at all is forgotten.
    #[must_use]
    pub fn after(self, findings: &[Finding], now: Timestamp) -> Self {
        let mut after = Self::default();
        for finding in findings {
            let (place, holds) = (finding.kind as usize, finding.status == "True");
            let before = self.0[place].filter(|&(held, _)| held == holds);
            after.0[place] = Some(before.unwrap_or((holds, now)));
        }
        after
    }
}

/// One line of `conditions`, without its times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The condition's type.
    pub kind: ConditionType,
    /// `True` or `False`.
    pub status: &'static str,
    /// One word.
    pub reason: &'static str,
    /// For people, with the cure where there is one.
    pub message: String,
}

impl LastDecision {
    /// Of a record.
    pub fn of(record: &DecisionRecord) -> Self {
        let bound = &record.granted.bound;
        Self {
            at_seconds: record.at.as_secs_f64() as i64,
            decided_by: word(&record.rung),
            spec: record.spec.get(),
            granted: record.granted.replicas.get(),
            reason: format!("{}, bound: {}", record.wish.reason.rule, word(bound)),
            effect: match &record.effect {
                Effect::Blocked(block) => against(block).1,
                other => word(other),
            },
        }
    }
}

/// Findings as conditions of an object of that generation, with the times of a [`Standing`] that they are in.
pub fn conditions(findings: &[Finding], standing: &Standing, generation: Option<i64>) -> Vec<Condition> {
    let condition = |finding: &Finding| {
        let since = standing.0[finding.kind as usize].and_then(|(_, since)| jiff_time(since));
        Condition {
            type_: finding.kind.name().to_owned(),
            status: finding.status.to_owned(),
            reason: finding.reason.to_owned(),
            message: finding.message.clone(),
            observed_generation: generation,
            last_transition_time: Time(since.unwrap_or_default()),
        }
    };
    findings.iter().map(condition).collect()
}

/// The conditions that a decision stands for.
pub fn findings(record: &DecisionRecord) -> [Finding; 3] {
    let (status, reason, message) = match record.rung {
        Rung::Policy => ("True", "Fresh", "the policy decides".to_owned()),
        Rung::Hold => (
            "False",
            "Stale",
            "measurements are missing, old or frozen: nothing is changed for now".to_owned(),
        ),
        Rung::Fallback => (
            "False",
            "Fallback",
            "measurements are missing, old or frozen: the fallback decides on samples of pods".to_owned(),
        ),
        Rung::HandsOff => (
            "False",
            "NoSource",
            "neither Prometheus nor the metrics API says anything of use: nothing is changed".to_owned(),
        ),
    };
    let fresh = Finding { kind: ConditionType::MetricsFresh, status, reason, message };
    // A write that is on its way comes and goes with each change; it stands against nothing but the next one.
    let block = record.block.as_ref().filter(|&block| *block != Block::InFlight);
    let (status, reason, message) = match block {
        _ if record.mode == Mode::Shadow => {
            ("False", "Shadow", "mode is shadow: decisions are recorded, not written".to_owned())
        }
        Some(block) => {
            let (reason, message) = against(block);
            ("False", reason, message)
        }
        None => ("True", "Ready", "decisions are written".to_owned()),
    };
    let able = Finding { kind: ConditionType::AbleToScale, status, reason, message };
    let contested = match block {
        Some(block @ Block::Contested { .. }) => Finding {
            kind: ConditionType::Contested,
            status: "True",
            reason: "Reverted",
            message: against(block).1,
        },
        _ => Finding {
            kind: ConditionType::Contested,
            status: "False",
            reason: "Undisputed",
            message: String::new(),
        },
    };
    [fresh, able, contested]
}

/// Whether the service keeps to its objective, where that is known: what it does, not what the controller does.
pub fn within_slo(record: &DecisionRecord) -> Option<Finding> {
    let (status, reason, message) = match record.slo {
        SloState::Met => ("True", "Met", ""),
        SloState::Missed => ("False", "Missed", "more requests are late or fail than spec.slo allows"),
        SloState::Unknown => return None,
    };
    Some(Finding { kind: ConditionType::WithinSlo, status, reason, message: message.to_owned() })
}

/// A word for what stands against writing, and a sentence with the cure.
fn against(block: &Block) -> (&'static str, String) {
    match block {
        Block::Standby => ("Standby", "another controller leads".to_owned()),
        Block::Disabled => ("ScalingDisabled", "spec.replicas of the target is 0".to_owned()),
        Block::Rival(rival) => {
            ("Rival", format!("{rival} scales the same target: delete it, or leave this one in shadow"))
        }
        Block::Owned(owner) => (
            "Owned",
            format!(
                "{owner} has applied spec.replicas of the target: remove the field from what it applies, or set takeOver: true"
            ),
        ),
        Block::Contested { until } => {
            ("Contested", format!("others keep changing spec.replicas: nothing is written until {until}"))
        }
        Block::InFlight => ("InFlight", "the last write has not been answered".to_owned()),
        Block::Busy { until } => ("Busy", format!("the API server asked to be left alone until {until}")),
    }
}

/// The serialised name of a plain variant.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
