//! `behavior` of an HPA, as it is configured.

use autoscale_core::validate::{ConfigError, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whether a policy's value is pods or percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyType {
    /// So many pods.
    Pods,
    /// So many percent of the pods at the period's start.
    Percent,
}

/// How much may change within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// Pods or percent.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// Pods or percent; at least 1.
    pub value: u32,
    /// The period, 1 to 1,800 s.
    pub period_seconds: u32,
}

/// Which of several policies holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the largest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The rules of one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScalingRules {
    /// Recommendations of this long count; 0 to 3,600 s.
    pub stabilization_window_seconds: u32,
    /// Which policy holds.
    pub select_policy: SelectPolicy,
    /// The policies, at least one.
    pub policies: Vec<ScalingPolicy>,
    /// How far the ratio may be from 1 in this direction; the controller's tolerance when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
}

/// `behavior` with both directions filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Behavior {
    /// Rules on the way up.
    pub scale_up: ScalingRules,
    /// Rules on the way down.
    pub scale_down: ScalingRules,
}

impl Default for Behavior {
    /// Up: the larger of 4 pods and 100 % per 15 s at once. Down: 100 % per 15 s after 300 s.
    fn default() -> Self {
        let policy = |kind, value| ScalingPolicy { kind, value, period_seconds: 15 };
        let rules = |window, policies| ScalingRules {
            stabilization_window_seconds: window,
            select_policy: SelectPolicy::Max,
            policies,
            tolerance: None,
        };
        Self {
            scale_up: rules(0, vec![policy(PolicyType::Pods, 4), policy(PolicyType::Percent, 100)]),
            scale_down: rules(300, vec![policy(PolicyType::Percent, 100)]),
        }
    }
}

/// The rules of one direction as they are written; what is absent is filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ScalingRulesSpec {
    /// Recommendations of this long count; 0 to 3,600 s.
    pub stabilization_window_seconds: Option<u32>,
    /// Which policy holds.
    pub select_policy: Option<SelectPolicy>,
    /// The policies.
    pub policies: Option<Vec<ScalingPolicy>>,
    /// How far the ratio may be from 1 in this direction.
    pub tolerance: Option<f64>,
}

/// `behavior` as it is written. One that is there at all, even empty, gets both directions filled in, by whoever runs it:
/// the window of a way down without one is a setting of the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct BehaviorSpec {
    /// Rules on the way up.
    pub scale_up: Option<ScalingRulesSpec>,
    /// Rules on the way down.
    pub scale_down: Option<ScalingRulesSpec>,
}

impl BehaviorSpec {
    /// Fills in what is absent (`pkg/apis/autoscaling/v2/defaults.go`); `downscale_stabilization` is the
    /// controller's, for a way down without a window.
    pub fn defaulted(self, downscale_stabilization: Duration) -> Behavior {
        let fill = |spec: Option<ScalingRulesSpec>, default: ScalingRules| {
            let spec = spec.unwrap_or_default();
            ScalingRules {
                stabilization_window_seconds: spec
                    .stabilization_window_seconds
                    .unwrap_or(default.stabilization_window_seconds),
                select_policy: spec.select_policy.unwrap_or(default.select_policy),
                policies: spec.policies.unwrap_or(default.policies),
                tolerance: spec.tolerance,
            }
        };
        let Behavior { scale_up, mut scale_down } = Behavior::default();
        scale_down.stabilization_window_seconds = downscale_stabilization.as_secs() as u32;
        Behavior { scale_up: fill(self.scale_up, scale_up), scale_down: fill(self.scale_down, scale_down) }
    }
}

impl From<ScalingRules> for ScalingRulesSpec {
    fn from(rules: ScalingRules) -> Self {
        let ScalingRules { stabilization_window_seconds, select_policy, policies, tolerance } = rules;
        Self {
            stabilization_window_seconds: Some(stabilization_window_seconds),
            select_policy: Some(select_policy),
            policies: Some(policies),
            tolerance,
        }
    }
}

impl From<Behavior> for BehaviorSpec {
    fn from(Behavior { scale_up, scale_down }: Behavior) -> Self {
        Self { scale_up: Some(scale_up.into()), scale_down: Some(scale_down.into()) }
    }
}

impl Behavior {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (name, rules) in [("scale_up", &self.scale_up), ("scale_down", &self.scale_down)] {
            let parent = format!("behavior.{name}");
            rules.check().map_err(|e| e.within(&parent))?;
        }
        Ok(())
    }
}

impl ScalingRules {
    fn check(&self) -> Result<(), ConfigError> {
        let window = u64::from(self.stabilization_window_seconds);
        count_in_range("stabilization_window_seconds", window, 0, 3600)?;
        if self.policies.is_empty() {
            return Err(ConfigError::new("policies", "none", "at least one policy"));
        }
        for policy in &self.policies {
            count_in_range("policies.value", u64::from(policy.value), 1, 1_000_000)?;
            count_in_range("policies.period_seconds", u64::from(policy.period_seconds), 1, 1800)?;
        }
        in_range("tolerance", self.tolerance.unwrap_or(0.0), 0.0, 100.0)?;
        Ok(())
    }

    pub(super) fn window(&self) -> Duration {
        Duration::from_secs(u64::from(self.stabilization_window_seconds))
    }

    pub(super) fn longest_period(&self) -> Duration {
        let longest = self.policies.iter().map(|p| p.period_seconds).max().unwrap_or(0);
        Duration::from_secs(u64::from(longest))
    }
}
