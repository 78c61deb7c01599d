//! From pods and their CPU use to a proposed replica count (`replica_calculator.go`).

use autoscale_core::rule::{Tolerance, ratio_rule};
use autoscale_core::sample::{PodPhase, PodSample, ReadyStatus, UsageSample};
use autoscale_core::units::{Milli, Replicas, Timestamp};
use std::time::Duration;

/// A CPU utilisation target and the controller's settings that bear on it.
#[derive(Clone, Copy, Debug)]
pub struct CpuTarget {
    /// Target in percent of the request.
    pub percent: u32,
    /// How far the ratio may be from 1 without a change.
    pub tolerance: Tolerance,
    /// While a pod is younger than this, its CPU counts only once it has been ready for a whole window.
    pub cpu_initialization_period: Duration,
    /// A pod that turned unready within this time of its start has never been ready.
    pub initial_readiness_delay: Duration,
}

/// A proposed count and the rule that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The count, before stabilisation, rate limits and bounds.
    pub replicas: Replicas,
    /// `ratio`, `within-tolerance` or `ambiguous` (missing or unready pods could turn the answer round).
    pub rule: &'static str,
}

/// Why there is no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProposal {
    /// The metrics API has no sample at all.
    NoMetrics,
    /// No pod whose sample may be used.
    NoUsablePods,
    /// A pod states no CPU request.
    MissingRequest,
}

impl NoProposal {
    /// The rule's name in a reason.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::NoMetrics => "no-metrics",
            Self::NoUsablePods => "no-usable-pods",
            Self::MissingRequest => "missing-request",
        }
    }
}

/// What becomes of a pod in the calculation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Ignored,
    Unready,
    Missing,
    Ready,
}

impl CpuTarget {
    fn classify(&self, pod: &PodSample, now: Timestamp) -> Class {
        if pod.deletion.is_some() || pod.phase == PodPhase::Failed {
            return Class::Ignored;
        }
        if pod.phase == PodPhase::Pending {
            return Class::Unready;
        }
        let Some(sample) = pod.usage.as_ref().filter(|usage| usage.cpu().is_some()) else {
            return Class::Missing;
        };
        let (Some(ready), Some(started)) = (pod.ready, pod.started) else { return Class::Unready };
        let not_ready = ready.status == ReadyStatus::False;
        let unready = if started + self.cpu_initialization_period > now {
            not_ready || sample.timestamp < ready.last_transition + sample.window
        } else {
            not_ready && started + self.initial_readiness_delay > ready.last_transition
        };
        if unready { Class::Unready } else { Class::Ready }
    }

    /// Proposes a count for a workload whose `spec.replicas` is `current`.
    ///
    /// # Errors
    /// When there is nothing to calculate with; the controller then leaves the workload alone.
    pub fn propose(
        &self,
        current: Replicas,
        pods: &[PodSample],
        now: Timestamp,
    ) -> Result<Proposal, NoProposal> {
        if pods.iter().all(|pod| pod.usage.is_none()) {
            return Err(NoProposal::NoMetrics);
        }
        // (used, requested) in millicores, one entry a pod that counts.
        let mut counted: Vec<(i64, i64)> = Vec::with_capacity(pods.len());
        let (mut unready, mut missing) = (Vec::new(), Vec::new());
        for pod in pods {
            let request = pod.cpu_request().ok_or(NoProposal::MissingRequest)?.get();
            match self.classify(pod, now) {
                Class::Ignored => {}
                Class::Unready => unready.push(request),
                Class::Missing => missing.push(request),
                Class::Ready => {
                    let used = pod.usage.as_ref().and_then(UsageSample::cpu).map_or(0, Milli::get);
                    counted.push((used, request));
                }
            }
        }
        if counted.is_empty() {
            return Err(NoProposal::NoUsablePods);
        }
        let first = self.ratio(&counted).ok_or(NoProposal::MissingRequest)?;
        let settle = |replicas, rule| Ok(Proposal { replicas, rule });
        let count_unready = first > 1.0 && !unready.is_empty();
        if !count_unready && missing.is_empty() {
            if self.tolerance.contains(first) {
                return settle(current, "within-tolerance");
            }
            return settle(ratio_rule(first, counted.len() as u32), "ratio");
        }
        // Missing pods are taken to be fully busy on the way down and idle on the way up.
        if first < 1.0 {
            let percent = i64::from(self.percent.max(100));
            counted.extend(missing.iter().map(|&request| (request * percent / 100, request)));
        } else if first > 1.0 {
            counted.extend(missing.iter().map(|&request| (0, request)));
        }
        if count_unready {
            counted.extend(unready.iter().map(|&request| (0, request)));
        }
        let second = self.ratio(&counted).ok_or(NoProposal::MissingRequest)?;
        if self.tolerance.contains(second) {
            return settle(current, "within-tolerance");
        }
        let proposed = ratio_rule(second, counted.len() as u32);
        let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
        let contrary = (second < 1.0 && proposed > current) || (second > 1.0 && proposed < current);
        if turned || contrary { settle(current, "ambiguous") } else { settle(proposed, "ratio") }
    }

    /// Use over target: whole percents, truncated, then divided. `None` without any request.
    fn ratio(&self, counted: &[(i64, i64)]) -> Option<f64> {
        let (used, requested) =
            counted.iter().fold((0, 0), |(u, r), &(used, request)| (u + used, r + request));
        let percent = (100 * used).checked_div(requested)?;
        Some(percent as f64 / f64::from(self.percent))
    }
}
