//! Policies on the same episodes: paired, parallel, the same whatever the number of threads.

use autoscale_core::environment::Environment;
use autoscale_core::policy::Policy;
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::run_episode;
use autoscale_core::seed::Seed;
use rayon::prelude::*;

/// Makes a fresh policy for the episode of a seed (only a clairvoyant looks at the seed).
pub type PolicyFactory<'a> = Box<dyn Fn(Seed) -> Box<dyn Policy> + Send + Sync + 'a>;

/// A policy under its name in tables.
pub struct Contender<'a> {
    /// The name.
    pub name: String,
    /// Makes it.
    pub make: PolicyFactory<'a>,
}

impl<'a> Contender<'a> {
    /// A contender that `make` makes anew for each episode.
    pub fn new<P: Policy + 'static>(
        name: impl Into<String>,
        make: impl Fn(Seed) -> P + Send + Sync + 'a,
    ) -> Self {
        Self { name: name.into(), make: Box::new(move |seed| Box::new(make(seed))) }
    }
}

/// One policy's episodes, in the order of the seeds.
#[derive(Clone, Debug)]
pub struct PolicyRecords {
    /// The policy's name.
    pub name: String,
    /// Its episodes.
    pub records: Vec<EpisodeRecord>,
}

/// Runs every contender on the episode of every seed. `finished` is called after each, from any thread.
pub fn run_suite<E: Environment>(
    contenders: &[Contender<'_>],
    world: impl Fn() -> E + Sync,
    seeds: &[Seed],
    finished: impl Fn() + Sync,
) -> Vec<PolicyRecords> {
    let jobs: Vec<(usize, Seed)> =
        (0..contenders.len()).flat_map(|c| seeds.iter().map(move |&seed| (c, seed))).collect();
    let mut records: Vec<EpisodeRecord> = jobs
        .into_par_iter()
        .map(|(c, seed)| {
            let mut world = world();
            let mut policy = (contenders[c].make)(seed);
            run_episode(&mut world, &mut policy, seed, &mut ());
            finished();
            world.record().clone()
        })
        .collect();
    let mut results = Vec::with_capacity(contenders.len());
    for contender in contenders {
        let rest = records.split_off(seeds.len());
        results.push(PolicyRecords { name: contender.name.clone(), records });
        records = rest;
    }
    results
}
