//! Statistics of scores over several scenarios, and tests of paired differences.
//!
//! Scores come as `scores[stratum][run]`: a stratum is a scenario, a run is one seed in it. What is written here follows
//! Agarwal et al. (2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice") and agrees with their
//! library `rliable` (`tests/rliable.rs`):
//!
//! * [`aggregate`]: one number of many scores, above all the [`interquartile_mean`];
//! * [`stratified_interval`], [`joint_interval`]: its interval, whatever the number is;
//! * [`probability_of_improvement`]: how often one policy beats another;
//! * [`performance_profile`]: the share of runs above each threshold.
//!
//! Beside them stand, for differences on equal seeds, the exact [`sign_flip_test`], and for several tests together
//! [`holm`]. The interval of a single mean is [`bootstrap_mean`](crate::estimate::bootstrap_mean).

pub mod aggregate;
mod holm;
mod improvement;
mod profile;
mod sign_flip;
mod stratified;
mod student;

pub use aggregate::interquartile_mean;
pub use holm::holm;
pub use improvement::probability_of_improvement;
pub use profile::{ProfilePoint, performance_profile};
pub use sign_flip::{Counting, SignFlipTest, sign_flip_test};
pub use stratified::{joint_interval, stratified_interval};
pub use student::student_quantile;

use thiserror::Error;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum StatisticsError {
    /// No value at all.
    #[error("there is no value to compute from")]
    Empty,
    /// A stratum without a run.
    #[error("stratum {0} has no run")]
    EmptyStratum(usize),
    /// Infinite or not a number.
    #[error("{0} is not a finite number")]
    NotFinite(f64),
    /// Two tables of different scenarios.
    #[error("{0} strata cannot be set against {1}")]
    UnequalStrata(usize, usize),
    /// Thresholds out of order.
    #[error("thresholds have to ascend, but {0} stands before {1}")]
    NotAscending(f64, f64),
    /// A p-value below 0 or above 1.
    #[error("{0} is not a probability")]
    NotAProbability(f64),
}

/// All of `values` are finite, or which is not.
fn all_finite(values: &[f64]) -> Result<(), StatisticsError> {
    values.iter().find(|v| !v.is_finite()).map_or(Ok(()), |&v| Err(StatisticsError::NotFinite(v)))
}
