//! The vocabulary and the contracts of `AutoScaleAI`.
//!
//! This crate knows no I/O, no clock, no operating-system randomness, no async runtime, no tensor library
//! and no data frame: time and randomness are arguments.
//!
//! Start at [`policy`]: [`policy::Observation`] → [`policy::Policy::decide`] → [`policy::Decision`] is the
//! one seam that simulator and cluster share. From there:
//!
//! | module | what |
//! |---|---|
//! | [`units`] | quantities with their unit in the type |
//! | [`sample`], [`measurement`] | what metrics APIs say of pods, series, and control intervals |
//! | [`policy`], [`limits`], [`rule`] | who decides, what is granted, the ratio rule |
//! | [`guard`] | what any policy is held to: bounds, a flap budget, fresh measurements |
//! | [`environment`], [`reward`], [`rollout`], [`record`] | worlds, what happens in them, the one episode loop |
//! | [`agent`] | what a learner sees and is |
//! | [`histogram`] | mergeable response-time histogram |
//! | [`seed`], [`validate`] | the seed tree; raw to checked configuration |
//! | `contract` | reusable conformance tests (feature `testing`) |

pub mod agent;
#[cfg(feature = "testing")]
pub mod contract;
pub mod environment;
pub mod guard;
pub mod histogram;
pub mod limits;
pub mod measurement;
pub mod policy;
pub mod record;
pub mod reward;
pub mod rollout;
pub mod rule;
pub mod sample;
pub mod seed;
pub mod units;
pub mod validate;
