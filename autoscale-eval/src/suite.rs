//! Policies on the same episodes: paired, parallel, the same whatever the number of threads.

use autoscale_core::environment::Environment;
use autoscale_core::policy::{Cadence, Policy};
use autoscale_core::record::EpisodeRecord;
use autoscale_core::rollout::{run_episode, run_from_start};
use autoscale_core::seed::Seed;
use rayon::prelude::*;
use std::ops::Range;

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

/// The episodes of some seeds as they are when the first decision is due. For many policies of one cadence they are
/// copied from here, for a load takes long to draw.
pub struct Starts<E> {
    cadence: Cadence,
    episodes: Vec<(Seed, E)>,
}

impl<E: Environment + Clone + Send + Sync> Starts<E> {
    /// Those of `world` for policies of this cadence.
    pub fn of(world: &E, seeds: &[Seed], cadence: Cadence) -> Self {
        let start = |&seed: &Seed| {
            let mut world = world.clone();
            world.reset(seed, cadence);
            (seed, world)
        };
        Self { cadence, episodes: seeds.par_iter().map(start).collect() }
    }

    /// Runs each of the policies on these of the episodes; what is kept of them is as in [`run_suite`].
    ///
    /// # Panics
    /// When a policy has another cadence.
    pub fn run<P: Policy + Clone + Sync, T: Send>(
        &self,
        policies: &[P],
        episodes: Range<usize>,
        keep: impl Fn(&EpisodeRecord) -> T + Sync,
    ) -> Vec<Vec<T>> {
        assert!(policies.iter().all(|policy| policy.cadence() == self.cadence), "policies of one cadence");
        let episodes = &self.episodes[episodes];
        let run = |policy: &P, (seed, start): &(Seed, E)| {
            let (mut policy, mut world) = (policy.clone(), start.clone());
            policy.reset(seed.child("policy"));
            run_from_start(&mut world, &mut policy, &mut ());
            keep(world.record())
        };
        let each = |policy: &P| episodes.par_iter().map(|start| run(policy, start)).collect();
        policies.par_iter().map(each).collect()
    }
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
        let policies: Vec<Ask> = (2..5).map(Ask).collect();
        let starts = Starts::of(&one_step(), &seeds, policies[0].cadence());
        let again = starts.run(&policies, 5..15, EpisodeRecord::clone);
        for (result, again) in results.iter().zip(again) {
            assert_eq!(result.episodes[5..15], again);
        }
    }
}
