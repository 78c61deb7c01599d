//! Flags of `autoscale shadow`.

use crate::args::OutputArgs;
use crate::policy_spec::PolicySpec;
use clap::Args;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  autoscale shadow decisions.jsonl --scenario web.toml --policies model:latest
  autoscale shadow monday.jsonl tuesday.jsonl --target shop/Deployment/web --scenario web.toml --policies model:latest,hpa

The decisions are those that `autoscale controller --decisions FILE` recorded while another autoscaler scaled the service.
The scenario says what the service is like; its load is replaced by the recorded one. First of the policies stands
`recorded`: the replicas that the service really had. How well the simulation of it agrees with what was measured says
how far the rest can be trusted.

In the folder: shadow.txt, comparison.csv, recorded.csv (the load), final_replicas.png and final_latency.png (what was
recorded and the first policy, in one simulation), manifest.json.")]
pub(crate) struct ShadowArgs {
    /// Files of decision records.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) decisions: Vec<PathBuf>,
    /// Whose records, where there are several targets' in the files.
    #[arg(long, value_name = "NAMESPACE/KIND/NAME")]
    pub(crate) target: Option<String>,
    /// What the service is like: a TOML file, or a built-in scenario's name.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) scenario: String,
    /// Who would have scaled it.
    #[arg(long, value_delimiter = ',', value_name = "POLICY,…", default_value = "model:latest")]
    pub(crate) policies: Vec<PolicySpec>,
    /// Simulations of each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub(crate) seeds: u64,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The folder; `runs/DATE-TIME-shadow` when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a run that is there already.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
