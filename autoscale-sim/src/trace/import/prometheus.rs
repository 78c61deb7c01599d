//! The JSON answer of Prometheus to `/api/v1/query_range`.
//!
//! The query should give requests per second, such as `sum(rate(http_requests_total[1m]))`. Series are
//! summed; where one has no sample it adds nothing, because series come and go with pods. Several files are
//! parts of one range: a sample that is in two of them counts once.

use super::{ABSURD_RPS, Gaps, ImportError, Log, MOST_STEPS, Native, Source, date};
use crate::trace::Trace;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// Samples by time in milliseconds since the Unix epoch, then by series.
#[derive(Default)]
pub(super) struct Samples(BTreeMap<i64, BTreeMap<String, f64>>);

impl Samples {
    pub(super) fn read(&mut self, source: &mut Source, log: &mut Log) -> Result<(), ImportError> {
        let mut json = serde_json::Deserializer::from_reader(&mut source.reader);
        let answer: Answer = match serde_path_to_error::deserialize(&mut json) {
            Ok(answer) => answer,
            Err(error) => {
                let (path, inner) = (error.path().to_string(), error.into_inner());
                let expected = "the JSON answer of /api/v1/query_range";
                return Err(source.malformed(inner.line(), &path, inner, expected));
            }
        };
        if answer.status != "success" {
            let said = format!("{:?} ({})", answer.status, answer.error.unwrap_or_default());
            return Err(source.malformed(1, "status", said, "\"success\""));
        }
        let kind = answer.data.as_ref().map_or("no data", |d| &d.result_type);
        if kind != "matrix" {
            let expected = "\"matrix\": ask /api/v1/query_range, not /api/v1/query";
            return Err(source.malformed(1, "data.resultType", format!("{kind:?}"), expected));
        }
        let result = answer.data.map_or(serde_json::Value::Null, |d| d.result);
        let series: Vec<Series> = serde_path_to_error::deserialize(result).map_err(|error| {
            let path = format!("data.result{}", error.path());
            source.malformed(1, &path, error.inner(), "{\"metric\":{…},\"values\":[[seconds,\"value\"],…]}")
        })?;
        for (k, Series { metric, values }) in series.into_iter().enumerate() {
            let name = format!("{metric:?}");
            for (j, (seconds, text)) in values.into_iter().enumerate() {
                log.read += 1;
                let place = || format!("data.result[{k}].values[{j}]");
                let value: f64 = match text.parse() {
                    Ok(value) => value,
                    Err(_) => {
                        return Err(source.malformed(place(), "value", format!("{text:?}"), "a number"));
                    }
                };
                if !value.is_finite() {
                    log.skip("sample that is NaN or infinite", || {
                        format!("{}:{}", source.path.display(), place())
                    });
                } else if !(0.0..=ABSURD_RPS).contains(&value) {
                    let expected =
                        format!("0 to {ABSURD_RPS} requests/s; a counter needs rate(…) in the query");
                    return Err(source.malformed(place(), "value", value, &expected));
                } else if !(0.0..4e9).contains(&seconds) {
                    return Err(source.malformed(place(), "time", seconds, "Unix seconds"));
                }
                // A time without a usable sample is still a time of the grid.
                let at = self.0.entry((seconds * 1000.0).round() as i64).or_default();
                if value.is_finite() {
                    at.insert(name.clone(), value);
                }
            }
        }
        Ok(())
    }

    /// The sum of all series in the steps of the query.
    pub(super) fn finish(
        self,
        path: &Path,
        gaps: Gaps,
        log: &mut Log,
    ) -> Result<Option<Native>, ImportError> {
        let sums: BTreeMap<i64, f64> = self
            .0
            .iter()
            .filter(|(_, series)| !series.is_empty())
            .map(|(&time, series)| (time, series.values().sum()))
            .collect();
        let (Some((&begin, _)), Some((&end, _))) = (sums.first_key_value(), sums.last_key_value()) else {
            return Ok(None);
        };
        let malformed = |time: i64, value: String, expected: String| ImportError::Malformed {
            path: path.to_owned(),
            place: date(time, 1000),
            field: "time".to_owned(),
            value,
            expected,
        };
        let times: Vec<i64> = self.0.keys().copied().collect();
        let Some(step) = times.windows(2).map(|w| w[1] - w[0]).min() else {
            return Err(malformed(
                begin,
                "one sample".into(),
                "at least two, so that the step is known".into(),
            ));
        };
        if let Some(&odd) = times.iter().find(|&t| (t - begin) % step != 0) {
            let expected = format!(
                "a whole number of steps of {} s after {}; parts of a range need the same step and phase",
                step as f64 / 1000.0,
                date(begin, 1000)
            );
            return Err(malformed(odd, format!("{} s", odd as f64 / 1000.0), expected));
        }
        if (end - begin) / step >= MOST_STEPS {
            let expected = format!("at most {MOST_STEPS} steps after {}", date(begin, 1000));
            return Err(malformed(end, date(end, 1000), expected));
        }
        let mut last = 0.0;
        let mut rates = Vec::new();
        for time in (begin..=end).step_by(step as usize) {
            if let Some(&sum) = sums.get(&time) {
                last = sum;
                rates.push(sum);
                continue;
            }
            let (filled, reason) = match gaps {
                Gaps::Refuse => {
                    let expected = "a sample; or fill gaps with zero or by holding the last rate";
                    return Err(malformed(time, "no sample".to_owned(), expected.to_owned()));
                }
                Gaps::Zero => (0.0, "step without a sample, filled with 0"),
                Gaps::Hold => (last, "step without a sample, filled with the last rate"),
            };
            log.skip(reason, || date(time, 1000));
            rates.push(filled);
        }
        let rates = rates.into_iter().map(RequestRate::new).collect::<Result<_, ConfigError>>()?;
        let trace = Trace::new(Duration::from_millis(step.unsigned_abs()), rates)?;
        Ok(Some(Native { trace, begin: Some(begin) }))
    }
}
