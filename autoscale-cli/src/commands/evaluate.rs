//! `autoscale evaluate`: the comparison again, for any checkpoint and world.

use crate::arena;
use crate::args::EvaluateArgs;
use crate::run_folder::{COMPARISON, MODEL, RunFolder};
use crate::settings::{self, Settings};
use anyhow::{Result, bail};
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_core::seed::Seed;
use std::fs;

pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let folder = RunFolder::open(&args.model)?;
    let settings: Settings = folder.manifest()?.config;
    let checkpoint = Checkpoint::load(&folder.file(MODEL))?;
    let scenario = settings::world(&args.world)?;
    settings::same_interval(&scenario, &checkpoint)?;
    if let Some(out) = &args.out {
        if out.join(COMPARISON).exists() {
            bail!("{}: holds a comparison already; choose another --out", out.display());
        }
        fs::create_dir_all(out)?;
    }
    let root = Seed::root(args.seed);
    let comparison = arena::run(&scenario, &checkpoint, &settings, root, args.seeds, args.output)?;
    if let Some(out) = &args.out {
        comparison.write(out)?;
    }
    comparison.print(args.output)
}
