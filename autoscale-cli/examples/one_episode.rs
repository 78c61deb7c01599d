//! One number from load to metric: `cargo run --example one_episode`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use autoscale_core::environment::Outcome;
use autoscale_core::policy::{Decision, Observation};
use autoscale_core::rollout::{StepSink, run_episode};
use autoscale_core::seed::{Branch, Seed};
use autoscale_eval::metric::metrics;
use autoscale_policies::hpa::{Hpa, HpaConfig};
use autoscale_sim::scenario::Scenario;
use autoscale_sim::world::World;
use std::error::Error;
use std::sync::Arc;

/// Prints every twentieth decision.
#[derive(Default)]
struct Printer(u32);

impl StepSink for Printer {
    fn decided(&mut self, seen: &Observation<'_>, decision: &Decision) {
        self.0 += 1;
        // What a policy sees is late and averaged, as in a cluster.
        if let (1, Some(measured)) = (self.0 % 20, seen.history.last()) {
            println!(
                "{:>9} {:6.1} requests/s, {:>3} pods asked for, {:>3} ready: {:?} ({})",
                seen.now.to_string(),
                measured.arrival_rate.per_second(),
                seen.workload.spec,
                measured.replicas.ready,
                decision.target,
                decision.reason.rule
            );
        }
    }

    fn stepped(&mut self, _: &Outcome) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    // The world: load arrives, pods serve it, a scrape pipeline shows it.
    let scenario = Arc::new(Scenario::builtin("match-day").ok_or("built in")?);
    let mut world = World::new(Arc::clone(&scenario), scenario.training_episode());
    // Who decides.
    let mut hpa = Hpa::new(HpaConfig::default())?;
    // The one loop: observe, decide, grant, go on.
    let seed = Seed::root(1).episode(Branch::Train, 0);
    let totals = run_episode(&mut world, &mut hpa, seed, &mut Printer::default());
    println!(
        "\n{} decisions; at the scenario's prices: {:?}",
        totals.steps,
        scenario.weights().price(&totals.reward)
    );
    // What truly happened, as metrics read it.
    let record = autoscale_core::environment::Environment::record(&world);
    for metric in metrics() {
        if let Some(value) = metric.measure(record) {
            println!("{:<18} {value:>10.3} {:<9} {}", metric.name(), metric.unit(), metric.definition());
        }
    }
    Ok(())
}
