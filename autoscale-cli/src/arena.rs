//! The closing comparison: the default HPA, a tuned one, the best constant count, and the learned policy on the
//! same episodes; and the searches for the rivals, on training episodes.

use crate::args::OutputArgs;
use crate::plot;
use crate::progress;
use crate::run_folder::{COMPARISON, write_whole};
use crate::settings::Settings;
use anyhow::Result;
use autoscale_agents::checkpoint::Checkpoint;
use autoscale_agents::learned::LearnedPolicy;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_eval::compare::{Row, compare};
use autoscale_eval::report::{text_table, write_csv};
use autoscale_eval::scores::{Scores, episode_return};
use autoscale_eval::suite::{Contender, PolicyEpisodes, run_suite};
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::engine::Simulator;
use autoscale_sim::scenario::{Engine, Scenario};
use autoscale_sim::world::World;
use std::path::Path;
use std::sync::Arc;

/// Training episodes on which the rivals are found.
const SEARCH_EPISODES: u64 = 30;
/// The policies of a comparison.
pub(crate) const CONTENDERS: u64 = 4;

/// The rows that are shown against the default HPA; `comparison.csv` has all.
const SHOWN_ROWS: [&str; 15] = [
    "latency_mean",
    "latency_p50",
    "latency_p90",
    "latency_p95",
    "latency_p99",
    "scale_toggles",
    "scale_events",
    "replica_variance",
    "mean_pods",
    "pod_hours",
    "reaction_time",
    "overshoot",
    "undershoot",
    "slo_violations",
    "return",
];

/// The rows that are shown against other rivals.
const SUMMARY_ROWS: [&str; 3] = ["pod_hours", "slo_violations", "return"];

/// The finished comparison.
pub(crate) struct Comparison {
    scenario: Arc<Scenario>,
    /// Above the test episodes.
    root: Seed,
    policies: Vec<PolicyEpisodes<Scores>>,
    /// The first test episode under the default HPA and under the learned policy.
    shown: [PolicyEpisodes<EpisodeRecord>; 2],
    /// The rivals' parameters, in words.
    found: String,
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
    // That of the run is a rival in the run's own world only; elsewhere it would not be tuned.
    let own = settings.tuned_hpa.as_ref().filter(|_| settings.found_tuned_hpa_in(scenario));
    let config = match own {
        Some(config) => config.clone(),
        None => tuned_hpa(scenario, root, output)?,
    };
    let constant = best_constant(&searched(scenario), root, output);
    let scenario = Arc::new(scenario.on(Branch::Test));
    let interval = scenario.control_interval();
    let seeds: Vec<Seed> = (0..episodes).map(|k| root.episode(Branch::Test, k)).collect();
    let learned = |_| learned(checkpoint, settings).expect("made once above");
    let tuned = Hpa::new(config.clone())?;
    let contenders: [_; CONTENDERS as usize] = [
        Contender::new("hpa", |_| hpa.clone()),
        Contender::new("hpa-tuned", |_| tuned.clone()),
        Contender::new(format!("constant-{constant}"), move |_| Fixed::new(constant, interval)),
        Contender::new(settings.algorithm.name(), learned),
    ];
    let bar = progress::bar(episodes * contenders.len() as u64, "compare", output);
    let world = || World::new(Arc::clone(&scenario), scenario.evaluation_episode());
    let weights = scenario.weights();
    let keep = |episode: &EpisodeRecord| {
        bar.inc(1);
        Scores::of(episode, &weights)
    };
    let policies = run_suite(&contenders, world, &seeds, keep);
    bar.finish_and_clear();
    let [hpa, .., model] = contenders;
    let shown = run_suite(&[hpa, model], world, &seeds[..1], EpisodeRecord::clone);
    let shown = shown.try_into().expect("one for each of the two");
    let (window, target) =
        (config.behavior.scale_down.stabilization_window_seconds, config.target_utilization_percent);
    let role = if own.is_some() { ", which the model was trained over," } else { "" };
    let found = format!(
        "hpa-tuned (target {target} %, down-scale window {window} s){role} and the best constant count"
    );
    Ok(Comparison { scenario, root, policies, shown, found })
}

/// Mean return per hour of a policy on training-length episodes of the validation branch.
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
    let results = run_suite(&[contender], world, &seeds, |e| episode_return(e, &scenario.weights()));
    Ok(results[0].episodes.iter().sum::<f64>() / seeds.len() as f64)
}

/// A fresh learned policy.
fn learned(checkpoint: &Checkpoint, settings: &Settings) -> Result<LearnedPolicy> {
    Ok(LearnedPolicy::new(checkpoint, settings.base_policy()?)?)
}

/// Constant counts that are tried, as multiples of what the mean load needs when pods are full: up to where
/// the peaks of real sites are.
const CONSTANTS: [f64; 13] = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.5, 10.0, 13.0];

/// Where rivals are searched for: on training episodes, as a flow where that is possible, which ranks policies as single
/// requests do and takes a tenth of the time.
pub(crate) fn searched(scenario: &Scenario) -> Arc<Scenario> {
    let scenario = scenario.on(Branch::Train);
    Arc::new(scenario.clone().with_engine(Engine::Fluid).unwrap_or(scenario))
}

/// Constant counts within the scenario's limits.
fn constants(scenario: &Scenario) -> Vec<Replicas> {
    let need = scenario.mean_load().per_second() / scenario.pod_capacity().per_second();
    let (min, max) = (scenario.limits().min(), scenario.limits().max());
    let mut grid = CONSTANTS.map(|multiple| Replicas::from_ceil(need * multiple).clamp(min, max)).to_vec();
    grid.dedup();
    grid
}

/// Episodes that the search for the best constant count takes.
pub(crate) fn constant_search(scenario: &Scenario) -> u64 {
    constants(scenario).len() as u64 * SEARCH_EPISODES
}

/// The constant count with the highest return on training episodes.
fn best_constant(scenario: &Arc<Scenario>, root: Seed, output: OutputArgs) -> Replicas {
    let grid = constants(scenario);
    let interval = scenario.control_interval();
    let contenders: Vec<Contender<'_>> =
        grid.iter().map(|&n| Contender::new("constant", move |_| Fixed::new(n, interval))).collect();
    grid[best(scenario, &contenders, root, "constant", output)]
}

/// Down-scale stabilisation windows that are tried, in seconds.
const WINDOWS: [u32; 5] = [300, 120, 60, 30, 0];
/// Utilisation targets that are tried, in percent of the request.
const TARGETS: [u32; 5] = [80, 60, 70, 90, 100];
/// Episodes that the search for the best HPA takes.
pub(crate) const HPA_SEARCH: u64 = (WINDOWS.len() + TARGETS.len()) as u64 * SEARCH_EPISODES;

/// The HPA's most telling parameters by their return on training episodes: first the down-scale window at the
/// default target, then the target.
pub(crate) fn tuned_hpa(scenario: &Scenario, root: Seed, output: OutputArgs) -> Result<HpaConfig> {
    let scenario = searched(scenario);
    let mut config = HpaConfig::default();
    let windows = WINDOWS.map(|window| {
        let mut config = config.clone();
        config.behavior.scale_down.stabilization_window_seconds = window;
        config
    });
    config = best_hpa(&scenario, &windows, root, output)?;
    let targets = TARGETS.map(|percent| HpaConfig { target_utilization_percent: percent, ..config.clone() });
    best_hpa(&scenario, &targets, root, output)
}

fn best_hpa(
    scenario: &Arc<Scenario>,
    configs: &[HpaConfig],
    root: Seed,
    output: OutputArgs,
) -> Result<HpaConfig> {
    let hpas = configs.iter().cloned().map(Hpa::new).collect::<Result<Vec<_>, _>>()?;
    let contenders: Vec<Contender<'_>> =
        hpas.iter().map(|hpa| Contender::new("hpa", |_| hpa.clone())).collect();
    Ok(configs[best(scenario, &contenders, root, "tune HPA", output)].clone())
}

/// The index of the contender with the highest return on training episodes; the first of equals.
fn best(
    scenario: &Arc<Scenario>,
    contenders: &[Contender<'_>],
    root: Seed,
    what: &'static str,
    output: OutputArgs,
) -> usize {
    let seeds: Vec<Seed> = (0..SEARCH_EPISODES).map(|k| root.episode(Branch::Train, k)).collect();
    let bar = progress::bar(SEARCH_EPISODES * contenders.len() as u64, what, output);
    // Copied for each episode: a flow takes long to prepare.
    let world =
        Simulator::new(Arc::clone(scenario), scenario.training_episode()).expect("its engine was checked");
    let keep = |episode: &EpisodeRecord| {
        bar.inc(1);
        episode_return(episode, &scenario.weights())
    };
    let results = run_suite(contenders, || world.clone(), &seeds, keep);
    bar.finish_and_clear();
    let totals: Vec<f64> = results.iter().map(|r| r.episodes.iter().sum()).collect();
    (0..totals.len()).rev().max_by(|&a, &b| totals[a].total_cmp(&totals[b])).unwrap_or(0)
}

impl Comparison {
    /// The learned policy.
    fn learned(&self) -> &PolicyEpisodes<Scores> {
        self.policies.last().expect("a comparison has policies")
    }

    /// The learned policy against another.
    fn rows(&self, baseline: &PolicyEpisodes<Scores>) -> Vec<Row> {
        compare(baseline, self.learned())
    }

    /// Writes `comparison.csv` and the two plots of the first test episode.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut csv = Vec::new();
        write_csv(&self.policies, &mut csv)?;
        write_whole(&folder.join(COMPARISON), &csv)?;
        let title =
            format!("{}, the first test episode of seed {}", self.scenario.name(), self.root.number());
        let shown = self.shown.each_ref().map(|shown| (shown.name.as_str(), &shown.episodes[0]));
        plot::pair(folder, &title, shown)
    }

    /// Prints the comparison as asked for.
    #[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
    pub(crate) fn print(&self, output: OutputArgs) -> Result<()> {
        let learned = self.learned();
        let rivals = &self.policies[..self.policies.len() - 1];
        if output.json {
            let tables: serde_json::Map<String, serde_json::Value> = rivals
                .iter()
                .map(|rival| Ok((rival.name.clone(), serde_json::to_value(self.rows(rival))?)))
                .collect::<Result<_>>()?;
            let all = serde_json::json!({ "policy": learned.name, "against": tables });
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else if !output.quiet {
            let episodes = learned.episodes.len();
            println!("{}: {} on {episodes} test episodes\n", self.scenario.name(), learned.name);
            let (hpa, others) = (&rivals[0], &rivals[1..]);
            let rows = |rival: &PolicyEpisodes<Scores>, shown: &[&str]| -> Vec<Row> {
                self.rows(rival).into_iter().filter(|row| shown.contains(&row.metric)).collect()
            };
            println!("{}", text_table(&hpa.name, &learned.name, &rows(hpa, &SHOWN_ROWS)));
            println!("against {}, found on training episodes\n", self.found);
            for rival in others {
                println!("{}", text_table(&rival.name, &learned.name, &rows(rival, &SUMMARY_ROWS)));
            }
            if episodes < 20 {
                println!("fewer than 20 episodes: the intervals are approximate");
            }
        }
        Ok(())
    }
}
