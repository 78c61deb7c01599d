//! `autoscale_sim::prometheus` against what promtool answered for the same series.
//!
//! The vectors come from `experiments/prometheus-vectors`; its README says how to write them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use autoscale_sim::prometheus::{
    Bucket, LOOKBACK_DELTA, Millis, Series, histogram_quantile, increase, irate, rate, sum_by_le,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest relative error.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    series: Vec<Labelled>,
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Labelled {
    labels: BTreeMap<String, String>,
    samples: Vec<(i64, Value)>,
}

/// A number, or "NaN", "+Inf", "-Inf", "stale".
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(f64),
    Word(String),
}

impl Value {
    fn get(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Word(word) => word.parse().unwrap(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Query {
    function: Function,
    at_ms: i64,
    #[serde(default)]
    range_ms: u64,
    #[serde(default)]
    q: String,
    expect: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Function {
    Instant,
    Rate,
    Increase,
    Irate,
    Quantile,
    QuantileOfRate,
}

fn series(samples: &[(i64, Value)]) -> Series {
    let mut series = Series::new();
    for (at, value) in samples {
        let at = Millis::new(*at);
        match value {
            Value::Word(word) if word == "stale" => series.append_stale(at).unwrap(),
            value => series.append(at, value.get()).unwrap(),
        }
    }
    series
}

fn evaluate(query: &Query, all: &[(Option<f64>, Series)]) -> Option<f64> {
    let (at, range) = (Millis::new(query.at_ms), Duration::from_millis(query.range_ms));
    let quantile = |select: &dyn Fn(&Series) -> Option<f64>| {
        let bucket = |(le, series): &(Option<f64>, Series)| {
            Some(Bucket { upper_bound: le.unwrap(), count: select(series)? })
        };
        histogram_quantile(query.q.parse().unwrap(), sum_by_le(all.iter().filter_map(bucket)))
    };
    let only = &all[0].1;
    match query.function {
        Function::Instant => only.value_at(at, LOOKBACK_DELTA),
        Function::Rate => rate(only, at, range),
        Function::Increase => increase(only, at, range),
        Function::Irate => irate(only, at, range),
        Function::Quantile => quantile(&|s| s.value_at(at, LOOKBACK_DELTA)),
        Function::QuantileOfRate => quantile(&|s| rate(s, at, range)),
    }
}

/// Relative difference; none between equal infinities, two NaN, or nothing and nothing.
#[expect(clippy::float_cmp, reason = "equal infinities have no difference")]
fn error(found: Option<f64>, expected: Option<f64>) -> f64 {
    match (found, expected) {
        (None, None) => 0.0,
        (Some(f), Some(e)) if f == e || (f.is_nan() && e.is_nan()) => 0.0,
        (Some(f), Some(e)) if f.is_finite() && e.is_finite() => (f - e).abs() / e.abs(),
        _ => f64::INFINITY,
    }
}

#[test]
fn answers_are_those_of_promtool() {
    let vectors: Vectors = serde_json::from_str(include_str!("prometheus/vectors.json")).unwrap();
    let mut worst = BTreeMap::<Function, (u32, u32, f64)>::new();
    let mut wrong = Vec::new();
    let mut histograms = 0;
    for case in &vectors.cases {
        let le = |s: &Labelled| s.labels.get("le").map(|le| le.parse().unwrap());
        let all: Vec<_> = case.series.iter().map(|s| (le(s), series(&s.samples))).collect();
        histograms += usize::from(all[0].0.is_some());
        for query in &case.queries {
            let expected = query.expect.as_ref().map(Value::get);
            let found = evaluate(query, &all);
            let difference = error(found, expected);
            let (count, numbers, largest) = worst.entry(query.function).or_default();
            *count += 1;
            *numbers += u32::from(expected.is_some_and(|e| e.is_finite() && e != 0.0));
            *largest = largest.max(difference);
            if difference.is_nan() || difference > TOLERANCE {
                wrong.push(format!("{}: {query:?} gave {found:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    // Were the file cut short, agreement would be easy.
    assert!(vectors.cases.len() - histograms >= 50 && histograms >= 15, "too few series");
    assert_eq!(worst.len(), 6, "a function is not covered");
    assert!(worst.values().all(|&(_, numbers, _)| numbers >= 50), "too few numbers: {worst:?}");
    eprintln!("queries, numbers among the answers, largest relative error: {worst:?}");
}
