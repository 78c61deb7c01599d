//! Compares a policy of one's own with the Horizontal Pod Autoscaler: `cargo run -- [episodes]`.

use autoscale_core::policy::{Cadence, Decision, Observation, Policy, Reason};
use autoscale_core::seed::{Branch, Seed};
use autoscale_core::units::Replicas;
use autoscale_eval::compare::compare;
use autoscale_eval::report::text_table;
use autoscale_eval::scores::Scores;
use autoscale_eval::suite::{Contender, run_suite};
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use std::sync::Arc;
use std::time::Duration;

/// Extrapolates the request rate one minute ahead and asks for a pod per 15 requests/s.
struct Trend;

impl Policy for Trend {
    fn cadence(&self) -> Cadence {
        Cadence::every(Duration::from_secs(15))
    }

    fn reset(&mut self, _: Seed) {}

    fn decide(&mut self, seen: &Observation<'_>) -> Decision {
        let Some([before, .., now]) = seen.history.last_chunk::<5>() else {
            return Decision::hold(Reason::rule("too-early"));
        };
        let (now, before) = (now.arrival_rate.per_second(), before.arrival_rate.per_second());
        let ahead = now + (now - before).max(0.0);
        Decision::scale_to(Replicas::from_ceil(ahead / 15.0), Reason::rule("trend"))
    }
}

fn main() {
    let episodes = std::env::args().nth(1).map_or(Ok(20), |n| n.parse()).expect("a number of episodes");
    let scenario = Arc::new(Scenario::builtin("match-day").expect("built in"));
    let seeds: Vec<Seed> = (0..episodes).map(|k| Seed::root(1).episode(Branch::Test, k)).collect();
    let hpa = Hpa::new(HpaConfig::default()).expect("the default is valid");
    let contenders = [Contender::new("hpa", |_| hpa.clone()), Contender::new("trend", |_| Trend)];
    let world = || World::new(Arc::clone(&scenario), scenario.evaluation_episode());
    let scores = run_suite(&contenders, world, &seeds, |episode| Scores::of(episode, &scenario.weights()));
    println!("{}", text_table("hpa", "trend", &compare(&scores[0], &scores[1])));
}
