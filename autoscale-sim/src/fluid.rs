//! The fluid engine: the probability of every queue length instead of requests.
//!
//! [`FluidWorld`] stands behind the same trait as the request engine, with the same load, the same lives of pods and
//! the same metrics pipeline; its kernel is [`FluidStation`]. Under random dispatch every pod gets a Poisson stream
//! of its own, so all pods are copies of one queue, and the share of pods with x requests in them is the
//! probability that one has x. Where the least busy pod gets a request, hardly any waits while a worker is idle
//! anywhere, so all pods are taken for one queue with all workers. With exponential demand either is a birth-death
//! chain, and its transient distribution is exact; the mixture of older pods and fresh, empty ones obeys the same
//! equation, since it is linear. Three things make it fit real pods:
//!
//! * **Demand of any variability.** Above the first waiting request, births and deaths both get cμ (cv² − 1)/2 more.
//!   That leaves the drift as it is and gives the queue the variance of the demand; for one worker the stationary
//!   mean is then Pollaczek and Khinchine's, exactly.
//! * **Clients that give up.** A request that would wait longer than its timeout never gets a worker, so it is not
//!   born into the chain (Baccelli, Boyer and Hébuterne 1984: the wait of an arrival decides); it holds a place
//!   in the queue until it leaves.
//! * **Response times.** What an arrival that finds x will wait is gamma distributed with the mean and variance of its
//!   x − c + 1 departures, the first of them of a residual; the service is added from quantiles of the demand. These
//!   tables are made once.
//!
//! The chain is advanced by TR-BDF2 (Bank et al. 1985; Hosea and Shampine 1996), which takes steps of seconds however
//! short the services are, over the states that hold any probability. Of one large queue, some states are taken
//! together, with the drift and variance of single requests.
//!
//! Processor sharing, retries, slow start, crashes, evictions, nodes, lost scrapes and other kinds of dispatch are
//! refused. What is lost against requests is noise: rates, quantiles and CPU are expected values. Gauges are single
//! moments of a few requests, much noisier than all else, so each scrape draws them from the chain's distribution;
//! expected values would tell a learner what no cluster shows.

mod flow;
mod model;
mod pods;
mod scrape;
mod station;
#[cfg(test)]
mod tests;
mod world;

pub use flow::FluidFlow;
pub use model::FluidModel;
pub use station::FluidStation;
pub use world::FluidWorld;

use crate::scenario::{Discipline, Dispatch, ScenarioConfig};
use autoscale_core::validate::ConfigError;

/// Refuses what flows cannot express.
///
/// # Errors
/// Names the field.
pub(crate) fn check(config: &ScenarioConfig) -> Result<(), ConfigError> {
    let refuse = |field: &str, value: &dyn std::fmt::Display, expected: &str| {
        Err(ConfigError::new(field, value, format!("{expected} in the fluid engine")))
    };
    let service = &config.service;
    if service.discipline != Discipline::Fifo {
        return refuse("service.discipline", &"processor-sharing", "fifo");
    }
    if !matches!(service.dispatch, Dispatch::Random | Dispatch::LeastOutstanding) {
        return refuse("service.dispatch", &service.dispatch, "random or least-outstanding");
    }
    if service.retries.is_some() {
        return refuse("service.retries", &"present", "absence");
    }
    if service.slow_start.is_some() {
        return refuse("service.slow_start", &"present", "absence");
    }
    if config.nodes.is_some() {
        return refuse("nodes", &"present", "absence");
    }
    for (field, rate) in [
        ("failures.crashes_per_hour", config.failures.crashes_per_hour),
        ("failures.evictions_per_hour", config.failures.evictions_per_hour),
        ("metrics.scrape_loss", config.metrics.scrape_loss),
    ] {
        if rate > 0.0 {
            return refuse(field, &rate, "0");
        }
    }
    Ok(())
}
