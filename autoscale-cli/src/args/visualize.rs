//! The command line of `autoscale visualize`.

use super::{EngineArg, LoadArgs, OutputArgs, hours};
use crate::policy_spec::PolicySpec;
use clap::Args;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  autoscale visualize
  autoscale visualize --model runs/mine --baseline hpa
  autoscale visualize --policy hpa:shop.yaml --scenario bursts --speed 120
  autoscale visualize --baseline hpa --out episode.gif
  autoscale visualize --policy predictive --out episode.png --size 160x50

Keys: space pauses, left and right go one control interval back and on, down and up a twentieth of the episode, Home and
End to its ends; + and - double and halve the speed; q, Esc or Ctrl-C quits.")]
pub(crate) struct VisualizeArgs {
    /// A run's folder, or `latest`.
    #[arg(long, default_value = "latest", value_name = "RUN|latest")]
    pub(crate) model: String,
    /// Another policy instead of a model: hpa, hpa:FILE.yaml, predictive, square-root, lcp or cron (each with :FILE.toml),
    /// keda, kpa, phpa, constant:N, random, clairvoyant, clairvoyant:PERCENT or model:RUN.
    #[arg(long, conflicts_with = "model")]
    pub(crate) policy: Option<PolicySpec>,
    /// A second policy on the same episode, drawn beside the first.
    #[arg(long, value_name = "POLICY")]
    pub(crate) baseline: Option<PolicySpec>,
    /// A built-in scenario's name, or a TOML file; when absent that of the model, and match-day for another policy.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) scenario: Option<String>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// How requests are simulated.
    #[arg(long, value_enum, default_value = "request")]
    pub(crate) engine: EngineArg,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Which of the root's validation episodes.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) episode: u64,
    /// Length of the episode in hours; an evaluation episode of the scenario when absent.
    #[arg(long, value_parser = hours)]
    pub(crate) hours: Option<f64>,
    /// Simulated seconds a second; when absent, so many that the episode takes half a minute.
    #[arg(long, value_parser = speed)]
    pub(crate) speed: Option<f64>,
    /// Write a picture of the end (.png) or an animation (.gif) instead.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the file that is there.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// Columns and rows of the picture.
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40", value_parser = size)]
    pub(crate) size: (u16, u16),
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Simulated seconds a second that can be shown.
pub(crate) const SPEEDS: std::ops::RangeInclusive<f64> = 1.0..=1e6;

fn speed(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|s| SPEEDS.contains(s));
    value.ok_or_else(|| "expected simulated seconds a second, 1 to 1000000".to_owned())
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let fits = parsed.filter(|(w, h)| (80..=300).contains(w) && (24..=100).contains(h));
    fits.ok_or_else(|| "expected COLUMNSxROWS, 80x24 to 300x100".to_owned())
}
