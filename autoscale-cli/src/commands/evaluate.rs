//! `autoscale evaluate`: the comparison again, for any checkpoint and world; or a table of any policies.

use crate::arena;
use crate::args::EvaluateArgs;
use crate::policy_spec::PolicySpec;
use crate::progress;
use crate::run_folder::{COMPARISON, RunFolder, write_whole};
use crate::settings::{self, Settings};
use anyhow::{Context, Result, bail};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::{Branch, Seed};
use autoscale_eval::report::{policy_table, write_csv};
use autoscale_eval::scores::Scores;
use autoscale_eval::suite::{Contender, PolicyEpisodes, run_suite};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::optimum::{Optimum, optimum};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    if let Some(out) = &args.out
        && out.join(COMPARISON).exists()
        && !args.force
    {
        bail!(
            "{}: holds a comparison already; choose another --out, or replace it with --force",
            out.display()
        );
    }
    if !args.policies.is_empty() {
        return policies(args);
    }
    let folder = RunFolder::open(&args.model)?;
    let (settings, checkpoint) = Settings::with_model(&folder)?;
    let scenario = settings::world(&args.world)?;
    settings::same_interval(&scenario, &checkpoint)?;
    settings::warn_of_overlap(&settings.world()?, &scenario, args.output);
    settings::warn_of_repeats(&scenario, scenario.evaluation_episode(), args.output);
    let root = Seed::root(args.seed);
    let comparison = arena::run(&scenario, &checkpoint, &settings, root, args.seeds, args.output)?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out)?;
        comparison.write(out)?;
    }
    comparison.print(args.output)
}

/// All policies on the same test episodes.
#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn policies(args: &EvaluateArgs) -> Result<()> {
    let scenario = Arc::new(settings::world(&args.world)?.on(Branch::Test));
    let (length, root) = (scenario.evaluation_episode(), Seed::root(args.seed));
    settings::warn_of_repeats(&scenario, length, args.output);
    let seeds: Vec<Seed> = (0..args.seeds).map(|k| root.episode(Branch::Test, k)).collect();
    let prepare = |spec: &PolicySpec| {
        let make = spec.prepare(&scenario, length).with_context(|| format!("--policies: {spec}"))?;
        Ok(Contender { name: spec.to_string(), make })
    };
    let prepared = args.policies.iter().map(prepare).collect::<Result<Vec<_>>>()?;
    let optima = optima(args, &scenario, &seeds)?;
    let mut contenders: Vec<Contender<'_>> = prepared;
    if let Some(optima) = &optima {
        let interval = scenario.control_interval();
        contenders.push(Contender::new("(optimum)", move |seed: Seed| {
            Schedule::new(optima[&seed.number()].schedule.clone(), interval)
        }));
    }
    let bar = progress::bar(args.seeds * contenders.len() as u64, "evaluate", args.output);
    let world = || World::new(Arc::clone(&scenario), length);
    let keep = |episode: &EpisodeRecord| {
        bar.inc(1);
        Scores::of(episode, &scenario.weights())
    };
    let results = run_suite(&contenders, world, &seeds, keep);
    bar.finish_and_clear();

    let hours = length.as_secs_f64() / 3600.0;
    let bounds: Option<Vec<f64>> =
        optima.as_ref().map(|optima| seeds.iter().map(|s| optima[&s.number()].bound / hours).collect());
    let table = policy_table(&results, bounds.as_deref());
    if let Some(out) = &args.out {
        fs::create_dir_all(out)?;
        let mut csv = Vec::new();
        write_csv(&results, &mut csv)?;
        write_whole(&out.join(COMPARISON), &csv)?;
        write_whole(&out.join("policies.txt"), table.as_bytes())?;
    }
    if args.output.json {
        let of = |policy: &PolicyEpisodes<Scores>| -> serde_json::Value {
            let totals: Vec<_> = policy.episodes.iter().map(|e| e.totals).collect();
            serde_json::json!({ "policy": policy.name, "totals": totals })
        };
        let all: Vec<_> = results.iter().map(of).collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "episodes": all, "bound_per_hour": bounds }))?
        );
    } else if !args.output.quiet {
        println!("{}: {} test episodes of {hours} h\n\n{table}", scenario.name(), args.seeds);
        if args.seeds < 20 {
            println!("fewer than 20 episodes: the intervals are approximate");
        }
    }
    Ok(())
}

/// The optimum of each episode, if it was asked for.
fn optima(
    args: &EvaluateArgs,
    scenario: &Arc<Scenario>,
    seeds: &[Seed],
) -> Result<Option<BTreeMap<u64, Optimum>>> {
    let Some(runs) = args.optimum else { return Ok(None) };
    let bar = progress::bar(args.seeds, "optimum", args.output);
    let length = scenario.evaluation_episode();
    let found = seeds
        .par_iter()
        .map(|&seed| {
            let found = optimum(scenario, seed, length, runs as usize).context("--optimum")?;
            bar.inc(1);
            Ok((seed.number(), found))
        })
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    Ok(Some(found))
}
