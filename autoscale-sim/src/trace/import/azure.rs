//! The Azure public data sets of functions (Shahrad et al. 2020) and of language models (Patel et al. 2024).

use super::{ImportError, Log, Native, Source, Tally, quoted};
use crate::trace::Trace;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use chrono::{DateTime, NaiveDateTime};
use std::time::Duration;

const DAY_MINUTES: usize = 1440;
const FIRST_MINUTE: usize = 4;

/// Counts the rows of a language-model trace.
pub(super) fn requests(source: &mut Source, tally: &mut Tally, log: &mut Log) -> Result<(), ImportError> {
    let mut line = Vec::new();
    let mut number = 0;
    while source.line(&mut line)? {
        number += 1;
        let text = line.trim_ascii();
        if number == 1 {
            let header = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            if !header.starts_with(b"TIMESTAMP,") {
                let expected = "a header that begins with TIMESTAMP,";
                return Err(source.malformed(1, "header", quoted(text), expected));
            }
        } else if !text.is_empty() {
            log.read += 1;
            let stamp = text.split(|&b| b == b',').next().unwrap_or(text);
            let Some(time) = time(stamp) else {
                let expected = "a date and time such as 2023-11-16 18:15:46.6805900, in UTC";
                return Err(source.malformed(number, "TIMESTAMP", quoted(stamp), expected));
            };
            tally.add(time, source, number);
        }
    }
    Ok(())
}

/// Seconds since the Unix epoch; a time without a zone is in UTC, as all of the data set is.
fn time(stamp: &[u8]) -> Option<i64> {
    let stamp = std::str::from_utf8(stamp).ok()?.trim();
    let zoned = || DateTime::parse_from_str(stamp, "%Y-%m-%d %H:%M:%S%.f%:z").ok().map(|t| t.timestamp());
    let plain = NaiveDateTime::parse_from_str(stamp, "%Y-%m-%d %H:%M:%S%.f").ok();
    plain.map(|t| t.and_utc().timestamp()).or_else(zoned)
}

/// Appends a day of invocations per minute, summed over functions.
pub(super) fn minutes(source: &mut Source, counts: &mut Vec<f64>, log: &mut Log) -> Result<(), ImportError> {
    let mut line = Vec::new();
    let mut day = vec![0.0; DAY_MINUTES];
    let mut number = 0;
    while source.line(&mut line)? {
        number += 1;
        let text = String::from_utf8_lossy(line.trim_ascii());
        if text.is_empty() {
            continue;
        }
        let fields: Vec<&str> = text.split(',').collect();
        if fields.len() != FIRST_MINUTE + DAY_MINUTES {
            let found = format!("{} columns", fields.len());
            let expected = "HashOwner,HashApp,HashFunction,Trigger and 1440 minutes, 1444 columns in all";
            return Err(source.malformed(number, "all", found, expected));
        }
        if number == 1 {
            let header = fields[0].trim_start_matches('\u{feff}');
            if header != "HashOwner" {
                return Err(source.malformed(1, "header", quoted(header.as_bytes()), "HashOwner first"));
            }
            continue;
        }
        log.read += 1;
        for (minute, field) in fields[FIRST_MINUTE..].iter().enumerate() {
            let count: u32 = field.trim().parse().map_err(|_| {
                let column = format!("minute {}", minute + 1);
                source.malformed(number, &column, quoted(field.as_bytes()), "a whole number of invocations")
            })?;
            day[minute] += f64::from(count);
        }
    }
    counts.extend(day);
    Ok(())
}

/// The days as one trace; absent when there is none.
pub(super) fn finish(counts: &[f64]) -> Result<Option<Native>, ConfigError> {
    if counts.iter().all(|&c| c == 0.0) {
        return Ok(None);
    }
    let rates = counts.iter().map(|c| RequestRate::new(c / 60.0)).collect::<Result<_, _>>()?;
    Ok(Some(Native { trace: Trace::new(Duration::from_secs(60), rates)?, begin: None }))
}
