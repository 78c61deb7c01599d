//! One workload's controller: a state machine without a clock or a socket.
//!
//! [`Controller::handle`] is told what happened and when, and says what to do. At each period of its policy it asks for
//! measurements; when they are there (or a period has gone by without them) it decides, records the decision, and writes if
//! it may. Between a policy's wish and a write stand, in this order: the ladder (whose wish it is), the guard after a start,
//! the envelope, the limits, and whatever forbids writing at all ([`Block`]).
//!
//! Absent on purpose: retries of a write (the next decision is one, on newer measurements), and any notion of how
//! measurements are made or writes are sent.

mod config;
mod contest;
mod io;
mod record;
mod slo;
#[cfg(test)]
mod tests;

pub use config::{ControllerConfig, Mode, Ownership, Setup};
pub use contest::ContestConfig;
pub use io::{Collected, Command, Generation, Input, Leadership, Round, Ticket, Workload, WriteFailure};
pub use record::{Block, DECISION_RECORD_VERSION, DecisionRecord, Effect, PodCounts};
pub use slo::{Percentile, Slo, SloConfig, SloState};

use autoscale_core::guard::Rung;
use autoscale_core::limits::{Bound, Granted};
use autoscale_core::measurement::Measurement;
use autoscale_core::policy::{Decision, LastWrite, Observation, Policy, Reason, Target, WorkloadStatus};
use autoscale_core::sample::{PodSample, Reading};
use autoscale_core::seed::Seed;
use autoscale_core::units::{Replicas, TimeOfWeek, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Measurements that there is room for from the start.
const AT_FIRST: usize = 8;
/// Periods without an answer after which a write is given up.
const PATIENCE: u32 = 2;
/// The Unix epoch was a Thursday's midnight.
const EPOCH_WEEKDAY_S: f64 = 3.0 * 86_400.0;

/// Who decides, and under what name that is recorded.
pub struct Deciders {
    /// The policy's name.
    pub name: Arc<str>,
    /// Decides while its measurements are good.
    pub policy: Box<dyn Policy + Send>,
    /// Decides on usage samples of pods when they are not. It watches all the time, at the policy's period. None for a policy
    /// that needs nothing but those samples: it goes on itself.
    pub fallback: Option<Box<dyn Policy + Send>>,
}

/// A write that has not been answered.
#[derive(Clone, Copy, Debug, Serialize)]
struct Flight {
    ticket: Ticket,
    to: Replicas,
    since: Timestamp,
    /// The object's when it was sent.
    generation: Generation,
}

/// What has been written.
#[derive(Clone, Debug, Serialize)]
struct Writes {
    count: u64,
    last: LastWrite,
    in_flight: Option<Flight>,
    /// What was sent last.
    sent: Option<Replicas>,
    /// News of the object that is older than this is older than the last write.
    known_from: Generation,
    busy_until: Option<Timestamp>,
}

/// See the [module](self).
pub struct Controller {
    setup: Setup,
    deciders: Deciders,
    history: Vec<Measurement>,
    pods: Vec<PodSample>,
    series: Vec<Reading>,
    leadership: Leadership,
    workload: Option<Workload>,
    writes: Writes,
    rounds: u64,
    awaited: Option<Round>,
    due: Option<Timestamp>,
    /// Decisions of the policy itself since the start.
    settled: u32,
    last: Option<Arc<DecisionRecord>>,
}

/// All that a controller knows, for people who want to look.
#[derive(Debug, Serialize)]
pub struct State<'a> {
    /// The scaled object.
    pub workload: Option<&'a Workload>,
    /// The last decision.
    pub last: Option<&'a DecisionRecord>,
    /// When it looks next.
    pub due: Option<Timestamp>,
    /// The round that has not been answered.
    pub awaited: Option<Round>,
    /// Measurements that a policy is shown.
    pub measurements: usize,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// What stands against writing.
    pub block: Option<Block>,
    writes: &'a Writes,
}

impl Controller {
    /// A controller that has seen nothing yet; its first input is [`Input::Wake`].
    pub fn new(setup: Setup, mut deciders: Deciders, seed: Seed) -> Self {
        deciders.policy.reset(seed);
        if let Some(fallback) = &mut deciders.fallback {
            fallback.reset(seed.child("fallback"));
        }
        Self {
            setup,
            deciders,
            history: Vec::new(),
            pods: Vec::new(),
            series: Vec::new(),
            leadership: Leadership::default(),
            workload: None,
            writes: Writes {
                count: 0,
                last: LastWrite::Never,
                in_flight: None,
                sent: None,
                known_from: Generation::default(),
                busy_until: None,
            },
            rounds: 0,
            awaited: None,
            due: None,
            settled: 0,
            last: None,
        }
    }

    /// What to do about what happened.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Command> {
        let mut commands = Vec::new();
        match input {
            Input::Wake => self.wake(now, &mut commands),
            Input::Collected(collected) => {
                // A late answer says what was, when a newer one is on its way.
                if self.awaited == Some(collected.round) {
                    self.awaited = None;
                    self.take_in(collected);
                    self.decide(now, &mut commands);
                }
            }
            Input::Workload(workload) => self.see(now, workload),
            Input::WorkloadLost => {
                self.workload = None;
                // An object of the same name that comes later counts its generations anew.
                self.writes.known_from = Generation::default();
            }
            Input::Leadership(leadership) => self.leadership = leadership,
            Input::Written(ticket, outcome) => self.written(now, ticket, outcome),
        }
        commands
    }

    /// All that it knows at `now`.
    pub fn state(&self, now: Timestamp) -> State<'_> {
        State {
            workload: self.workload.as_ref(),
            last: self.last.as_deref(),
            due: self.due,
            awaited: self.awaited,
            measurements: self.history.len(),
            mode: self.setup.mode,
            block: self.workload.as_ref().and_then(|workload| self.against_writing(now, workload)),
            writes: &self.writes,
        }
    }

    /// How often it decides.
    pub fn period(&self) -> Duration {
        self.deciders.policy.cadence().period
    }

    /// The scaled object as far as is known.
    pub const fn workload(&self) -> Option<&Workload> {
        self.workload.as_ref()
    }

    /// Whether any decision has been made.
    pub const fn has_decided(&self) -> bool {
        self.last.is_some()
    }

    fn wake(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        let cadence = self.deciders.policy.cadence();
        let due = *self.due.get_or_insert(now + cadence.phase);
        // A clock that was set back by more than a period must not put the controller to sleep.
        if now < due && due <= now + cadence.period {
            commands.push(Command::WakeAt(due));
            return;
        }
        if self.awaited.take().is_some() {
            self.decide(now, commands);
        }
        self.rounds += 1;
        self.awaited = Some(Round(self.rounds));
        commands.push(Command::Collect(Round(self.rounds)));
        let late = now.since(due).as_micros() % cadence.period.as_micros().max(1);
        let next = if now < due { now } else { now - Duration::from_micros(late as u64) };
        let next = next + cadence.period;
        self.due = Some(next);
        commands.push(Command::WakeAt(next));
    }

    /// Without pods the picture is not whole, so that the policy does not get the measurement either.
    fn take_in(&mut self, collected: Collected) {
        self.series = collected.series;
        let Some(pods) = collected.pods else { return };
        self.pods = pods;
        let Some(mut measurement) = collected.measurement else { return };
        if let Some(workload) = &self.workload {
            measurement.replicas.desired = workload.spec;
        }
        // After a clock was set back, what is from later is from another time.
        if self.history.last().is_some_and(|last| last.at >= measurement.at) {
            self.history.clear();
        }
        // Moving the others up is cheap beside what room for more of them would cost, with thousands of controllers.
        if self.history.len() >= self.setup.history {
            self.history.drain(..=self.history.len() - self.setup.history);
        }
        if self.history.is_empty() {
            self.history.reserve_exact(self.setup.history.min(AT_FIRST));
        }
        self.history.push(measurement);
    }

    fn decide(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        self.give_up_waiting(now);
        let Some(workload) = self.workload.clone() else { return };
        let spec = workload.spec;
        let shown = &self.history[..];
        let observation = Observation {
            now,
            time_of_week: TimeOfWeek::from_secs_f64(
                now.as_secs_f64() + EPOCH_WEEKDAY_S + self.setup.utc_offset_s,
            ),
            workload: WorkloadStatus { spec, status: workload.status, last_write: self.writes.last },
            pods: &self.pods,
            series: &self.series,
            history: shown,
            limits: &self.setup.limits,
        };
        let own = self.deciders.policy.decide(&observation);
        let other = self.deciders.fallback.as_mut().map_or(own, |fallback| fallback.decide(&observation));
        let rung = self.setup.ladder.look(&observation);
        let mut wish = match rung {
            Rung::Policy => own,
            Rung::Fallback => other,
            Rung::Hold | Rung::HandsOff => Decision::hold(Reason::rule("stale")),
        };
        if rung == Rung::Policy {
            self.settled = self.settled.saturating_add(1);
        }
        if self.settled <= self.setup.settle_after && wish.target.or(spec) < spec {
            wish.target = Target::Hold;
            wish.reason.bound = Bound::StartUp;
        }
        let granted = if rung == Rung::HandsOff {
            Granted { replicas: spec, bound: Bound::None }
        } else {
            let held = self.setup.envelope.hold(&observation, wish);
            let granted = self.setup.limits.grant(spec, held.target);
            let bound = if granted.bound == Bound::None { held.reason.bound } else { granted.bound };
            Granted { bound, ..granted }
        };
        let measurement = shown.last().cloned();
        // What is not fit to decide on says nothing of the objective either.
        let slo = match (&self.setup.slo, &measurement) {
            (Some(slo), Some(measurement)) if rung == Rung::Policy => slo.look(measurement),
            _ => SloState::Unknown,
        };
        let block = self.against_writing(now, &workload);
        let effect = self.effect(workload.spec, granted.replicas, block.as_ref());
        if effect == Effect::Written {
            let to = granted.replicas;
            self.writes.count += 1;
            let ticket = Ticket(self.writes.count);
            let generation = workload.generation;
            self.writes.in_flight = Some(Flight { ticket, to, since: now, generation });
            self.writes.sent = Some(to);
            commands.push(Command::Scale { ticket, from: spec, to });
        }
        let serving = || self.pods.iter().filter(|pod| pod.is_serving());
        let record = DecisionRecord {
            version: DECISION_RECORD_VERSION,
            at: now,
            policy: Arc::clone(&self.deciders.name),
            rung,
            spec,
            wish,
            granted,
            mode: self.setup.mode,
            block,
            effect,
            slo,
            measurement,
            pods: PodCounts {
                serving: serving().count() as u32,
                sampled: serving().filter(|pod| pod.usage.is_some()).count() as u32,
            },
        };
        let record = Arc::new(record);
        self.last = Some(Arc::clone(&record));
        commands.push(Command::Record(record));
    }

    fn effect(&self, spec: Replicas, granted: Replicas, block: Option<&Block>) -> Effect {
        if granted == spec {
            Effect::Unchanged
        } else if self.setup.mode == Mode::Shadow {
            Effect::Shadow
        } else {
            block.cloned().map_or(Effect::Written, Effect::Blocked)
        }
    }

    fn against_writing(&self, now: Timestamp, workload: &Workload) -> Option<Block> {
        let owner = workload.owner.as_ref().filter(|_| self.setup.ownership == Ownership::Respect);
        if self.leadership == Leadership::Standby {
            Some(Block::Standby)
        } else if workload.spec == Replicas::ZERO {
            Some(Block::Disabled)
        } else if let Some(rival) = &workload.rival {
            Some(Block::Rival(Arc::clone(rival)))
        } else if let Some(owner) = owner {
            Some(Block::Owned(Arc::clone(owner)))
        } else if let Some(until) = self.setup.contest.until(now) {
            Some(Block::Contested { until })
        } else if self.writes.in_flight.is_some() {
            Some(Block::InFlight)
        } else {
            self.writes.busy_until.filter(|&until| now < until).map(|until| Block::Busy { until })
        }
    }

    fn see(&mut self, now: Timestamp, workload: Workload) {
        // The cache may run behind what was written; who else scales the object is news all the same.
        if workload.generation < self.writes.known_from {
            if let Some(known) = &mut self.workload {
                (known.rival, known.owner) = (workload.rival, workload.owner);
            }
            return;
        }
        let changed = self.workload.as_ref().is_some_and(|known| known.spec != workload.spec);
        if changed && self.writes.sent.is_some_and(|sent| sent != workload.spec) {
            self.setup.contest.note(now);
        }
        self.workload = Some(workload);
    }

    fn written(&mut self, now: Timestamp, ticket: Ticket, outcome: Result<(), WriteFailure>) {
        // What was given up may be answered yet; the object itself says then what came of it.
        let Some(flight) = self.writes.in_flight.take_if(|flight| flight.ticket == ticket) else { return };
        match outcome {
            Ok(()) => {
                self.writes.last = LastWrite::Succeeded;
                self.writes.known_from = flight.generation.next();
                if let Some(known) = self.workload.as_mut().filter(|w| w.generation <= flight.generation) {
                    known.spec = flight.to;
                    known.generation = flight.generation.next();
                }
            }
            Err(failure) => {
                self.writes.last = LastWrite::Failed;
                match failure {
                    WriteFailure::Conflict => self.setup.contest.note(now),
                    WriteFailure::Busy(span) => self.writes.busy_until = Some(now + span),
                    WriteFailure::Failed(_) => {}
                }
            }
        }
    }

    fn give_up_waiting(&mut self, now: Timestamp) {
        let patience = self.deciders.policy.cadence().period * PATIENCE;
        if self.writes.in_flight.is_some_and(|flight| now.since(flight.since) >= patience) {
            self.writes.in_flight = None;
            self.writes.last = LastWrite::Failed;
        }
    }
}
