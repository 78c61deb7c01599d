//! Request traces: CSV `time_s,rps` with a constant step.

pub mod describe;
pub mod fit;

#[cfg(feature = "import")]
pub mod import;
mod write;

use autoscale_core::units::RequestRate;
use autoscale_core::validate::{ConfigError, in_range};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// More requests per second than any trace can mean: one is likely in other units.
const ABSURD_RPS: f64 = 1e7;
/// Longest constant step: a day.
const LONGEST_STEP_S: f64 = 86_400.0;

/// A trace that cannot be read, with the place and what was expected there.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {cause}; expected a CSV file with the header time_s,rps", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system or the CSV reader said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A line does not hold what it should.
    #[error("{}:{line}: column {column}: {value} is not allowed; expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, the header included.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// What stood there.
        value: String,
        /// What would be accepted.
        expected: String,
    },
}

/// Mean request rates over steps of equal length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    step: Duration,
    rates: Vec<f64>,
}

impl Trace {
    /// A trace of `rates`, each the mean over one `step`.
    ///
    /// # Errors
    /// When there is no rate or the step is empty.
    pub fn new(step: Duration, rates: Vec<RequestRate>) -> Result<Self, ConfigError> {
        if rates.is_empty() {
            return Err(ConfigError::new("trace", "no rates", "at least one rate"));
        }
        if step.is_zero() {
            return Err(ConfigError::new("step", "0 s", "a positive step"));
        }
        Ok(Self { step, rates: rates.into_iter().map(RequestRate::per_second).collect() })
    }

    /// Reads a CSV file with the header `time_s,rps`: seconds since the trace's start in a constant step,
    /// and the mean requests per second in that step.
    ///
    /// # Errors
    /// Names file, line, column, value and what was expected.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let unreadable = |cause: Box<dyn std::error::Error + Send + Sync>| TraceError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        if path.is_dir() {
            return Err(unreadable("it is a folder".into()));
        }
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|e| unreadable(e.into()))?;
        let malformed = |line, column, value: String, expected: String| TraceError::Malformed {
            path: path.to_owned(),
            line,
            column,
            value,
            expected,
        };
        let header = reader.headers().map_err(|e| unreadable(e.into()))?;
        if header.iter().collect::<Vec<_>>() != ["time_s", "rps"] {
            let found: String = header.iter().collect::<Vec<_>>().join(",").chars().take(80).collect();
            let expected = "the header time_s,rps".to_owned();
            return Err(malformed(1, "header", format!("{found:?}"), expected));
        }

        let (mut times, mut rates): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(|e| unreadable(e.into()))?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != 2 {
                let expected = "two columns: time_s,rps".to_owned();
                return Err(malformed(line, "all", format!("{} columns", record.len()), expected));
            }
            let number = |column: usize, name| {
                let text = &record[column];
                let value = text.parse::<f64>().ok().filter(|v| v.is_finite());
                value.ok_or_else(|| malformed(line, name, format!("{text:?}"), "a finite number".to_owned()))
            };
            let (time, rate) = (number(0, "time_s")?, number(1, "rps")?);
            if !(0.0..=ABSURD_RPS).contains(&rate) {
                return Err(malformed(
                    line,
                    "rps",
                    rate.to_string(),
                    format!("0 to {ABSURD_RPS} requests/s"),
                ));
            }
            check_time(&times, time)
                .map_err(|expected| malformed(line, "time_s", time.to_string(), expected))?;
            times.push(time);
            rates.push(rate);
        }
        if times.len() < 2 {
            let expected = "at least two rows, so that the step is known".to_owned();
            return Err(malformed(
                1 + times.len() as u64,
                "time_s",
                format!("{} rows", times.len()),
                expected,
            ));
        }
        Ok(Self { step: Duration::from_secs_f64(times[1] - times[0]), rates })
    }

    /// Length of a step.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// The mean rate of every step, in order.
    pub fn rates(&self) -> impl Iterator<Item = RequestRate> + '_ {
        self.rates.iter().map(|&r| rate(r))
    }

    /// Time covered.
    pub fn duration(&self) -> Duration {
        self.step * u32::try_from(self.rates.len()).unwrap_or(u32::MAX)
    }

    /// Mean over all steps.
    pub fn mean(&self) -> RequestRate {
        rate(self.rates.iter().sum::<f64>() / self.rates.len() as f64)
    }

    /// Largest step.
    pub fn peak(&self) -> RequestRate {
        rate(self.rates.iter().copied().fold(0.0, f64::max))
    }

    /// The same shape with every rate multiplied by `factor`.
    ///
    /// # Errors
    /// When the factor is negative, not finite, or makes a rate absurd.
    pub fn scaled(&self, factor: f64) -> Result<Self, ConfigError> {
        let rates: Vec<f64> = self.rates.iter().map(|r| r * factor).collect();
        if rates.iter().all(|r| (0.0..=ABSURD_RPS).contains(r)) {
            Ok(Self { step: self.step, rates })
        } else {
            Err(ConfigError::new("scale", factor, format!("a factor that keeps rates in 0 to {ABSURD_RPS}")))
        }
    }

    /// The same shape with another mean.
    ///
    /// # Errors
    /// When the trace is all zero or the result would be absurd.
    pub fn scaled_to_mean(&self, target: RequestRate) -> Result<Self, ConfigError> {
        if self.mean() == RequestRate::ZERO {
            let expected = "a trace that is not zero throughout, for no factor gives that a mean";
            return Err(ConfigError::new("target_mean_rps", target.per_second(), expected));
        }
        self.scaled(target.per_second() / self.mean().per_second())
    }

    /// The steps that begin in `from..to`.
    ///
    /// # Errors
    /// When no step does.
    pub fn slice(&self, from: Duration, to: Duration) -> Result<Self, ConfigError> {
        let index = |t: Duration| (t.as_secs_f64() / self.step.as_secs_f64()).ceil() as usize;
        let (first, last) = (index(from), index(to).min(self.rates.len()));
        if first >= last {
            let asked = format!("{} s to {} s", from.as_secs_f64(), to.as_secs_f64());
            let expected = format!("a part of 0 to {} s", self.duration().as_secs_f64());
            return Err(ConfigError::new("slice", asked, expected));
        }
        Ok(Self { step: self.step, rates: self.rates[first..last].to_vec() })
    }

    /// The same load in steps of another length: each new step is the mean over its time.
    ///
    /// # Errors
    /// When `step` is empty or longer than the trace.
    pub fn resampled(&self, step: Duration) -> Result<Self, ConfigError> {
        let count = (self.duration().as_secs_f64() / step.as_secs_f64()).floor();
        if !(count.is_finite() && count >= 1.0) {
            let expected = format!("above 0 and at most {} s", self.duration().as_secs_f64());
            return Err(ConfigError::new("step", format!("{} s", step.as_secs_f64()), expected));
        }
        let mut cumulative = vec![0.0];
        for r in &self.rates {
            cumulative.push(cumulative[cumulative.len() - 1] + r);
        }
        let until = |old_steps: f64| {
            let whole = (old_steps.floor() as usize).min(self.rates.len());
            cumulative[whole] + self.rates.get(whole).map_or(0.0, |r| r * (old_steps - whole as f64))
        };
        let width = step.as_secs_f64() / self.step.as_secs_f64();
        let mean = |k: usize| (until((k + 1) as f64 * width) - until(k as f64 * width)) / width;
        Ok(Self { step, rates: (0..count as usize).map(mean).collect() })
    }

    /// The same played `factor` times as fast, 0.01 to 100: rates stay, time shrinks.
    ///
    /// # Errors
    /// When the factor is out of range.
    pub fn warped(&self, factor: f64) -> Result<Self, ConfigError> {
        let factor = in_range("time_warp", factor, 0.01, 100.0)?;
        Ok(Self { step: self.step.div_f64(factor), rates: self.rates.clone() })
    }

    /// Mean rate during the second that begins `second` s after the start; the trace is repeated when it is
    /// too short. Steps are held, not interpolated: what was measured is what is offered.
    pub(crate) fn at_second(&self, second: u64) -> f64 {
        let index = (second as f64 / self.step.as_secs_f64()) as usize;
        self.rates[index % self.rates.len()]
    }
}

/// Why `time` cannot follow `times`, in words.
fn check_time(times: &[f64], time: f64) -> Result<(), String> {
    match times {
        [] if time == 0.0 => Ok(()),
        [] => Err("0 in the first row".to_owned()),
        [first] => {
            let step = time - first;
            if step > 0.0 && step <= LONGEST_STEP_S {
                Ok(())
            } else {
                Err(format!("a step above 0 and up to {LONGEST_STEP_S} s"))
            }
        }
        [first, second, ..] => {
            let next = first + (second - first) * times.len() as f64;
            if (time - next).abs() <= 1e-6 * next.max(1.0) {
                Ok(())
            } else {
                Err(format!("{next} (a constant step of {} s)", second - first))
            }
        }
    }
}

/// A rate that is known to be valid because it comes from valid ones.
fn rate(rps: f64) -> RequestRate {
    RequestRate::new(rps).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        std::fs::write(&path, text).unwrap();
        Trace::read(&path)
    }

    #[test]
    fn a_good_trace_is_read() {
        let trace = read("time_s,rps\n0,10\n60,20\n120,30\n").unwrap();
        assert_eq!(trace.duration(), Duration::from_secs(180));
        assert_eq!(trace.mean(), RequestRate::new(20.0).unwrap());
        assert_eq!((trace.at_second(59), trace.at_second(60), trace.at_second(185)), (10.0, 20.0, 10.0));
    }

    #[test]
    fn errors_name_line_column_value_and_what_was_expected() {
        for (text, parts) in [
            ("", vec!["header", "time_s,rps"]),
            ("time_s,rps\n", vec!["0 rows", "at least two rows"]),
            ("t,r\n0,1\n1,1\n", vec![":1:", "\"t,r\"", "the header time_s,rps"]),
            ("time_s,rps\n0,1\n1,-3\n", vec![":3:", "column rps", "-3", "0 to"]),
            ("time_s,rps\n0,1\n1,1e12\n", vec![":3:", "column rps", "1000000000000"]),
            ("time_s,rps\n0,1\n1,NaN\n", vec![":3:", "\"NaN\"", "a finite number"]),
            ("time_s,rps\n0,1\n1,x\n", vec![":3:", "\"x\"", "a finite number"]),
            ("time_s,rps\n0,1\n1,1\n3,1\n", vec![":4:", "column time_s", "3", "2 (a constant step of 1 s)"]),
            ("time_s,rps\n0,1\n1,1\n0.5,1\n", vec![":4:", "column time_s", "0.5"]),
            ("time_s,rps\n5,1\n6,1\n", vec![":2:", "0 in the first row"]),
            ("time_s,rps\n0,1\n1\n", vec![":3:", "1 columns", "two columns"]),
        ] {
            let message = read(text).expect_err(text).to_string();
            for part in parts {
                assert!(message.contains(part), "{text:?}: {message:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn a_folder_and_a_binary_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Trace::read(folder.path()).unwrap_err().to_string().contains("it is a folder"));
        let binary = folder.path().join("b");
        std::fs::write(&binary, [0xff, 0xfe, 0, 1, 2, b'\n', 0xff]).unwrap();
        assert!(Trace::read(&binary).is_err());
        assert!(Trace::read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn slicing_scaling_and_resampling_keep_the_load() {
        let trace = read("time_s,rps\n0,10\n60,20\n120,30\n180,40\n").unwrap();
        let part = trace.slice(Duration::from_secs(60), Duration::from_secs(180)).unwrap();
        assert!((part.mean().per_second() - 25.0).abs() < 1e-12);
        assert!(trace.slice(Duration::from_secs(500), Duration::from_secs(600)).is_err());
        let scaled = trace.scaled_to_mean(RequestRate::new(50.0).unwrap()).unwrap();
        assert!((scaled.mean().per_second() - 50.0).abs() < 1e-12);
        let coarse = trace.resampled(Duration::from_secs(120)).unwrap();
        assert_eq!((coarse.at_second(0), coarse.at_second(120)), (15.0, 35.0));
        let odd = trace.resampled(Duration::from_secs(90)).unwrap();
        assert!((odd.at_second(0) - (10.0 * 60.0 + 20.0 * 30.0) / 90.0).abs() < 1e-9);
    }
}
