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
    use autoscale_core::environment::{EpisodeEnd, EpisodeOver, Outcome};
    use autoscale_core::limits::ScalingLimits;
    use autoscale_core::policy::{Cadence, Decision, LastWrite, Observation, Reason, WorkloadStatus};
    use autoscale_core::record::EPISODE_RECORD_VERSION;
    use autoscale_core::reward::RewardTerms;
    use autoscale_core::units::{Replicas, RequestRate, TimeOfWeek, Timestamp};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Episodes of one step, whose record keeps the seed and what was asked for.
    struct OneStep {
        limits: ScalingLimits,
        record: EpisodeRecord,
    }

    fn one_step() -> OneStep {
        let record = EpisodeRecord {
            version: EPISODE_RECORD_VERSION,
            seed: Seed::root(0),
            interval: Duration::from_secs(15),
            slo: Duration::from_millis(500),
            pod_capacity: RequestRate::new(10.0).unwrap(),
            replica_range: (Replicas::ONE, Replicas::new(50)),
            initial_replicas: Replicas::ONE,
            intervals: Vec::new(),
            scale_events: Vec::new(),
            totals: RewardTerms::default(),
        };
        OneStep { limits: ScalingLimits::between(Replicas::ONE, Replicas::new(50)).unwrap(), record }
    }

    impl Environment for OneStep {
        fn reset(&mut self, seed: Seed, _: Cadence) {
            self.record.seed = seed;
        }
        fn observe(&self) -> Observation<'_> {
            let spec = self.record.initial_replicas;
            Observation {
                now: Timestamp::ZERO,
                time_of_week: TimeOfWeek::MONDAY,
                workload: WorkloadStatus { spec, status: spec, last_write: LastWrite::Never },
                pods: &[],
                series: &[],
                history: &[],
                limits: &self.limits,
            }
        }
        fn step(&mut self, decision: Decision) -> Result<Outcome, EpisodeOver> {
            let granted = self.limits.grant(self.record.initial_replicas, decision.target);
            self.record.initial_replicas = granted.replicas;
            Ok(Outcome { granted, reward: RewardTerms::default(), end: Some(EpisodeEnd::Truncated) })
        }
        fn record(&self) -> &EpisodeRecord {
            &self.record
        }
    }

    struct Ask(u32);

    impl Policy for Ask {
        fn cadence(&self) -> Cadence {
            Cadence::every(Duration::from_secs(15))
        }
        fn reset(&mut self, _: Seed) {}
        fn decide(&mut self, _: &Observation<'_>) -> Decision {
            Decision::scale_to(Replicas::new(self.0), Reason::rule("ask"))
        }
    }

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
