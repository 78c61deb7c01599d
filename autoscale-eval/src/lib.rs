//! Metrics over finished episodes, and paired statistics over policies.
//!
//! [`metric`] reads an episode; [`suite`] runs policies on the same seeds; [`compare`] sets two of them side by
//! side with [`estimate`]s; [`report`] writes the result down. A [`study`] holds the [`figure`]s of many policies in many
//! scenarios, and [`analysis`] is what can be said of it; [`statistics`] is about many scenarios and many tests at once.
//! [`tune`] searches parameters within a budget.

pub mod analysis;
pub mod compare;
mod digits;
pub mod estimate;
pub mod figure;
pub mod metric;
pub mod report;
pub mod scores;
pub mod statistics;
pub mod study;
pub mod suite;
pub mod tune;
pub mod verdict;

#[cfg(test)]
mod toy;
