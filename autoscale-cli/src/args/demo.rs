//! Flags of `autoscale demo`.

use super::OutputArgs;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The service answers /work, which costs what it is told to, /cost (GET, PUT), /metrics for Prometheus, /healthz
and /readyz. Requests are sent at the moments that a schedule gives, whatever becomes of the ones before; response
times count from the moment that a request was meant to be sent at.

Examples:
  autoscale demo                                                   a service, and 50 requests a second for a minute
  autoscale demo --rps 150 --seconds 30 --json
  autoscale demo --trace requests.csv --target-mean-rps 80 --time-warp 60
  autoscale demo --no-load --address 0.0.0.0:8000                  the service alone, until Ctrl-C
  autoscale demo --url http://web.shop/work --rps 200              load alone, on any service
  curl -X PUT localhost:8000/cost -H 'content-type: application/json' -d '{\"work\":\"busy\",\"meanMs\":60}'"
)]
pub(crate) struct DemoArgs {
    /// Where the service listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) address: SocketAddr,
    /// Requests that are served at the same time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) workers: u32,
    /// Requests that may wait besides.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) queue: u32,
    /// What a request costs on average, in milliseconds.
    #[arg(long, allow_negative_numbers = true, value_name = "MS", default_value_t = 20.0)]
    pub(crate) cost_ms: f64,
    /// What a worker does meanwhile.
    #[arg(long, value_enum, default_value = "busy")]
    pub(crate) work: WorkArg,
    /// How costs are distributed.
    #[arg(long, value_enum, default_value = "exponential")]
    pub(crate) spread: SpreadArg,
    /// The service begins to listen after this, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) start_up_ms: u32,
    /// No load: the service alone.
    #[arg(long, conflicts_with_all = ["url", "rps", "seconds", "trace"])]
    pub(crate) no_load: bool,
    /// No service: load on this address.
    #[arg(long, value_name = "URL", conflicts_with_all = ["address", "workers", "queue", "cost_ms", "work", "spread", "start_up_ms"])]
    pub(crate) url: Option<String>,
    /// Requests a second.
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "RPS",
        default_value_t = 50.0,
        conflicts_with = "trace"
    )]
    pub(crate) rps: f64,
    /// For how long; a minute, or the whole of a trace, when absent.
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u32>,
    /// Replay this trace, a CSV `time_s,rps`.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Scale the trace to this mean rate.
    #[arg(long, value_name = "RPS", requires = "trace")]
    pub(crate) target_mean_rps: Option<f64>,
    /// Play the trace this many times as fast; rates stay.
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    pub(crate) time_warp: Option<f64>,
    /// A client gives up after this, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) patience_ms: u32,
    /// Of costs and moments.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkArg {
    /// Use the processor.
    Busy,
    /// Wait, as for a database.
    Sleep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpreadArg {
    Fixed,
    Exponential,
}
