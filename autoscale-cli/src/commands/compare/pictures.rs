//! The pictures of a report.

use super::decisions::Decisions;
use super::plan::Plan;
use crate::args::OutputArgs;
use crate::plot::{self, Distributions, HeatMap, Look, PolicyEpisode, Spot};
use crate::policy_spec::PolicySpec;
use crate::progress;
use crate::report;
use crate::run_folder::{RunFolder, SUMMARY};
use crate::settings::Settings;
use anyhow::{Context, Result};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::StepSink;
use autoscale_core::seed::Seed;
use autoscale_eval::analysis::Analysis;
use autoscale_eval::estimate::bootstrap_mean;
use autoscale_eval::figure::figure;
use autoscale_eval::report::Picture;
use autoscale_eval::study::{Place, Role, Study, guarded, run_guarded};
use autoscale_sim::world::World;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Percentiles that are drawn: close together where the tail is.
const SHARES: [f64; 33] = [
    0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.84, 0.87,
    0.9, 0.92, 0.935, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.994, 0.997, 0.999, 0.9997, 0.9999,
];

/// How names of the pictures of single episodes begin.
const TIMELINE: &str = "timeline-";
const LEARNING: &str = "learning.png";

/// Episodes of each scenario whose decisions are counted, at most.
const WATCHED: usize = 2;

/// Draws everything into the folder.
pub(super) fn draw(
    plan: &Plan,
    study: &Study,
    analysis: &Analysis,
    folder: &Path,
    output: OutputArgs,
) -> Result<Vec<Picture>> {
    remove_old(folder)?;
    let roles: Vec<Role> = study.policies().iter().map(|policy| policy.role).collect();
    let looks = plot::looks(&roles);
    let mut drawn = vec![
        front(study, &looks, folder)?,
        latency(study, &looks, folder)?,
        profile(study, analysis, &looks, folder)?,
    ];
    drawn.extend(timelines(plan, study, folder, output)?);
    drawn.push(decisions(plan, study, folder, output)?);
    drawn.extend(learning(plan, folder)?);
    Ok(drawn)
}

/// Removes pictures of an earlier comparison in the same folder, which had other scenarios or models.
fn remove_old(folder: &Path) -> Result<()> {
    let gone = || format!("{}: cannot be read", folder.display());
    for entry in fs::read_dir(folder).with_context(gone)? {
        let path = entry.with_context(gone)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == LEARNING || (name.starts_with(TIMELINE) && name.ends_with(".png")) {
            fs::remove_file(&path).with_context(|| format!("{}: cannot be replaced", path.display()))?;
        }
    }
    Ok(())
}

fn front(study: &Study, looks: &[Look], folder: &Path) -> Result<Picture> {
    let spot = |scenario: usize, policy: usize| {
        let mean = |name: &str| {
            let (k, _) = figure(name)?;
            let value = |episode| study.value(Place { scenario, policy, episode }, k);
            let values: Vec<f64> = (0..study.episodes()).filter_map(value).collect();
            bootstrap_mean(&values, Seed::root(0).child(name))
        };
        Some(Spot {
            label: &study.policies()[policy].name,
            look: looks[policy],
            pods: mean("pod_hours")?,
            violations: mean("slo_violations")?,
        })
    };
    let spots = |s: usize| (0..looks.len()).filter_map(|p| spot(s, p)).collect();
    let named = study.scenarios().iter().enumerate();
    let scenarios: Vec<_> = named.map(|(s, scenario)| (scenario.name.as_str(), spots(s))).collect();
    let file = "front.png";
    let title = "What is paid for against what is missed";
    plot::front(&folder.join(file), title, &scenarios)?;
    let caption = "Mean pod-hours per hour and share of requests that missed the objective, with 95 % intervals; nearer to \
                   the lower left is better. The grey steps join what no other policy is below in both; intervals end at the frame. Shares below \
                   0.01 % are drawn there.";
    picture(folder, file, title, None, caption)
}

fn latency(study: &Study, looks: &[Look], folder: &Path) -> Result<Picture> {
    let policies = |s: usize| {
        let named = study.policies().iter().zip(looks).enumerate();
        named
            .map(|(p, (policy, &look))| {
                let times = study.latency(s, p);
                let point = |&share: &f64| Some((share, times.quantile(share)?.as_secs_f64() * 1e3));
                (policy.name.as_str(), look, SHARES.iter().filter_map(point).collect())
            })
            .collect()
    };
    let named = study.scenarios().iter().enumerate();
    let scenarios: Vec<_> = named
        .map(|(s, scenario)| Distributions {
            scenario: &scenario.name,
            slo: scenario.slo,
            policies: policies(s),
        })
        .collect();
    let file = "latency.png";
    let title = "Response times of answered requests, all episodes together";
    plot::ecdf(&folder.join(file), title, &scenarios)?;
    let caption = "The empirical distribution, percentiles below and response times at the side; lower is better. Requests \
                   that were refused, lost or given up have no response time and are missing here; what is below \
                   the axis is drawn at its end.";
    picture(folder, file, title, None, caption)
}

/// The empirical distribution of relative costs over all scenarios.
fn profile(study: &Study, analysis: &Analysis, looks: &[Look], folder: &Path) -> Result<Picture> {
    let curve = |p: usize| {
        let points = analysis.overall[p].profile.iter();
        points.map(|point| (point.threshold, point.share.point)).collect()
    };
    let named = study.policies().iter().zip(looks).enumerate();
    let curves: Vec<_> = named.map(|(p, (policy, &look))| (policy.name.as_str(), look, curve(p))).collect();
    let file = "profile.png";
    let title = "How often each policy is how dear";
    plot::profiles(&folder.join(file), title, &curves)?;
    let caption = "Performance profile: the share of episodes that cost less than so many times the baseline's mean in the same \
                   scenario, every scenario weighing the same. A line above another throughout is the better policy. \
                   Costs beyond three times the mean are not drawn.";
    picture(folder, file, title, None, caption)
}

/// Of each scenario, the episode on which the baseline and the cheapest other policy differ most.
fn timelines(plan: &Plan, study: &Study, folder: &Path, output: OutputArgs) -> Result<Vec<Picture>> {
    let mut drawn = Vec::new();
    let bar = progress::bar((plan.worlds.len() * plan.policies.len()) as u64, "pictures", output);
    for (s, scenario) in study.scenarios().iter().enumerate() {
        let Some((episode, rival)) = telling(study, s) else { continue };
        let shown: Vec<(usize, Option<EpisodeRecord>)> = (0..plan.policies.len())
            .into_par_iter()
            .map(|policy| {
                let record = run(plan, Place { scenario: s, policy, episode }, &mut ());
                bar.inc(1);
                (policy, record)
            })
            .collect();
        let episodes: Vec<PolicyEpisode<'_>> = shown
            .iter()
            .filter_map(|(p, record)| {
                Some(PolicyEpisode { label: &study.policies()[*p].name, record: record.as_ref()? })
            })
            .collect();
        let file = format!("{TIMELINE}{}.png", scenario.name);
        let title = format!("{}, episode {episode}", scenario.name);
        plot::timelines(&folder.join(&file), &title, &episodes)?;
        let name = |p: usize| &study.policies()[p].name;
        let baseline = name(study.baseline());
        let why = match rival {
            Some(rival) => {
                let rival = name(rival);
                format!(
                    "the costs of {baseline} and of {rival}, the cheapest other policy, lie farthest apart"
                )
            }
            None => format!("{baseline} costs most"),
        };
        let caption = format!(
            "Episode {episode}, on which {why}. Desired and ready replicas; 95th percentile of the response time in each \
             control interval."
        );
        let title = format!("The most telling episode of {}", scenario.name);
        drawn.push(picture(folder, &file, &title, Some(s), &caption)?);
    }
    bar.finish_and_clear();
    Ok(drawn)
}

/// The episode, and the policy that the baseline is set against to find it, if one has a cost.
fn telling(study: &Study, scenario: usize) -> Option<(usize, Option<usize>)> {
    let (cost, _) = figure("cost")?;
    let mean = |policy: usize| {
        let pairs = study.pairs(scenario, (study.baseline(), policy), cost);
        (!pairs.is_empty()).then(|| pairs.iter().map(|pair| pair.1).sum::<f64>() / pairs.len() as f64)
    };
    let contends = |p: &usize| study.policies()[*p].role == Role::Contender;
    let priced = (0..study.policies().len()).filter(contends).filter_map(|p| Some((p, mean(p)?)));
    // Where no other has a cost, the baseline is shown where it was dearest.
    let cheapest = priced.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(policy, _)| policy);
    let difference = |episode: usize| {
        let value = |policy| study.value(Place { scenario, policy, episode }, cost);
        let own = value(study.baseline())?;
        cheapest.map_or(Some(own), |rival| Some((value(rival)? - own).abs()))
    };
    let episodes = (0..study.episodes()).filter_map(|k| Some((k, difference(k)?)));
    let (episode, _) = episodes.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    Some((episode, cheapest))
}

/// An episode once more, for what the journal does not keep; `None` where it fails.
fn run(plan: &Plan, place: Place, sink: &mut impl StepSink) -> Option<EpisodeRecord> {
    let (world, seed) = (&plan.worlds[place.scenario], plan.seeds[place.episode]);
    let make = plan.cell(place).make.as_ref().ok()?;
    let made = guarded(|| (World::new(Arc::clone(&world.scenario), world.length), make(seed)));
    let (simulated, policy) = made.ok()?;
    run_guarded(simulated, policy, seed, sink, EpisodeRecord::clone).ok()
}

fn decisions(plan: &Plan, study: &Study, folder: &Path, output: OutputArgs) -> Result<Picture> {
    let watched = WATCHED.min(study.episodes());
    let jobs: Vec<Place> = study
        .places()
        .filter(|place| place.episode < watched && study.policies()[place.policy].role != Role::Clairvoyant)
        .collect();
    let bar = progress::bar(jobs.len() as u64, "decisions", output);
    let seen: Vec<(usize, Decisions)> = jobs
        .par_iter()
        .map(|&place| {
            let mut decisions = Decisions::default();
            run(plan, place, &mut decisions);
            bar.inc(1);
            (place.policy, decisions)
        })
        .collect();
    bar.finish_and_clear();
    let of = |policy: usize| {
        let own = seen.iter().filter(|(p, _)| *p == policy);
        own.fold(Decisions::default(), |all, (_, decisions)| all.merge(decisions))
    };
    let watched_too = |p: &usize| study.policies()[*p].role != Role::Clairvoyant;
    let maps: Vec<HeatMap<'_>> = plan
        .policies
        .iter()
        .enumerate()
        .filter(|(p, _)| watched_too(p))
        .map(|(p, policy)| HeatMap { label: &policy.name, cells: of(p).heat() })
        .collect();
    let file = "decisions.png";
    let title = "What each policy asks for";
    plot::heat_maps(&folder.join(file), title, &maps)?;
    let caption = format!(
        "Wanted over current replicas, the geometric mean of all decisions in a cell, over the first {watched} episodes of \
         every scenario. Measured CPU use of the pods below, change of the measured load over two minutes at the side; \
         what is beyond counts in the last cell. What was seen less than three times is blank."
    );
    picture(folder, file, title, None, &caption)
}

/// How the models among the policies learnt, if there are any.
fn learning(plan: &Plan, folder: &Path) -> Result<Option<Picture>> {
    let mut groups: BTreeMap<Common, Alike<'_>> = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for policy in &plan.policies {
        for world in &plan.worlds {
            let PolicySpec::Model(run) = policy.spec.in_scenario(world.scenario.name()) else { continue };
            // A model may be there without the story of its training, or not be there at all.
            let Ok((common, returns)) = learnt(&run) else {
                unknown.insert(run);
                continue;
            };
            let new = || Alike { policy: &policy.name, runs: Vec::new() };
            let alike = groups.entry(common).or_insert_with(new);
            // One run may compete in several scenarios.
            if !alike.runs.contains(&returns) {
                alike.runs.push(returns);
            }
        }
    }
    if groups.is_empty() {
        return Ok(None);
    }
    let alone = |label: &str| groups.keys().filter(|other| other.label == label).count() == 1;
    let named = |(Common { label, .. }, Alike { policy, .. }): (&Common, &Alike<'_>)| {
        if alone(label) { label.clone() } else { format!("{label} ({policy})") }
    };
    let curves: Vec<_> = groups.iter().map(|group| (named(group), group.1.runs.clone())).collect();
    let file = LEARNING;
    let title = "How the models learnt";
    plot::curves(&folder.join(file), title, &curves)?;
    let caption = "Return of training episodes, in the engine that each was trained in: the mean of the last 20; of several runs that \
                   differ in their seed alone their mean, and dashed the lowest and the highest of them, as long as the \
                   shortest lasted. Beyond 40 episodes, what is worse than all after the first 20 is drawn at the lower edge.";
    let unknown: Vec<String> = unknown.into_iter().collect();
    let missing = if unknown.is_empty() {
        String::new()
    } else {
        format!(" Nothing is known of the training of {}.", unknown.join(", "))
    };
    picture(folder, file, title, None, &format!("{caption}{missing}")).map(Some)
}

/// What runs have in common that differ in nothing but their seed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    /// In short.
    label: String,
    /// In full.
    settings: String,
}

/// Such runs.
struct Alike<'a> {
    /// The first policy that is one of them.
    policy: &'a str,
    /// The return of each training episode.
    runs: Vec<Vec<f64>>,
}

/// What a run has in common with others, and the return of each of its training episodes.
fn learnt(run: &str) -> Result<(Common, Vec<f64>)> {
    let folder = RunFolder::open(run)?;
    let settings: Settings = folder.manifest()?.config;
    let label = format!("{} on {}", settings.algorithm.name(), settings.world()?.name());
    let mut common = serde_json::to_value(&settings)?;
    if let Some(common) = common.as_object_mut() {
        // The HPA that a run finds depends on its seed.
        common.retain(|key, _| key != "seed" && key != "tuned_hpa");
    }
    Ok((Common { label, settings: common.to_string() }, report::returns(&folder.file(SUMMARY))?))
}

/// A file that was drawn, as a report shows it.
fn picture(
    folder: &Path,
    file: &str,
    title: &str,
    scenario: Option<usize>,
    caption: &str,
) -> Result<Picture> {
    let png = fs::read(folder.join(file)).with_context(|| format!("{file}: cannot be read"))?;
    let [file, title, caption] = [file, title, caption].map(str::to_owned);
    Ok(Picture { file, title, caption, scenario, png })
}
