//! `autoscale sweep`: many runs of `train`, one a combination of flags, side by side; and a table of what came out.

use super::train::{self, Completed, Reporting};
use crate::args::{Cli, Command, OutputArgs, SweepArgs};
use crate::digest::digest;
use crate::interrupt;
use crate::progress;
use crate::report;
use crate::run_folder::{COMPARISON, MANIFEST, MODEL, Replace, RunFolder};
use crate::settings::Settings;
use anyhow::{Context, Result, anyhow, bail};
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_core::seed::{Seed, Stream};
use clap::Parser;
use rand::RngExt;
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a sweep is made of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sweep {
    /// Flags of `train` by their long names, the same for all runs.
    #[serde(default)]
    train: BTreeMap<String, Values>,
    /// Flags with several values each: every combination is a run.
    #[serde(default)]
    grid: BTreeMap<String, Vec<Values>>,
    /// Parameters of the algorithm drawn at random, so many times, for every combination.
    random: Option<Random>,
}

/// Draws of parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Random {
    draws: u32,
    #[serde(default)]
    seed: u64,
    /// As `--set` takes them.
    set: BTreeMap<String, Draw>,
}

/// Where a parameter is drawn from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Draw {
    /// Every value between two is as likely.
    Uniform(f64, f64),
    /// Every order of magnitude between two is as likely.
    Log(f64, f64),
    /// One of these.
    Choice(Vec<toml::Value>),
}

impl Draw {
    fn check(&self, parameter: &str) -> Result<()> {
        let expected = match self {
            Self::Uniform(low, high) if !(low <= high && (high - low).is_finite()) => "two numbers that rise",
            Self::Log(low, high) if !(0.0 < *low && low <= high && high.is_finite()) => {
                "two numbers above zero that rise"
            }
            Self::Choice(of) if of.is_empty() => "at least one value",
            _ => return Ok(()),
        };
        bail!("random.set.{parameter}: expected {expected}");
    }

    fn from(&self, stream: &mut Stream) -> String {
        match self {
            Self::Uniform(low, high) => (low + (high - low) * stream.random::<f64>()).to_string(),
            Self::Log(low, high) => (low * (high / low).powf(stream.random::<f64>())).to_string(),
            Self::Choice(of) => plain(&of[stream.random_range(0..of.len())]),
        }
    }
}

/// A flag's value, or several of a flag that may be repeated.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    Several(Vec<toml::Value>),
    One(toml::Value),
}

impl Values {
    fn words(&self) -> Vec<String> {
        match self {
            Self::Several(values) => values.iter().map(plain).collect(),
            Self::One(value) => vec![plain(value)],
        }
    }
}

/// Text without quotes, numbers as they are.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A run of a sweep.
struct Trial {
    /// What distinguishes it from the others: flag and value.
    varied: BTreeMap<String, String>,
    settings: Settings,
    /// Its folder: of the same settings the same name.
    key: String,
}

pub(crate) fn run(args: &SweepArgs) -> Result<()> {
    let name = args.file.display();
    let text = fs::read_to_string(&args.file).with_context(|| name.to_string())?;
    let sweep: Sweep = toml::from_str(&text).with_context(|| name.to_string())?;
    let trials = trials(&sweep).with_context(|| name.to_string())?;
    // Two combinations may come to the same run.
    let mut distinct: BTreeMap<&str, &Trial> = BTreeMap::new();
    for trial in &trials {
        let first = distinct.entry(&trial.key).or_insert(trial);
        if first.settings != trial.settings {
            bail!("{name}: two runs have the folder {}; sweep them apart", trial.key);
        }
    }
    let distinct: Vec<&Trial> = distinct.into_values().collect();
    if args.dry_run {
        return list(&trials);
    }
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    interrupt::catch("stopped; the same command goes on".to_owned())?;
    let stopped = AtomicBool::new(false);
    let bar = progress::bar(distinct.len() as u64, "sweep", args.output);
    let outcomes: Vec<Result<()>> = distinct
        .par_iter()
        .map(|trial| {
            if interrupt::raised() || finish(trial, &args.out)? == Completed::No {
                stopped.store(true, Ordering::Relaxed);
            }
            bar.inc(1);
            Ok(())
        })
        .collect();
    bar.finish_and_clear();
    // One that failed does not take the others with it.
    let failed: Vec<String> = distinct
        .iter()
        .zip(outcomes)
        .filter_map(|(trial, outcome)| outcome.err().map(|error| format!("{}: {error:#}", trial.key)))
        .collect();
    if stopped.load(Ordering::Relaxed) {
        for failure in &failed {
            eprintln!("failed: {failure}");
        }
        interrupt::leave();
    }
    let rows = trials.iter().filter_map(|trial| row(trial, &args.out).transpose());
    let rows = rows.collect::<Result<Vec<_>>>()?;
    report::trials(&args.out.join("trials.csv"), &args.out.join("trials.parquet"), &rows)?;
    print(args, &rows)?;
    if !args.output.quiet {
        eprintln!("{} of {} runs are in {}", rows.len(), trials.len(), args.out.join("trials.csv").display());
    }
    if !failed.is_empty() {
        bail!("{} of {} runs failed:\n{}", failed.len(), distinct.len(), failed.join("\n"));
    }
    Ok(())
}

/// All runs of a sweep, checked.
fn trials(sweep: &Sweep) -> Result<Vec<Trial>> {
    let mut combinations: Vec<Vec<(&str, &Values)>> = vec![Vec::new()];
    let fixed =
        sweep.train.iter().filter(|(_, values)| values.words().is_empty()).map(|(flag, _)| ("train", flag));
    let varied = sweep.grid.iter().filter(|(_, values)| values.is_empty()).map(|(flag, _)| ("grid", flag));
    if let Some((table, flag)) = fixed.chain(varied).next() {
        bail!("{table}.{flag}: [] is not allowed; expected at least one value");
    }
    if sweep.random.as_ref().is_some_and(|random| random.draws == 0) {
        bail!("random.draws: 0 is not allowed; expected at least 1");
    }
    for (flag, values) in &sweep.grid {
        let mut longer = Vec::with_capacity(combinations.len() * values.len());
        for shorter in &combinations {
            longer.extend(values.iter().map(|value| [&shorter[..], &[(flag.as_str(), value)]].concat()));
        }
        combinations = longer;
    }
    for (parameter, draw) in sweep.random.iter().flat_map(|random| &random.set) {
        draw.check(parameter)?;
    }
    let mut trials = Vec::new();
    for varied in &combinations {
        let draws = sweep.random.as_ref().map_or(1, |random| random.draws);
        for k in 0..draws {
            let mut words = vec!["autoscale".to_owned(), "train".to_owned()];
            let mut name = BTreeMap::new();
            let mut add = |flag: &str, value: &str| words.extend([format!("--{flag}"), value.to_owned()]);
            for (flag, values) in &sweep.train {
                for value in values.words() {
                    add(flag, &value);
                }
            }
            for (flag, values) in varied {
                let values = values.words();
                for value in &values {
                    add(flag, value);
                }
                name.insert((*flag).to_owned(), values.join(" "));
            }
            if let Some(random) = &sweep.random {
                let mut stream = Seed::root(random.seed).nth(u64::from(k)).stream();
                for (parameter, draw) in &random.set {
                    let value = draw.from(&mut stream);
                    add("set", &format!("{parameter}={value}"));
                    name.insert(parameter.clone(), value);
                }
            }
            trials.push(trial(&words, name)?);
        }
    }
    Ok(trials)
}

fn trial(words: &[String], varied: BTreeMap<String, String>) -> Result<Trial> {
    let parsed = Cli::try_parse_from(words).map_err(|error| anyhow!("{error}"))?;
    let Command::Train(args) = parsed.command else { bail!("only runs of train can be swept") };
    let own = args.resume.is_some() || args.out.is_some() || args.force || args.dry_run;
    if own || !args.log.is_empty() {
        bail!("--resume, --out, --force, --dry-run and --log are the sweep's own business");
    }
    let settings = Settings::from_args(&args)?;
    let text = serde_json::to_string(&settings)?;
    let hash = digest([text.as_bytes()]);
    let (algorithm, scenario) = (settings.algorithm.name(), settings.world()?.name().to_owned());
    let key = format!("{algorithm}-{scenario}-{}-{}", args.seed, &hash[..8]);
    Ok(Trial { varied, settings, key })
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(args: &SweepArgs, rows: &[BTreeMap<String, String>]) -> Result<()> {
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(rows)?);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn list(trials: &[Trial]) -> Result<()> {
    for trial in trials {
        println!("{} {}", trial.key, serde_json::to_string(&trial.varied)?);
    }
    Ok(())
}

const SILENT: OutputArgs = OutputArgs { quiet: true, json: false };

/// Does what is left of a run to do.
fn finish(trial: &Trial, out: &Path) -> Result<Completed> {
    let path = out.join(&trial.key);
    if path.join(COMPARISON).exists() {
        return Ok(Completed::Yes);
    }
    let reporting = Reporting { log: &[], output: SILENT };
    if path.join(MANIFEST).exists() {
        let (folder, settings, state) = train::resume(&path.display().to_string())?;
        return train::complete(&folder, settings, state.as_ref(), reporting);
    }
    let folder = RunFolder::create(Some(&path), &trial.key, Replace::Refuse)?;
    folder.describe(trial.settings.seed, &trial.settings)?;
    train::complete(&folder, trial.settings.clone(), None, reporting)
}

/// What came of a run that is finished: what distinguishes it, and its returns.
fn row(trial: &Trial, out: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let folder = out.join(&trial.key);
    if !folder.join(COMPARISON).exists() {
        return Ok(None);
    }
    let mut row = trial.varied.clone();
    row.insert("run".to_owned(), trial.key.clone());
    row.insert("algorithm".to_owned(), trial.settings.algorithm.name().to_owned());
    let model = Checkpoint::load(&folder.join(MODEL))?.manifest;
    row.insert("episodes_done".to_owned(), model.episodes_done.to_string());
    if let Some(earned) = model.validation_return {
        row.insert("validation_return".to_owned(), earned.to_string());
    }
    let mut csv = csv::Reader::from_path(folder.join(COMPARISON))?;
    for record in csv.deserialize() {
        let record: BTreeMap<String, String> = record?;
        if record.get("metric").is_some_and(|metric| metric == "return") {
            let policy = record.get("policy").cloned().unwrap_or_default();
            let column = policy.split("-minus-").map(|name| role(name, trial)).collect::<Vec<_>>();
            for part in ["estimate", "low", "high"] {
                let value = record.get(part).cloned().unwrap_or_default();
                row.insert(format!("{} {part}", column.join("-minus-")), value);
            }
        }
    }
    Ok(Some(row))
}

/// What a policy is in the table, where each run may have another algorithm and another best constant count.
fn role<'a>(name: &'a str, trial: &Trial) -> &'a str {
    match name {
        _ if name == trial.settings.algorithm.name() => "model",
        _ if name.starts_with("constant-") => "constant",
        _ => name,
    }
}
