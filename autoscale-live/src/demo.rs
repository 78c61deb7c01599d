//! A service to scale and load to scale it for, both real and both small enough for a laptop.
//!
//! [`service`] answers HTTP requests that cost what they are told to and counts as the simulator's pods do, under the names
//! that the default queries of [`crate::source::Queries`] ask for. [`load`] sends requests at the moments of a [`schedule`],
//! whatever becomes of them. [`run`] puts both together.

mod cost;
pub mod load;
mod meters;
pub mod run;
pub mod schedule;
pub mod service;

pub use cost::{Cost, Spread, Work};
