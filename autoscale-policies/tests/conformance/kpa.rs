//! Sequences of Knative's autoscaler.

use crate::Verdict;
use crate::json::list;
use autoscale_policies::kpa::{Averaging, Kpa, KpaConfig, Reachability};
use serde_json::Value;

pub(crate) fn check(case: &Value) -> Verdict {
    let number = |name: &str| case[name].as_f64().unwrap();
    let whole = |name: &str| case[name].as_u64().unwrap() as u32;
    let config = KpaConfig {
        target: number("target"),
        total: number("total"),
        stable_window_s: whole("stable_window_s"),
        panic_window_s: whole("panic_window_s"),
        panic_threshold: number("panic_threshold"),
        max_scale_up_rate: number("max_scale_up_rate"),
        max_scale_down_rate: number("max_scale_down_rate"),
        target_burst_capacity: number("target_burst_capacity"),
        scale_down_delay_s: whole("scale_down_delay_s"),
        activation_scale: whole("activation_scale"),
        averaging: if case["weighted_exponential"] == true {
            Averaging::WeightedExponential
        } else {
            Averaging::Linear
        },
    };
    let reachability =
        if case["reachable"] == true { Reachability::Reachable } else { Reachability::Unreachable };
    let start = case["start_unix"].as_i64().unwrap();
    let mut kpa = Kpa::new(config, start, whole("ready_at_start")).map_err(|e| e.to_string())?;
    let mut expected = list(&case["expect"]).iter();
    for step in list(&case["steps"]) {
        let t = step["t"].as_i64().unwrap();
        if let Some(concurrency) = step["observed"].as_f64() {
            kpa.observe(start + t, concurrency);
        }
        if step["scale"] != true {
            continue;
        }
        let expected = expected.next().unwrap();
        let found = kpa.scale(start + t, step["ready"].as_u64().unwrap() as u32, reachability);
        let close = |found: f64, name: &str| {
            let expected = expected[name].as_f64().unwrap();
            (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
        };
        let same = match found {
            None => expected["valid"] == false,
            Some(decision) => {
                expected["valid"] == true
                    && expected["desired"] == decision.desired
                    && expected["panicking"] == decision.panicking
                    && close(decision.excess_burst_capacity, "excess_burst_capacity")
                    && close(decision.stable, "stable_value")
                    && close(decision.panic, "panic_value")
            }
        };
        if !same {
            return Err(format!("at {t} s: {found:?}, expected {expected}"));
        }
    }
    Ok(())
}
