//! `autoscale compare`: policies × scenarios × seeds, with a report that everybody can check.

mod decisions;
mod journal;
mod pictures;
mod plan;

use crate::args::OutputArgs;
use crate::args::compare::CompareArgs;
use crate::interrupt;
use crate::progress;
use crate::report;
use crate::run_folder::{MANIFEST, RunFolder, commit, write_whole};
use anyhow::{Context, Result, bail};
use autoscale_core::policy::Policy;
use autoscale_core::seed::Seed;
use autoscale_eval::analysis::Analysis;
use autoscale_eval::figure::{figures, measure};
use autoscale_eval::report::html::html;
use autoscale_eval::report::markdown::markdown;
use autoscale_eval::report::{Document, differences, text};
use autoscale_eval::study::{Finished, Outcome, Place, Study, guarded, run_guarded};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::optimum::optimum;
use autoscale_sim::world::World;
use indicatif::ProgressBar;
use journal::{Entry, JOURNAL, Journal};
use plan::{OPTIMUM, Plan, Setup};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    let plan = Plan::new(args)?;
    let folder = folder(args)?;
    let journal = Journal::open(folder.path())?;
    folder.describe(Seed::root(args.seed), plan.setup())?;
    let out = folder.path().display();
    interrupt::catch(format!("stopped; the same command, with --out {out}, goes on with what it lacks"))?;
    let study = study(&plan, &journal, args.output)?;
    if study.failures().count() == study.places().count() {
        let (_, why) = study.failures().next().context("there is no episode")?;
        bail!("all episodes failed; the first: {why}");
    }
    let analysis = Analysis::of(&study);
    // Before any picture, which may fail for reasons of its own.
    write_tables(&study, &analysis, &folder)?;
    let pictures = pictures::draw(&plan, &study, &analysis, folder.path(), args.output)?;
    let specs = plan.specs();
    let document =
        Document { analysis: &analysis, specs: &specs, pictures: &pictures, provenance: &provenance(args) };
    write_whole(&folder.file("report.md"), markdown(&document).as_bytes())?;
    write_whole(&folder.file("report.html"), html(&document).as_bytes())?;
    print(&analysis, args.output)?;
    if !args.output.quiet {
        eprintln!("everything is in {}", folder.path().display());
    }
    failures(&study)
}

/// The folder, new or of a comparison before: of another's nothing may be written over.
fn folder(args: &CompareArgs) -> Result<RunFolder> {
    let folder = RunFolder::at(args.out.as_deref(), "compare")?;
    let path = folder.path();
    let choose =
        || format!("{}: holds something else than a comparison; choose another --out", path.display());
    if path.join(MANIFEST).exists() {
        folder.manifest::<Setup>().with_context(choose)?;
    } else {
        // As a kill may leave it before there is a manifest; files that begin with a dot are the system's.
        let unread = || format!("{}: cannot be read", path.display());
        for entry in fs::read_dir(path).with_context(unread)? {
            let name = entry.with_context(unread)?.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') && name != JOURNAL && !name.ends_with(".partial") {
                bail!("{} (it has {name})", choose());
            }
        }
    }
    Ok(folder)
}

/// Runs what the journal lacks, and puts everything together.
fn study(plan: &Plan, journal: &Journal, output: OutputArgs) -> Result<Study> {
    let (policies, scenarios, seeds) = (plan.policies.len(), plan.worlds.len(), plan.seeds.len());
    // Seeds outermost, so that the bar's estimate has seen a bit of all.
    let episodes = (0..seeds).flat_map(|e| (0..scenarios).map(move |s| (s, e)));
    let optima = if plan.optimum == 0 { Vec::new() } else { episodes.clone().collect() };
    let optima = each(&optima, "optimum", output, |&(s, e)| optimal(plan, journal, s, e))?;
    let optima: HashMap<(usize, usize), Entry> = optima;
    let places: Vec<Place> = episodes
        .flat_map(|(s, e)| (0..policies).map(move |p| Place { scenario: s, policy: p, episode: e }))
        .collect();
    let bound = |place: Place| optima.get(&(place.scenario, place.episode)).and_then(|entry| entry.bound);
    let found = each(&places, "compare", output, |&place| contend(plan, journal, place, bound(place)))?;
    Ok(Study::new(plan.study_policies(), plan.study_scenarios(), seeds, |place| {
        let entry = found.get(&place).or_else(|| optima.get(&(place.scenario, place.episode)));
        entry.map_or_else(|| Err("it was not run".to_owned()), |entry| entry.outcome.clone())
    }))
}

/// Does every job, on all cores.
fn each<J: Copy + Eq + std::hash::Hash + Sync + Send>(
    jobs: &[J],
    what: &'static str,
    output: OutputArgs,
    run: impl Fn(&J) -> Result<Entry> + Sync,
) -> Result<HashMap<J, Entry>> {
    let bar: ProgressBar = progress::bar(jobs.len() as u64, what, output);
    let one = |job: &J| {
        let entry = run(job)?;
        bar.inc(1);
        Ok((*job, entry))
    };
    let done = jobs.par_iter().map(one).collect::<Result<_>>();
    bar.finish_and_clear();
    done
}

/// One episode of one policy.
fn contend(plan: &Plan, journal: &Journal, place: Place, bound: Option<f64>) -> Result<Entry> {
    let key = plan.key(place);
    if let Some(entry) = journal.get(&key) {
        return Ok(entry.clone());
    }
    let world = &plan.worlds[place.scenario];
    let seed = plan.seeds[place.episode];
    let outcome = match &plan.cell(place).make {
        Err(why) => Err(why.clone()),
        Ok(make) => episode(world, || make(seed), seed, bound),
    };
    let policy = plan.policies[place.policy].name.clone();
    added(journal, Entry { key, scenario: name(world), policy, episode: place.episode, bound, outcome })
}

/// One episode under a schedule that knows it.
fn optimal(plan: &Plan, journal: &Journal, scenario: usize, k: usize) -> Result<Entry> {
    let key = plan.optimum_key(scenario, k);
    if let Some(entry) = journal.get(&key) {
        return Ok(entry.clone());
    }
    let (world, seed) = (&plan.worlds[scenario], plan.seeds[k]);
    let search = || optimum(&world.scenario, seed, world.length, plan.optimum as usize);
    let found = guarded(search).and_then(|found| found.map_err(|error| error.to_string()));
    let (bound, outcome) = match found {
        Err(why) => (None, Err(format!("--optimum: {why}"))),
        Ok(found) => {
            let policy = || Schedule::new(found.schedule, world.scenario.control_interval());
            (Some(found.bound), episode(world, policy, seed, Some(found.bound)))
        }
    };
    added(
        journal,
        Entry { key, scenario: name(world), policy: OPTIMUM.to_owned(), episode: k, bound, outcome },
    )
}

fn name(world: &plan::World) -> String {
    world.scenario.name().to_owned()
}

fn added(journal: &Journal, entry: Entry) -> Result<Entry> {
    journal.add(&entry)?;
    Ok(entry)
}

fn episode<P: Policy>(
    world: &plan::World,
    policy: impl FnOnce() -> P,
    seed: Seed,
    bound: Option<f64>,
) -> Outcome {
    let weights = world.scenario.weights();
    let (simulated, policy) = guarded(|| (World::new(Arc::clone(&world.scenario), world.length), policy()))?;
    let finished = run_guarded(simulated, policy, seed, &mut (), |record| Finished {
        figures: measure(record, &weights, bound),
        latency: record.latency_histogram(),
    })?;
    let odd =
        figures().iter().zip(&finished.figures).find(|(_, value)| value.is_some_and(|v| !v.is_finite()));
    match odd {
        Some((figure, Some(value))) => Err(format!("{} is {value}, which is no number", figure.name)),
        _ => Ok(finished),
    }
}

/// How to get the same again; the manifest has the time and the machine.
fn provenance(args: &CompareArgs) -> Vec<String> {
    vec![
        format!("Command: {}", command()),
        format!("Commit: {}", commit()),
        format!("Episodes: test episodes 0 to {} below the root seed {}", args.seeds - 1, args.seed),
    ]
}

/// The command line, such that a shell takes it for the same words.
fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    std::env::args_os().skip(1).fold("autoscale".to_owned(), |all, word| all + " " + &quoted(word))
}

/// Writes what reports are made of.
fn write_tables(study: &Study, analysis: &Analysis, folder: &RunFolder) -> Result<()> {
    let mut csv = Vec::new();
    study.write_csv(&mut csv)?;
    write_whole(&folder.file("results.csv"), &csv)?;
    report::study(&folder.file("results.parquet"), study)?;
    csv.clear();
    differences::write_csv(analysis, &mut csv)?;
    write_whole(&folder.file("differences.csv"), &csv)
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(analysis: &Analysis, output: OutputArgs) -> Result<()> {
    if output.json {
        println!("{}", serde_json::to_string_pretty(analysis)?);
    } else if !output.quiet {
        println!("{}", text::table(analysis));
    }
    Ok(())
}

/// An error that names what failed, where something did.
fn failures(study: &Study) -> Result<()> {
    let Some((place, why)) = study.failures().next() else { return Ok(()) };
    let (scenario, policy) = (&study.scenarios()[place.scenario].name, &study.policies()[place.policy].name);
    bail!(
        "{} of {} episodes failed, the others are in the report; the first: {policy} on episode {} of {scenario}: {why}",
        study.failures().count(),
        study.places().count(),
        place.episode
    )
}
