//! Rule-based scaling policies.
//!
//! All implement [`autoscale_core::policy::Policy`].
//!
//! | policy | what |
//! |---|---|
//! | [`hpa::Hpa`] | the Horizontal Pod Autoscaler, to the letter |
//! | [`predictive::Predictive`] | a forecast of the load over the time that a pod needs |
//! | [`staffing::SquareRoot`] | square-root staffing on the measured rate |
//! | [`lcp::Lcp`] | lazy capacity provisioning, 3-competitive |
//! | [`keda::KedaPolicy`] | KEDA: polling, cool-down and fallback around an HPA on the rate |
//! | [`cron::CronPolicy`] | KEDA's cron trigger, with a schedule fitted to recorded load |
//! | [`kpa::KpaPolicy`] | Knative's autoscaler: concurrency over a stable and a panic window |
//! | [`phpa::Phpa`] | the predictive HPA: one step ahead on its own recommendations |
//! | [`ratio::RatioRule`] | the ratio rule without memory |
//! | [`fixed::Fixed`], [`random::RandomPolicy`], [`schedule::Schedule`] | yardsticks |
//! | [`guarded`] | any of them within an envelope, or with a fallback |

pub mod cron;
pub mod fixed;
pub mod forecast;
pub mod guarded;
pub mod hpa;
pub mod keda;
pub mod kpa;
pub mod lcp;
pub mod phpa;
pub mod predictive;
pub mod random;
pub mod ratio;
pub mod schedule;
pub mod service;
pub mod staffing;
mod window;
