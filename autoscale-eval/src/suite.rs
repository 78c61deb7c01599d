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

/// What was kept of one policy's episodes, in the order of the seeds.
#[derive(Clone, Debug)]
pub struct PolicyEpisodes<T> {
    /// The policy's name.
    pub name: String,
    /// A value an episode.
    pub episodes: Vec<T>,
}

/// Runs every contender on the episode of every seed. Of a finished episode that is kept which `keep` takes from its
/// record, since a record is large; `keep` is called from any thread.
pub fn run_suite<E: Environment, T: Send>(
    contenders: &[Contender<'_>],
    world: impl Fn() -> E + Sync,
    seeds: &[Seed],
    keep: impl Fn(&EpisodeRecord) -> T + Sync,
) -> Vec<PolicyEpisodes<T>> {
    let jobs: Vec<(usize, Seed)> =
        (0..contenders.len()).flat_map(|c| seeds.iter().map(move |&seed| (c, seed))).collect();
    let mut kept: Vec<T> = jobs
        .into_par_iter()
        .map_init(&world, |world, (c, seed)| {
            let mut policy = (contenders[c].make)(seed);
            run_episode(world, &mut policy, seed, &mut ());
            keep(world.record())
        })
        .collect();
    let mut results = Vec::with_capacity(contenders.len());
    for contender in contenders {
        let rest = kept.split_off(seeds.len());
        results.push(PolicyEpisodes { name: contender.name.clone(), episodes: kept });
        kept = rest;
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::{Ask, one_step};
    use autoscale_core::units::Replicas;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_contender_meets_every_seed_in_order() {
        let seeds: Vec<Seed> = (0..20).map(Seed::root).collect();
        let contenders: Vec<Contender<'_>> =
            (2..5).map(|pods| Contender::new(pods.to_string(), move |_| Ask(pods))).collect();
        let finished = AtomicUsize::new(0);
        let keep = |episode: &EpisodeRecord| {
            finished.fetch_add(1, Ordering::Relaxed);
            episode.clone()
        };
        let results = run_suite(&contenders, one_step, &seeds, keep);
        assert_eq!(finished.into_inner(), 60);
        assert_eq!(results.len(), 3);
        for (result, pods) in results.iter().zip(2..) {
            assert_eq!(result.name, pods.to_string());
            assert_eq!(result.episodes.iter().map(|e| e.seed).collect::<Vec<_>>(), seeds);
            assert!(result.episodes.iter().all(|e| e.initial_replicas == Replicas::new(pods)));
        }
    }
}
