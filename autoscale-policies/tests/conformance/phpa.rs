//! The two models of the predictive HPA.

use crate::Verdict;
use crate::json::list;
use autoscale_core::units::Timestamp;
use autoscale_policies::phpa::{Component, HoltWinters, linear, replicas};
use serde_json::Value;
use std::time::Duration;

/// Seconds since midnight of an RFC 3339 time; the cases lie within a day of a month.
fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap();
    let number = |from: usize| text[from..from + 2].parse::<i64>().unwrap();
    let fraction: f64 = match text[19..].trim_end_matches('Z') {
        "" => 0.0,
        digits => format!("0{digits}").parse().unwrap(),
    };
    let whole = ((number(8) * 24 + number(11)) * 60 + number(14)) * 60 + number(17);
    Timestamp::from_secs_f64(whole as f64 + fraction)
}

fn compare(found: f64, expected: &Value) -> Verdict {
    let raw = expected["raw"].as_f64().unwrap();
    let close = (found - raw).abs() <= 1e-6 * raw.abs().max(1.0);
    let same_count = expected["float_sensitive"] == true || expected["replicas"] == replicas(found);
    if close && same_count { Ok(()) } else { Err(format!("{found}, expected {expected}")) }
}

pub(crate) fn check_linear(case: &Value) -> Verdict {
    let input = &case["input"];
    let point = |p: &Value| (time(&p["time"]), p["replicas"].as_f64().unwrap());
    let history: Vec<_> = list(&input["replicaHistory"]).iter().map(point).collect();
    let ahead = Duration::from_millis(input["lookAhead"].as_u64().unwrap());
    compare(linear(&history, time(&input["currentTime"]), ahead).unwrap_or(0.0), &case["expect"])
}

pub(crate) fn check_holt_winters(case: &Value) -> Verdict {
    let input = &case["input"];
    let number = |name: &str| input[name].as_f64().unwrap();
    let component = |name: &str| match input[name].as_str().unwrap() {
        "add" => Component::Additive,
        _ => Component::Multiplicative,
    };
    let model = HoltWinters {
        trend: component("trend"),
        seasonal: component("seasonal"),
        alpha: number("alpha"),
        beta: number("beta"),
        gamma: number("gamma"),
        seasonal_periods: input["seasonalPeriods"].as_u64().unwrap() as usize,
    };
    let model = model.validate().map_err(|e| e.to_string())?;
    let series: Vec<f64> = list(&input["series"]).iter().map(|y| y.as_f64().unwrap()).collect();
    // Upstream predicts nothing where the series is too short.
    compare(model.forecast(&series).unwrap_or(0.0), &case["expect"])
}
