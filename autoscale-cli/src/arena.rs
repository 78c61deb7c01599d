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
use autoscale_core::policy::{Cadence, Policy};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::reward::RewardWeights;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_eval::compare::{Row, compare};
use autoscale_eval::report::{text_table, write_csv};
use autoscale_eval::scores::{Scores, episode_return};
use autoscale_eval::suite::{Contender, PolicyEpisodes, Starts, run_suite};
use autoscale_eval::tune::Halving;
use autoscale_policies::fixed::Fixed;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::engine::{Detail, Simulator};
use autoscale_sim::scenario::{Engine, Scenario};
use autoscale_sim::world::World;
use indicatif::ProgressBar;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Training episodes on which the rivals are found.
const SEARCH_EPISODES: u64 = Halving::FEW.episodes();
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

/// The constant count with the lowest cost on training episodes.
fn best_constant(scenario: &Arc<Scenario>, root: Seed, output: OutputArgs) -> Replicas {
    let grid = constants(scenario);
    let interval = scenario.control_interval();
    let policies: Vec<Fixed> = grid.iter().map(|&n| Fixed::new(n, interval)).collect();
    let training = Training::of(scenario, root, Cadence::every(interval));
    let bar = progress::bar(constant_search(scenario), "constant", output);
    let costs = training.costs(&policies, 0..SEARCH_EPISODES, &bar);
    bar.finish_and_clear();
    let totals: Vec<f64> = costs.iter().map(|costs| costs.iter().sum()).collect();
    let best = (0..grid.len()).min_by(|&a, &b| totals[a].total_cmp(&totals[b]));
    grid[best.expect("there are constants")]
}

/// Down-scale stabilisation windows that are tried, in seconds, the default first.
const WINDOWS: [u32; 5] = [300, 120, 60, 30, 0];
/// Utilisation targets that are tried besides the default, in percent of the request.
const TARGETS: [u32; 4] = [60, 70, 90, 100];

/// Episodes that the search for the best HPA takes.
pub(crate) fn hpa_search() -> u64 {
    Halving::FEW.cost(WINDOWS.len() as u64) + Halving::FEW.cost(TARGETS.len() as u64)
}

/// The HPA's most telling parameters by their cost on training episodes: first the down-scale window at the
/// default target, then whether another target is better.
pub(crate) fn tuned_hpa(scenario: &Scenario, root: Seed, output: OutputArgs) -> Result<HpaConfig> {
    let standard = HpaConfig::default();
    let windows = WINDOWS.map(|window| {
        let mut config = standard.clone();
        config.behavior.scale_down.stabilization_window_seconds = window;
        config
    });
    let cadence = Hpa::new(standard)?.cadence();
    let training = Training::of(&searched(scenario), root, cadence);
    let bar = progress::bar(hpa_search(), "tune HPA", output);
    let (config, cost) = training.best_hpa(&windows, &bar);
    let targets = TARGETS.map(|percent| HpaConfig { target_utilization_percent: percent, ..config.clone() });
    let (other, less) = training.best_hpa(&targets, &bar);
    bar.finish_and_clear();
    Ok(if less < cost { other } else { config })
}

/// Training episodes on which rivals are searched for.
struct Training {
    starts: Starts<Simulator>,
    weights: RewardWeights,
}

impl Training {
    /// Those below `root`, for policies of this cadence.
    fn of(scenario: &Arc<Scenario>, root: Seed, cadence: Cadence) -> Self {
        let world = Simulator::new(Arc::clone(scenario), scenario.training_episode())
            .expect("its engine was checked")
            .with_detail(Detail::ResourceMetrics);
        let seeds: Vec<Seed> = (0..SEARCH_EPISODES).map(|k| root.episode(Branch::Train, k)).collect();
        Self { starts: Starts::of(&world, &seeds, cadence), weights: scenario.weights() }
    }

    /// What each policy costs an hour on each of these episodes. They see no history: see [`Detail`].
    fn costs<P: Policy + Clone + Sync>(
        &self,
        policies: &[P],
        episodes: Range<u64>,
        bar: &ProgressBar,
    ) -> Vec<Vec<f64>> {
        let keep = |episode: &EpisodeRecord| {
            bar.inc(1);
            -episode_return(episode, &self.weights)
        };
        self.starts.run(policies, episodes.start as usize..episodes.end as usize, keep)
    }

    /// The cheapest of these, and its mean cost an hour on all episodes.
    fn best_hpa(&self, configs: &[HpaConfig], bar: &ProgressBar) -> (HpaConfig, f64) {
        let hpa = |config: &HpaConfig| Hpa::new(config.clone()).expect("what is tried is in range");
        let costs = |configs: &[HpaConfig], episodes| {
            let hpas: Vec<Hpa> = configs.iter().map(hpa).collect();
            self.costs(&hpas, episodes, bar)
        };
        Halving::FEW.search(configs, costs).swap_remove(0)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What each policy costs on the episodes as anybody would run them, with all that they show.
    fn as_usual<P: Policy + Clone + Send + Sync + 'static>(
        scenario: &Arc<Scenario>,
        root: Seed,
        policies: &[P],
    ) -> Vec<Vec<f64>> {
        let world = Simulator::new(Arc::clone(scenario), scenario.training_episode()).expect("its engine");
        let seeds: Vec<Seed> = (0..SEARCH_EPISODES).map(|k| root.episode(Branch::Train, k)).collect();
        let contender = |policy: &P| {
            let policy = policy.clone();
            Contender::new("rival", move |_| policy.clone())
        };
        let contenders: Vec<Contender<'_>> = policies.iter().map(contender).collect();
        let keep = |episode: &EpisodeRecord| -episode_return(episode, &scenario.weights());
        let results = run_suite(&contenders, || world.clone(), &seeds, keep);
        results.into_iter().map(|policy| policy.episodes).collect()
    }

    #[test]
    fn rivals_are_found_on_what_episodes_cost() {
        let root = Seed::root(1);
        let mut short = Scenario::builtin("step").expect("built in").config().clone();
        short.episode.training_s = 300;
        let by_requests = short.check("short", Path::new("")).expect("valid").on(Branch::Train);
        let flow = searched(&Scenario::builtin("match-day").expect("built in"));
        let hpas = WINDOWS.map(|window| {
            let mut config = HpaConfig::default();
            config.behavior.scale_down.stabilization_window_seconds = window;
            Hpa::new(config).expect("in range")
        });
        for scenario in [flow, Arc::new(by_requests)] {
            let bar = ProgressBar::hidden();
            let training = Training::of(&scenario, root, hpas[0].cadence());
            let costs = training.costs(&hpas, 0..SEARCH_EPISODES, &bar);
            assert_eq!(costs, as_usual(&scenario, root, &hpas), "{}", scenario.name());
            let counts = [2, 9].map(|n| Fixed::new(Replicas::new(n), scenario.control_interval()));
            let training = Training::of(&scenario, root, counts[0].cadence());
            let costs = training.costs(&counts, 0..SEARCH_EPISODES, &bar);
            assert_eq!(costs, as_usual(&scenario, root, &counts), "{}", scenario.name());
        }
    }

    /// On these seeds halving finds what running all to the end would, which experiments rest on.
    #[test]
    fn the_tuned_hpa_of_experiments_is_the_same() {
        let scenario = Scenario::builtin("match-day").expect("built in");
        let quiet = OutputArgs { json: false, quiet: true };
        for (seed, window) in [(1, 30), (11, 30), (12, 0), (13, 30)] {
            let found = tuned_hpa(&scenario, Seed::root(seed), quiet).expect("in range");
            let window_found = found.behavior.scale_down.stabilization_window_seconds;
            assert_eq!((window_found, found.target_utilization_percent), (window, 80), "seed {seed}");
        }
    }
}
