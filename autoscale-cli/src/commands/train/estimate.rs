//! How long a run will take, by counting the episodes of all its phases.

use crate::arena;
use crate::settings::{Base, Settings};
use autoscale_sim::scenario::{Engine, Scenario};
use std::fmt;
use std::time::Duration;

/// Measured in processor time of a shared 2-core machine, in seconds: a request; a control interval of a flow, and of
/// one that shows no more than an HPA looks at; a step of a learner; the metrics of a control interval.
const REQUEST_S: f64 = 1.0 / 12e6;
const FLOW_INTERVAL_S: f64 = 1.6e-5;
const BARE_FLOW_INTERVAL_S: f64 = 4.6e-6;
const LEARNER_S: f64 = 1.3e-4;
const METRICS_S: f64 = 1.4e-4;
/// Episodes run side by side on so many cores; a learner needs one.
const CORES: f64 = 2.0;

/// How long the phases take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The search for the HPA that is the base.
    search: f64,
    train: f64,
    validate: f64,
    /// With the searches for the rivals.
    compare: f64,
}

impl Estimate {
    pub(super) fn of(settings: &Settings, scenario: &Scenario) -> Self {
        let (training, evaluation) = (scenario.training_episode(), scenario.evaluation_episode());
        let by_requests = |length| episode(scenario, Engine::Request, length);
        let searched = match arena::searched(scenario).config().engine {
            Engine::Request => by_requests(training),
            Engine::Fluid => intervals(scenario, training) * BARE_FLOW_INTERVAL_S / CORES,
        };
        let hpas = arena::hpa_search() as f64 * searched;
        let has_own = settings.base == Base::TunedHpa && settings.from.is_none();
        let steps = intervals(scenario, training);
        let candidates = settings.episodes / settings.validate_every + 1;
        let metrics = intervals(scenario, evaluation) * METRICS_S / CORES;
        let rivals = arena::constant_search(scenario) as f64 * searched;
        Self {
            search: if has_own { hpas } else { 0.0 },
            train: settings.episodes as f64
                * (steps * LEARNER_S + episode(scenario, scenario.config().engine, training)),
            validate: (candidates * settings.validation_seeds) as f64 * by_requests(training),
            compare: rivals
                + if has_own { 0.0 } else { hpas }
                + (arena::CONTENDERS * settings.eval_seeds) as f64 * (by_requests(evaluation) + metrics),
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { search, train, validate, compare } = self;
        let all = search + train + validate + compare;
        write!(
            f,
            "about {all:.0} s on two cores: {search:.0} s to search the base, {train:.0} s to train, {validate:.0} s to \
             validate, {compare:.0} s to compare with the HPA and with rivals, which are searched first"
        )
    }
}

fn intervals(scenario: &Scenario, length: Duration) -> f64 {
    length.as_secs_f64() / scenario.control_interval().as_secs_f64()
}

/// An episode of this length beside others.
fn episode(scenario: &Scenario, engine: Engine, length: Duration) -> f64 {
    let simulated = match engine {
        Engine::Request => scenario.mean_load().per_second() * length.as_secs_f64() * REQUEST_S,
        Engine::Fluid => intervals(scenario, length) * FLOW_INTERVAL_S,
    };
    simulated / CORES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn estimate(more: &[&str]) -> Estimate {
        let words = [&["autoscale", "train"], more].concat();
        let Command::Train(args) = Cli::parse_from(words).command else { panic!("another command") };
        let settings = Settings::from_args(&args).expect("valid");
        Estimate::of(&settings, &settings.world().expect("valid"))
    }

    #[test]
    fn every_phase_counts_where_its_episodes_are_run() {
        let usual = estimate(&[]);
        let all = [usual.search, usual.train, usual.validate, usual.compare];
        assert!(all.iter().all(|&seconds| seconds > 0.0), "{usual:?}");
        let longer = estimate(&["--episodes", "400", "--validate-every", "20"]);
        let same = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(same(longer.train, 2.0 * usual.train) && same(longer.search, usual.search), "{longer:?}");
        // 21 candidates after 11.
        assert!(same(longer.validate / usual.validate, 21.0 / 11.0), "{longer:?}");
        // What the base needs no more, the rival does.
        let plain = estimate(&["--base", "hpa"]);
        assert!(same(plain.search, 0.0) && same(plain.compare, usual.compare + usual.search), "{plain:?}");
        let tested = estimate(&["--eval-seeds", "60"]);
        assert!(tested.compare > usual.compare && same(tested.validate, usual.validate));
        assert!(estimate(&["--engine", "fluid"]).train < usual.train);
    }
}
