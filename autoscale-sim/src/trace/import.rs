//! From public originals and one's own logs to a [`Trace`].
//!
//! | [`Format`] | what is read |
//! |---|---|
//! | [`CommonLog`](Format::CommonLog) | the access log of nearly any web server, a line a request |
//! | [`WorldCup`](Format::WorldCup) | the binary log of the World Cup 1998 site, 20 bytes a request |
//! | [`AzureFunctions`](Format::AzureFunctions) | CSV, invocations per minute and function, a file a day |
//! | [`AzureLlm`](Format::AzureLlm) | CSV, a row a request |
//! | [`Prometheus`](Format::Prometheus) | the JSON answer of `/api/v1/query_range` |
//! | [`Decisions`](Format::Decisions) | the controller's own records of what it measured, a line of JSON a decision |
//!
//! Files compressed with gzip are read as they are. Every request counts, whatever its status. Broken lines
//! of logs are counted and reported, because real logs hold some, but a log most of whose lines are broken is none; a
//! broken field of the other formats is an error, because there it means that something else is wrong.
//!
//! Requests are counted in steps that begin at whole multiples of the step since the Unix epoch, from the
//! step of the earliest request to that of the latest; the first and the last may be covered in part.

mod azure;
mod common_log;
mod decisions;
mod prometheus;
mod world_cup;

use super::{ABSURD_RPS, Trace};
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use chrono::DateTime;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// More steps than a trace can sensibly have: 19 years of minutes. Beyond it, some date is wrong.
const MOST_STEPS: i64 = 10_000_000;
/// Length of a step when none is asked for and the original has none of its own that is longer.
const USUAL_STEP: Duration = Duration::from_secs(60);
/// As much of a file as is looked at to guess its format.
const HEAD_BYTES: u64 = 64 * 1024;

/// What an original looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Common or Combined Log Format: `host ident user [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326`.
    CommonLog,
    /// Binary records of the World Cup 1998 log: big-endian `u32` Unix time, client, object and size, then
    /// `u8` method, status, type and server.
    WorldCup,
    /// Azure Functions 2019: `HashOwner,HashApp,HashFunction,Trigger,1,2,…,1440`; files are days in order.
    AzureFunctions,
    /// Azure LLM inference: `TIMESTAMP,ContextTokens,GeneratedTokens`, times in UTC.
    AzureLlm,
    /// Prometheus `query_range`: a matrix of requests per second, so `rate(…)` or a sum of it.
    Prometheus,
    /// Decision records of `autoscale controller`.
    Decisions,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [
        Self::CommonLog,
        Self::WorldCup,
        Self::AzureFunctions,
        Self::AzureLlm,
        Self::Prometheus,
        Self::Decisions,
    ];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommonLog => "common-log",
            Self::WorldCup => "world-cup",
            Self::AzureFunctions => "azure-functions",
            Self::AzureLlm => "azure-llm",
            Self::Prometheus => "prometheus",
            Self::Decisions => "decisions",
        }
    }

    /// Guesses the format from the beginning of a file.
    fn guess(head: &[u8]) -> Option<Self> {
        let text = head.trim_ascii_start();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if decisions::looks_like(text) {
            Some(Self::Decisions)
        } else if text.starts_with(b"{") {
            Some(Self::Prometheus)
        } else if text.starts_with(b"HashOwner,") {
            Some(Self::AzureFunctions)
        } else if text.starts_with(b"TIMESTAMP,") {
            Some(Self::AzureLlm)
        } else if world_cup::looks_like(head) {
            Some(Self::WorldCup)
        } else if head.split(|&b| b == b'\n').take(100).any(|line| common_log::time(line).is_some()) {
            Some(Self::CommonLog)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to put where a Prometheus answer has no sample of any series, or none but NaN, and where the controller measured
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gaps {
    /// No load. A gap then looks like an outage, which is plain to see and is reported.
    #[default]
    Zero,
    /// The last rate before the gap.
    Hold,
    /// An error.
    Refuse,
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The originals' format; guessed from their content when absent.
    pub format: Option<Format>,
    /// Length of the trace's steps, in whole seconds; a minute when absent, or the original's own step where
    /// that is longer.
    pub step: Option<Duration>,
    /// What to do about gaps.
    pub gaps: Gaps,
    /// Of decision records, those of this target: `namespace/kind/name`. Needed where there are several.
    pub target: Option<String>,
}

/// A trace, and how it came about.
#[derive(Clone, Debug)]
pub struct Import {
    /// The trace.
    pub trace: Trace,
    /// How it came about.
    pub report: Report,
}

/// Who said what the format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatBy {
    /// The caller.
    Request,
    /// The content.
    Guess,
}

/// What was read, and what was not.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The originals' format.
    pub format: Format,
    /// Who said so.
    pub format_by: FormatBy,
    /// Lines, binary records, rows or samples that were read.
    pub read: u64,
    /// Those that were left out or replaced, and why.
    pub skipped: Vec<Skipped>,
    /// Start of the first step as RFC 3339 in UTC; absent where the original does not tell.
    pub begin: Option<String>,
    /// Time covered by the trace, in seconds.
    pub span_s: f64,
    /// Length of a step, in seconds.
    pub step_s: f64,
    /// Mean requests per second.
    pub mean_rps: f64,
}

/// Parts of an original that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
    /// The first of them: file and line, record or time.
    pub first: String,
}

/// An original that cannot become a trace.
#[derive(Debug, Error)]
pub enum ImportError {
    /// A file cannot be opened or read, or its compression is damaged.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system or the decoder said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A place does not hold what it should.
    #[error("{}:{place}: {field}: {value} is not allowed; expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, record or JSON path.
        place: String,
        /// The field.
        field: String,
        /// What stood there, shortened.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// No file holds anything to count.
    #[error("{}: nothing to import as {format}: {read} read, all left out{}", path.display(), list(skipped))]
    Nothing {
        /// The first file.
        path: PathBuf,
        /// The format.
        format: Format,
        /// Lines, records, rows or samples that were read.
        read: u64,
        /// Why they were left out.
        skipped: Vec<Skipped>,
    },
    /// What was asked for does not fit the originals.
    #[error(transparent)]
    Options(#[from] ConfigError),
}

fn list(skipped: &[Skipped]) -> String {
    let mut said = String::new();
    for Skipped { reason, count, first } in skipped {
        // Writing to a string cannot fail.
        let _ = write!(said, "; {reason} ({count}, first at {first})");
    }
    said
}

/// Reads `files`, which are parts of one whole, into a trace.
///
/// # Errors
/// Names file, place, field, value and what was expected.
pub fn import(files: &[PathBuf], options: &Options) -> Result<Import, ImportError> {
    let first = files.first().ok_or_else(|| ConfigError::new("input", "no file", "at least one file"))?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = files.iter().find(|f| !seen.insert(*f)) {
        return Err(ConfigError::new("input", twice.display(), "each file once").into());
    }
    if let Some(step) = options.step
        && (step.is_zero() || step.subsec_nanos() != 0 || step.as_secs() > 86_400)
    {
        let given = format!("{} s", step.as_secs_f64());
        return Err(ConfigError::new("step", given, "whole seconds, 1 s to 1 day").into());
    }
    let mut format = options.format;
    let mut log = Log::default();
    let mut gathered = None;
    for path in files {
        let (mut source, head) = Source::open(path)?;
        let here = match options.format {
            Some(format) => format,
            None => Format::guess(&head).ok_or_else(|| unknown(path, &head))?,
        };
        if *format.get_or_insert(here) != here {
            let before = format.map_or(String::new(), |f| format!("{f}, as in the files before it"));
            return Err(source.malformed(1, "format", here, &before));
        }
        let step = options.step.unwrap_or(USUAL_STEP).as_secs() as i64;
        let gathered = gathered.get_or_insert_with(|| Gathered::new(here, step));
        match (here, gathered) {
            (Format::CommonLog, Gathered::Counts(tally)) => common_log::read(&mut source, tally, &mut log)?,
            (Format::WorldCup, Gathered::Counts(tally)) => world_cup::read(&mut source, tally, &mut log)?,
            (Format::AzureLlm, Gathered::Counts(tally)) => azure::requests(&mut source, tally, &mut log)?,
            (Format::AzureFunctions, Gathered::Minutes(counts)) => {
                azure::minutes(&mut source, counts, &mut log)?;
            }
            (Format::Prometheus, Gathered::Samples(samples)) => samples.read(&mut source, &mut log)?,
            (Format::Decisions, Gathered::Measurements(measurements)) => {
                measurements.read(&mut source, options.target.as_deref(), &mut log)?;
            }
            _ => {} // `Gathered::new` makes the kind that its format fills.
        }
    }
    let format = format.unwrap_or(Format::CommonLog);
    if let Some(target) = options.target.as_ref().filter(|_| format != Format::Decisions) {
        let expected = format!("none: only {} are of a target, this is {format}", Format::Decisions);
        return Err(ConfigError::new("target", target, expected).into());
    }
    let native = match gathered {
        Some(Gathered::Counts(tally)) => tally.finish()?,
        Some(Gathered::Minutes(counts)) => azure::finish(&counts)?,
        Some(Gathered::Samples(samples)) => samples.finish(first, options.gaps, &mut log)?,
        Some(Gathered::Measurements(measurements)) => {
            let step = options.step.unwrap_or(USUAL_STEP).as_secs() as i64;
            measurements.finish(first, (step, options.gaps), &mut log)?
        }
        None => None,
    };
    let skipped = log.skipped();
    let Some(Native { trace, begin }) = native else {
        return Err(ImportError::Nothing { path: first.clone(), format, read: log.read, skipped });
    };
    let step = options.step.unwrap_or_else(|| trace.step().max(USUAL_STEP));
    if step < trace.step() {
        let expected = format!("at least the original's own step, {} s", trace.step().as_secs_f64());
        return Err(ConfigError::new("step", format!("{} s", step.as_secs_f64()), expected).into());
    }
    let trace = if step == trace.step() { trace } else { trace.resampled(step)? };
    let report = Report {
        format,
        format_by: if options.format.is_some() { FormatBy::Request } else { FormatBy::Guess },
        read: log.read,
        skipped,
        begin: begin.map(|ms| date(ms, 1000)),
        span_s: trace.duration().as_secs_f64(),
        step_s: step.as_secs_f64(),
        mean_rps: trace.mean().per_second(),
    };
    Ok(Import { trace, report })
}

/// No format fits.
fn unknown(path: &Path, head: &[u8]) -> ImportError {
    let names = Format::ALL.map(Format::name).join(", ");
    let hint = if head.starts_with(b"time_s,rps") { "; this is a trace already" } else { "" };
    ImportError::Malformed {
        path: path.to_owned(),
        place: "1".to_owned(),
        field: "format".to_owned(),
        value: quoted(head.split(|&b| b == b'\n').next().unwrap_or(head)),
        expected: format!("the beginning of one of {names}{hint}"),
    }
}

/// A moment as RFC 3339 in UTC, from `per_second`-ths of a second since the Unix epoch.
fn date(time: i64, per_second: i64) -> String {
    let seconds = time.div_euclid(per_second);
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| format!("{seconds} s"), |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Text for an error: quoted, made readable and shortened.
fn quoted(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(60).collect();
    format!("{:?}", text.trim_end())
}

/// Rates in the original's own steps, and when the first begins, in milliseconds since the Unix epoch.
struct Native {
    trace: Trace,
    begin: Option<i64>,
}

/// What has been read so far.
enum Gathered {
    Counts(Tally),
    Minutes(Vec<f64>),
    Samples(prometheus::Samples),
    Measurements(decisions::Measurements),
}

impl Gathered {
    fn new(format: Format, step: i64) -> Self {
        match format {
            Format::CommonLog | Format::WorldCup | Format::AzureLlm => Self::Counts(Tally::new(step)),
            Format::AzureFunctions => Self::Minutes(Vec::new()),
            Format::Prometheus => Self::Samples(prometheus::Samples::default()),
            Format::Decisions => Self::Measurements(decisions::Measurements::default()),
        }
    }
}

/// Requests counted in steps of time.
struct Tally {
    step: i64,
    counts: BTreeMap<i64, u64>,
    /// Where the first and the last request in time stand.
    ends: Option<[(i64, String); 2]>,
}

impl Tally {
    fn new(step: i64) -> Self {
        Self { step, counts: BTreeMap::new(), ends: None }
    }

    /// Counts a request at `time`, in seconds since the Unix epoch.
    fn add(&mut self, time: i64, source: &Source, line: u64) {
        *self.counts.entry(time.div_euclid(self.step)).or_default() += 1;
        let here = || (time, source.place(line));
        match &mut self.ends {
            None => self.ends = Some([here(), here()]),
            Some([first, _]) if time < first.0 => *first = here(),
            // A later place in the same second is not worth a string.
            Some([_, last]) if time > last.0 => *last = here(),
            Some(_) => {}
        }
    }

    fn finish(self) -> Result<Option<Native>, ImportError> {
        let (Some([first, last]), Some((&begin, _)), Some((&end, _))) =
            (self.ends, self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return Ok(None);
        };
        if end - begin >= MOST_STEPS {
            let span = format!("{} at {} to {} at {}", date(first.0, 1), first.1, date(last.0, 1), last.1);
            let expected = format!("at most {MOST_STEPS} steps of {} s; is a date wrong?", self.step);
            return Err(ConfigError::new("span", span, expected).into());
        }
        let mut rates = vec![RequestRate::ZERO; (end - begin + 1) as usize];
        let step = Duration::from_secs(self.step.unsigned_abs());
        for (&bin, &count) in &self.counts {
            rates[(bin - begin) as usize] = RequestRate::from_count(count, step);
        }
        Ok(Some(Native { trace: Trace::new(step, rates)?, begin: Some(begin * self.step * 1000) }))
    }
}

/// What has been read and what was left out.
#[derive(Default)]
struct Log {
    read: u64,
    skipped: BTreeMap<&'static str, (u64, String)>,
}

impl Log {
    fn skip(&mut self, reason: &'static str, place: impl FnOnce() -> String) {
        self.skipped.entry(reason).or_insert_with(|| (0, place())).0 += 1;
    }

    fn skipped(&self) -> Vec<Skipped> {
        let skipped = self.skipped.iter();
        skipped
            .map(|(&reason, (count, first))| Skipped { reason, count: *count, first: first.clone() })
            .collect()
    }
}

/// A file that is being read, decompressed if need be.
struct Source {
    path: PathBuf,
    reader: Box<dyn BufRead>,
}

impl Source {
    /// Opens a file and returns its beginning beside it; the source still begins there.
    fn open(path: &Path) -> Result<(Self, Vec<u8>), ImportError> {
        let unreadable = |cause| ImportError::Unreadable { path: path.to_owned(), cause };
        if path.is_dir() {
            return Err(unreadable("it is a folder; expected files".into()));
        }
        let mut file = BufReader::new(File::open(path).map_err(|e| unreadable(e.into()))?);
        let compressed = file.fill_buf().map_err(|e| unreadable(e.into()))?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn Read> =
            if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(|e| unreadable(e.into()))?;
        let reader = Box::new(BufReader::new(Cursor::new(head.clone()).chain(reader)));
        Ok((Self { path: path.to_owned(), reader }, head))
    }

    /// `file:line`.
    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn unreadable(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImportError {
        ImportError::Unreadable { path: self.path.clone(), cause: error.into() }
    }

    fn malformed(
        &self,
        place: impl fmt::Display,
        field: &str,
        value: impl fmt::Display,
        expected: &str,
    ) -> ImportError {
        ImportError::Malformed {
            path: self.path.clone(),
            place: place.to_string(),
            field: field.to_owned(),
            value: value.to_string(),
            expected: expected.to_owned(),
        }
    }

    /// Reads up to and with the next newline into `line`, in place of what it held; false at the end.
    fn line(&mut self, line: &mut Vec<u8>) -> Result<bool, ImportError> {
        line.clear();
        let read = self.reader.read_until(b'\n', line);
        Ok(read.map_err(|e| self.unreadable(e))? > 0)
    }

    /// Fills `buffer` as far as the file goes and says how far.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ImportError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(e)),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests;
