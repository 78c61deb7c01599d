//! `autoscale trace`.

use crate::args::trace::{DescribeArgs, FitArgs, ImportArgs, TraceArgs, TraceCommand};
use crate::run_folder::write_whole;
use crate::settings;
use anyhow::{Context, Result, bail};
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use autoscale_sim::trace::Trace;
use autoscale_sim::trace::describe::{Description, Figure};
use autoscale_sim::trace::fit::{Comparison, Fit};
use autoscale_sim::trace::import::{self, FormatBy, Options, Report};
use serde_json::json;
use std::path::Path;

pub(crate) fn run(args: &TraceArgs) -> Result<()> {
    match &args.command {
        TraceCommand::Import(args) => import(args),
        TraceCommand::Describe(args) => describe(args),
        TraceCommand::Fit(args) => fit(args),
    }
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn import(args: &ImportArgs) -> Result<()> {
    refuse_existing(&args.out, args.force)?;
    let options = Options {
        format: args.format.format(),
        step: args.step,
        gaps: args.gaps.into(),
        target: args.target.clone(),
    };
    let import::Import { trace, report } = import::import(&args.inputs, &options)?;
    let mut csv = Vec::new();
    trace.write_csv(&mut csv)?;
    write_whole(&args.out, &csv)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    if !args.quiet {
        summarise(&report, &args.out);
    }
    Ok(())
}

fn summarise(report: &Report, out: &Path) {
    let by = match report.format_by {
        FormatBy::Request => "as asked for",
        FormatBy::Guess => "guessed from the content; --format says otherwise",
    };
    eprintln!("format   {} ({by})", report.format);
    eprintln!("read     {}", report.read);
    for skipped in &report.skipped {
        eprintln!("skipped  {}: {}; first at {}", skipped.count, skipped.reason, skipped.first);
    }
    let begin = report.begin.as_ref().map_or(String::new(), |b| format!(" from {b}"));
    eprintln!("span     {:.4} days{begin}, in steps of {} s", report.span_s / 86_400.0, report.step_s);
    eprintln!("mean     {:.4} requests/s", report.mean_rps);
    eprintln!("written  {}", out.display());
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn describe(args: &DescribeArgs) -> Result<()> {
    let rows = Description::of(&Trace::read(&args.file)?).rows();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for row in rows {
        let text = match row.figure {
            Figure::Value(_) => row.meaning.to_owned(),
            Figure::Absent(reason) => format!("not available: {reason}"),
        };
        let line = format!("{:<16} {:>10} {:<11} {text}", row.name, row.figure.to_string(), row.unit);
        println!("{}", line.trim_end());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn fit(args: &FitArgs) -> Result<()> {
    refuse_existing(&args.out, args.force)?;
    let base = settings::scenario(&args.base)?;
    let trace = Trace::read(&args.file)?;
    let place = || args.file.display().to_string();
    let fitted = Fit::to(&trace).with_context(place)?;
    let table = fitted.compare(&trace).with_context(place)?;
    let mut scaled = fitted.clone();
    if let Some(mean) = args.target_mean_rps {
        let above_zero = RequestRate::new(mean).ok().filter(|&rate| rate > RequestRate::ZERO);
        let expected = "a rate above 0, in requests per second";
        let mean = above_zero.ok_or_else(|| ConfigError::new("--target-mean-rps", mean, expected))?;
        scaled.load.mean_rps = mean.per_second();
    }
    let source = args.file.file_name().unwrap_or_default().to_string_lossy();
    let about = format!("Load fitted to {source}, service of {}", base.name());
    let scenario = scaled.scenario(&base, &name(&args.out), &about)?;
    let notes = fitted.notes.iter().fold(String::new(), |all, note| all + "# * " + note + "\n");
    let header = "# Written by `autoscale trace fit`. Hour 0 is the hour at which the trace begins.\n";
    write_whole(&args.out, format!("{header}{notes}\n{}", scenario.to_toml()).as_bytes())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "fit": scaled, "figures": table }))?);
    } else if !args.quiet {
        print_table(&table);
    }
    if !args.quiet {
        for note in &fitted.notes {
            eprintln!("note     {note}");
        }
        let factor = scaled.load.mean_rps / fitted.load.mean_rps;
        let pods = |rate: RequestRate| factor * rate.per_second() / scenario.pod_capacity().per_second();
        eprintln!(
            "pods     {:.1} busy ones serve the mean, {:.1} the highest step; max_replicas is {}",
            pods(trace.mean()),
            pods(trace.peak()),
            scenario.limits().max()
        );
        eprintln!("written  {}", args.out.display());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print_table(table: &[Comparison]) {
    println!("{:<16} {:>10} {:>10}", "figure", "original", "generated");
    for line in table.iter().filter(|line| line.original.value().is_some()) {
        let generated = line.generated.map_or("-".to_owned(), |g| Figure::Value(g).to_string());
        let text =
            format!("{:<16} {:>10} {generated:>10} {}", line.name, line.original.to_string(), line.unit);
        println!("{}", text.trim_end());
    }
}

fn refuse_existing(out: &Path, force: bool) -> Result<()> {
    if out.is_dir() {
        bail!("{}: a folder; --out names the file to write", out.display());
    }
    if out.exists() && !force {
        bail!("{}: exists already; choose another --out, or replace it with --force", out.display());
    }
    Ok(())
}

/// A scenario's name from that of its file.
fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = stem.chars().map(plain).take(60).collect();
    if name.is_empty() { "fitted".to_owned() } else { name }
}
