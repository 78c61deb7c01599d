//! `autoscale scenario`.

use crate::args::{ScenarioArgs, ScenarioCommand};
use crate::settings;
use anyhow::{Result, bail};
use autoscale_sim::scenario::Scenario;

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
pub(crate) fn run(args: &ScenarioArgs) -> Result<()> {
    match &args.command {
        ScenarioCommand::List => {
            for name in Scenario::builtin_names() {
                let about = Scenario::builtin(name).map_or(String::new(), |s| s.description().to_owned());
                println!("{name:<12} {about}");
            }
        }
        ScenarioCommand::Show { name } => {
            let Some(text) = Scenario::builtin_source(name) else {
                let names: Vec<_> = Scenario::builtin_names().collect();
                bail!("{name}: no such built-in scenario; there are {}", names.join(", "));
            };
            print!("{text}");
        }
        ScenarioCommand::Check { file } => {
            if !file.is_file() {
                bail!("{}: not a file; expected a scenario in TOML", file.display());
            }
            let scenario = settings::scenario(&file.display().to_string())?;
            println!(
                "{}: good. {} at a mean of {:.0} requests/s; a ready pod serves up to {:.1}",
                file.display(),
                scenario.name(),
                scenario.mean_load().per_second(),
                scenario.pod_capacity().per_second()
            );
            warn(&scenario);
        }
    }
    Ok(())
}

/// Says what no policy could do anything about.
fn warn(scenario: &Scenario) {
    let (name, most) = (scenario.name(), scenario.limits().max());
    let (mean, each) = (scenario.mean_load().per_second(), scenario.pod_capacity().per_second());
    let served = each * f64::from(most.get());
    if served < mean {
        eprintln!(
            "warning: {name}: limits.max_replicas: {most} pods serve {served:.0} requests/s, the mean load is {mean:.0}"
        );
    }
    let taken_ms = 1000.0 * f64::from(scenario.config().service.workers) / each;
    let slo_ms = scenario.config().slo.latency_ms;
    if slo_ms < taken_ms {
        eprintln!(
            "warning: {name}: slo.latency_ms: {slo_ms} is less than the {taken_ms:.1} ms that a request takes by itself on average"
        );
    }
}
