//! Whichever engine a scenario asks for.

use crate::fluid::FluidWorld;
use crate::scenario::{Engine, Scenario};
use crate::world::World;
use autoscale_core::environment::{Environment, EpisodeOver, Foresight, Outcome};
use autoscale_core::policy::{Cadence, Decision, Observation};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What an episode shows and writes down. Nothing that happens in it depends on that, but for what a policy does that
/// misses something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// All.
    #[default]
    All,
    /// Response times in the record may be left out, for who only wants returns.
    NoResponseTimes,
    /// So may what Prometheus would show: for policies that look at pods and their usage alone, and never at the history.
    ResourceMetrics,
}

/// A world simulated by the engine that its scenario names.
#[derive(Clone, Debug)]
pub enum Simulator {
    /// Requests one by one.
    Request(Box<World>),
    /// Requests as probabilities.
    Fluid(Box<FluidWorld>),
}

impl Simulator {
    /// A world of `scenario` with episodes of `length`: see [`World::new`].
    ///
    /// # Errors
    /// Names the field that the engine cannot express.
    pub fn new(scenario: Arc<Scenario>, length: Duration) -> Result<Self, ConfigError> {
        Ok(match scenario.config().engine {
            Engine::Request => Self::Request(Box::new(World::new(scenario, length))),
            Engine::Fluid => Self::Fluid(Box::new(FluidWorld::new(scenario, length)?)),
        })
    }

    /// Leaves out, from the next reset on, what nobody looks at. The request engine leaves out nothing, for it would
    /// save next to no time.
    #[must_use]
    pub fn with_detail(self, detail: Detail) -> Self {
        match self {
            Self::Fluid(world) => Self::Fluid(Box::new(world.with_detail(detail))),
            request @ Self::Request(_) => request,
        }
    }
}

impl Foresight for Simulator {
    fn upcoming(&self, ahead: Range<Duration>) -> RequestRate {
        match self {
            Self::Request(world) => world.upcoming(ahead),
            Self::Fluid(world) => world.upcoming(ahead),
        }
    }
}

impl Environment for Simulator {
    fn reset(&mut self, seed: Seed, cadence: Cadence) {
        match self {
            Self::Request(world) => world.reset(seed, cadence),
            Self::Fluid(world) => world.reset(seed, cadence),
        }
    }

    fn observe(&self) -> Observation<'_> {
        match self {
            Self::Request(world) => world.observe(),
            Self::Fluid(world) => world.observe(),
        }
    }

    fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
        match self {
            Self::Request(world) => world.step(decision),
            Self::Fluid(world) => world.step(decision),
        }
    }

    fn record(&self) -> &EpisodeRecord {
        match self {
            Self::Request(world) => world.record(),
            Self::Fluid(world) => world.record(),
        }
    }
}
