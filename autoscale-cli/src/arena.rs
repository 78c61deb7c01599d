//! The closing comparison: HPA, the best constant count, and the learned policy on the same episodes.

use crate::args::OutputArgs;
use crate::plot;
use crate::progress;
use crate::run_folder::{COMPARISON, write_whole};
use crate::settings::Settings;
use anyhow::Result;
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::learned::LearnedPolicy;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_eval::compare::{Row, compare, episode_return};
use autoscale_eval::report::{text_table, write_csv};
use autoscale_eval::suite::{Contender, PolicyRecords, run_suite};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use std::path::Path;
use std::sync::Arc;

/// Training episodes on which the best constant count is found.
const SEARCH_EPISODES: u64 = 30;

/// The finished comparison.
pub(crate) struct Comparison {
    scenario: Arc<Scenario>,
    records: Vec<PolicyRecords>,
}

/// Runs the comparison on `episodes` episodes of the test branch below `root`.
pub(crate) fn run(
    scenario: &Scenario,
    checkpoint: &Checkpoint,
    settings: &Settings,
    root: Seed,
    episodes: u64,
    output: OutputArgs,
) -> Result<Comparison> {
    // Made once before the threads start, so that a mismatch is an error and not a panic.
    learned(checkpoint, settings)?;
    let hpa = Hpa::new(HpaConfig::default())?;
    let constant = best_constant(&Arc::new(scenario.on(Branch::Train)), root, output);
    let scenario = Arc::new(scenario.on(Branch::Test));
    let interval = scenario.control_interval();
    let seeds: Vec<Seed> = (0..episodes).map(|k| root.episode(Branch::Test, k)).collect();
    let learned = |_| learned(checkpoint, settings).expect("made once above");
    let contenders = [
        Contender::new("hpa", |_| hpa.clone()),
        Contender::new(format!("constant-{constant}"), move |_| Fixed::new(constant, interval)),
        Contender::new(settings.algorithm.clone(), learned),
    ];
    let bar = progress::bar(episodes * contenders.len() as u64, "compare", output);
    let world = || World::new(Arc::clone(&scenario), scenario.evaluation_episode());
    let records = run_suite(&contenders, world, &seeds, || bar.inc(1));
    bar.finish_and_clear();
    Ok(Comparison { scenario, records })
}

/// Mean return per hour of a policy on `episodes` training-length episodes of the validation branch.
pub(crate) fn validation_return(
    scenario: &Arc<Scenario>,
    checkpoint: &Checkpoint,
    settings: &Settings,
) -> Result<f64> {
    learned(checkpoint, settings)?;
    let seeds: Vec<Seed> =
        (0..settings.validation_seeds).map(|k| settings.seed.episode(Branch::Validate, k)).collect();
    let contender = Contender::new("candidate", |_| learned(checkpoint, settings).expect("made once above"));
    let world = || World::new(Arc::clone(scenario), scenario.training_episode());
    let results = run_suite(&[contender], world, &seeds, || ());
    let returns = results.iter().flat_map(|r| &r.records).map(|e| episode_return(e, &scenario.weights()));
    Ok(returns.sum::<f64>() / seeds.len() as f64)
}

/// A fresh learned policy.
fn learned(checkpoint: &Checkpoint, settings: &Settings) -> Result<LearnedPolicy> {
    Ok(LearnedPolicy::new(checkpoint, settings.base_policy()?)?)
}

/// Constant counts that are tried, as multiples of what the mean load needs when pods are full: up to where
/// the peaks of real sites are.
const CONSTANTS: [f64; 13] = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.5, 10.0, 13.0];

/// The constant count with the highest return on training episodes.
fn best_constant(scenario: &Arc<Scenario>, root: Seed, output: OutputArgs) -> Replicas {
    let need = scenario.mean_load().per_second() / scenario.pod_capacity().per_second();
    let (min, max) = (scenario.limits().min(), scenario.limits().max());
    let mut grid = CONSTANTS.map(|multiple| Replicas::from_ceil(need * multiple).clamp(min, max)).to_vec();
    grid.dedup();
    let interval = scenario.control_interval();
    let contenders: Vec<Contender<'_>> =
        grid.iter().map(|&n| Contender::new("constant", move |_| Fixed::new(n, interval))).collect();
    let seeds: Vec<Seed> = (0..SEARCH_EPISODES).map(|k| root.episode(Branch::Train, k)).collect();
    let bar = progress::bar(SEARCH_EPISODES * grid.len() as u64, "constant", output);
    let world = || World::new(Arc::clone(scenario), scenario.training_episode());
    let results = run_suite(&contenders, world, &seeds, || bar.inc(1));
    bar.finish_and_clear();
    let total =
        |r: &PolicyRecords| r.records.iter().map(|e| episode_return(e, &scenario.weights())).sum::<f64>();
    let best = grid.iter().zip(&results).max_by(|a, b| total(a.1).total_cmp(&total(b.1)));
    best.map_or(min, |(&n, _)| n)
}

impl Comparison {
    /// Learned against HPA (0) or against the best constant (1).
    fn rows(&self, baseline: usize) -> Vec<Row> {
        compare(&self.records[baseline], &self.records[2], &self.scenario.weights())
    }

    /// Writes `comparison.csv` and the two plots of the first test episode.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut csv = Vec::new();
        write_csv(&self.records, &self.scenario.weights(), &mut csv)?;
        write_whole(&folder.join(COMPARISON), &csv)?;
        let (hpa, learned) = (&self.records[0], &self.records[2]);
        plot::episode(folder, [(&hpa.name, &hpa.records[0]), (&learned.name, &learned.records[0])])
    }

    /// Prints the comparison as asked for.
    #[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
    pub(crate) fn print(&self, output: OutputArgs) -> Result<()> {
        let [hpa, constant, learned] = [0, 1, 2].map(|k| self.records[k].name.as_str());
        if output.json {
            let tables = serde_json::json!({ hpa: self.rows(0), constant: self.rows(1) });
            println!(
                "{}",
                serde_json::to_string_pretty(&serde_json::json!({ "policy": learned, "against": tables }))?
            );
        } else if !output.quiet {
            println!(
                "{}: {} on {} test episodes\n",
                self.scenario.name(),
                learned,
                self.records[2].records.len()
            );
            println!("{}", text_table(hpa, learned, &self.rows(0)));
            let overall: Vec<Row> = self.rows(1).into_iter().filter(|r| r.metric == "return").collect();
            println!("against the best constant count found on training episodes\n");
            println!("{}", text_table(constant, learned, &overall));
            if self.records[2].records.len() < 20 {
                println!("fewer than 20 episodes: the intervals are approximate");
            }
        }
        Ok(())
    }
}
