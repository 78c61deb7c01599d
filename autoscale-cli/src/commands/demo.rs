//! `autoscale demo`: a small real service, and load to scale it for.

use crate::args::demo::{DemoArgs, SpreadArg, WorkArg};
use crate::progress;
use anyhow::{Context, Result};
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::ConfigError;
use autoscale_live::demo::load::LoadConfig;
use autoscale_live::demo::run::{Demo, Hosting, run as show};
use autoscale_live::demo::schedule::Rates;
use autoscale_live::demo::service::ServiceConfig;
use autoscale_live::demo::{Cost, Spread, Work};
use autoscale_sim::trace::Trace;
use std::time::Duration;

/// How long without a trace.
const A_MINUTE: u32 = 60;

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let output = args.output;
    let demo = if args.no_load {
        Demo::Service(hosting(args))
    } else {
        let rates = rates(args)?;
        match &args.url {
            Some(url) => Demo::Load(load(args, url), rates),
            None => Demo::Both(hosting(args), load(args, &format!("http://{}/work", args.address)), rates),
        }
    };
    if let (Demo::Service(_) | Demo::Both(..), false) = (&demo, output.quiet) {
        eprintln!(
            "service: http://{0}/work, for Prometheus http://{0}/metrics, its cost http://{0}/cost",
            args.address
        );
    }
    let length = match &demo {
        Demo::Service(_) => 0,
        Demo::Load(_, rates) | Demo::Both(_, _, rates) => rates.length().as_secs(),
    };
    let bar =
        if length == 0 { indicatif::ProgressBar::hidden() } else { progress::bar(length, "seconds", output) };
    let shown = bar.clone();
    let report = show(demo, move |elapsed| shown.set_position(elapsed.as_secs().min(length)))?;
    bar.finish_and_clear();
    if let Some(report) = report {
        if output.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else if !output.quiet {
            println!("{report}");
        }
    }
    Ok(())
}

fn hosting(args: &DemoArgs) -> Hosting {
    let work = match args.work {
        WorkArg::Busy => Work::Busy,
        WorkArg::Sleep => Work::Sleep,
    };
    let spread = match args.spread {
        SpreadArg::Fixed => Spread::Fixed,
        SpreadArg::Exponential => Spread::Exponential,
    };
    let service = ServiceConfig {
        workers: args.workers,
        queue: args.queue,
        cost: Cost { work, mean_ms: args.cost_ms, spread },
        seed: Seed::root(args.seed).child("costs"),
        ..ServiceConfig::default()
    };
    Hosting { address: args.address, service, start_up: Duration::from_millis(args.start_up_ms.into()) }
}

fn load(args: &DemoArgs, url: &str) -> LoadConfig {
    let seed = Seed::root(args.seed).child("moments");
    LoadConfig { seed, patience_ms: args.patience_ms, ..LoadConfig::to(url) }
}

fn rates(args: &DemoArgs) -> Result<Rates> {
    let Some(path) = &args.trace else {
        let seconds = Duration::from_secs(args.seconds.unwrap_or(A_MINUTE).into());
        let expected = "a rate of at least 0, in requests per second";
        let rate = RequestRate::new(args.rps).map_err(|_| ConfigError::new("--rps", args.rps, expected))?;
        return Ok(Rates::constant(rate, seconds)?);
    };
    let place = || path.display().to_string();
    let mut trace = Trace::read(path)?;
    if let Some(mean) = args.target_mean_rps {
        let expected = "a rate above 0, in requests per second";
        let mean =
            RequestRate::new(mean).map_err(|_| ConfigError::new("--target-mean-rps", mean, expected))?;
        trace = trace.scaled_to_mean(mean).with_context(place)?;
    }
    if let Some(factor) = args.time_warp {
        trace = trace.warped(factor).with_context(place)?;
    }
    if let Some(seconds) = args.seconds {
        let end = Duration::from_secs(seconds.into()).min(trace.duration());
        trace = trace.slice(Duration::ZERO, end).with_context(place)?;
    }
    Ok(Rates::new(trace.step(), trace.rates().collect())?)
}
