//! Kinds of services to start from, so that a scenario need not say how a JVM starts.

use toml::{Table, Value};

const PRESETS: [(&str, &str); 3] = [
    ("fast", include_str!("../../presets/fast.toml")),
    ("jvm", include_str!("../../presets/jvm.toml")),
    ("llm", include_str!("../../presets/llm.toml")),
];

/// With this behind its name, a preset brings its variations too.
const VARIED: &str = "-varied";

/// Names of all presets, for people.
pub(super) fn names() -> String {
    let both = |(name, _): &(&str, &str)| format!("{name}, {name}{VARIED}");
    PRESETS.iter().map(both).collect::<Vec<_>>().join(", ")
}

/// Puts the preset of this name below what `scenario` says itself; false when there is none.
pub(super) fn apply(name: &str, scenario: &mut Table) -> bool {
    let (base, varied) = name.strip_suffix(VARIED).map_or((name, false), |base| (base, true));
    let Some((_, text)) = PRESETS.iter().find(|&&(preset, _)| preset == base) else { return false };
    // The presets are checked by a test, so the default is never taken.
    let mut preset: Table = text.parse().unwrap_or_default();
    if !varied {
        preset.remove("vary");
    }
    fill(scenario, preset);
    true
}

/// Adds to `table` what it lacks.
fn fill(table: &mut Table, from: Table) {
    for (key, value) in from {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(from)) => fill(table, from),
            (Some(_), _) => {}
            (None, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    const REST: &str = r#"
name = "small"
limits = { min_replicas = 1, max_replicas = 9 }
load = { kind = "constant", rps = 10 }
[service]
workers = 2
dispatch = "random"
cpu_request_milli = 500
demand = { distribution = "exponential", mean_ms = 50 }
[startup]
ready_median_s = 77
"#;

    #[test]
    fn a_preset_says_what_the_scenario_does_not() {
        let read =
            |preset: &str| Scenario::from_toml(&format!("preset = \"{preset}\"\n{REST}"), "small.toml");
        for (name, _) in PRESETS {
            let plain = read(name).unwrap();
            assert!(plain.config().vary.is_empty());
            assert!((plain.config().startup.ready_median_s - 77.0).abs() < 1e-9, "its own word counts");
            let varied = read(&format!("{name}-varied")).unwrap();
            assert!(varied.config().vary.len() >= 2);
            let again = Scenario::from_toml(&varied.to_toml(), "again").unwrap();
            assert_eq!(again.config(), varied.config());
        }
        assert!(read("jvm").unwrap().config().service.slow_start.is_some());
        let message = read("cobol").unwrap_err().to_string();
        assert!(
            message.contains("small.toml") && message.contains("cobol") && message.contains("jvm-varied")
        );
    }
}
