//! `autoscale simulate`: one episode under one policy, looked at closely.

use crate::args::SimulateArgs;
use crate::plot;
use crate::progress;
use crate::report;
use crate::run_folder::{Replace, RunFolder};
use crate::settings;
use anyhow::{Context, Result};
use autoscale_core::environment::{Environment, Outcome};
use autoscale_core::policy::{Decision, Observation};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::{StepSink, run_episode};
use autoscale_core::seed::{Branch, Seed};
use autoscale_eval::metric::metrics;
use autoscale_eval::scores::episode_return;
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::Scenario;
use indicatif::ProgressBar;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What a simulation was made of; the `config` of its manifest.
#[derive(Serialize)]
struct Setup<'a> {
    policy: String,
    episode: u64,
    hours: f64,
    /// As TOML.
    scenario: &'a str,
}

/// Moves the bar on; one decision, one step.
struct Ticker(ProgressBar);

impl StepSink for Ticker {
    fn decided(&mut self, seen: &Observation<'_>, _: &Decision) {
        self.0.set_position(seen.now.as_secs_f64() as u64);
    }
    fn stepped(&mut self, _: &Outcome) {}
}

pub(crate) fn run(args: &SimulateArgs) -> Result<()> {
    let scenario = settings::on_engine(settings::world(&args.world)?, args.engine)?;
    let scenario = Arc::new(scenario.on(Branch::Validate));
    let length = args.hours.map_or(scenario.evaluation_episode(), |h| Duration::from_secs_f64(h * 3600.0));
    settings::warn_of_repeats(&scenario, length, args.output);
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    RunFolder::check(args.out.as_deref(), replace)?;
    let seed = Seed::root(args.seed).episode(Branch::Validate, args.episode);
    let mut world = Simulator::new(Arc::clone(&scenario), length)?;
    let mut policy = args.policy.prepare(&scenario, length).context("--policy")?(seed);

    let bar = progress::bar(length.as_secs(), "simulate", args.output);
    run_episode(&mut world, &mut policy, seed, &mut Ticker(bar.clone()));
    bar.finish_and_clear();

    let folder = write(args, replace, &scenario, world.record())?;
    print(args, &scenario, world.record())?;
    if !args.output.quiet {
        eprintln!("everything is in {}", folder.path().display());
    }
    Ok(())
}

/// What a scenario is called where it may have another's requests.
fn named(scenario: &Scenario) -> String {
    let file = scenario.config().trace.as_ref().and_then(|trace| trace.path.file_name());
    match file {
        Some(file) => format!("{} with {}", scenario.name(), file.to_string_lossy()),
        None => scenario.name().to_owned(),
    }
}

/// Writes manifest, record and plots.
fn write(
    args: &SimulateArgs,
    replace: Replace,
    scenario: &Scenario,
    record: &EpisodeRecord,
) -> Result<RunFolder> {
    let label = format!("simulate-{}-{}", args.policy.label(), scenario.name());
    let folder = RunFolder::create(args.out.as_deref(), &label, replace)?;
    report::episode(&folder.file("episode.csv"), &folder.file("episode.parquet"), record)?;
    let name = named(scenario);
    let title = format!("{} on {name}, seed {}, episode {}", args.policy, args.seed, args.episode);
    plot::timeline(&folder.file("episode.png"), &title, record)?;
    if let Some(trace) = scenario.trace() {
        plot::trace(&folder.file("trace.png"), trace)?;
    }
    let setup = Setup {
        policy: args.policy.to_string(),
        episode: args.episode,
        hours: record.duration().as_secs_f64() / 3600.0,
        scenario: &scenario.to_toml(),
    };
    folder.describe(Seed::root(args.seed), setup)?;
    Ok(folder)
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(args: &SimulateArgs, scenario: &Scenario, record: &EpisodeRecord) -> Result<()> {
    let earned = episode_return(record, &scenario.weights());
    let measured = metrics().filter_map(|m| Some((m, m.measure(record)?)));
    if args.output.json {
        let mut figures: serde_json::Map<String, serde_json::Value> =
            measured.map(|(m, value)| (m.name().to_owned(), value.into())).collect();
        figures.insert("return".to_owned(), earned.into());
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else if !args.output.quiet {
        let hours = record.duration().as_secs_f64() / 3600.0;
        let (arrived, policy, name) = (record.requests().arrived, &args.policy, named(scenario));
        println!("{name} under {policy}: {hours} h, {arrived} requests\n");
        let width = metrics().map(|m| m.name().len()).max().unwrap_or_default();
        for (metric, value) in measured {
            println!("{:<width$} {value:>10.3} {:<8} {}", metric.name(), metric.unit(), metric.definition());
        }
        println!("{:<width$} {earned:>10.3} {:<8} what pods, violations and churn cost", "return", "price/h");
    }
    Ok(())
}
