//! The ratio rule: usage over target, times pods. The only copy.

use crate::policy::Observation;
use crate::sample::UsageSample;
use crate::units::{Replicas, Utilization};
use crate::validate::{ConfigError, in_range};

/// A ratio inside the tolerance calls for no change.
///
/// As the Kubernetes controller since v1.33: `1 - down <= ratio <= 1 + up`, inclusive, and NaN is never
/// within (`replica_calculator.go`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    down: f64,
    up: f64,
}

impl Tolerance {
    /// The controller's default, 10 % either way.
    pub const DEFAULT: Self = Self { down: 0.1, up: 0.1 };

    /// Tolerances as fractions of the target.
    ///
    /// # Errors
    /// When one is negative, above 100, or NaN.
    pub fn new(down: f64, up: f64) -> Result<Self, ConfigError> {
        Ok(Self {
            down: in_range("tolerance.down", down, 0.0, 100.0)?,
            up: in_range("tolerance.up", up, 0.0, 100.0)?,
        })
    }

    /// Whether `ratio` is close enough to 1 to leave things as they are.
    pub fn contains(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// `ceil(ratio × pods)`, where `ratio` is usage over target and `pods` are those that the usage was
/// averaged over; NaN and negative ratios give zero.
pub fn ratio_rule(ratio: f64, pods: u32) -> Replicas {
    Replicas::from_ceil(ratio * f64::from(pods))
}

/// The ratio rule on measured CPU use: as many pods as would bring it to `target`, without tolerance or memory; `None`
/// without a usable sample.
///
/// Serving pods without a sample are taken to work as hard as those with one, so the answer follows the load and not
/// the number of samples.
pub fn reactive(observation: &Observation<'_>, target: Utilization) -> Option<Replicas> {
    measured_use(observation).map(|measured| measured.pods(target))
}

/// CPU use of serving pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredUse {
    /// As a share of the requests, over the pods with a usable sample.
    utilization: f64,
    /// Pods that serve, with a sample or without.
    serving: u32,
}

impl MeasuredUse {
    /// So many serving pods that are this busy.
    pub fn new(utilization: Utilization, serving: u32) -> Self {
        Self { utilization: utilization.fraction(), serving }
    }

    /// As many pods as would bring the use to `target`.
    pub fn pods(self, target: Utilization) -> Replicas {
        ratio_rule(self.utilization / target.fraction(), self.serving)
    }
}

/// What the ratio rule needs to know; `None` without a usable sample.
pub fn measured_use(observation: &Observation<'_>) -> Option<MeasuredUse> {
    let (mut serving, mut used, mut requested) = (0, 0, 0);
    for pod in observation.pods.iter().filter(|pod| pod.is_serving()) {
        serving += 1;
        // A window that reaches back before readiness would count start-up work or idleness.
        let sample = pod.usage.as_ref().filter(|usage| {
            pod.ready.is_some_and(|ready| usage.timestamp - usage.window >= ready.last_transition)
        });
        if let (Some(cpu), Some(request)) = (sample.and_then(UsageSample::cpu), pod.cpu_request()) {
            used += cpu.get();
            requested += request.get();
        }
    }
    (requested > 0).then(|| MeasuredUse { utilization: used as f64 / requested as f64, serving })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolerance_is_inclusive_on_both_sides() {
        // 55 % of a 50 % target: with the two-sided comparison exactly 1.1 means stay.
        assert!(Tolerance::DEFAULT.contains(55.0 / 50.0));
        assert!(Tolerance::DEFAULT.contains(0.9));
        assert!(!Tolerance::DEFAULT.contains(0.899));
        assert!(!Tolerance::DEFAULT.contains(f64::NAN));
    }

    #[test]
    fn the_rule_rounds_up() {
        assert_eq!(ratio_rule(1.2, 5), Replicas::new(6));
        assert_eq!(ratio_rule(1.01, 5), Replicas::new(6));
        assert_eq!(ratio_rule(0.0, 5), Replicas::ZERO);
    }
}
