//! Comparisons as text and as tidy CSV.

use crate::compare::Row;
use crate::estimate::Estimate;
use crate::metric::{Family, metrics};
use crate::suite::PolicyRecords;
use crate::{compare::episode_return, estimate::bootstrap_mean};
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::Seed;
use std::fmt::Write as _;

/// A table for people: a line a metric, families apart.
pub fn text_table(baseline: &str, candidate: &str, rows: &[Row]) -> String {
    let mut text = String::new();
    let head = format!(
        "{:<15} {:<24} {:>12} {:>12}   {:<30} {}",
        "family", "metric", baseline, candidate, "difference [95 % interval]", "verdict"
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{head}\n{}", "-".repeat(head.chars().count()));
    let mut family: Option<Family> = None;
    for row in rows {
        let named = if family == Some(row.family) { String::new() } else { row.family.to_string() };
        family = Some(row.family);
        let metric = format!("{} [{}]", row.metric, row.unit);
        let difference = interval(&row.difference);
        let _ = writeln!(
            text,
            "{named:<15} {metric:<24} {:>12} {:>12}   {difference:<30} {}",
            short(row.baseline.point),
            short(row.candidate.point),
            row.verdict
        );
    }
    text
}

fn interval(e: &Estimate) -> String {
    format!("{} [{}, {}]", signed(e.point), signed(e.low), signed(e.high))
}

/// Four significant digits or so, without an exponent.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", short(value)) } else { short(value) }
}

/// All policies' means in tidy form: a row a policy and metric.
///
/// # Errors
/// When the writer does not take it.
pub fn write_csv(
    records: &[PolicyRecords],
    weights: &RewardWeights,
    writer: impl std::io::Write,
) -> Result<(), csv::Error> {
    let mut csv = csv::Writer::from_writer(writer);
    csv.write_record(["policy", "metric", "unit", "estimate", "low", "high"])?;
    for policy in records {
        let mut line = |metric: &'static str, unit: &str, values: &[f64]| {
            let Some(e) = bootstrap_mean(values, Seed::root(0).child(metric)) else { return Ok(()) };
            let [point, low, high] = [e.point, e.low, e.high].map(|v| v.to_string());
            csv.write_record([policy.name.as_str(), metric, unit, &point, &low, &high])
        };
        for metric in metrics() {
            let values: Vec<f64> = policy.records.iter().filter_map(|e| metric.measure(e)).collect();
            line(metric.name(), metric.unit(), &values)?;
        }
        let returns: Vec<f64> = policy.records.iter().map(|e| episode_return(e, weights)).collect();
        line("return", "price/h", &returns)?;
    }
    csv.flush().map_err(csv::Error::from)
}
