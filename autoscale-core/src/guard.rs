//! What any policy is held to: bounds around the reactive rule, a budget for flapping, and measurements that can be
//! acted on. The same state machines in the simulator and in the cluster.
//!
//! [`Ladder`] says who decides: the policy while its measurements are good, nobody for a moment when they are not, then a
//! fallback that reads another source, and in the end nobody. [`Envelope`] holds whatever was decided.

mod envelope;
mod freshness;
mod ladder;
#[cfg(test)]
mod testing;

pub use envelope::{Envelope, EnvelopeConfig};
pub use freshness::{Freshness, FreshnessConfig, FreshnessGate};
pub use ladder::{Ladder, LadderConfig, Rung};
