//! Flags of `autoscale trace`.

use autoscale_sim::trace::import::{Format, Gaps};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    pub(crate) command: TraceCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Make a trace from access logs, public data sets or Prometheus.
    Import(ImportArgs),
    /// Print what a trace is like: level, rhythm, noise, memory.
    Describe(DescribeArgs),
    /// Write a scenario whose generated load is like a trace.
    Fit(FitArgs),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Formats:
  common-log       access log of Apache, nginx and most others, Common or Combined Log Format
  world-cup        binary log of the World Cup 1998 site
  azure-functions  Azure Functions 2019, invocations per minute; give the days in order
  azure-llm        Azure LLM inference, a row a request
  prometheus       JSON of /api/v1/query_range; query requests per second, such as
                   sum(rate(http_requests_total[1m])); several files may be parts of one range
  decisions        what `autoscale controller --decisions` wrote

Files compressed with gzip are read as they are.

Examples:
  autoscale trace import /var/log/nginx/access.log* --out requests.csv
  autoscale trace import range.json --gaps hold --out requests.csv
  autoscale trace import decisions.jsonl --target shop/Deployment/web --gaps hold --out requests.csv")]
pub(crate) struct ImportArgs {
    /// The originals, parts of one whole.
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// What they look like.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) format: FormatArg,
    /// The trace to write, a CSV `time_s,rps`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Length of a step, such as 60s, 5m or 1h; 60s when absent, or the original's own if that is longer.
    #[arg(long, value_parser = span)]
    pub(crate) step: Option<Duration>,
    /// What stands where Prometheus has no sample, or the controller measured nothing.
    #[arg(long, value_enum, default_value = "zero")]
    pub(crate) gaps: GapsArg,
    /// Of decision records, those of this target; needed where there are several.
    #[arg(long, value_name = "NAMESPACE/KIND/NAME")]
    pub(crate) target: Option<String>,
    /// Replace the output if it is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// No summary.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// The summary as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DescribeArgs {
    /// A CSV `time_s,rps`.
    pub(crate) file: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  autoscale trace fit requests.csv --out mine.toml
  autoscale trace fit requests.csv --base my-service.toml --target-mean-rps 300 --out mine.toml")]
pub(crate) struct FitArgs {
    /// A CSV `time_s,rps`.
    pub(crate) file: PathBuf,
    /// The scenario to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Where all but the load comes from: a built-in scenario's name, or a TOML file.
    #[arg(long, default_value = "match-day", value_name = "NAME|FILE")]
    pub(crate) base: String,
    /// The same shape with this mean rate.
    #[arg(long, value_name = "RPS")]
    pub(crate) target_mean_rps: Option<f64>,
    /// Replace the output if it is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// No table of original and generated figures.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// The fit and the table as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// Guess from the content.
    Auto,
    CommonLog,
    WorldCup,
    AzureFunctions,
    AzureLlm,
    Prometheus,
    Decisions,
}

impl FormatArg {
    /// The format, unless it is to be guessed.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::CommonLog => Some(Format::CommonLog),
            Self::WorldCup => Some(Format::WorldCup),
            Self::AzureFunctions => Some(Format::AzureFunctions),
            Self::AzureLlm => Some(Format::AzureLlm),
            Self::Prometheus => Some(Format::Prometheus),
            Self::Decisions => Some(Format::Decisions),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GapsArg {
    /// No load; each gap is reported.
    Zero,
    /// The rate before the gap.
    Hold,
    /// Fail.
    Refuse,
}

impl From<GapsArg> for Gaps {
    fn from(gaps: GapsArg) -> Self {
        match gaps {
            GapsArg::Zero => Self::Zero,
            GapsArg::Hold => Self::Hold,
            GapsArg::Refuse => Self::Refuse,
        }
    }
}

/// Whole seconds, minutes or hours.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|&s| s > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a length such as 60s, 5m or 1h".to_owned())
}
