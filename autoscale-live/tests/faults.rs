//! Whatever breaks outside, what is written stays within the envelope, and nothing is written that must not be.

use autoscale_core::guard::{EnvelopeConfig, FreshnessConfig, LadderConfig, Rung};
use autoscale_core::limits::LimitsConfig;
use autoscale_core::measurement::{Measurement, ReplicaCounts};
use autoscale_core::policy::{LastWrite, Observation, Policy, WorkloadStatus};
use autoscale_core::rule::reactive;
use autoscale_core::sample::{
    ContainerKind, ContainerSpec, ContainerUsage, PodPhase, PodSample, ReadyCondition, ReadyStatus,
    ResourceList, UsageSample,
};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Milli, Replicas, RequestRate, TimeOfWeek, Timestamp, Utilization};
use autoscale_core::validate::Validate;
use autoscale_live::controller::{
    Collected, Command, Controller, ControllerConfig, Deciders, DecisionRecord, Effect, Generation, Input,
    Leadership, Mode, Ownership, Round, Ticket, Workload, WriteFailure,
};
use autoscale_policies::random::RandomPolicy;
use autoscale_policies::ratio::RatioRule;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_hours(1);
const LIMITS: LimitsConfig =
    LimitsConfig { min_replicas: 2, max_replicas: 40, max_step_up: None, max_step_down: Some(9) };

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Time goes on to the moment that the controller asked for.
    Wake,
    /// It is woken at a moment that it did not ask for.
    WakeAnyhow,
    /// Time goes on by so many seconds.
    Pass(u32),
    /// The clock is set by so many seconds.
    Set(i32),
    /// All sources that are up answer the newest round, or the one before.
    Answer { late: bool, measured: Measured, pods: Option<i64> },
    /// The API server answers the oldest write, or loses it.
    Write(Option<Reply>),
    /// Someone else sets `spec.replicas`.
    Foreign(u32),
    /// An autoscaler for the same object comes or goes.
    Rival(bool),
    /// A manager applies `spec.replicas`, or lets go of it.
    Owner(bool),
    /// Another controller leads, or no longer.
    Leading(bool),
    /// The watch tells what is so, or what was so a while ago.
    News { late: bool },
    /// The watch breaks.
    Lost,
}

#[derive(Clone, Debug)]
enum Measured {
    Well(u32),
    Old(u32),
    Frozen,
    Infinite,
    Missing,
}

#[derive(Clone, Debug)]
enum Reply {
    Done,
    Conflict,
    Busy,
    Forbidden,
}

fn event() -> impl Strategy<Value = Event> {
    let measured = prop_oneof![
        12 => (0u32..500).prop_map(Measured::Well),
        1 => (0u32..500).prop_map(Measured::Old),
        1 => Just(Measured::Frozen),
        1 => Just(Measured::Infinite),
        2 => Just(Measured::Missing),
    ];
    let reply = prop_oneof![8 => Just(Reply::Done), 1 => Just(Reply::Conflict), 1 => Just(Reply::Busy), 1 => Just(Reply::Forbidden)];
    let pods = prop_oneof![6 => (1i64..250).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        30 => Just(Event::Wake),
        1 => Just(Event::WakeAnyhow),
        3 => (0u32..40).prop_map(Event::Pass),
        1 => (-4000i32..4000).prop_map(Event::Set),
        30 => (prop::bool::weighted(0.05), measured, pods)
            .prop_map(|(late, measured, pods)| Event::Answer { late, measured, pods }),
        12 => prop::option::weighted(0.9, reply).prop_map(Event::Write),
        1 => (0u32..60).prop_map(Event::Foreign),
        1 => prop::bool::weighted(0.3).prop_map(Event::Rival),
        1 => prop::bool::weighted(0.3).prop_map(Event::Owner),
        1 => prop::bool::weighted(0.8).prop_map(Event::Leading),
        20 => prop::bool::weighted(0.2).prop_map(|late| Event::News { late }),
        1 => Just(Event::Lost),
    ]
}

/// A cluster that does what the events say, and looks at all that the controller does.
struct Cluster {
    controller: Controller,
    config: ControllerConfig,
    now: Timestamp,
    wake_at: Timestamp,
    /// The round before, and the newest one until it is answered.
    rounds: (Option<Round>, Option<Round>),
    object: Workload,
    before: Workload,
    leadership: Leadership,
    writes: VecDeque<(Ticket, Replicas)>,
    /// What the controller has been told.
    told: Option<Workload>,
    pods: Vec<PodSample>,
    /// Which way the last decision went, and when it was another way than before, since the clock was set.
    went_up: Option<bool>,
    reversals: Vec<Timestamp>,
    sent_at: Option<Timestamp>,
    steps: u64,
}

impl Cluster {
    fn new(config: ControllerConfig, seed: u64) -> Self {
        let ratio = || Box::new(RatioRule::new(Utilization::from_fraction(0.7), PERIOD));
        let deciders = Deciders {
            name: "random".into(),
            policy: Box::new(RandomPolicy::new(PERIOD)),
            fallback: seed.is_multiple_of(2).then(|| ratio() as Box<dyn Policy + Send>),
        };
        let object = Workload {
            generation: Generation::new(1),
            spec: Replicas::new(5),
            status: Replicas::new(5),
            rival: None,
            owner: None,
        };
        let now = Timestamp::from_secs(1_000_000);
        Self {
            controller: Controller::new(config.validate().expect("valid"), deciders, Seed::root(seed)),
            config,
            now,
            wake_at: now,
            rounds: (None, None),
            before: object.clone(),
            object,
            leadership: Leadership::Standby,
            writes: VecDeque::new(),
            told: None,
            pods: Vec::new(),
            went_up: None,
            reversals: Vec::new(),
            sent_at: None,
            steps: 0,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), TestCaseError> {
        self.steps += 1;
        match event {
            Event::Wake => {
                self.now = self.now.max(self.wake_at);
                self.wake()
            }
            Event::WakeAnyhow => self.wake(),
            Event::Pass(seconds) => {
                self.now += Duration::from_secs(u64::from(seconds));
                Ok(())
            }
            Event::Set(seconds) => {
                let span = Duration::from_secs(u64::from(seconds.unsigned_abs()));
                self.now = if seconds < 0 { self.now - span } else { self.now + span };
                self.reversals.clear();
                self.sent_at = None;
                // Timers of a real clock are monotonic: they go off a period later at most.
                self.wake_at = self.wake_at.min(self.now + PERIOD);
                Ok(())
            }
            Event::Answer { late, measured, pods } => self.answer(late, &measured, pods),
            Event::Write(reply) => self.reply(reply.as_ref()),
            Event::Foreign(count) => {
                self.change(|object| object.spec = Replicas::new(count));
                Ok(())
            }
            Event::Rival(there) => {
                self.object.rival = there.then(|| "HorizontalPodAutoscaler/web".into());
                Ok(())
            }
            Event::Owner(there) => {
                self.object.owner = there.then(|| "kubectl".into());
                Ok(())
            }
            Event::Leading(leading) => {
                self.leadership = if leading { Leadership::Leading } else { Leadership::Standby };
                self.give(Input::Leadership(self.leadership))
            }
            Event::News { late } => {
                let news = if late { self.before.clone() } else { self.object.clone() };
                if self.told.as_ref().is_none_or(|told| news.generation >= told.generation) {
                    self.told = Some(news.clone());
                    self.give(Input::Workload(news))?;
                }
                Ok(())
            }
            Event::Lost => {
                self.told = None;
                self.give(Input::WorkloadLost)
            }
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Workload)) {
        self.before = self.object.clone();
        change(&mut self.object);
        if self.object.spec != self.before.spec {
            let generation = &mut self.object.generation;
            *generation = generation.next();
        }
    }

    fn wake(&mut self) -> Result<(), TestCaseError> {
        self.wake_at = self.now + HOUR;
        self.give(Input::Wake)?;
        prop_assert!(self.wake_at > self.now, "asked to be woken in the past");
        prop_assert!(self.wake_at <= self.now + PERIOD, "sleeps for too long");
        Ok(())
    }

    fn answer(&mut self, late: bool, measured: &Measured, pods: Option<i64>) -> Result<(), TestCaseError> {
        let Some(round) = (if late { self.rounds.0 } else { self.rounds.1 }) else { return Ok(()) };
        let counts = pods.map(|percent| (self.object.status.get(), percent));
        let pods = counts.map(|(count, percent)| pods_at(count, percent, self.now));
        let measurement = measurement(self.now, measured);
        if !late {
            self.rounds = (Some(round), None);
            self.pods = pods.clone().unwrap_or_else(|| self.pods.clone());
        }
        self.give(Input::Collected(Collected { round, measurement, pods, series: Vec::new() }))
    }

    fn reply(&mut self, reply: Option<&Reply>) -> Result<(), TestCaseError> {
        let Some((ticket, to)) = self.writes.pop_front() else { return Ok(()) };
        // What is lost may have been carried out all the same.
        if matches!(reply, None | Some(Reply::Done)) {
            self.change(|object| (object.spec, object.status) = (to, to));
        }
        let outcome = match reply {
            None => return Ok(()),
            Some(Reply::Done) => Ok(()),
            Some(Reply::Conflict) => Err(WriteFailure::Conflict),
            Some(Reply::Busy) => Err(WriteFailure::Busy(Duration::from_secs(40))),
            Some(Reply::Forbidden) => Err(WriteFailure::Failed("forbidden".into())),
        };
        if self.writes.is_empty() {
            self.sent_at = None;
        }
        self.give(Input::Written(ticket, outcome))
    }

    fn give(&mut self, input: Input) -> Result<(), TestCaseError> {
        let (mut scaled, mut record) = (None, None);
        for command in self.controller.handle(self.now, input) {
            match command {
                Command::Collect(round) => self.rounds = (self.rounds.1.or(self.rounds.0), Some(round)),
                Command::WakeAt(at) => self.wake_at = at,
                Command::Scale { ticket, from, to } => scaled = Some((ticket, from, to)),
                Command::Record(kept) => record = Some(kept),
            }
        }
        let written = record.as_ref().is_some_and(|record| record.effect == Effect::Written);
        prop_assert_eq!(written, scaled.is_some(), "what is recorded is what is done");
        if let Some(record) = record {
            self.judge(&record)?;
        }
        if let Some((ticket, from, to)) = scaled {
            self.writes.push_back((ticket, to));
            self.judge_write(from, to)?;
        }
        Ok(())
    }

    fn needed(&self) -> Option<f64> {
        let limits = LIMITS.validate().expect("valid");
        let seen = Observation {
            now: self.now,
            time_of_week: TimeOfWeek::MONDAY,
            workload: WorkloadStatus {
                spec: Replicas::ONE,
                status: Replicas::ONE,
                last_write: LastWrite::Never,
            },
            pods: &self.pods,
            series: &[],
            history: &[],
            limits: &limits,
        };
        let target = Utilization::from_fraction(self.config.envelope.target_utilization);
        reactive(&seen, target).map(|pods| f64::from(pods.get()))
    }

    fn judge(&mut self, record: &DecisionRecord) -> Result<(), TestCaseError> {
        let granted = record.granted.replicas;
        if record.rung == Rung::HandsOff {
            prop_assert_eq!(granted, record.spec);
            return Ok(());
        }
        prop_assert!((LIMITS.min_replicas..=LIMITS.max_replicas).contains(&granted.get()), "{:?}", record);
        let up = match granted.cmp(&record.spec) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => return Ok(()),
        };
        // Going back within the limits is nobody's choice.
        if !(LIMITS.min_replicas..=LIMITS.max_replicas).contains(&record.spec.get()) {
            return Ok(());
        }
        if self.went_up.replace(up).is_some_and(|went_up| went_up != up) {
            self.reversals.push(self.now);
        }
        let recent = self.reversals.iter().filter(|&&at| at + HOUR > self.now).count();
        let budget = self.config.envelope.reversals_per_hour as usize;
        prop_assert!(recent <= budget + 1, "{recent} reversals within an hour");
        Ok(())
    }

    fn judge_write(&mut self, from: Replicas, to: Replicas) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.config.mode, Mode::Active, "a shadow writes nothing");
        prop_assert_eq!(self.leadership, Leadership::Leading, "writes beside the leader");
        prop_assert!(from != to);
        let told = self.told.as_ref();
        prop_assert!(told.is_some(), "written to an object that nothing is known of");
        prop_assert!(told.is_none_or(|told| told.rival.is_none()), "fights another autoscaler");
        let respects = self.config.ownership == Ownership::Respect;
        prop_assert!(!respects || told.is_none_or(|told| told.owner.is_none()), "takes over unasked");
        prop_assert!(from != Replicas::ZERO, "switches on what was switched off");
        if let Some(sent) = self.sent_at {
            prop_assert!(self.now.since(sent) >= PERIOD * 2, "two writes at a time");
        }
        self.sent_at = Some(self.now);
        if let Some(needed) = self.needed() {
            let (now, most) = (f64::from(to.get()), f64::from(LIMITS.max_replicas));
            let envelope = self.config.envelope;
            let step = f64::from(from.get().saturating_sub(LIMITS.max_step_down.unwrap_or_default()));
            prop_assert!(
                now >= (needed * envelope.floor).min(most).floor(),
                "{to} below the floor of {needed}"
            );
            let ceiling = (needed * envelope.ceiling).ceil().max(f64::from(from.get())).max(2.0).max(step);
            prop_assert!(now <= ceiling, "{to} above the ceiling of {needed}");
        }
        Ok(())
    }
}

fn measurement(now: Timestamp, measured: &Measured) -> Option<Measurement> {
    let well = |rate: u32| Measurement {
        at: now,
        age: Duration::from_secs(5),
        arrival_rate: RequestRate::new(f64::from(rate)).expect("finite"),
        cpu_utilization: Some(Utilization::from_fraction(0.5)),
        memory_bytes: 0,
        in_flight: 1.0,
        queued: 0.0,
        latency: None,
        error_rate: RequestRate::ZERO,
        timeout_rate: RequestRate::ZERO,
        replicas: ReplicaCounts::default(),
    };
    match measured {
        Measured::Well(rate) => Some(well(*rate)),
        Measured::Old(age) => Some(Measurement { age: Duration::from_secs(u64::from(*age)), ..well(50) }),
        Measured::Frozen => Some(well(77)),
        Measured::Infinite => {
            Some(Measurement { cpu_utilization: Some(Utilization::from_fraction(f64::INFINITY)), ..well(50) })
        }
        Measured::Missing => None,
    }
}

fn pods_at(count: u32, percent: i64, now: Timestamp) -> Vec<PodSample> {
    let resources = |milli| ResourceList { cpu: Some(Milli::new(milli)), memory: None };
    let container = ContainerSpec { name: "c".into(), kind: ContainerKind::Main, requests: resources(1000) };
    let containers: Arc<[ContainerSpec]> = [container].into();
    let usage = UsageSample {
        timestamp: now,
        window: Duration::from_secs(15),
        containers: vec![ContainerUsage { name: "c".into(), usage: resources(percent * 10) }],
    };
    let pod = |_| PodSample {
        name: "p".into(),
        phase: PodPhase::Running,
        created: now - HOUR,
        started: Some(now - HOUR),
        ready: Some(ReadyCondition { status: ReadyStatus::True, last_transition: now - HOUR }),
        deletion: None,
        containers: Arc::clone(&containers),
        pod_level_requests: None,
        usage: Some(usage.clone()),
    };
    (0..count).map(pod).collect()
}

fn config() -> impl Strategy<Value = ControllerConfig> {
    let mode = prop_oneof![1 => Just(Mode::Shadow), 4 => Just(Mode::Active)];
    let ownership = prop_oneof![Just(Ownership::Respect), Just(Ownership::TakeOver)];
    let envelope = (0.0f64..1.0, 1.0f64..5.0, 0u32..10).prop_map(|(floor, ceiling, reversals_per_hour)| {
        EnvelopeConfig { target_utilization: 0.8, floor, ceiling, reversals_per_hour }
    });
    let ladder = (2u32..5).prop_map(|frozen_after| LadderConfig {
        freshness: FreshnessConfig { frozen_after, ..FreshnessConfig::default() },
        ..LadderConfig::default()
    });
    let history = prop_oneof![Just(1), Just(20)];
    (mode, ownership, envelope, ladder, 0u32..5, history).prop_map(
        |(mode, ownership, envelope, ladder, settle_after, history)| ControllerConfig {
            mode,
            ownership,
            envelope,
            ladder,
            settle_after,
            history,
            ..ControllerConfig::within(LIMITS)
        },
    )
}

/// A million steps, or as many thousands as `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_written_that_must_not_be(
        config in config(), seed: u64, events in prop::collection::vec(event(), 1000),
    ) {
        let mut cluster = Cluster::new(config, seed);
        cluster.happen(Event::Leading(true))?;
        for event in events {
            cluster.happen(event)?;
        }
        prop_assert_eq!(cluster.steps, 1001);
    }
}
