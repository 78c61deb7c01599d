//! A request-level simulator of a service on Kubernetes.
//!
//! Start at [`world::World`]: load arrives ([`load`], [`arrivals`], [`trace`]), pods serve it (`pod`, [`service`]),
//! and a scrape pipeline (`probe`) shows a policy what a cluster would show, as late as it would.
//! [`scenario`] says what is simulated; [`optimum`] how cheap an episode could have been, and [`clairvoyant`] is a
//! simpler yardstick that knows the load ahead;
//! [`oracle`] holds the results of queueing theory that the simulator is tested against; [`prometheus`] is what
//! Prometheus would answer about scraped series.
//!
//! This crate reads no clock and no operating-system randomness, and knows no policy but the trait.

pub mod arrivals;
mod balancer;
mod books;
pub mod clairvoyant;
mod clients;
mod draw;
pub mod engine;
mod episode;
mod fleet;
pub mod fluid;
pub mod load;
pub mod optimum;
pub mod oracle;
mod pod;
mod probe;
pub mod prometheus;
mod request;
pub mod scenario;
pub mod service;
pub mod station;
pub mod trace;
pub mod world;
