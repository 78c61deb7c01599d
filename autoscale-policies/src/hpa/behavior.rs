//! Stabilisation and rate limits: `behavior` of an HPA (`horizontal.go`).

use super::within;
use autoscale_core::limits::{Bound, ScalingLimits};
use autoscale_core::units::{Replicas, Timestamp};
use autoscale_core::validate::{ConfigError, count_in_range};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScalingRules {
    /// Recommendations of this long count; 0 to 3,600 s.
    pub stabilization_window_seconds: u32,
    /// Which policy holds.
    pub select_policy: SelectPolicy,
    /// The policies, at least one.
    pub policies: Vec<ScalingPolicy>,
}

/// `behavior` with both directions filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        };
        Self {
            scale_up: rules(0, vec![policy(PolicyType::Pods, 4), policy(PolicyType::Percent, 100)]),
            scale_down: rules(300, vec![policy(PolicyType::Percent, 100)]),
        }
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
        Ok(())
    }

    fn window(&self) -> Duration {
        Duration::from_secs(u64::from(self.stabilization_window_seconds))
    }

    fn longest_period(&self) -> Duration {
        let longest = self.policies.iter().map(|p| p.period_seconds).max().unwrap_or(0);
        Duration::from_secs(u64::from(longest))
    }
}

/// Pods added or removed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    at: Timestamp,
    pods: i64,
}

/// The controller's memory of one HPA.
#[derive(Clone, Debug)]
pub(super) struct Normalizer {
    behavior: Behavior,
    /// Unstabilised recommendations; `None` until the first reconcile.
    recommendations: Option<Vec<(Replicas, Timestamp)>>,
    ups: Vec<Change>,
    downs: Vec<Change>,
}

impl Normalizer {
    pub(super) const fn new(behavior: Behavior) -> Self {
        Self { behavior, recommendations: None, ups: Vec::new(), downs: Vec::new() }
    }

    pub(super) fn reset(&mut self) {
        self.recommendations = None;
        self.ups.clear();
        self.downs.clear();
    }

    /// Before anything else in a reconcile: the log starts with the count that was found.
    pub(super) fn begin(&mut self, spec: Replicas, now: Timestamp) {
        self.recommendations.get_or_insert_with(|| vec![(spec, now)]);
    }

    /// From a proposal to what the controller will ask for.
    pub(super) fn normalize(
        &mut self,
        spec: Replicas,
        proposed: Replicas,
        limits: &ScalingLimits,
        now: Timestamp,
    ) -> (Replicas, Bound) {
        let stabilized = self.stabilize(spec, proposed, now);
        let (desired, bound) = self.limit(spec, stabilized, limits, now);
        if bound == Bound::None && stabilized != proposed {
            return (desired, Bound::Stabilization);
        }
        (desired, bound)
    }

    fn stabilize(&mut self, spec: Replicas, proposed: Replicas, now: Timestamp) -> Replicas {
        let (up, down) = (self.behavior.scale_up.window(), self.behavior.scale_down.window());
        let (mut low, mut high, mut outdated) = (proposed, proposed, None);
        let log = self.recommendations.get_or_insert_default();
        for (index, &(replicas, at)) in log.iter().enumerate() {
            if within(at, now, up) {
                low = low.min(replicas);
            }
            if within(at, now, down) {
                high = high.max(replicas);
            }
            if at < now - up && at < now - down {
                outdated = Some(index);
            }
        }
        match outdated {
            Some(index) => log[index] = (proposed, now),
            None => log.push((proposed, now)),
        }
        spec.clamp(low, high)
    }

    fn limit(
        &self,
        spec: Replicas,
        wish: Replicas,
        limits: &ScalingLimits,
        now: Timestamp,
    ) -> (Replicas, Bound) {
        match wish.cmp(&spec) {
            Ordering::Greater => {
                let most = self.most(spec, now).max(spec);
                let (cap, bound) =
                    if limits.max() > most { (most, Bound::StepUp) } else { (limits.max(), Bound::Max) };
                if wish > cap { (cap, bound) } else { (wish, Bound::None) }
            }
            Ordering::Less => {
                let least = self.least(spec, now).min(spec);
                let (floor, bound) =
                    if limits.min() < least { (least, Bound::StepDown) } else { (limits.min(), Bound::Min) };
                if wish < floor { (floor, bound) } else { (wish, Bound::None) }
            }
            Ordering::Equal => (wish, Bound::None),
        }
    }

    /// The count at the start of a policy's period, as far as the recorded changes tell.
    fn base(&self, spec: Replicas, period_seconds: u32, now: Timestamp) -> i64 {
        let period = Duration::from_secs(u64::from(period_seconds));
        let sum = |changes: &[Change]| -> i64 {
            changes.iter().filter(|c| within(c.at, now, period)).map(|c| c.pods).sum()
        };
        i64::from(spec.get()) - sum(&self.ups) + sum(&self.downs)
    }

    fn most(&self, spec: Replicas, now: Timestamp) -> Replicas {
        let rules = &self.behavior.scale_up;
        let proposals = rules.policies.iter().map(|policy| {
            let base = self.base(spec, policy.period_seconds, now);
            match policy.kind {
                PolicyType::Pods => base + i64::from(policy.value),
                PolicyType::Percent => (base as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i64,
            }
        });
        select(rules.select_policy, spec, proposals.clone().max(), proposals.min())
    }

    fn least(&self, spec: Replicas, now: Timestamp) -> Replicas {
        let rules = &self.behavior.scale_down;
        let proposals = rules.policies.iter().map(|policy| {
            let base = self.base(spec, policy.period_seconds, now);
            match policy.kind {
                PolicyType::Pods => base - i64::from(policy.value),
                PolicyType::Percent => (base as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i64,
            }
        });
        select(rules.select_policy, spec, proposals.clone().min(), proposals.max())
    }

    /// After the count was written: a change counts against the limits of its direction.
    pub(super) fn rescaled(&mut self, from: Replicas, to: Replicas, now: Timestamp) {
        let pods = i64::from(from.abs_diff(to));
        if to > from {
            store(&mut self.ups, Change { at: now, pods }, self.behavior.scale_up.longest_period());
        } else if to < from {
            store(&mut self.downs, Change { at: now, pods }, self.behavior.scale_down.longest_period());
        }
    }
}

fn select(
    policy: SelectPolicy,
    spec: Replicas,
    largest_change: Option<i64>,
    smallest_change: Option<i64>,
) -> Replicas {
    let chosen = match policy {
        SelectPolicy::Max => largest_change,
        SelectPolicy::Min => smallest_change,
        SelectPolicy::Disabled => None,
    };
    chosen.map_or(spec, |count| Replicas::new(count.clamp(0, i64::from(u32::MAX)) as u32))
}

/// The last outdated entry makes room for the new one.
fn store(changes: &mut Vec<Change>, change: Change, longest: Duration) {
    match changes.iter().rposition(|old| old.at < change.at - longest) {
        Some(index) => changes[index] = change,
        None => changes.push(change),
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ScalingLimits {
        ScalingLimits::between(Replicas::ONE, Replicas::new(100)).unwrap()
    }

    fn run(normalizer: &mut Normalizer, spec: u32, proposed: u32, at: i64) -> (u32, Bound) {
        let (spec, now) = (Replicas::new(spec), Timestamp::from_secs(at));
        normalizer.begin(spec, now);
        let (desired, bound) = normalizer.normalize(spec, Replicas::new(proposed), &limits(), now);
        normalizer.rescaled(spec, desired, now);
        (desired.get(), bound)
    }

    #[test]
    fn up_goes_by_the_larger_of_four_pods_and_double_per_15_s() {
        let mut hpa = Normalizer::new(Behavior::default());
        assert_eq!(run(&mut hpa, 2, 50, 0), (6, Bound::StepUp));
        // 10 s later the period's base is still 2, so nothing more is allowed.
        assert_eq!(run(&mut hpa, 6, 50, 10), (6, Bound::StepUp));
        assert_eq!(run(&mut hpa, 6, 50, 15), (12, Bound::StepUp));
        assert_eq!(run(&mut hpa, 12, 13, 30), (13, Bound::None));
    }

    #[test]
    fn down_waits_for_the_highest_recommendation_of_300_s() {
        let mut hpa = Normalizer::new(Behavior::default());
        assert_eq!(run(&mut hpa, 10, 4, 0), (10, Bound::Stabilization));
        assert_eq!(run(&mut hpa, 10, 6, 150), (10, Bound::Stabilization));
        // The first reconcile logged 10 at 0; at exactly 300 s it no longer counts.
        assert_eq!(run(&mut hpa, 10, 4, 300), (6, Bound::Stabilization));
        assert_eq!(run(&mut hpa, 6, 4, 450), (4, Bound::None));
    }

    #[test]
    fn a_disabled_direction_does_not_move() {
        let mut behavior = Behavior::default();
        behavior.scale_up.select_policy = SelectPolicy::Disabled;
        let mut hpa = Normalizer::new(behavior);
        assert_eq!(run(&mut hpa, 3, 9, 0), (3, Bound::StepUp));
    }
}
