//! `autoscale tune`: the parameters of a rule, searched within a budget, and held against a plain grid.

use crate::args::TuneArgs;
use crate::interrupt;
use crate::plot;
use crate::progress;
use crate::rule::{HpaRule, Rule, RuleKind, Space};
use crate::run_folder::{Replace, RunFolder, write_whole};
use crate::settings;
use anyhow::{Context, Result, anyhow, bail};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_eval::scores::{Scores, episode_return};
use autoscale_eval::suite::{Contender, run_suite};
use autoscale_eval::tune::{Halving, front};
use autoscale_policies::hpa::Behavior;
use autoscale_sim::engine::{Detail, Simulator};
use autoscale_sim::scenario::Scenario;
use indicatif::ProgressBar;
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

/// The grid that a tuned rule is held against: targets in percent, and `minReplicas` as multiples of what the mean load
/// needs when pods are full.
const GRID_TARGETS: [u32; 6] = [20, 35, 50, 65, 80, 95];
const GRID_MINIMA: [f64; 8] = [0.0, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 11.0];
/// The highest `minReplicas` that are drawn, as such a multiple.
const PEAK: f64 = 13.0;
/// How many of the search and of the grid are compared on validation episodes.
const FINALISTS: usize = 15;
/// How many of the first half of the search the second half is drawn around.
const PARENTS: usize = 5;
/// How both are searched.
const HALVING: Halving = Halving::BROAD;
/// How much cheaper the grid may be, as a share of the cost.
const SLACK: f64 = 0.01;

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Default,
    Search,
    Grid,
}

/// A candidate on validation episodes.
#[derive(Clone, Debug, Serialize)]
struct Judged {
    origin: Origin,
    rule: Rule,
    /// Mean over the episodes: price an hour, pods, percent of the requests.
    cost: f64,
    pods: f64,
    violations: f64,
    /// Whether no other has both fewer pods and fewer violations.
    on_front: bool,
}

/// What a search was made of; the `config` of its manifest.
#[derive(Serialize)]
struct Setup<'a> {
    policy: String,
    budget: u64,
    candidates: u64,
    validation_seeds: u64,
    /// As TOML.
    scenario: &'a str,
}

pub(crate) fn run(args: &TuneArgs) -> Result<()> {
    let scenario = settings::world(&args.world)?;
    // Half for candidates at random, half for what lies around the best of them.
    let drawn = HALVING.within(args.budget / 2).map_err(|_| {
        anyhow!("--budget: {} is not allowed; expected at least {}", args.budget, 2 * HALVING.least())
    })?;
    let root = Seed::root(args.seed);
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    RunFolder::check(args.out.as_deref(), replace)?;
    interrupt::catch("stopped; nothing was kept, for a search cannot be gone on with".to_owned())?;

    // Only an HPA can be expected to do what a plain HPA does.
    let grid = if args.policy == RuleKind::Hpa { grid(&scenario) } else { Vec::new() };
    let peak = multiple(&scenario, PEAK);
    let mut draw = root.child("tune").stream();
    let space = Space::new(args.policy, &scenario);
    let mut fresh = || space.draw(peak, &mut draw);
    let standard = space.standard();
    let mut candidates = vec![standard.clone()];
    candidates.extend((1..drawn).map(|_| fresh()));

    let train = Arc::new(settings::on_engine(scenario.on(Branch::Train), args.engine)?);
    let bar = progress::bar(args.budget, "search", args.output);
    let search =
        |rules: &[Rule]| HALVING.search(rules, |rules, episodes| costs(&train, rules, root, episodes, &bar));
    let first: Vec<Rule> = search(&candidates).into_iter().take(PARENTS).map(|(rule, _)| rule).collect();
    let mut mixing = root.child("mix").stream();
    let around = (first.len()..drawn as usize).map(|k| {
        let (parent, other) = (&first[k % first.len()], &first[k / first.len() % first.len()]);
        let other = if k % 2 == 0 { other.clone() } else { fresh() };
        space.mixed(parent, &other, &mut mixing)
    });
    let second: Vec<Rule> = around.collect();
    let found = search(&[first, second].concat());
    bar.finish_and_clear();
    let bar = progress::bar(HALVING.cost(grid.len() as u64), "grid", args.output);
    let plain = HALVING.search(&grid, |rules, episodes| costs(&train, rules, root, episodes, &bar));
    bar.finish_and_clear();

    let of = |origin, rules: Vec<(Rule, f64)>| {
        rules.into_iter().take(FINALISTS).map(move |(rule, _)| (origin, rule))
    };
    let finalists: Vec<(Origin, Rule)> = std::iter::once((Origin::Default, standard))
        .chain(of(Origin::Search, found))
        .chain(of(Origin::Grid, plain))
        .collect();
    let judged = judge(&scenario, finalists, root, args)?;

    print(args, &judged)?;
    let label = format!("tune-{}-{}", args.policy, scenario.name());
    let folder = RunFolder::create(args.out.as_deref(), &label, replace)?;
    write(args, &folder, &scenario, drawn, &judged)?;
    let winner = winner(&judged).context("a search has candidates")?;
    let best_of_grid = judged.iter().find(|j| j.origin == Origin::Grid);
    if let Some(plain) = best_of_grid.filter(|plain| plain.cost < winner.cost * (1.0 - SLACK)) {
        bail!(
            "not tuned: a plain HPA ({}) costs {:.3} an hour, {:.1} % less than the best found; search longer with --budget",
            plain.rule,
            plain.cost,
            100.0 * (1.0 - plain.cost / winner.cost)
        );
    }
    let (name, text) = winner.rule.file(&scenario)?;
    write_whole(&folder.file(name), text.as_bytes())?;
    if !args.output.quiet {
        eprintln!("everything is in {}; the winner is {name}", folder.path().display());
    }
    Ok(())
}

/// The cheapest that the search found; the default is one of its candidates.
fn winner(judged: &[Judged]) -> Option<&Judged> {
    judged.iter().find(|j| j.origin != Origin::Grid)
}

/// So many times the pods that the mean load needs when they are full.
fn multiple(scenario: &Scenario, times: f64) -> u32 {
    let need = scenario.mean_load().per_second() / scenario.pod_capacity().per_second();
    let limits = scenario.limits();
    Replicas::from_ceil(need * times).clamp(limits.min(), limits.max()).get()
}

/// Plain HPAs: every target with every minimum.
fn grid(scenario: &Scenario) -> Vec<Rule> {
    let mut minima = GRID_MINIMA.map(|times| multiple(scenario, times)).to_vec();
    minima.dedup();
    let rule = |min_replicas, target_percent| {
        Rule::Hpa(HpaRule { min_replicas, target_percent, behavior: Behavior::default() })
    };
    minima.iter().flat_map(|&min| GRID_TARGETS.map(|target| rule(min, target))).collect()
}

/// What each rule costs an hour on each of these training episodes.
fn costs(
    scenario: &Arc<Scenario>,
    rules: &[Rule],
    root: Seed,
    episodes: Range<u64>,
    bar: &ProgressBar,
) -> Vec<Vec<f64>> {
    let seeds: Vec<Seed> = episodes.map(|k| root.episode(Branch::Train, k)).collect();
    let keep = |episode: &EpisodeRecord| {
        bar.inc(1);
        -episode_return(episode, &scenario.weights())
    };
    let world = world(scenario).with_detail(Detail::NoResponseTimes);
    episodes_of(&world, scenario, rules, &seeds, keep)
}

/// A world of training episodes, to be copied for each of them: a flow takes long to prepare.
fn world(scenario: &Arc<Scenario>) -> Simulator {
    Simulator::new(Arc::clone(scenario), scenario.training_episode()).expect("its engine was checked")
}

/// What `keep` keeps of each rule's episodes.
fn episodes_of<T: Send>(
    world: &Simulator,
    scenario: &Arc<Scenario>,
    rules: &[Rule],
    seeds: &[Seed],
    keep: impl Fn(&EpisodeRecord) -> T + Sync,
) -> Vec<Vec<T>> {
    let contender = |rule: &Rule| {
        let rule = rule.clone();
        Contender::new("candidate", move |_| rule.make(scenario).expect("what is drawn is in range"))
    };
    let contenders: Vec<Contender<'_>> = rules.iter().map(contender).collect();
    let policies = run_suite(&contenders, || world.clone(), seeds, keep);
    policies.into_iter().map(|policy| policy.episodes).collect()
}

/// The finalists on validation episodes, cheapest first.
fn judge(
    scenario: &Scenario,
    finalists: Vec<(Origin, Rule)>,
    root: Seed,
    args: &TuneArgs,
) -> Result<Vec<Judged>> {
    let scenario = Arc::new(scenario.on(Branch::Validate));
    let seeds: Vec<Seed> = (0..args.validation_seeds).map(|k| root.episode(Branch::Validate, k)).collect();
    let rules: Vec<Rule> = finalists.iter().map(|(_, rule)| rule.clone()).collect();
    for rule in &rules {
        rule.make(&scenario)?;
    }
    let bar = progress::bar((rules.len() * seeds.len()) as u64, "validate", args.output);
    let keep = |episode: &EpisodeRecord| {
        bar.inc(1);
        Scores::of(episode, &scenario.weights())
    };
    let scores = episodes_of(&world(&scenario), &scenario, &rules, &seeds, keep);
    bar.finish_and_clear();
    let mut judged: Vec<Judged> = finalists
        .into_iter()
        .zip(scores)
        .map(|((origin, rule), scores)| {
            let n = scores.len() as f64;
            let mean = |value: &dyn Fn(&Scores) -> f64| scores.iter().map(value).sum::<f64>() / n;
            let share = |e: &Scores| e.totals.violations as f64 / (e.totals.arrivals.max(1)) as f64;
            Judged {
                origin,
                rule,
                cost: mean(&|e| -e.return_per_hour()),
                pods: mean(&|e| e.per_hour(e.totals.pod_hours)),
                violations: 100.0 * mean(&share),
                on_front: false,
            }
        })
        .collect();
    let points: Vec<(f64, f64)> = judged.iter().map(|j| (j.pods, j.violations)).collect();
    for (judged, on_front) in judged.iter_mut().zip(front(&points)) {
        judged.on_front = on_front;
    }
    judged.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    Ok(judged)
}

fn write(
    args: &TuneArgs,
    folder: &RunFolder,
    scenario: &Scenario,
    candidates: u64,
    judged: &[Judged],
) -> Result<()> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record([
        "origin",
        "cost_per_hour",
        "mean_pods",
        "violations_percent",
        "on_front",
        "parameters",
    ])?;
    for j in judged {
        let origin = serde_json::to_value(j.origin)?.as_str().unwrap_or_default().to_owned();
        let numbers = [j.cost, j.pods, j.violations].map(|v| v.to_string());
        let [cost, pods, violations] = &numbers;
        let row = [&origin, cost, pods, violations, &j.on_front.to_string(), &j.rule.to_string()];
        csv.write_record(row)?;
    }
    write_whole(&folder.file("front.csv"), &csv.into_inner()?)?;
    let points = |wanted: &dyn Fn(&Judged) -> bool| -> Vec<(f64, f64)> {
        judged.iter().filter(|j| wanted(j)).map(|j| (j.pods, j.violations)).collect()
    };
    let chosen = winner(judged).map(|j| (j.pods, j.violations));
    plot::tuning_front(
        &folder.file("front.png"),
        &format!("{} of {}: {} validation episodes", args.policy, scenario.name(), args.validation_seeds),
        &[
            ("plain grid", points(&|j| j.origin == Origin::Grid)),
            ("found", points(&|j| j.origin == Origin::Search)),
            ("default", points(&|j| j.origin == Origin::Default)),
            ("winner", chosen.into_iter().collect()),
        ],
        &points(&|j| j.on_front),
    )?;
    let setup = Setup {
        policy: args.policy.to_string(),
        budget: args.budget,
        candidates,
        validation_seeds: args.validation_seeds,
        scenario: &scenario.to_toml(),
    };
    folder.describe(Seed::root(args.seed), setup)
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(args: &TuneArgs, judged: &[Judged]) -> Result<()> {
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(judged)?);
    } else if !args.output.quiet {
        println!(
            "on {} validation episodes; * is on the front of pods against violations\n",
            args.validation_seeds
        );
        println!("  {:>8} {:>7} {:>11}  from     parameters", "cost/h", "pods", "violations");
        let named = |origin| match origin {
            Origin::Default => "default",
            Origin::Search => "search",
            Origin::Grid => "grid",
        };
        for j in judged {
            let mark = if j.on_front { '*' } else { ' ' };
            println!(
                "{mark} {:>8.3} {:>7.2} {:>9.3} %  {:<8} {}",
                j.cost,
                j.pods,
                j.violations,
                named(j.origin),
                j.rule
            );
        }
    }
    Ok(())
}
