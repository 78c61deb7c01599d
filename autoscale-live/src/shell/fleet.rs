//! Many controllers, and when each wants to be woken.

use super::News;
use crate::controller::{Command, Controller, DecisionRecord, Input, Leadership, Round, State, Ticket};
use crate::target::TargetRef;
use autoscale_core::units::{Replicas, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A controller's command, with the target that it is for.
pub(super) enum Order {
    Collect(TargetRef, Round),
    Scale { target: TargetRef, ticket: Ticket, from: Replicas, to: Replicas },
    Record(TargetRef, Arc<DecisionRecord>),
}

struct Member {
    controller: Controller,
    wake_at: Option<Timestamp>,
}

/// The controllers of many workloads.
#[derive(Default)]
pub struct Fleet {
    /// Boxed, as large things are in whatever there may be thousands of: half of a tree's places are empty.
    members: BTreeMap<TargetRef, Box<Member>>,
    /// By when they want to be woken.
    alarms: BTreeSet<(Timestamp, TargetRef)>,
    /// When any were woken last.
    woken_at: Timestamp,
    leadership: Leadership,
}

/// All that is known, by target.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct FleetState<'a>(BTreeMap<String, State<'a>>);

impl Fleet {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more, in place of what there was for the same target. It is told what the other one knew of the world.
    ///
    /// It begins at the next multiple of its period, so that those of one period are always due at the same moment and are
    /// collected for in one go, whenever they came.
    pub(crate) fn add(&mut self, now: Timestamp, target: TargetRef, mut controller: Controller) {
        controller.handle(now, Input::Leadership(self.leadership));
        if let Some(workload) = self.remove(&target).and_then(|before| before.controller.workload().cloned())
        {
            controller.handle(now, Input::Workload(workload));
        }
        let period = controller.period().as_micros().max(1);
        let late = now.since(Timestamp::ZERO).as_micros() % period;
        let first = now + Duration::from_micros(((period - late) % period) as u64);
        self.alarms.insert((first, target.clone()));
        self.members.insert(target, Box::new(Member { controller, wake_at: Some(first) }));
    }

    fn remove(&mut self, target: &TargetRef) -> Option<Box<Member>> {
        let member = self.members.remove(target)?;
        if let Some(at) = member.wake_at {
            self.alarms.remove(&(at, target.clone()));
        }
        Some(member)
    }

    /// All that the controllers know at `now`.
    pub fn state(&self, now: Timestamp) -> FleetState<'_> {
        FleetState(
            self.members.iter().map(|(target, m)| (target.to_string(), m.controller.state(now))).collect(),
        )
    }

    /// Those on whom nothing has been decided yet.
    pub fn undecided(&self) -> Vec<&TargetRef> {
        self.members
            .iter()
            .filter(|(_, member)| !member.controller.has_decided())
            .map(|(target, _)| target)
            .collect()
    }

    /// When the next one wants to be woken.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Wakes all whose moment has come.
    pub(super) fn wake(&mut self, now: Timestamp) -> Vec<Order> {
        let mut woken = Vec::new();
        if now < self.woken_at {
            // The clock was set back: each says anew when it wants to be woken.
            woken = self.members.keys().cloned().collect();
        }
        self.woken_at = now;
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, target)) = self.alarms.pop_first() else { break };
            if let Some(member) = self.members.get_mut(&target) {
                member.wake_at = None;
            }
            woken.push(target);
        }
        woken.into_iter().flat_map(|target| self.give(now, &target, Input::Wake)).collect()
    }

    /// Tells those whom it concerns.
    pub(super) fn hear(&mut self, now: Timestamp, news: News) -> Vec<Order> {
        match news {
            News::Controller(target, controller) => {
                self.add(now, target, *controller);
                Vec::new()
            }
            News::Dismissed(target) => {
                self.remove(&target);
                Vec::new()
            }
            News::Workload(target, workload) => {
                self.give(now, &target, workload.map_or(Input::WorkloadLost, Input::Workload))
            }
            News::Leadership(leadership) => {
                self.leadership = leadership;
                let all: Vec<TargetRef> = self.members.keys().cloned().collect();
                all.iter().flat_map(|target| self.give(now, target, Input::Leadership(leadership))).collect()
            }
        }
    }

    /// Lets one controller handle something; nobody is there for an unknown target.
    pub(super) fn give(&mut self, now: Timestamp, target: &TargetRef, input: Input) -> Vec<Order> {
        let Some(member) = self.members.get_mut(target) else { return Vec::new() };
        let mut orders = Vec::new();
        for command in member.controller.handle(now, input) {
            match command {
                Command::Collect(round) => orders.push(Order::Collect(target.clone(), round)),
                Command::Scale { ticket, from, to } => {
                    orders.push(Order::Scale { target: target.clone(), ticket, from, to });
                }
                Command::Record(record) => orders.push(Order::Record(target.clone(), record)),
                Command::WakeAt(at) => {
                    if let Some(before) = member.wake_at.replace(at) {
                        self.alarms.remove(&(before, target.clone()));
                    }
                    self.alarms.insert((at, target.clone()));
                }
            }
        }
        orders
    }
}
