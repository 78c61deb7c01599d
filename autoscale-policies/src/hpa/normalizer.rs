//! From a proposal to what the controller asks for: stabilisation, rate limits and bounds (`horizontal.go`,
//! `normalizeDesiredReplicas` and `normalizeDesiredReplicasWithBehaviors`).

use super::behavior::{Behavior, PolicyType, SelectPolicy};
use autoscale_core::units::Timestamp;
use std::cmp::Ordering;
use std::time::Duration;

/// `minReplicas` and `maxReplicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Fewest.
    pub min: i32,
    /// Most.
    pub max: i32,
}

/// How an HPA without `behavior` is held back; settings of the controller, the first of which is also the window of a
/// `behavior` whose way down states none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Legacy {
    /// `horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: Duration,
    /// At most this many times as many replicas at once …
    pub scale_up_limit_factor: f64,
    /// … or this many, whichever is more.
    pub scale_up_limit_minimum: f64,
}

impl Default for Legacy {
    fn default() -> Self {
        Self {
            downscale_stabilization: Duration::from_secs(300),
            scale_up_limit_factor: 2.0,
            scale_up_limit_minimum: 4.0,
        }
    }
}

/// What stabilisation did; the reason of the condition `AbleToScale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stabilized {
    /// Nothing.
    ReadyForNewScale,
    /// It held a scale-up back.
    ScaleUpStabilized,
    /// It held a scale-down back.
    ScaleDownStabilized,
}

/// What bound the count; the reason of the condition `ScalingLimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Nothing.
    DesiredWithinRange,
    /// The rate of scaling up.
    ScaleUpLimit,
    /// The rate of scaling down.
    ScaleDownLimit,
    /// `maxReplicas`.
    TooManyReplicas,
    /// `minReplicas`.
    TooFewReplicas,
}

/// A count that may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// The count.
    pub desired: i32,
    /// What stabilisation did.
    pub stabilized: Stabilized,
    /// What bound it then.
    pub limited: Limited,
}

/// Pods added or removed at a time: an entry of the log of scale events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub pods: i64,
}

/// The controller's memory of one HPA.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    behavior: Option<Behavior>,
    legacy: Legacy,
    /// Unstabilised recommendations; `None` until the first reconcile.
    recommendations: Option<Vec<(i32, Timestamp)>>,
    ups: Vec<Change>,
    downs: Vec<Change>,
}

impl Normalizer {
    /// Without any memory.
    pub const fn new(behavior: Option<Behavior>, legacy: Legacy) -> Self {
        Self { behavior, legacy, recommendations: None, ups: Vec::new(), downs: Vec::new() }
    }

    /// Forgets all.
    pub fn reset(&mut self) {
        self.recommendations = None;
        self.ups.clear();
        self.downs.clear();
    }

    /// Before anything else in a reconcile: the log starts with the count that was found.
    pub fn begin(&mut self, spec: i32, now: Timestamp) {
        self.recommendations.get_or_insert_with(|| {
            let mut log = Vec::with_capacity(FEW);
            log.push((spec, now));
            log
        });
    }

    /// Takes over a log of recommendations.
    pub fn set_recommendations(&mut self, recommendations: Vec<(i32, Timestamp)>) {
        self.recommendations = Some(recommendations);
    }

    /// Unstabilised recommendations, as far as they are remembered.
    pub fn recommendations(&self) -> &[(i32, Timestamp)] {
        self.recommendations.as_deref().unwrap_or_default()
    }

    /// Takes over the logs of scale events, up and down.
    pub fn set_changes(&mut self, ups: Vec<Change>, downs: Vec<Change>) {
        (self.ups, self.downs) = (ups, downs);
    }

    /// The logs of scale events, up and down.
    pub fn changes(&self) -> (&[Change], &[Change]) {
        (&self.ups, &self.downs)
    }

    /// Pods added and pods removed after `cutoff`.
    pub fn changed_after(&self, cutoff: Timestamp) -> (i64, i64) {
        let sum = |changes: &[Change]| -> i64 {
            changes.iter().filter(|change| change.at > cutoff).map(|change| change.pods).sum()
        };
        (sum(&self.ups), sum(&self.downs))
    }

    /// Stabilises and limits a proposal.
    pub fn normalize(&mut self, spec: i32, proposed: i32, range: Range, now: Timestamp) -> Normalized {
        let stable = self.stabilize(spec, proposed, now);
        let (desired, limited) = match &self.behavior {
            None => self.limit_by_factor(spec, stable, range),
            Some(behavior) => self.limit_by_rate(behavior, spec, stable, range, now),
        };
        let stabilized = if stable == proposed {
            Stabilized::ReadyForNewScale
        } else if self.behavior.is_some() && proposed >= spec {
            Stabilized::ScaleUpStabilized
        } else {
            Stabilized::ScaleDownStabilized
        };
        Normalized { desired, stabilized, limited }
    }

    fn stabilize(&mut self, spec: i32, proposed: i32, now: Timestamp) -> i32 {
        let log = self.recommendations.get_or_insert_default();
        let (mut low, mut high) = (proposed, proposed);
        let mut window = self.legacy.downscale_stabilization;
        let outdated = if let Some(behavior) = &self.behavior {
            let (up, down) = (behavior.scale_up.window(), behavior.scale_down.window());
            window = up.max(down);
            for &(replicas, at) in &*log {
                // The cutoff itself is outside here …
                if at > now - up {
                    low = low.min(replicas);
                }
                if at > now - down {
                    high = high.max(replicas);
                }
            }
            log.iter().rposition(|&(_, at)| at < now - up && at < now - down)
        } else {
            // … and inside there.
            let cutoff = now - window;
            let recent = log.iter().filter(|&&(_, at)| at >= cutoff);
            high = recent.fold(high, |high, &(replicas, _)| high.max(replicas));
            log.iter().rposition(|&(_, at)| at < cutoff)
        };
        if let Some(index) = outdated {
            log[index] = (proposed, now);
        } else {
            if log.len() == log.capacity() {
                log.reserve_exact(room(log, now, window));
            }
            log.push((proposed, now));
        }
        if self.behavior.is_some() { spec.max(low).min(high) } else { high }
    }

    fn limit_by_factor(&self, spec: i32, wish: i32, range: Range) -> (i32, Limited) {
        let Legacy { scale_up_limit_factor, scale_up_limit_minimum, .. } = self.legacy;
        let most = (scale_up_limit_factor * f64::from(spec)).max(scale_up_limit_minimum) as i32;
        let (cap, limited) = if range.max > most {
            (most, Limited::ScaleUpLimit)
        } else {
            (range.max, Limited::TooManyReplicas)
        };
        if wish < range.min {
            (range.min, Limited::TooFewReplicas)
        } else if wish > cap {
            (cap, limited)
        } else {
            (wish, Limited::DesiredWithinRange)
        }
    }

    fn limit_by_rate(
        &self,
        behavior: &Behavior,
        spec: i32,
        wish: i32,
        range: Range,
        now: Timestamp,
    ) -> (i32, Limited) {
        match wish.cmp(&spec) {
            Ordering::Greater => {
                let most = self.most(behavior, spec, now).max(spec);
                let (cap, limited) = if range.max > most {
                    (most, Limited::ScaleUpLimit)
                } else {
                    (range.max, Limited::TooManyReplicas)
                };
                if wish > cap { (cap, limited) } else { (wish, Limited::DesiredWithinRange) }
            }
            Ordering::Less => {
                let least = self.least(behavior, spec, now).min(spec);
                let (floor, limited) = if range.min < least {
                    (least, Limited::ScaleDownLimit)
                } else {
                    (range.min, Limited::TooFewReplicas)
                };
                if wish < floor { (floor, limited) } else { (wish, Limited::DesiredWithinRange) }
            }
            Ordering::Equal => (wish, Limited::DesiredWithinRange),
        }
    }

    /// The count at the start of a policy's period, as far as the recorded changes tell.
    fn base(&self, spec: i32, period_seconds: u32, now: Timestamp) -> i64 {
        let (up, down) = self.changed_after(now - Duration::from_secs(u64::from(period_seconds)));
        i64::from(spec) - up + down
    }

    fn most(&self, behavior: &Behavior, spec: i32, now: Timestamp) -> i32 {
        let rules = &behavior.scale_up;
        let proposals = rules.policies.iter().map(|policy| {
            let base = self.base(spec, policy.period_seconds, now);
            match policy.kind {
                PolicyType::Pods => base + i64::from(policy.value),
                PolicyType::Percent => (base as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i64,
            }
        });
        select(rules.select_policy, spec, proposals.clone().max(), proposals.min())
    }

    fn least(&self, behavior: &Behavior, spec: i32, now: Timestamp) -> i32 {
        let rules = &behavior.scale_down;
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
    pub fn rescaled(&mut self, from: i32, to: i32, now: Timestamp) {
        let Some(behavior) = &self.behavior else { return };
        let change = Change { at: now, pods: i64::from(from.abs_diff(to)) };
        match to.cmp(&from) {
            Ordering::Greater => store(&mut self.ups, change, behavior.scale_up.longest_period()),
            Ordering::Less => store(&mut self.downs, change, behavior.scale_down.longest_period()),
            Ordering::Equal => {}
        }
    }
}

fn select(policy: SelectPolicy, spec: i32, largest_change: Option<i64>, smallest_change: Option<i64>) -> i32 {
    let chosen = match policy {
        SelectPolicy::Max => largest_change,
        SelectPolicy::Min => smallest_change,
        SelectPolicy::Disabled => None,
    };
    chosen.map_or(spec, |count| count.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
}

/// Entries of a log that there is room for at first.
const FEW: usize = 4;

/// For how many more entries there should be room: at the pace so far, a window's. Growing by steps would leave holes behind,
/// which add up with thousands of HPAs.
fn room(log: &[(i32, Timestamp)], now: Timestamp, window: Duration) -> usize {
    const MOST: usize = 256;
    let Some(&(_, first)) = log.first() else { return FEW };
    // The first two are of one moment.
    let pace = now.since(first).as_secs_f64() / (log.len().max(2) - 1) as f64;
    if pace == 0.0 {
        return FEW;
    }
    let held = (window.as_secs_f64() / pace) as usize;
    held.saturating_add(FEW).saturating_sub(log.len()).clamp(FEW, MOST)
}

/// The last outdated entry makes room for the new one.
fn store(changes: &mut Vec<Change>, change: Change, longest: Duration) {
    match changes.iter().rposition(|old| old.at < change.at - longest) {
        Some(index) => changes[index] = change,
        None => changes.push(change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { min: 1, max: 100 };

    fn run(normalizer: &mut Normalizer, spec: i32, proposed: i32, at: i64) -> Normalized {
        let now = Timestamp::from_secs(at);
        normalizer.begin(spec, now);
        let normalized = normalizer.normalize(spec, proposed, RANGE, now);
        normalizer.rescaled(spec, normalized.desired, now);
        normalized
    }

    fn with_behavior(behavior: Behavior) -> Normalizer {
        Normalizer::new(Some(behavior), Legacy::default())
    }

    #[test]
    fn up_goes_by_the_larger_of_four_pods_and_double_per_15_s() {
        let mut hpa = with_behavior(Behavior::default());
        let mut run = |spec, proposed, at| {
            let Normalized { desired, limited, .. } = run(&mut hpa, spec, proposed, at);
            (desired, limited)
        };
        assert_eq!(run(2, 50, 0), (6, Limited::ScaleUpLimit));
        // 10 s later the period's base is still 2, so nothing more is allowed.
        assert_eq!(run(6, 50, 10), (6, Limited::ScaleUpLimit));
        assert_eq!(run(6, 50, 15), (12, Limited::ScaleUpLimit));
        assert_eq!(run(12, 13, 30), (13, Limited::DesiredWithinRange));
    }

    #[test]
    fn down_waits_for_the_highest_recommendation_of_300_s() {
        for (behavior, at_the_cutoff) in [(Some(Behavior::default()), 6), (None, 10)] {
            let mut hpa = Normalizer::new(behavior, Legacy::default());
            let mut run = |spec, proposed, at| {
                let Normalized { desired, stabilized, .. } = run(&mut hpa, spec, proposed, at);
                (desired, stabilized)
            };
            assert_eq!(run(10, 4, 0), (10, Stabilized::ScaleDownStabilized));
            assert_eq!(run(10, 6, 150), (10, Stabilized::ScaleDownStabilized));
            // The first reconcile logged 10 at 0; at exactly 300 s that counts without `behavior` only.
            assert_eq!(run(10, 4, 300), (at_the_cutoff, Stabilized::ScaleDownStabilized));
            assert_eq!(run(6, 4, 451), (4, Stabilized::ReadyForNewScale));
        }
    }

    #[test]
    fn a_disabled_direction_does_not_move() {
        let mut behavior = Behavior::default();
        behavior.scale_up.select_policy = SelectPolicy::Disabled;
        assert_eq!(run(&mut with_behavior(behavior), 3, 9, 0).desired, 3);
    }

    #[test]
    fn the_log_is_moved_once_and_has_hardly_more_room_than_it_needs() {
        for period in [5, 15, 60] {
            let mut hpa = with_behavior(Behavior::default());
            let mut rooms = Vec::new();
            for k in 0..200 {
                run(&mut hpa, 10, 10, k * period);
                rooms.push(hpa.recommendations.as_ref().unwrap().capacity());
            }
            let held = hpa.recommendations.unwrap().len();
            rooms.dedup();
            let [FEW, last] = rooms[..] else { panic!("{rooms:?}") };
            assert!((held..held + FEW).contains(&last), "{last} for {held}");
        }
    }
}
