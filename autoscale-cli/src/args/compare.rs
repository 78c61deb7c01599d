//! Flags of `autoscale compare`.

use crate::args::OutputArgs;
use crate::policy_spec::{POLICIES, PolicySpec};
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  autoscale compare --out runs/rules
  autoscale compare --policies hpa,hpa:tuned.yaml,kpa,predictive,model:latest --scenarios match-day,bursty --out runs/mine
  autoscale compare --policies 'hpa,tuned=hpa:tuned/{scenario}.yaml,ppo=model:runs/{scenario}' --seeds 100 --out runs/own
  autoscale compare --seeds 5 --hours 1 --optimum 0 --out runs/quick

`{scenario}` in a policy stands for the name of each scenario; NAME=POLICY gives it a name of its own in tables.

In the folder: report.md and report.html, plots, results.csv and results.parquet (a row a value of each episode),
differences.csv (what the report's tables are made of), manifest.json, and episodes.jsonl, which holds every finished
episode: the same command goes on where it stopped, and one with more policies, scenarios or seeds runs only
what is new.")]
pub(crate) struct CompareArgs {
    /// What is compared; see `autoscale simulate --help` for what can be written.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "POLICY,…",
        default_value = "hpa,predictive,square-root,lcp,cron,keda,kpa,phpa"
    )]
    pub(crate) policies: Vec<NamedPolicy>,
    /// Built-in scenarios by name, or TOML files.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME|FILE,…",
        default_value = "match-day,diurnal,bursty,flash-crowd,step,constant"
    )]
    pub(crate) scenarios: Vec<String>,
    /// Test episodes of each policy in each scenario.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) seeds: u64,
    /// The policy, by its name in tables, that all others are set against; the first when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// Length of an episode; that of each scenario's evaluation episodes when absent.
    #[arg(long, value_name = "HOURS", value_parser = crate::args::hours)]
    pub(crate) hours: Option<f64>,
    /// Find for each episode a schedule that knows it, in so many simulations, and a bound that no policy can be below;
    /// 0 for neither, and then there is no regret.
    #[arg(long, value_name = "RUNS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) optimum: u32,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The folder; `runs/DATE-TIME-compare` when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A policy under its name in tables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedPolicy {
    pub(crate) name: String,
    pub(crate) spec: PolicySpec,
}

impl FromStr for NamedPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A file may have = in its name, so a name ends at an = that comes before anything of a file.
        let named = text.split_once('=').filter(|(name, _)| !name.contains([':', '/']));
        let (name, spec) = named.unwrap_or((text, text));
        if name.is_empty() {
            return Err(format!("expected NAME=POLICY, or {POLICIES}"));
        }
        Ok(Self { name: name.to_owned(), spec: spec.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_may_have_a_name_of_its_own() {
        let named = |text: &str| text.parse::<NamedPolicy>().map(|p| (p.name, p.spec.to_string()));
        let pair = |name: &str, spec: &str| Ok((name.to_owned(), spec.to_owned()));
        assert_eq!(named("kpa"), pair("kpa", "kpa"));
        assert_eq!(named("tuned=hpa:{scenario}.yaml"), pair("tuned", "hpa:{scenario}.yaml"));
        assert_eq!(named("hpa:a=b.yaml"), pair("hpa:a=b.yaml", "hpa:a=b.yaml"));
        assert!(named("=hpa").unwrap_err().contains("NAME=POLICY"));
        assert!(named("mine=nonsense").unwrap_err().contains("model:RUN"));
    }
}
