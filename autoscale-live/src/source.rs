//! Where measurements come from.

mod answer;
mod auth;
mod prometheus;
mod queries;
mod usage;

pub use auth::{Auth, AuthError};
pub use prometheus::{
    Answers, Collector, CollectorError, MetricsFault, PrometheusConfig, ServiceMetrics, UsageSource,
};
pub use queries::{Metric, Queries};
