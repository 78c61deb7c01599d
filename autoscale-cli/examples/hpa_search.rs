//! What a search for the best HPA loses by letting the worse half go early: `Halving::FEW` against running all to the end.
//! Prints a Markdown table.
//!
//! `cargo run --release --example hpa_search`

#![expect(clippy::print_stdout, reason = "the table is the result")]

use autoscale_core::policy::Policy;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::{Branch, Seed};
use autoscale_eval::estimate::{Estimate, bootstrap_mean};
use autoscale_eval::scores::episode_return;
use autoscale_eval::suite::Starts;
use autoscale_eval::tune::Halving;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::engine::{Detail, Simulator};
use autoscale_sim::scenario::{Engine, Scenario};
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

/// What `autoscale train` tries, the default first (`Training` in `arena.rs`).
const WINDOWS: [u32; 5] = [300, 120, 60, 30, 0];
const TARGETS: [u32; 5] = [80, 60, 70, 90, 100];
/// Searches, each on episodes of its own, below this root seed and those after it.
const SEARCHES: u64 = 50;
const FIRST_ROOT: u64 = 1001;
/// Those of one.
const EPISODES: u64 = Halving::FEW.episodes();

/// Costs an hour of every HPA: of a window the targets, then the next window's, by episode.
type Costs = Vec<Vec<f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    println!("| scenario | default HPA | whole search | halving | halving minus whole | most | same HPA |");
    println!("|---|---|---|---|---|---|---|");
    for name in Scenario::builtin_names() {
        let scenario = Scenario::builtin(name).ok_or("built in")?;
        let costs = costs(&Arc::new(scenario.on(Branch::Train).with_engine(Engine::Fluid)?))?;
        let found: Vec<(usize, usize)> =
            (0..SEARCHES).map(|k| (whole(&costs, k), halving(&costs, k))).collect();
        // Judged on the episodes of the next search, which this one has not seen.
        let judged =
            |k: usize, hpa: usize| mean(&of_search(&costs, hpa, (k as u64 + 1) % SEARCHES, 0..EPISODES));
        let each = |cost: &dyn Fn(usize, (usize, usize)) -> f64| -> Vec<f64> {
            found.iter().enumerate().map(|(k, &found)| cost(k, found)).collect()
        };
        let more = each(&|k, (whole, halving)| judged(k, halving) - judged(k, whole));
        println!(
            "| `{name}` | {:.2} | {:.2} | {:.2} | {} | {:+.2} | {} of {SEARCHES} |",
            mean(&each(&|k, _| judged(k, 0))),
            mean(&each(&|k, (whole, _)| judged(k, whole))),
            mean(&each(&|k, (_, halving)| judged(k, halving))),
            interval(&more)?,
            more.iter().copied().fold(0.0, f64::max),
            found.iter().filter(|(whole, halving)| whole == halving).count(),
        );
    }
    Ok(())
}

/// What an HPA costs on these episodes of a search.
fn of_search(costs: &Costs, hpa: usize, search: u64, episodes: Range<u64>) -> Vec<f64> {
    let at = |episode: u64| (search * EPISODES + episode) as usize;
    costs[hpa][at(episodes.start)..at(episodes.end)].to_vec()
}

/// All run all episodes.
fn whole(costs: &Costs, search: u64) -> usize {
    in_two_steps(|hpas| {
        let cost = |hpa| mean(&of_search(costs, hpa, search, 0..EPISODES));
        let cheapest = hpas.iter().copied().min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(0);
        (cheapest, cost(cheapest))
    })
}

/// The worse half goes early.
fn halving(costs: &Costs, search: u64) -> usize {
    in_two_steps(|hpas| {
        let run = |hpas: &[usize], episodes: Range<u64>| {
            hpas.iter().map(|&hpa| of_search(costs, hpa, search, episodes.clone())).collect()
        };
        Halving::FEW.search(hpas, run).swap_remove(0)
    })
}

/// The window at the default target, then whether another target is better: the number of the HPA that is found. `find`
/// gives the cheapest of some, and its cost.
fn in_two_steps(find: impl Fn(&[usize]) -> (usize, f64)) -> usize {
    let windows: Vec<usize> = (0..WINDOWS.len()).map(|window| window * TARGETS.len()).collect();
    let (window, cost) = find(&windows);
    let targets: Vec<usize> = (window + 1..window + TARGETS.len()).collect();
    let (other, less) = find(&targets);
    if less < cost { other } else { window }
}

/// Runs every HPA on the episodes of all searches.
fn costs(scenario: &Arc<Scenario>) -> Result<Costs, Box<dyn Error>> {
    let weights = scenario.weights();
    let mut hpas = Vec::new();
    for window in WINDOWS {
        for target_utilization_percent in TARGETS {
            let mut config = HpaConfig { target_utilization_percent, ..HpaConfig::default() };
            config.behavior.scale_down.stabilization_window_seconds = window;
            hpas.push(Hpa::new(config)?);
        }
    }
    let world = Simulator::new(Arc::clone(scenario), scenario.training_episode())?
        .with_detail(Detail::ResourceMetrics);
    let cost = |episode: &EpisodeRecord| -episode_return(episode, &weights);
    let mut costs: Costs = vec![Vec::new(); hpas.len()];
    for root in FIRST_ROOT..FIRST_ROOT + SEARCHES {
        let seeds: Vec<Seed> = (0..EPISODES).map(|k| Seed::root(root).episode(Branch::Train, k)).collect();
        let starts = Starts::of(&world, &seeds, hpas[0].cadence());
        for (all, more) in costs.iter_mut().zip(starts.run(&hpas, 0..seeds.len(), cost)) {
            all.extend(more);
        }
    }
    Ok(costs)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn interval(values: &[f64]) -> Result<String, Box<dyn Error>> {
    let Estimate { point, low, high, .. } = bootstrap_mean(values, Seed::root(0)).ok_or("searches")?;
    Ok(format!("{point:+.3} [{low:+.3}, {high:+.3}]"))
}
