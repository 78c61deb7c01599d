//! The controller's decision records: a line of JSON each, with the measurement that the decision was made on.
//!
//! A measurement counts once, in the step that it was taken in, and a step's rate is the mean of its measurements. Several
//! processes may have recorded the same time, and files may overlap.

use super::{ABSURD_RPS, Gaps, ImportError, Log, MOST_STEPS, Native, Source, date, quoted};
use crate::trace::Trace;
use autoscale_core::units::{RequestRate, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
struct Line {
    target: Target,
    version: u32,
    measurement: Option<Measured>,
}

#[derive(Deserialize)]
struct Target {
    namespace: String,
    kind: String,
    name: String,
}

/// What is read of a measurement.
#[derive(Deserialize)]
struct Measured {
    at: Timestamp,
    arrival_rate: f64,
}

/// The version of the records that is read.
const VERSION: u32 = 1;

/// Whether a file begins with such a record.
pub(super) fn looks_like(head: &[u8]) -> bool {
    let line = head.split(|&b| b == b'\n').next().unwrap_or(head);
    serde_json::from_slice::<Line>(line).is_ok()
}

/// Rates by the moment of the measurement in microseconds since the Unix epoch.
#[derive(Default)]
pub(super) struct Measurements {
    rates: BTreeMap<i64, f64>,
    targets: BTreeSet<String>,
}

impl Measurements {
    pub(super) fn read(
        &mut self,
        source: &mut Source,
        wanted: Option<&str>,
        log: &mut Log,
    ) -> Result<(), ImportError> {
        let (mut bytes, mut number) = (Vec::new(), 0);
        while source.line(&mut bytes)? {
            number += 1;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            log.read += 1;
            let Ok(line) = serde_json::from_slice::<Line>(&bytes) else {
                // A process that was killed leaves half a line, and the next one writes on after it.
                log.skip("line that is no decision record", || source.place(number));
                continue;
            };
            if line.version != VERSION {
                let expected = format!("{VERSION}, which is what this program reads and writes");
                return Err(source.malformed(number, "version", line.version, &expected));
            }
            let target = format!("{}/{}/{}", line.target.namespace, line.target.kind, line.target.name);
            if wanted.is_some_and(|wanted| wanted != target) {
                self.targets.insert(target);
                log.skip("record of another target", || source.place(number));
                continue;
            }
            if self.targets.insert(target) && wanted.is_none() && self.targets.len() > 1 {
                let named: Vec<&str> = self.targets.iter().map(String::as_str).collect();
                let expected = "one target; say which one by its namespace/kind/name";
                return Err(source.malformed(
                    number,
                    "target",
                    quoted(named.join(", ").as_bytes()),
                    expected,
                ));
            }
            let Some(Measured { at, arrival_rate }) = line.measurement else {
                log.skip("decision without a measurement", || source.place(number));
                continue;
            };
            if !(0.0..=ABSURD_RPS).contains(&arrival_rate) {
                let expected = format!("0 to {ABSURD_RPS} requests/s");
                return Err(source.malformed(number, "measurement.arrival_rate", arrival_rate, &expected));
            }
            let micros = at.since(Timestamp::ZERO).as_micros() as i64;
            if self.rates.insert(micros, arrival_rate).is_some() {
                log.skip("measurement that was there already", || source.place(number));
            }
        }
        Ok(())
    }

    /// In steps of that many seconds.
    pub(super) fn finish(
        self,
        path: &Path,
        (step, gaps): (i64, Gaps),
        log: &mut Log,
    ) -> Result<Option<Native>, ImportError> {
        let mut steps: BTreeMap<i64, (f64, u32)> = BTreeMap::new();
        for (micros, rate) in &self.rates {
            let (sum, count) = steps.entry(micros.div_euclid(step * 1_000_000)).or_default();
            *sum += rate;
            *count += 1;
        }
        let (Some((&begin, _)), Some((&end, _))) = (steps.first_key_value(), steps.last_key_value()) else {
            return Ok(None);
        };
        let malformed = |bin: i64, value: &str, expected: String| ImportError::Malformed {
            path: path.to_owned(),
            place: date(bin * step, 1),
            field: "measurement.at".to_owned(),
            value: value.to_owned(),
            expected,
        };
        if end - begin >= MOST_STEPS {
            let expected =
                format!("at most {MOST_STEPS} steps after {}; is a date wrong?", date(begin * step, 1));
            return Err(malformed(end, &date(end * step, 1), expected));
        }
        let (mut rates, mut last) = (Vec::new(), 0.0);
        for bin in begin..=end {
            let rate = if let Some((sum, count)) = steps.get(&bin) {
                last = sum / f64::from(*count);
                last
            } else {
                let (filled, reason) = match gaps {
                    Gaps::Refuse => {
                        let expected = "a measurement; or fill gaps with zero or by holding the last rate";
                        return Err(malformed(bin, "none", expected.to_owned()));
                    }
                    Gaps::Zero => (0.0, "step without a measurement, filled with 0"),
                    Gaps::Hold => (last, "step without a measurement, filled with the last rate"),
                };
                log.skip(reason, || date(bin * step, 1));
                filled
            };
            rates.push(RequestRate::new(rate)?);
        }
        let trace = Trace::new(Duration::from_secs(step.unsigned_abs()), rates)?;
        Ok(Some(Native { trace, begin: Some(begin * step * 1000) }))
    }
}
