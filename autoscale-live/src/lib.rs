//! The same policy that was trained and compared, beside a real service.
//!
//! Start at [`controller`]: one workload's state machine, `handle(now, input) -> commands`, without a clock or a socket. It
//! is the second driver of `Policy::decide`; the first is the simulator's episode loop, and `tests/differential.rs` holds
//! the two against each other. Whatever breaks outside (metrics, clocks, the API server, other controllers) reaches it as
//! an input, so that `tests/faults.rs` can throw all of it at it.

pub mod controller;
pub mod demo;
pub mod journal;
pub mod keda;
pub mod service;
pub mod shell;
pub mod source;
pub mod spec;
pub mod status;
pub mod target;
mod tls;
pub mod yaml;
