//! The ratio rule without memory: what a residual action multiplies.

use autoscale_core::limits::Bound;
use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::rule::ratio_rule;
use autoscale_core::sample::UsageSample;
use autoscale_core::seed::Seed;
use autoscale_core::units::Utilization;
use std::time::Duration;

/// Asks for as many pods as would bring CPU use to the target, without tolerance or stabilisation.
///
/// Serving pods without a usage sample are taken to work as hard as those with one, so the answer follows the
/// load and not the number of samples.
#[derive(Clone, Copy, Debug)]
pub struct RatioRule {
    target: Utilization,
    period: Duration,
}

impl RatioRule {
    /// The rule towards `target`, asked every `period`.
    pub const fn new(target: Utilization, period: Duration) -> Self {
        Self { target, period }
    }
}

impl Policy for RatioRule {
    fn cadence(&self) -> Cadence {
        Cadence::every(self.period)
    }

    fn reset(&mut self, _: Seed) {}

    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
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
        if requested == 0 {
            return Decision::hold(Reason::rule("no-samples"));
        }
        let ratio = used as f64 / requested as f64 / self.target.fraction();
        let raw = ratio_rule(ratio, serving);
        let reason = Reason { rule: "ratio", metric: Some("cpu"), raw: Some(raw), bound: Bound::None };
        Decision::scale_to(raw, reason)
    }
}
