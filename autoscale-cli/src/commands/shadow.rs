//! `autoscale shadow`: what another autoscaler did to a service, and what a policy would have done instead.
//!
//! The recorded load is simulated twice on the same seeds: under the replicas that the service really had, and under the
//! policy. The first of these can be held against what was measured, which tells how good the simulation is.

mod recording;

use crate::args::shadow::ShadowArgs;
use crate::plot;
use crate::progress;
use crate::run_folder::{COMPARISON, Replace, RunFolder, utc, write_whole};
use crate::settings;
use anyhow::{Context, Result, bail};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_eval::report::{policy_table, write_csv};
use autoscale_eval::scores::Scores;
use autoscale_eval::suite::{Contender, PolicyEpisodes, run_suite};
use autoscale_policies::schedule::Schedule;
use autoscale_sim::arrivals::NoiseConfig;
use autoscale_sim::load::TraceConfig;
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use recording::{Recording, Step};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// What stands for the replicas that the service really had.
const RECORDED: &str = "recorded";
const LOAD: &str = "recorded.csv";

/// How a service fared at the steps at which requests were answered.
#[derive(Clone, Copy, Debug, Serialize)]
struct Fared {
    /// Mean of what was asked for.
    replicas: f64,
    /// Times that this changed.
    changes: f64,
    /// Median over steps of the 95th percentile of response times, in seconds.
    median_p95_s: Option<f64>,
    /// Share of steps with that percentile within the objective.
    within_slo: f64,
}

/// The `config` of the manifest.
#[derive(Serialize)]
struct Setup<'a> {
    target: &'a str,
    policies: Vec<String>,
    seeds: u64,
    /// As TOML.
    scenario: &'a str,
}

/// What is kept of an episode.
struct Kept {
    scores: Scores,
    fared: Fared,
    /// Of the first seed, for the pictures.
    episode: Option<EpisodeRecord>,
}

pub(crate) fn run(args: &ShadowArgs) -> Result<()> {
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    RunFolder::check(args.out.as_deref(), replace)?;
    let service = settings::scenario(&args.scenario)?;
    let interval = service.control_interval();
    let recording = Recording::read(&args.decisions, args.target.as_deref(), interval)?;
    let folder = RunFolder::create(args.out.as_deref(), "shadow", replace)?;
    let mut csv = Vec::new();
    recording.trace(interval)?.write_csv(&mut csv)?;
    write_whole(&folder.file(LOAD), &csv)?;
    let (scenario, lead) = under(&service, &recording, &folder)?;
    let length = scenario.evaluation_episode();
    let steps = &recording.steps[lead..];

    let counts: Vec<Replicas> = steps.iter().map(|step| step.replicas).collect();
    let mut contenders = vec![Contender::new(RECORDED, move |_| Schedule::new(counts.clone(), interval))];
    for spec in &args.policies {
        let make = spec.prepare(&scenario, length).with_context(|| format!("--policies: {spec}"))?;
        contenders.push(Contender { name: spec.to_string(), make });
    }
    let root = Seed::root(args.seed);
    let seeds: Vec<Seed> = (0..args.seeds).map(|k| root.episode(Branch::Test, k)).collect();
    let bar = progress::bar(args.seeds * contenders.len() as u64, "shadow", args.output);
    let keep = |episode: &EpisodeRecord| {
        bar.inc(1);
        Kept {
            scores: Scores::of(episode, &scenario.weights()),
            fared: Fared::in_simulation(episode),
            episode: (episode.seed == seeds[0]).then(|| episode.clone()),
        }
    };
    let results = run_suite(&contenders, || World::new(Arc::clone(&scenario), length), &seeds, keep);
    bar.finish_and_clear();

    let setup = Setup {
        target: &recording.target,
        policies: args.policies.iter().map(ToString::to_string).collect(),
        seeds: args.seeds,
        scenario: &scenario.to_toml(),
    };
    folder.describe(root, setup)?;
    let title = format!("{} as recorded and under {}", recording.target, args.policies[0]);
    let picture = |k: usize| results[k].episodes[0].episode.as_ref().context("the first episode is kept");
    plot::pair(folder.path(), &title, [(RECORDED, picture(0)?), (&results[1].name, picture(1)?)])?;
    let measured = Fared::measured(steps, scenario.slo());
    report(args, &folder, &recording, measured, results)
}

/// The service under the recorded load, in one episode that spans all of it, and how many steps warm it up.
fn under(service: &Scenario, recording: &Recording, folder: &RunFolder) -> Result<(Arc<Scenario>, usize)> {
    let mut config = service.config().clone();
    let (step, lead) = (config.episode.control_interval_s, config.episode.warmup_s);
    let span = step * u32::try_from(recording.steps.len())?;
    if span < lead + step {
        bail!(
            "{}: {span} s were recorded; expected more than the {lead} s (episode.warmup_s) that go before",
            recording.target
        );
    }
    config.load = None;
    config.superpose.clear();
    config.noise = NoiseConfig::default();
    config.trace = Some(TraceConfig::new(std::path::absolute(folder.file(LOAD))?));
    (config.episode.training_s, config.episode.evaluation_s) = (span - lead, span - lead);
    let scenario = config.check(&service.config().name, folder.path())?;
    Ok((Arc::new(scenario.on(Branch::Test)), (lead / step) as usize))
}

impl Fared {
    fn of(replicas: &[Replicas], p95: &mut [Duration], slo: Duration) -> Self {
        p95.sort_unstable();
        let count = |n: usize| n.max(1) as f64;
        Self {
            replicas: replicas.iter().map(|r| f64::from(r.get())).sum::<f64>() / count(replicas.len()),
            changes: replicas.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64,
            median_p95_s: p95.get(p95.len() / 2).map(Duration::as_secs_f64),
            within_slo: p95.iter().filter(|p95| **p95 <= slo).count() as f64 / count(p95.len()),
        }
    }

    fn measured(steps: &[Step], slo: Duration) -> Self {
        let replicas: Vec<_> = steps.iter().map(|step| step.replicas).collect();
        let mut p95: Vec<_> = steps.iter().filter_map(|step| step.p95).collect();
        Self::of(&replicas, &mut p95, slo)
    }

    fn in_simulation(episode: &EpisodeRecord) -> Self {
        let replicas: Vec<_> = episode.intervals.iter().map(|step| step.replicas.desired).collect();
        let mut p95: Vec<_> = episode.intervals.iter().filter_map(|i| i.latency.map(|l| l.p95)).collect();
        Self::of(&replicas, &mut p95, episode.slo)
    }

    /// Means over episodes.
    fn mean(all: &[Self]) -> Self {
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let of = |value: fn(&Self) -> f64| mean(all.iter().map(value).collect());
        let known: Vec<f64> = all.iter().filter_map(|fared| fared.median_p95_s).collect();
        Self {
            replicas: of(|f| f.replicas),
            changes: of(|f| f.changes),
            median_p95_s: (!known.is_empty()).then(|| mean(known)),
            within_slo: of(|f| f.within_slo),
        }
    }

    /// Whether a simulation says about the same: the shares differ by no more than 5 % of all steps, the medians by no more
    /// than half.
    fn agrees_with(&self, simulated: &Self) -> bool {
        let ratio = match (self.median_p95_s, simulated.median_p95_s) {
            (Some(measured), Some(simulated)) => simulated / measured.max(f64::MIN_POSITIVE),
            (None, None) => 1.0,
            _ => return false,
        };
        (self.within_slo - simulated.within_slo).abs() <= 0.05 && (1.0 / 1.5..=1.5).contains(&ratio)
    }

    fn line(&self, who: &str) -> String {
        let Self { replicas, changes, median_p95_s, within_slo } = self;
        let p95 = median_p95_s.map_or("-".to_owned(), |s| format!("{s:.3} s"));
        format!("{who:<32} {replicas:>9.2} {changes:>8.1} {p95:>11} {:>17.1} %\n", 100.0 * within_slo)
    }
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn report(
    args: &ShadowArgs,
    folder: &RunFolder,
    recording: &Recording,
    measured: Fared,
    results: Vec<PolicyEpisodes<Kept>>,
) -> Result<()> {
    let fared: Vec<(String, Fared)> = results
        .iter()
        .map(|policy| {
            let all: Vec<Fared> = policy.episodes.iter().map(|kept| kept.fared).collect();
            (policy.name.clone(), Fared::mean(&all))
        })
        .collect();
    let scores: Vec<PolicyEpisodes<Scores>> = results
        .into_iter()
        .map(|policy| PolicyEpisodes {
            name: policy.name,
            episodes: policy.episodes.into_iter().map(|kept| kept.scores).collect(),
        })
        .collect();
    let agrees = measured.agrees_with(&fared[0].1);

    let hours = scores[0].episodes[0].duration.as_secs_f64() / 3600.0;
    let Recording { target, begin, filled, broken, .. } = recording;
    let mut text = format!("{target}: {hours:.2} h, recorded from {}\n", utc(begin.as_secs_f64() as u64));
    if *filled > 0 {
        writeln!(text, "{filled} steps without a measurement are taken to be like the one before")?;
    }
    if *broken > 0 {
        writeln!(text, "{broken} lines are no decision records")?;
    }
    writeln!(
        text,
        "\n{:<32} {:>9} {:>8} {:>11} {:>19}",
        "", "replicas", "changes", "median p95", "steps within SLO"
    )?;
    text += &measured.line("measured");
    for (name, fared) in &fared {
        text += &fared.line(&format!("{name}, simulated"));
    }
    text += if agrees {
        "\nThe simulation of what was recorded agrees with what was measured.\n"
    } else {
        "\nThe simulation of what was recorded does NOT agree with what was measured: the scenario is not this service.\n\
         Believe nothing below before it is mended.\n"
    };
    write!(text, "\n{}", policy_table(&scores, None))?;
    if args.seeds < 20 {
        text += "fewer than 20 simulations of each: the intervals are approximate\n";
    }

    let mut csv = Vec::new();
    write_csv(&scores, &mut csv)?;
    write_whole(&folder.file(COMPARISON), &csv)?;
    write_whole(&folder.file("shadow.txt"), text.as_bytes())?;
    if args.output.json {
        let simulated: serde_json::Map<_, _> =
            fared.iter().map(|(name, fared)| (name.clone(), serde_json::json!(fared))).collect();
        let all = serde_json::json!({
            "target": target, "hours": hours, "filled_steps": filled, "broken_lines": broken,
            "measured": measured, "simulated": simulated, "agrees": agrees,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else if !args.output.quiet {
        println!("{text}");
    }
    if !args.output.quiet {
        eprintln!("everything is in {}", folder.path().display());
    }
    Ok(())
}
