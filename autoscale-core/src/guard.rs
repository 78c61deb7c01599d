//! What any policy is held to: bounds around the reactive rule, a budget for flapping, and fresh measurements. The
//! same state machines in the simulator and in the cluster.

use crate::limits::Bound;
use crate::policy::{Decision, Observation, Target};
use crate::rule::reactive;
use crate::units::{Replicas, Timestamp, Utilization};
use crate::validate::{ConfigError, Validate, count_in_range, in_range};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// Bounds around the reactive rule, and a budget for flapping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvelopeConfig {
    /// CPU use as a share of the request that the reactive rule aims at, 0.01 to 10.
    pub target_utilization: f64,
    /// No fewer pods than this times the rule's answer, 0 to 1; 0 for no floor.
    pub floor: f64,
    /// No more pods than this times the rule's answer, 1 to 1,000.
    pub ceiling: f64,
    /// Changes of direction within any hour, 0 to 1,000. When they are spent, a policy may still scale up, so there
    /// is one more at most.
    pub reversals_per_hour: u32,
}

impl Default for EnvelopeConfig {
    fn default() -> Self {
        Self { target_utilization: 0.9, floor: 1.0, ceiling: 4.0, reversals_per_hour: 20 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// The envelope of one workload.
#[derive(Clone, Debug)]
pub struct Envelope {
    config: EnvelopeConfig,
    /// Which way the last change went.
    last: Option<Direction>,
    reversals: VecDeque<Timestamp>,
}

impl Validate for EnvelopeConfig {
    type Checked = Envelope;

    fn validate(self) -> Result<Envelope, ConfigError> {
        in_range("target_utilization", self.target_utilization, 0.01, 10.0)?;
        in_range("floor", self.floor, 0.0, 1.0)?;
        in_range("ceiling", self.ceiling, 1.0, 1000.0)?;
        count_in_range("reversals_per_hour", u64::from(self.reversals_per_hour), 0, 1000)?;
        Ok(Envelope { config: self, last: None, reversals: VecDeque::new() })
    }
}

impl Envelope {
    /// Forgets what was granted.
    pub fn reset(&mut self) {
        self.last = None;
        self.reversals.clear();
    }

    /// The decision, held within the envelope. The floor is the last word, for too few pods hurt more than a change
    /// too many; without usable samples there is neither floor nor ceiling.
    pub fn hold(&mut self, observation: &Observation<'_>, mut decision: Decision) -> Decision {
        let (now, spec) = (observation.now, observation.workload.spec);
        let target = Utilization::from_fraction(self.config.target_utilization);
        let needed = reactive(observation, target).map(|pods| f64::from(pods.get()));
        let mut wish = decision.target.or(spec);
        let mut bind = |wish: &mut Replicas, to: Replicas, bound| {
            *wish = to;
            decision.reason.bound = bound;
        };
        // Pods that have been asked for but do not serve yet are not asked for again.
        let ceiling =
            needed.map(|n| Replicas::from_ceil(n * self.config.ceiling).max(observation.limits.min()));
        if let Some(ceiling) = ceiling.filter(|&ceiling| wish > ceiling.max(spec)) {
            bind(&mut wish, ceiling.max(spec), Bound::Ceiling);
        }
        while self.reversals.front().is_some_and(|&at| at + HOUR <= now) {
            self.reversals.pop_front();
        }
        let spent = self.reversals.len() >= self.config.reversals_per_hour as usize;
        if spent && wish < spec && self.last == Some(Direction::Up) {
            bind(&mut wish, spec, Bound::FlapBudget);
        }
        let floor = needed.map(|n| Replicas::from_ceil(n * self.config.floor));
        // What the driver would clamp anyway is no business of the floor.
        let floor = floor.map(|floor| floor.min(observation.limits.max()));
        if let Some(floor) = floor.filter(|&floor| wish < floor) {
            bind(&mut wish, floor, Bound::Floor);
        }
        let granted = observation.limits.grant(spec, Target::ScaleTo(wish)).replicas;
        let direction = match granted.cmp(&spec) {
            std::cmp::Ordering::Less => Some(Direction::Down),
            std::cmp::Ordering::Greater => Some(Direction::Up),
            std::cmp::Ordering::Equal => None,
        };
        if let Some(direction) = direction {
            if self.last.is_some_and(|last| last != direction) {
                self.reversals.push_back(now);
            }
            self.last = Some(direction);
        }
        Decision { target: Target::ScaleTo(wish), ..decision }
    }
}

/// When measurements are too old to act on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreshnessConfig {
    /// A measurement is stale above this age, 1 to 3,600 s.
    pub max_age_s: u32,
    /// Fresh measurements in a row before one is trusted again, 1 to 1,000.
    pub recover_after: u32,
}

impl Default for FreshnessConfig {
    fn default() -> Self {
        Self { max_age_s: 90, recover_after: 3 }
    }
}

/// Whether measurements can be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// They can.
    Fresh,
    /// They are missing, too old or no numbers, or have been until just now.
    Stale,
}

/// Watches the age of measurements: stale at once, fresh again only after a while.
#[derive(Clone, Debug)]
pub struct FreshnessGate {
    config: FreshnessConfig,
    /// Good looks in a row that are still missing.
    missing: u32,
}

impl Validate for FreshnessConfig {
    type Checked = FreshnessGate;

    fn validate(self) -> Result<FreshnessGate, ConfigError> {
        count_in_range("max_age_s", u64::from(self.max_age_s), 1, 3600)?;
        count_in_range("recover_after", u64::from(self.recover_after), 1, 1000)?;
        Ok(FreshnessGate { config: self, missing: 0 })
    }
}

impl FreshnessGate {
    /// Forgets what it saw.
    pub fn reset(&mut self) {
        self.missing = 0;
    }

    /// Looks at the newest measurement.
    pub fn look(&mut self, observation: &Observation<'_>) -> Freshness {
        let limit = Duration::from_secs(u64::from(self.config.max_age_s));
        let good = observation.history.last().is_some_and(|m| {
            observation.now.since(m.at) + m.age <= limit
                && m.arrival_rate.per_second().is_finite()
                && m.cpu_utilization.is_none_or(|u| u.fraction().is_finite())
        });
        self.missing = if good { self.missing.saturating_sub(1) } else { self.config.recover_after };
        if self.missing == 0 { Freshness::Fresh } else { Freshness::Stale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ScalingLimits;
    use crate::measurement::{Measurement, ReplicaCounts};
    use crate::policy::{LastWrite, Reason, WorkloadStatus};
    use crate::sample::{
        ContainerKind, ContainerSpec, ContainerUsage, PodPhase, PodSample, ReadyCondition, ReadyStatus,
        ResourceList, UsageSample,
    };
    use crate::units::{Milli, RequestRate, TimeOfWeek};
    use proptest::prelude::*;

    /// `count` pods at this CPU use, in percent of their request.
    fn pods(count: u32, percent: i64, now: Timestamp) -> Vec<PodSample> {
        let resources = |milli| ResourceList { cpu: Some(Milli::new(milli)), memory: None };
        let container =
            ContainerSpec { name: "c".into(), kind: ContainerKind::Main, requests: resources(1000) };
        let long_ago = now - HOUR * 10;
        let pod = |_| PodSample {
            name: "p".into(),
            phase: PodPhase::Running,
            created: long_ago,
            started: Some(long_ago),
            ready: Some(ReadyCondition { status: ReadyStatus::True, last_transition: long_ago }),
            deletion: None,
            containers: [container.clone()].into(),
            pod_level_requests: None,
            usage: Some(UsageSample {
                timestamp: now,
                window: Duration::from_secs(15),
                containers: vec![ContainerUsage { name: "c".into(), usage: resources(percent * 10) }],
            }),
        };
        (0..count).map(pod).collect()
    }

    fn measurement(at: Timestamp, age: u64) -> Measurement {
        Measurement {
            at,
            age: Duration::from_secs(age),
            arrival_rate: RequestRate::ZERO,
            cpu_utilization: None,
            memory_bytes: 0,
            in_flight: 0.0,
            queued: 0.0,
            latency: None,
            error_rate: RequestRate::ZERO,
            timeout_rate: RequestRate::ZERO,
            replicas: ReplicaCounts::default(),
        }
    }

    proptest! {
        #[test]
        fn whatever_is_wished_stays_within_the_envelope(
            steps in proptest::collection::vec((0u32..100, 1i64..200, 1u64..900), 1..120),
            floor in 0.0f64..1.0, ceiling in 1.0f64..5.0, budget in 0u32..10,
        ) {
            let limits = ScalingLimits::between(Replicas::ONE, Replicas::new(40)).unwrap();
            let config = EnvelopeConfig { target_utilization: 0.8, floor, ceiling, reversals_per_hour: budget };
            let mut envelope = config.validate().unwrap();
            let (mut now, mut spec) = (Timestamp::ZERO, Replicas::new(5));
            let (mut last, mut reversals) = (0i64, Vec::new());
            for (wish, percent, seconds) in steps {
                now += Duration::from_secs(seconds);
                let pods = pods(spec.get(), percent, now);
                let workload = WorkloadStatus { spec, status: spec, last_write: LastWrite::Succeeded };
                let seen = Observation {
                    now,
                    time_of_week: TimeOfWeek::MONDAY,
                    workload,
                    pods: &pods,
                    series: &[],
                    history: &[],
                    limits: &limits,
                };
                let wish = Decision::scale_to(Replicas::new(wish), Reason::rule("wish"));
                let held = envelope.hold(&seen, wish);
                let granted = limits.grant(spec, held.target).replicas;
                let needed = f64::from(reactive(&seen, Utilization::from_fraction(0.8)).unwrap().get());
                let least = (needed * floor).min(40.0);
                prop_assert!(f64::from(granted.get()) >= least.floor(), "{granted} below {least}");
                let most = (needed * ceiling).ceil().max(f64::from(spec.get())).max(1.0);
                prop_assert!(f64::from(granted.get()) <= most, "{granted} above {most}");
                prop_assert_eq!(held.reason.bound == Bound::None, held.target == wish.target);
                let direction = i64::from(granted.get()) - i64::from(spec.get());
                if direction * last < 0 {
                    reversals.push(now);
                }
                if direction != 0 {
                    last = direction;
                }
                let within = reversals.iter().filter(|&&at| at + HOUR > now).count();
                prop_assert!(within <= budget as usize + 1, "{within} reversals within an hour");
                spec = granted;
            }
        }
    }

    #[test]
    fn stale_at_once_and_fresh_after_a_while() {
        let limits = ScalingLimits::between(Replicas::ONE, Replicas::new(40)).unwrap();
        let mut gate = FreshnessConfig { max_age_s: 60, recover_after: 3 }.validate().unwrap();
        let now = Timestamp::from_secs(1000);
        let workload =
            WorkloadStatus { spec: Replicas::ONE, status: Replicas::ONE, last_write: LastWrite::Never };
        let mut look = |history: &[Measurement]| {
            gate.look(&Observation {
                now,
                time_of_week: TimeOfWeek::MONDAY,
                workload,
                pods: &[],
                series: &[],
                history,
                limits: &limits,
            })
        };
        let good = [measurement(now - Duration::from_secs(40), 20)];
        let old = [measurement(now - Duration::from_secs(40), 21)];
        assert_eq!(look(&good), Freshness::Fresh);
        for bad in [&[][..], &old] {
            assert_eq!(look(bad), Freshness::Stale);
            assert_eq!(
                [look(&good), look(&good), look(&good)],
                [Freshness::Stale, Freshness::Stale, Freshness::Fresh]
            );
        }
    }
}
