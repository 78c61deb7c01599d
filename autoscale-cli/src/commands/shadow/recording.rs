//! What the controller recorded of a service that others scaled: load, replicas and response times at even steps.

use anyhow::{Context, Result, bail};
use autoscale_core::measurement::LatencySummary;
use autoscale_core::units::{Replicas, RequestRate, Timestamp};
use autoscale_sim::trace::Trace;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the records that is read.
const VERSION: u32 = 1;

/// What is read of a record.
#[derive(Deserialize)]
struct Line {
    target: Target,
    version: u32,
    at: Timestamp,
    spec: Replicas,
    measurement: Option<Measured>,
}

#[derive(Deserialize)]
struct Target {
    namespace: String,
    kind: String,
    name: String,
}

#[derive(Clone, Copy, Deserialize)]
struct Measured {
    arrival_rate: f64,
    latency: Option<LatencySummary>,
}

/// One step of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) rate: RequestRate,
    /// What was asked for then.
    pub(super) replicas: Replicas,
    /// As measured; `None` where nothing was answered.
    pub(super) p95: Option<Duration>,
}

/// A recording at even steps.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) target: String,
    pub(super) begin: Timestamp,
    pub(super) steps: Vec<Step>,
    /// Steps without a record of their own, which are like the one before.
    pub(super) filled: usize,
    /// Lines that are no records: a process that was killed leaves half of one.
    pub(super) broken: usize,
}

impl Recording {
    /// Reads files in any order; two processes may have recorded the same time.
    ///
    /// # Errors
    /// Names file and line of what cannot be used.
    pub(super) fn read(paths: &[PathBuf], wanted: Option<&str>, step: Duration) -> Result<Self> {
        let (mut found, mut targets, mut broken) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for path in paths {
            broken.extend(read_file(path, wanted, &mut found, &mut targets)?);
        }
        let named = targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (Some((&begin, _)), Some((&end, _))) = (found.first_key_value(), found.last_key_value()) else {
            match wanted {
                Some(wanted) => {
                    bail!("--target {wanted}: no measurement of it; there are records of {named}")
                }
                None if targets.is_empty() => match broken.first() {
                    Some(first) => bail!("{first}: no decision record of `autoscale controller`"),
                    None => bail!("{}: no decision record in it", shown(paths)),
                },
                None => bail!("{}: no decision in it that was made on a measurement", shown(paths)),
            }
        };
        if wanted.is_none() && targets.len() > 1 {
            bail!("--target: expected one of {named}");
        }
        let length = end.since(begin).as_micros() / step.as_micros().max(1);
        let (mut steps, mut filled) = (Vec::new(), 0);
        for k in 0..u32::try_from(length).context("the records span too long a time")? {
            let (from, to) = (begin + step * k, begin + step * (k + 1));
            if let Some((_, step)) = found.range(from..to).next_back() {
                steps.push(*step);
            } else if let Some(&before) = steps.last() {
                filled += 1;
                steps.push(before);
            }
        }
        let target = wanted.map_or(named, str::to_owned);
        Ok(Self { target, begin, steps, filled, broken: broken.len() })
    }

    /// Its load.
    pub(super) fn trace(&self, step: Duration) -> Result<Trace> {
        Ok(Trace::new(step, self.steps.iter().map(|step| step.rate).collect())?)
    }
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads one file; says which lines are no records.
fn read_file(
    path: &Path,
    wanted: Option<&str>,
    found: &mut BTreeMap<Timestamp, Step>,
    targets: &mut BTreeSet<String>,
) -> Result<Vec<String>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut broken = Vec::new();
    for (k, text) in BufReader::new(file).lines().enumerate() {
        let place = || format!("{}:{}", path.display(), k + 1);
        let text = text.with_context(place)?;
        let Ok(line) = serde_json::from_str::<Line>(&text) else {
            if !text.trim().is_empty() {
                broken.push(place());
            }
            continue;
        };
        if line.version != VERSION {
            bail!(
                "{}: version: {}; expected {VERSION}, which is what this program reads",
                place(),
                line.version
            );
        }
        let target = format!("{}/{}/{}", line.target.namespace, line.target.kind, line.target.name);
        let other = wanted.is_some_and(|wanted| wanted != target);
        targets.insert(target);
        let Some(measured) = line.measurement.filter(|_| !other) else { continue };
        let rate = RequestRate::new(measured.arrival_rate)
            .with_context(|| format!("{}: measurement.arrival_rate", place()))?;
        let p95 = measured.latency.map(|latency| latency.p95);
        found.insert(line.at, Step { rate, replicas: line.spec, p95 });
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    const STEP: Duration = Duration::from_secs(15);

    fn line(name: &str, at: i64, spec: u32, rate: f64) -> String {
        format!(
            r#"{{"target":{{"namespace":"shop","api_version":"apps/v1","kind":"Deployment","name":"{name}"}},"version":1,"at":{},"spec":{spec},"measurement":{{"arrival_rate":{rate},"latency":null}}}}"#,
            at * 1_000_000
        )
    }

    fn read(lines: &[String], wanted: Option<&str>) -> Result<Recording> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("decisions.jsonl");
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{line}")?;
        }
        std::fs::write(&path, text)?;
        Recording::read(&[path], wanted, STEP)
    }

    #[test]
    fn records_come_at_even_steps_and_gaps_are_filled() {
        let half = line("web", 115, 3, 20.0);
        let lines = [
            line("web", 100, 2, 10.0),
            half[..20].to_owned(),
            line("web", 116, 3, 20.0),
            line("web", 160, 4, 40.0),
            line("web", 175, 4, 50.0),
        ];
        let found = read(&lines, None).unwrap();
        assert_eq!((&*found.target, found.filled, found.broken), ("shop/Deployment/web", 2, 1));
        let seen: Vec<_> = found.steps.iter().map(|s| (s.rate.per_second(), s.replicas.get())).collect();
        assert_eq!(seen, [(10.0, 2), (20.0, 3), (20.0, 3), (20.0, 3), (40.0, 4)]);
        assert_eq!(found.trace(STEP).unwrap().duration(), STEP * 5);
    }

    #[test]
    fn of_several_targets_one_must_be_named() {
        let lines = [
            line("web", 100, 2, 10.0),
            line("cache", 100, 7, 90.0),
            line("web", 115, 2, 10.0),
            line("cache", 115, 7, 90.0),
        ];
        let told = read(&lines, None).unwrap_err().to_string();
        assert!(told.contains("shop/Deployment/cache, shop/Deployment/web"), "{told}");
        let found = read(&lines, Some("shop/Deployment/cache")).unwrap();
        assert_eq!(found.steps[0].replicas.get(), 7);
        let told = read(&lines, Some("shop/Deployment/db")).unwrap_err().to_string();
        assert!(told.contains("shop/Deployment/db: no measurement"), "{told}");
        let told = read(&[lines[0].replace("\"version\":1", "\"version\":9")], None).unwrap_err().to_string();
        assert!(told.contains("decisions.jsonl:1: version: 9"), "{told}");
    }
}
