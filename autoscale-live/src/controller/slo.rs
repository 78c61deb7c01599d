//! Whether the service keeps what was promised of it.

use autoscale_core::measurement::Measurement;
use autoscale_core::validate::{ConfigError, Validate, in_range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A service level objective: this share of requests is answered well within this time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloConfig {
    /// Response time, 0.001 to 3,600 s.
    pub latency_s: f64,
    /// The share of requests that must keep to it.
    pub percentile: Percentile,
}

/// Those that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Percentile {
    /// 50 %.
    P50,
    /// 90 %.
    P90,
    /// 95 %.
    P95,
    /// 99 %.
    P99,
}

/// Whether an objective was met at a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SloState {
    /// Nothing was promised, or nothing is known.
    #[default]
    Unknown,
    /// It was.
    Met,
    /// It was not.
    Missed,
}

/// A checked [`SloConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    latency: Duration,
    percentile: Percentile,
}

impl Validate for SloConfig {
    type Checked = Slo;

    fn validate(self) -> Result<Slo, ConfigError> {
        in_range("latency_s", self.latency_s, 0.001, 3600.0)?;
        Ok(Slo { latency: Duration::from_secs_f64(self.latency_s), percentile: self.percentile })
    }
}

impl Slo {
    /// What a measurement says of it. Requests that failed are none that were answered well: when they alone are more than
    /// may be late, those that were answered need not be looked at.
    pub fn look(&self, measurement: &Measurement) -> SloState {
        let may_miss = match self.percentile {
            Percentile::P50 => 0.5,
            Percentile::P90 => 0.1,
            Percentile::P95 => 0.05,
            Percentile::P99 => 0.01,
        };
        let failed = measurement.error_rate.per_second() + measurement.timeout_rate.per_second();
        if failed > may_miss * measurement.arrival_rate.per_second() {
            return SloState::Missed;
        }
        let Some(latency) = &measurement.latency else { return SloState::Unknown };
        let measured = match self.percentile {
            Percentile::P50 => latency.p50,
            Percentile::P90 => latency.p90,
            Percentile::P95 => latency.p95,
            Percentile::P99 => latency.p99,
        };
        if measured > self.latency { SloState::Missed } else { SloState::Met }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_core::measurement::{LatencySummary, ReplicaCounts};
    use autoscale_core::units::{RequestRate, Timestamp};

    #[test]
    fn late_and_failed_requests_miss_it() {
        let config = SloConfig { latency_s: 0.5, percentile: Percentile::P95 };
        let slo = config.validate().unwrap();
        let rate = |per_second| RequestRate::new(per_second).unwrap();
        let seen = |p95_ms, failed| {
            let ms = Duration::from_millis;
            slo.look(&Measurement {
                at: Timestamp::ZERO,
                age: Duration::ZERO,
                arrival_rate: rate(100.0),
                cpu_utilization: None,
                memory_bytes: 0,
                in_flight: 0.0,
                queued: 0.0,
                latency: Some(LatencySummary {
                    mean: ms(1),
                    p50: ms(1),
                    p90: ms(1),
                    p95: ms(p95_ms),
                    p99: ms(9000),
                }),
                error_rate: rate(failed),
                timeout_rate: rate(1.0),
                replicas: ReplicaCounts::default(),
            })
        };
        assert_eq!(seen(500, 4.0), SloState::Met);
        assert_eq!(seen(501, 0.0), SloState::Missed, "too late");
        assert_eq!(seen(100, 4.1), SloState::Missed, "too many failed");
        let told = SloConfig { latency_s: 0.0, ..config }.validate().unwrap_err().to_string();
        assert!(told.starts_with("latency_s: 0"), "{told}");
    }
}
