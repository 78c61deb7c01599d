//! What is to be compared, checked before anything runs.

use crate::args::compare::{CompareArgs, NamedPolicy};
use crate::args::{LoadArgs, WorldArgs};
use crate::digest::digest;
use crate::policy_spec::PolicySpec;
use crate::run_folder::commit;
use crate::settings;
use anyhow::{Context, Result, bail};
use autoscale_core::seed::{Branch, Seed};
use autoscale_eval::study::{Place, Prices, Role, StudyPolicy, StudyScenario};
use autoscale_eval::suite::PolicyFactory;
use autoscale_sim::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// The clairvoyant's name in tables.
pub(super) const OPTIMUM: &str = "(optimum)";

/// All that decides what comes out; the `config` of the manifest.
#[derive(Serialize, Deserialize)]
pub(super) struct Setup {
    policies: Vec<SetupPolicy>,
    baseline: String,
    scenarios: Vec<SetupScenario>,
    episodes: u64,
    /// Simulations for each episode's optimum.
    optimum: u32,
}

#[derive(Serialize, Deserialize)]
struct SetupPolicy {
    name: String,
    policy: String,
    /// Of its files in each scenario.
    digests: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct SetupScenario {
    name: String,
    hours: f64,
    /// As TOML.
    scenario: String,
}

/// A policy in a scenario.
pub(super) struct Cell {
    /// Makes it, or says why it cannot be.
    pub(super) make: Result<PolicyFactory<'static>, String>,
    /// Of its files.
    digest: String,
}

/// A scenario, and the length of its episodes.
pub(super) struct World {
    pub(super) scenario: Arc<Scenario>,
    pub(super) length: Duration,
    /// As TOML.
    text: String,
    /// Of its trace's content.
    trace: String,
}

pub(super) struct Plan {
    pub(super) policies: Vec<NamedPolicy>,
    pub(super) baseline: usize,
    pub(super) worlds: Vec<World>,
    /// By scenario and policy.
    cells: Vec<Vec<Cell>>,
    pub(super) seeds: Vec<Seed>,
    pub(super) optimum: u32,
    /// What of this program decides outcomes.
    program: String,
}

impl Plan {
    pub(super) fn new(args: &CompareArgs) -> Result<Self> {
        let policies = args.policies.clone();
        no_name_twice("--policies", policies.iter().map(|policy| policy.name.as_str()).chain([OPTIMUM]))?;
        if let [only] = policies.as_slice() {
            bail!(
                "--policies: {} alone has nothing to be compared with; name another, or use evaluate",
                only.name
            );
        }
        let baseline = match &args.baseline {
            None => 0,
            Some(name) => position(&policies, name)?,
        };
        let worlds = args.scenarios.iter().map(|name| world(name, args.hours)).collect::<Result<Vec<_>>>()?;
        for world in &worlds {
            settings::warn_of_repeats(&world.scenario, world.length, args.output);
        }
        no_name_twice("--scenarios", worlds.iter().map(|world| world.scenario.name()))?;
        let cells: Vec<Vec<Cell>> =
            worlds.iter().map(|world| policies.iter().map(|policy| cell(policy, world)).collect()).collect();
        let nowhere: Vec<String> =
            (0..policies.len()).filter_map(|p| nowhere(&cells, p, &policies[p])).collect();
        if !nowhere.is_empty() {
            bail!("--policies: {}", nowhere.join("; "));
        }
        let root = Seed::root(args.seed);
        let seeds = (0..args.seeds).map(|k| root.episode(Branch::Test, k)).collect();
        Ok(Self { policies, baseline, worlds, cells, seeds, optimum: args.optimum, program: program()? })
    }

    pub(super) fn cell(&self, place: Place) -> &Cell {
        &self.cells[place.scenario][place.policy]
    }

    /// Of equal key is equal outcome.
    pub(super) fn key(&self, place: Place) -> String {
        let known = if self.optimum > 0 { "with bound" } else { "without" };
        let policy = &self.policies[place.policy].spec.to_string();
        self.digest(place, &[policy, &self.cell(place).digest, known])
    }

    /// The same of the clairvoyant on an episode.
    pub(super) fn optimum_key(&self, scenario: usize, episode: usize) -> String {
        let place = Place { scenario, policy: 0, episode };
        self.digest(place, &[OPTIMUM, &self.optimum.to_string()])
    }

    fn digest(&self, place: Place, what: &[&str]) -> String {
        let world = &self.worlds[place.scenario];
        let (length, seed) = (world.length.as_secs().to_string(), self.seeds[place.episode].to_string());
        let with = [self.program.as_str(), &world.text, &world.trace, &length, &seed];
        digest(with.iter().chain(what).map(|part| part.as_bytes()))
    }

    /// The policies of the study; the clairvoyant, if there is one, comes last.
    pub(super) fn study_policies(&self) -> Vec<StudyPolicy> {
        let role = |(k, policy): (usize, &NamedPolicy)| match policy.spec {
            _ if k == self.baseline => Role::Baseline,
            PolicySpec::Clairvoyant(_) => Role::Clairvoyant,
            _ => Role::Contender,
        };
        let named = self.policies.iter().enumerate();
        let mut all: Vec<StudyPolicy> = named
            .map(|(k, policy)| StudyPolicy { name: policy.name.clone(), role: role((k, policy)) })
            .collect();
        if self.optimum > 0 {
            all.push(StudyPolicy { name: OPTIMUM.to_owned(), role: Role::Clairvoyant });
        }
        all
    }

    /// What each of the study's policies was asked for as.
    pub(super) fn specs(&self) -> Vec<String> {
        let mut specs: Vec<String> = self.policies.iter().map(|policy| policy.spec.to_string()).collect();
        if self.optimum > 0 {
            let n = self.optimum;
            specs.push(format!(
                "--optimum {n}: of {n} schedules simulated on the episode itself the cheapest"
            ));
        }
        specs
    }

    pub(super) fn study_scenarios(&self) -> Vec<StudyScenario> {
        let study = |world: &World| {
            let weights = world.scenario.weights();
            StudyScenario {
                name: world.scenario.name().to_owned(),
                description: world.scenario.config().description.clone(),
                slo: world.scenario.slo(),
                length: world.length,
                mean_load: world.scenario.mean_load(),
                prices: Prices {
                    pod_hour: weights.pod_hour,
                    violation: weights.violation,
                    change: weights.churn,
                },
            }
        };
        self.worlds.iter().map(study).collect()
    }

    pub(super) fn setup(&self) -> Setup {
        let policies = self.policies.iter().enumerate().map(|(k, policy)| SetupPolicy {
            name: policy.name.clone(),
            policy: policy.spec.to_string(),
            digests: self.cells.iter().map(|cells| cells[k].digest.clone()).collect(),
        });
        let scenarios = self.worlds.iter().map(|world| SetupScenario {
            name: world.scenario.name().to_owned(),
            hours: world.length.as_secs_f64() / 3600.0,
            scenario: world.text.clone(),
        });
        Setup {
            policies: policies.collect(),
            baseline: self.policies[self.baseline].name.clone(),
            scenarios: scenarios.collect(),
            episodes: self.seeds.len() as u64,
            optimum: self.optimum,
        }
    }
}

fn position(policies: &[NamedPolicy], name: &str) -> Result<usize> {
    let names = || policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = policies.iter().position(|policy| policy.name == name);
    found.with_context(|| format!("--baseline {name}: no such policy; there are {}", names()))
}

fn no_name_twice<'a>(flag: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            bail!("{flag}: {name} is there twice");
        }
    }
    Ok(())
}

fn world(name: &str, hours: Option<f64>) -> Result<World> {
    let args = WorldArgs { scenario: name.to_owned(), load: LoadArgs::default() };
    let scenario = settings::world(&args).context("--scenarios")?;
    let text = scenario.to_toml();
    let scenario = Arc::new(scenario.on(Branch::Test));
    let length = hours.map_or(scenario.evaluation_episode(), |h| Duration::from_secs_f64(h * 3600.0));
    let trace = match &scenario.config().trace {
        None => String::new(),
        Some(trace) => {
            digest([&fs::read(&trace.path).with_context(|| trace.path.display().to_string())?[..]])
        }
    };
    Ok(World { scenario, length, text, trace })
}

fn cell(policy: &NamedPolicy, world: &World) -> Cell {
    let spec = policy.spec.in_scenario(world.scenario.name());
    let read = || -> Result<String> {
        let files = spec.files()?;
        let contents = files.iter().map(|file| fs::read(file).with_context(|| file.display().to_string()));
        let contents = contents.collect::<Result<Vec<_>>>()?;
        Ok(digest(contents.iter().map(Vec::as_slice)))
    };
    // What cannot be read cannot be prepared either, and there it is said why.
    let digest = read().unwrap_or_default();
    let make = spec.prepare(&world.scenario, world.length).map_err(|error| format!("{error:#}"));
    Cell { make, digest }
}

/// What is wrong with a policy that can be made in no scenario.
fn nowhere(cells: &[Vec<Cell>], policy: usize, named: &NamedPolicy) -> Option<String> {
    let mut why = None;
    for cell in cells.iter().map(|cells| &cells[policy]) {
        let Err(error) = &cell.make else { return None };
        why.get_or_insert(error);
    }
    why.map(|why| format!("{}: {why}", named.name))
}

/// The commit. Of a build with local changes or of an unknown commit, the time of its executable too: nothing that an
/// earlier build found may pass for its own.
fn program() -> Result<String> {
    let commit = commit();
    if !commit.ends_with('+') && commit != "unknown" {
        return Ok(commit.to_owned());
    }
    let modified = fs::metadata(std::env::current_exe()?)?.modified()?;
    Ok(format!("{commit} {modified:?}"))
}
