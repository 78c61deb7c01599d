//! What a controller is told before it starts.

use super::contest::{Contest, ContestConfig};
use super::slo::{Slo, SloConfig};
use autoscale_core::guard::{Envelope, EnvelopeConfig, Ladder, LadderConfig};
use autoscale_core::limits::{LimitsConfig, ScalingLimits};
use autoscale_core::validate::{ConfigError, Validate, count_in_range, in_range};
use serde::{Deserialize, Serialize};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decide and record, never write.
    #[default]
    Shadow,
    /// Write `spec.replicas`.
    Active,
}

/// What to do where another manager has applied `spec.replicas`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// Leave it to them, and say so.
    #[default]
    Respect,
    /// Take it over.
    TakeOver,
}

/// One workload's controller, as it is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerConfig {
    /// Whether decisions are carried out.
    #[serde(default)]
    pub mode: Mode,
    /// What to do where another manager has applied `spec.replicas`.
    #[serde(default)]
    pub ownership: Ownership,
    /// How far the workload may be scaled.
    pub limits: LimitsConfig,
    /// Bounds around the reactive rule.
    #[serde(default)]
    pub envelope: EnvelopeConfig,
    /// Who decides when measurements fail.
    #[serde(default)]
    pub ladder: LadderConfig,
    /// When to step back from a fight.
    #[serde(default)]
    pub contest: ContestConfig,
    /// Decisions of the policy itself after a start before it may scale down, 0 to 1,000.
    #[serde(default = "four")]
    pub settle_after: u32,
    /// Measurements that a policy is shown, 1 to 10,000.
    #[serde(default = "an_hour")]
    pub history: u32,
    /// What is promised of the service.
    #[serde(default)]
    pub slo: Option<SloConfig>,
    /// The service's clock against UTC, −14 to 14 hours.
    #[serde(default)]
    pub utc_offset_hours: f64,
}

fn four() -> u32 {
    4
}

/// At a decision every 15 s.
fn an_hour() -> u32 {
    240
}

impl ControllerConfig {
    /// Nothing special, within these limits.
    pub fn within(limits: LimitsConfig) -> Self {
        Self {
            mode: Mode::default(),
            ownership: Ownership::default(),
            limits,
            envelope: EnvelopeConfig::default(),
            ladder: LadderConfig::default(),
            contest: ContestConfig::default(),
            settle_after: four(),
            history: an_hour(),
            slo: None,
            utc_offset_hours: 0.0,
        }
    }
}

/// A checked [`ControllerConfig`].
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) mode: Mode,
    pub(super) ownership: Ownership,
    pub(super) limits: ScalingLimits,
    pub(super) envelope: Envelope,
    pub(super) ladder: Ladder,
    pub(super) contest: Contest,
    pub(super) settle_after: u32,
    pub(super) history: usize,
    pub(super) slo: Option<Slo>,
    pub(super) utc_offset_s: f64,
}

impl Validate for ControllerConfig {
    type Checked = Setup;

    fn validate(self) -> Result<Setup, ConfigError> {
        count_in_range("settle_after", u64::from(self.settle_after), 0, 1000)?;
        count_in_range("history", u64::from(self.history), 1, 10_000)?;
        in_range("utc_offset_hours", self.utc_offset_hours, -14.0, 14.0)?;
        Ok(Setup {
            mode: self.mode,
            ownership: self.ownership,
            limits: self.limits.validate().map_err(|e| e.within("limits"))?,
            envelope: self.envelope.validate().map_err(|e| e.within("envelope"))?,
            ladder: self.ladder.validate().map_err(|e| e.within("ladder"))?,
            contest: self.contest.validate().map_err(|e| e.within("contest"))?,
            settle_after: self.settle_after,
            history: self.history as usize,
            slo: self.slo.map(Validate::validate).transpose().map_err(|e| e.within("slo"))?,
            utc_offset_s: self.utc_offset_hours * 3600.0,
        })
    }
}
