//! Rule-based scaling policies.
//!
//! All implement [`autoscale_core::policy::Policy`]: [`fixed::Fixed`], [`random::RandomPolicy`],
//! [`schedule::Schedule`], the plain [`ratio::RatioRule`], and [`hpa::Hpa`], the Horizontal Pod Autoscaler.

pub mod fixed;
pub mod hpa;
pub mod kpa;
pub mod phpa;
pub mod random;
pub mod ratio;
pub mod schedule;
