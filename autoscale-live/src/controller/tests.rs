//! Time-lines, moved by hand.

use super::*;
use autoscale_core::guard::{FreshnessConfig, LadderConfig};
use autoscale_core::limits::LimitsConfig;
use autoscale_core::measurement::ReplicaCounts;
use autoscale_core::policy::Cadence;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::Validate;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(15);

/// Wishes for the same count every time.
struct Wish(u32);

impl Policy for Wish {
    fn cadence(&self) -> Cadence {
        Cadence::every(PERIOD)
    }
    fn reset(&mut self, _: Seed) {}
    fn decide(&mut self, _: &Observation<'_>) -> Decision {
        Decision::scale_to(Replicas::new(self.0), Reason::rule("wish"))
    }
}

/// A controller that leads, and the moment it is at.
struct TimeLine {
    controller: Controller,
    now: Timestamp,
    generation: i64,
}

fn config() -> ControllerConfig {
    let limits = LimitsConfig { min_replicas: 1, max_replicas: 40, max_step_up: None, max_step_down: None };
    ControllerConfig { mode: Mode::Active, settle_after: 0, ..ControllerConfig::within(limits) }
}

impl TimeLine {
    fn new(config: ControllerConfig, wish: u32) -> Self {
        let deciders = Deciders {
            name: "wish".into(),
            policy: Box::new(Wish(wish)),
            fallback: Some(Box::new(Wish(wish + 1))),
        };
        let mut controller = Controller::new(config.validate().unwrap(), deciders, Seed::root(1));
        let now = Timestamp::from_secs(1_000_000);
        assert!(controller.handle(now, Input::Leadership(Leadership::Leading)).is_empty());
        Self { controller, now, generation: 0 }
    }

    /// The API server says that so many pods are asked for.
    fn news(&mut self, spec: u32) {
        self.generation += 1;
        let (rival, owner) = (None, None);
        let workload = Workload { rival, owner, ..workload(self.generation, spec) };
        assert!(self.controller.handle(self.now, Input::Workload(workload)).is_empty());
    }

    /// Time goes on by a period, or is at the start; all sources answer, or Prometheus does not.
    fn period(&mut self, prometheus: Option<f64>) -> Vec<Command> {
        if self.controller.due.is_some() {
            self.now += PERIOD;
        }
        let mut commands = self.controller.handle(self.now, Input::Wake);
        let Some(Command::Collect(round)) = commands.iter().find(|c| matches!(c, Command::Collect(_))) else {
            panic!("nothing is collected: {commands:?}");
        };
        let measurement = prometheus.map(|rate| measurement(self.now, rate));
        let collected = Collected { round: *round, measurement, pods: Some(Vec::new()), series: Vec::new() };
        commands.extend(self.controller.handle(self.now, Input::Collected(collected)));
        commands
    }

    /// The same, and what was recorded.
    fn decision(&mut self, prometheus: Option<f64>) -> DecisionRecord {
        let commands = self.period(prometheus);
        let record = commands.into_iter().find_map(|command| match command {
            Command::Record(record) => Some(Arc::unwrap_or_clone(record)),
            _ => None,
        });
        record.expect("a decision is recorded")
    }

    /// The API server says what became of the last write.
    fn answer(&mut self, outcome: Result<(), WriteFailure>) {
        let ticket = self.controller.writes.in_flight.expect("a write is under way").ticket;
        assert!(self.controller.handle(self.now, Input::Written(ticket, outcome)).is_empty());
    }
}

fn workload(generation: i64, spec: u32) -> Workload {
    let spec = Replicas::new(spec);
    Workload { generation: Generation::new(generation), spec, status: spec, rival: None, owner: None }
}

fn measurement(at: Timestamp, rate: f64) -> Measurement {
    Measurement {
        at,
        age: Duration::from_secs(5),
        arrival_rate: RequestRate::new(rate).unwrap(),
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

#[test]
fn each_period_it_collects_decides_and_writes_what_is_new() {
    let mut line = TimeLine::new(config(), 7);
    line.news(5);
    let commands = line.period(Some(10.0));
    let due = line.now + PERIOD;
    assert!(
        matches!(
            commands.as_slice(),
            [Command::Collect(_), Command::WakeAt(at), Command::Scale { from, to, .. }, Command::Record(_)]
                if *at == due && from.get() == 5 && to.get() == 7
        ),
        "{commands:?}"
    );
    line.answer(Ok(()));
    assert_eq!(line.decision(Some(11.0)).effect, Effect::Unchanged);
}

#[test]
fn nothing_is_called_where_there_is_nothing_to_scale() {
    let mut line = TimeLine::new(config(), 7);
    for step in 0..20 {
        if step == 10 {
            line.news(5);
            line.controller.handle(line.now, Input::WorkloadLost);
        }
        let commands = line.period(Some(f64::from(step)));
        assert!(matches!(commands.as_slice(), [Command::Collect(_), Command::WakeAt(_)]), "{commands:?}");
    }
}

#[test]
fn a_shadow_and_a_standby_say_what_they_would_do() {
    let mut shadow = TimeLine::new(ControllerConfig { mode: Mode::Shadow, ..config() }, 7);
    shadow.news(5);
    let record = shadow.decision(Some(10.0));
    assert_eq!((record.granted.replicas, record.effect), (Replicas::new(7), Effect::Shadow));
    let mut standby = TimeLine::new(config(), 7);
    standby.controller.handle(standby.now, Input::Leadership(Leadership::Standby));
    standby.news(5);
    assert_eq!(standby.decision(Some(10.0)).effect, Effect::Blocked(Block::Standby));
}

#[test]
fn it_does_not_scale_what_others_scale() {
    let rival = Workload { rival: Some("HorizontalPodAutoscaler/web".into()), ..workload(1, 5) };
    let owned = Workload { owner: Some("helm".into()), ..workload(1, 5) };
    let effect = |config: ControllerConfig, workload: &Workload| {
        let mut line = TimeLine::new(config, 7);
        line.controller.handle(line.now, Input::Workload(workload.clone()));
        line.decision(Some(10.0)).effect
    };
    assert_eq!(effect(config(), &rival), Effect::Blocked(Block::Rival("HorizontalPodAutoscaler/web".into())));
    assert_eq!(effect(config(), &owned), Effect::Blocked(Block::Owned("helm".into())));
    let take_over = ControllerConfig { ownership: Ownership::TakeOver, ..config() };
    assert_eq!(effect(take_over, &owned), Effect::Written);
    assert_eq!(effect(take_over, &workload(1, 0)), Effect::Blocked(Block::Disabled));
}

#[test]
fn it_steps_back_from_a_fight_and_comes_again_later() {
    let contest = ContestConfig { reverts: 2, within_s: 600, step_back_s: 60 };
    let mut line = TimeLine::new(ControllerConfig { contest, ..config() }, 7);
    line.news(5);
    for _ in 0..2 {
        assert_eq!(line.decision(Some(10.0)).effect, Effect::Written);
        line.answer(Ok(()));
        // Its own write, and then somebody else's.
        line.news(7);
        line.news(5);
    }
    let until = line.now + Duration::from_secs(60);
    for _ in 0..3 {
        assert_eq!(line.decision(Some(10.0)).effect, Effect::Blocked(Block::Contested { until }));
    }
    assert_eq!(line.decision(Some(10.0)).effect, Effect::Written);
}

#[test]
fn news_from_before_a_write_do_not_undo_it() {
    let mut line = TimeLine::new(config(), 7);
    line.news(5);
    assert_eq!(line.decision(Some(10.0)).effect, Effect::Written);
    line.answer(Ok(()));
    line.controller.handle(line.now, Input::Workload(workload(1, 5)));
    assert_eq!(line.decision(Some(11.0)).effect, Effect::Unchanged);
}

#[test]
fn failed_writes_are_repeated_when_it_is_time() {
    let mut line = TimeLine::new(config(), 7);
    line.news(5);
    assert_eq!(line.decision(Some(10.0)).effect, Effect::Written);
    line.answer(Err(WriteFailure::Busy(Duration::from_secs(20))));
    let until = line.now + Duration::from_secs(20);
    assert_eq!(line.decision(Some(11.0)).effect, Effect::Blocked(Block::Busy { until }));
    // Nobody answers this one.
    assert_eq!(line.decision(Some(12.0)).effect, Effect::Written);
    assert_eq!(line.decision(Some(13.0)).effect, Effect::Blocked(Block::InFlight));
    assert_eq!(line.decision(Some(14.0)).effect, Effect::Written);
}

#[test]
fn sources_that_do_not_answer_within_a_period_are_missing() {
    let mut line = TimeLine::new(config(), 7);
    line.news(5);
    assert_eq!(line.decision(Some(10.0)).rung, Rung::Policy);
    line.now += PERIOD;
    let first = line.controller.handle(line.now, Input::Wake);
    assert!(!first.iter().any(|command| matches!(command, Command::Record(_))));
    line.now += Duration::from_secs(90);
    let late = line.controller.handle(line.now, Input::Wake);
    let record = late.iter().find_map(|command| match command {
        Command::Record(record) => Some(record),
        _ => None,
    });
    assert_eq!(record.expect("it decides all the same").rung, Rung::Hold);
    // Missed moments are not made up for, and the next is in step with the first.
    let start = Timestamp::from_secs(1_000_000);
    let Some(due) = line.controller.due else { panic!("it goes on") };
    assert!(due > line.now && due <= line.now + PERIOD);
    assert_eq!(due.since(start).as_micros() % PERIOD.as_micros(), 0);
}

#[test]
fn after_a_start_it_waits_before_it_scales_down() {
    let mut line = TimeLine::new(ControllerConfig { settle_after: 2, ..config() }, 3);
    line.news(5);
    for rate in [10.0, 11.0] {
        let record = line.decision(Some(rate));
        assert_eq!((record.granted.replicas.get(), record.granted.bound), (5, Bound::StartUp));
    }
    assert_eq!(line.decision(Some(12.0)).granted.replicas, Replicas::new(3));
}

#[test]
fn without_any_source_it_keeps_its_hands_off_even_beyond_the_limits() {
    let ladder = LadderConfig {
        freshness: FreshnessConfig { max_age_s: 10, recover_after: 1, ..FreshnessConfig::default() },
        hold_s: 15,
        ..LadderConfig::default()
    };
    let mut line = TimeLine::new(ControllerConfig { ladder, ..config() }, 7);
    line.news(50);
    assert_eq!(line.decision(None).rung, Rung::Hold);
    let record = line.decision(None);
    assert_eq!((record.rung, record.granted.replicas.get()), (Rung::HandsOff, 50));
    assert_eq!(line.decision(Some(10.0)).rung, Rung::Policy);
}

#[test]
fn all_that_it_knows_can_be_read() {
    let mut line = TimeLine::new(config(), 7);
    line.news(5);
    line.decision(Some(10.0));
    let state = serde_json::to_value(line.controller.state(line.now)).unwrap();
    assert_eq!(state["workload"]["spec"], 5);
    assert_eq!(state["last"]["granted"]["replicas"], 7);
    assert_eq!(state["block"], "in-flight");
    assert_eq!(state["last"]["effect"], "written");
}
