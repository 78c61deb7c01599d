//! The collector against a real Prometheus: `.ci/cluster` fetches one and runs these.
//!
//! It scrapes demo services that answer real requests, and what the collector then says is held against what the services
//! themselves have counted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it saw"
)]

mod prometheus {
    mod collecting;
    mod history;
    mod pods;
    mod server;
    mod usage;
}
