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
