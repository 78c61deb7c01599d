//! Metrics over finished episodes, and paired statistics over policies.
//!
//! [`metric`] reads an episode; [`suite`] runs policies on the same seeds; [`compare`] sets two of them side by
//! side with [`estimate`]s; [`report`] writes the result down. [`statistics`] is about many scenarios and many tests at
//! once. [`tune`] searches parameters within a budget.

pub mod compare;
pub mod estimate;
pub mod metric;
pub mod report;
pub mod scores;
pub mod statistics;
pub mod suite;
pub mod tune;
