//! Where measurements come from.

mod answer;
mod auth;
mod prometheus;
mod queries;

pub use auth::{Auth, AuthError};
pub use prometheus::{
    Answers, Collector, CollectorError, MetricsFault, PrometheusConfig, ServiceMetrics, Usage, UsageSource,
};
pub use queries::{Metric, Queries};
