//! The command line, as close to the flags as can be.

pub(crate) mod compare;
#[cfg(feature = "live")]
pub(crate) mod controller;
#[cfg(feature = "live")]
pub(crate) mod demo;
pub(crate) mod shadow;
pub(crate) mod trace;
pub(crate) mod visualize;

use crate::algorithm::Algorithm;
use crate::policy_spec::PolicySpec;
use crate::rule::RuleKind;
use autoscale_sim::scenario::Engine;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  autoscale train --algo ppo --episodes 200
  autoscale train --trace requests.csv --target-mean-rps 300
  autoscale train --resume runs/20260101-120000-ppo-match-day
  autoscale evaluate --model latest --scenario bursts
  autoscale compare --policies hpa,predictive,model:latest --out runs/mine
  autoscale tune --policy hpa --scenario bursts
  autoscale simulate --scenario bursts --policy hpa
  autoscale visualize --model latest --baseline hpa
  autoscale controller --config web.yaml --prometheus http://localhost:9090
  autoscale shadow decisions.jsonl --scenario web.toml --policies model:latest
  autoscale scenario show match-day > mine.toml
  autoscale trace import access.log.gz --out requests.csv";

/// Learn how many pods a service should run, and compare with the Horizontal Pod Autoscaler.
#[derive(Debug, Parser)]
#[command(name = "autoscale", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a policy, then compare it with the HPA on episodes that it has never seen.
    Train(TrainArgs),
    /// Repeat the comparison for a trained policy, or compare any policies, on any scenario or trace.
    Evaluate(EvaluateArgs),
    /// Compare any policies on many scenarios, with intervals, tests and a report.
    Compare(compare::CompareArgs),
    /// Scale a real service by a policy: Prometheus in, the scale subresource out; in shadow unless told otherwise.
    #[cfg(feature = "live")]
    Controller(controller::ControllerArgs),
    /// Start a small real service, or load on one, or both.
    #[cfg(feature = "live")]
    Demo(demo::DemoArgs),
    /// Say what a policy would have done with a service that another autoscaler scaled while the controller watched.
    Shadow(shadow::ShadowArgs),
    /// Search the parameters of a rule within a budget.
    Tune(TuneArgs),
    /// Train many times, one run a combination of flags, and put what came out into a table.
    Sweep(SweepArgs),
    /// Run one episode under one policy, and keep all that happened.
    Simulate(SimulateArgs),
    /// Replay one episode as an animated dashboard in the terminal, or write it as a picture.
    Visualize(visualize::VisualizeArgs),
    /// List, show or check scenarios.
    Scenario(ScenarioArgs),
    /// Make a trace from logs, describe one, or fit a scenario to it.
    Trace(trace::TraceArgs),
}

/// The scenario when none is named.
pub(crate) const DEFAULT_SCENARIO: &str = "match-day";

/// The world to train or evaluate in.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorldArgs {
    /// A built-in scenario's name, or a TOML file.
    #[arg(long, default_value = DEFAULT_SCENARIO, value_name = "NAME|FILE")]
    pub(crate) scenario: String,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// The trace that replaces a scenario's load.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LoadArgs {
    /// A CSV file `time_s,rps` whose load replaces the scenario's.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Scale the trace to this mean rate; the scenario's mean load when absent.
    #[arg(long, value_name = "RPS", requires = "trace")]
    pub(crate) target_mean_rps: Option<f64>,
    /// Keep the last of every N days of the trace for test episodes, and train on the others.
    #[arg(long, value_name = "N", requires = "trace")]
    pub(crate) test_every_days: Option<u32>,
}

/// How much to say, and how.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArgs {
    /// No progress, no table.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// The result as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Space {
    /// Hold, or the base rule's answer times a factor.
    Residual,
    /// Add or remove up to four pods.
    Delta,
    /// Hold, or one of ten targets that the ratio rule on measured CPU use works to.
    Target,
    /// One of up to 24 counts between the scenario's limits.
    Absolute,
}

/// What a residual action multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BaseRule {
    /// The HPA whose down-scale window and target do best on training episodes.
    TunedHpa,
    /// The HPA as it comes.
    Hpa,
    /// The forecasting rule as it comes.
    Predictive,
    /// The ratio rule without memory, at 70 %.
    Ratio,
}

/// What the critic sees while it learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Critic {
    /// What the policy sees.
    Blind,
    /// The load of the next five minutes of its episode, too, which the policy never sees.
    Foresight,
}

/// What is written at each update beside the summary of episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    /// updates.csv.
    Csv,
    /// An event file for `TensorBoard`.
    Tensorboard,
}

/// How requests are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// One by one: the truth.
    Request,
    /// As expected numbers: many times faster, without the noise of single requests.
    Fluid,
}

impl From<EngineArg> for Engine {
    fn from(engine: EngineArg) -> Self {
        match engine {
            EngineArg::Request => Self::Request,
            EngineArg::Fluid => Self::Fluid,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  autoscale train --algo ppo --episodes 200
  autoscale train --scenario bursts --seed 7 --out runs/bursts-7
  autoscale train --trace requests.csv --target-mean-rps 300 --test-every-days 4
  autoscale train --engine fluid --episodes 2000
  autoscale train --algo dqn --set n_step=1 --set priorities.alpha=0.6 --log tensorboard
  autoscale train --from runs/bursts-7 --trace requests.csv --episodes 50
  autoscale train --algo a2c --dry-run

--set takes every name that --dry-run shows below `algorithm`, dots between levels, and a JSON value or a word:
gamma=0.97, net.trunk=shared, net.gru=32, target_kl=null, treatment.mask_actions=false, optimizer={\"kind\":\"rmsprop\",\"alpha\":0.99,\"eps\":1e-5}"
)]
pub(crate) struct TrainArgs {
    /// The learning algorithm.
    #[arg(long, value_enum, default_value = "ppo")]
    pub(crate) algo: Algorithm,
    /// Completed training episodes.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) episodes: u64,
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// How requests are simulated while it learns; the scenario's choice when absent. The model is chosen and
    /// compared by single requests in any case.
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineArg>,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// What an action means.
    #[arg(long, value_enum, default_value = "residual")]
    pub(crate) action_space: Space,
    /// What a residual action multiplies.
    #[arg(long, value_enum, default_value = "tuned-hpa")]
    pub(crate) base: BaseRule,
    /// What the critic sees while it learns (not of DQN, which has none).
    #[arg(long, value_enum, default_value = "blind")]
    pub(crate) critic: Critic,
    /// Rewards are divided by this for the learner.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) reward_scale: f64,
    /// Set a parameter of the algorithm; see below.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Begin with the policy of this run, its algorithm, networks, actions and base rule, on the scenario given here.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["algo", "action_space", "base", "critic", "reward_scale", "resume"])]
    pub(crate) from: Option<String>,
    /// Environments stepped side by side; the algorithm's default when absent.
    #[arg(long)]
    pub(crate) envs: Option<usize>,
    /// Tensor backend: flex, ndarray or wgpu (the last two only if compiled in).
    #[arg(long, default_value = "flex")]
    pub(crate) backend: String,
    /// Episodes between two snapshots that are judged on validation episodes; a tenth of all when absent.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) validate_every: Option<u64>,
    /// Stop once the mean return per hour on validation episodes is at least this.
    #[arg(long, allow_negative_numbers = true, value_name = "RETURN")]
    pub(crate) stop_at: Option<f64>,
    /// What to write at each update beside the summary of episodes.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) log: Vec<Log>,
    /// Validation episodes on which the model is chosen among the snapshots of training and its start.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) validation_seeds: u64,
    /// Test episodes of the closing comparison.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) eval_seeds: u64,
    /// The run's folder; `runs/DATE-TIME-ALGORITHM-SCENARIO` when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the run that is in the folder.
    #[arg(long)]
    pub(crate) force: bool,
    /// Go on with a run under its own manifest, which says all that other flags could; only --log, --quiet and --json may
    /// stand beside it.
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "algo", "episodes", "scenario", "trace", "target_mean_rps", "test_every_days", "engine", "seed", "action_space", "base", "critic", "reward_scale", "set",
        "envs", "backend", "validate_every", "stop_at", "validation_seeds", "eval_seeds", "out", "force", "dry_run",
    ])]
    pub(crate) resume: Option<PathBuf>,
    /// Print the resolved configuration and an estimate of the time, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  autoscale evaluate --model latest
  autoscale evaluate --model runs/mine --scenario my-service.toml --trace requests.csv
  autoscale evaluate --policies hpa,hpa:tuned.yaml,predictive,model:latest --scenario bursts --optimum 12"
)]
pub(crate) struct EvaluateArgs {
    /// A run's folder, or `latest`.
    #[arg(long, default_value = "latest", value_name = "RUN|latest")]
    pub(crate) model: String,
    /// Compare these instead of a model with its rivals; all are set against the first. Each is hpa, hpa:FILE.yaml,
    /// predictive, square-root, lcp or cron (each with :FILE.toml), keda, kpa, phpa, constant:N, random,
    /// clairvoyant, clairvoyant:PERCENT or model:RUN.
    #[arg(long, value_delimiter = ',', conflicts_with = "model", value_name = "POLICY,…")]
    pub(crate) policies: Vec<PolicySpec>,
    /// With --policies: find a schedule that knows each episode, in so many simulations, and a bound that no policy can
    /// be below.
    #[arg(long, value_name = "RUNS", requires = "policies", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) optimum: Option<u32>,
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Test episodes.
    #[arg(long, alias = "eval-seeds", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) seeds: u64,
    /// A folder for comparison.csv and the plots; nothing is written when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace the comparison that is in the folder.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  autoscale tune --policy hpa --scenario bursts
  autoscale tune --policy predictive --budget 10000 --out runs/ahead
  autoscale tune --policy hpa --trace requests.csv --target-mean-rps 300 --test-every-days 4
  autoscale evaluate --policies hpa,hpa:runs/TUNED/tuned.yaml --scenario bursts

What is searched: of the HPA target 20 to 95 %, minReplicas up to the peak, windows, policies and tolerances of both
directions; of the others all their parameters. Candidates are drawn at random and run on training episodes; the better
third goes on to more of them, three times. Half of the budget goes there, the other half to candidates that mix the
best of these with each other and with new ones. Those left and the default meet on validation episodes. There an HPA has to
be at most 1 % dearer than the best of a plain grid of minReplicas x target, or it is refused.

In the folder: tuned.yaml (an HPA manifest) or tuned.toml, front.csv and front.png."
)]
pub(crate) struct TuneArgs {
    /// The rule.
    #[arg(long, value_enum, default_value = "hpa")]
    pub(crate) policy: RuleKind,
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// How requests are simulated in the search; the best are compared by single requests in any case.
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineArg>,
    /// Training episodes that the search may run, at least 324.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) budget: u64,
    /// Validation episodes on which the best are compared.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) validation_seeds: u64,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The folder; `runs/DATE-TIME-tune-POLICY-SCENARIO` when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace what is in the folder.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:
  autoscale sweep experiments/ablations/ppo.toml --out runs/ablations-ppo

The file has flags of `autoscale train` by their long names:

  [train]                # the same for all
  algo = \"ppo\"
  episodes = 200
  [grid]                 # every combination is a run; a list within is a flag that is repeated
  seed = [11, 12, 13]
  set = [[], [\"gamma=0.99\"], [\"treatment.mask_actions=false\"]]
  [random]               # so many draws for each of them
  draws = 10
  [random.set]
  learning_rate = { log = [1e-4, 1e-2] }
  gae_lambda = { uniform = [0.8, 1.0] }
  num_steps = { choice = [64, 128] }

Runs are folders named after what they are made of (algorithm, scenario, seed, and a hash of all settings): the same
command goes on where it stopped, and a run that several sweeps of one folder have in common is trained once. trials.csv and trials.parquet have a row a run.")]
pub(crate) struct SweepArgs {
    /// What to run.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The folder of all runs.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// List the runs, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  autoscale simulate --scenario bursts --policy hpa
  autoscale simulate --policy clairvoyant:70 --hours 24
  autoscale simulate --policy hpa:shop.yaml
  autoscale simulate --engine fluid --hours 168
  autoscale simulate --policy model:latest --trace requests.csv --out runs/look

In the folder: episode.csv and episode.parquet (a row a control interval), episode.png, and of a
trace also trace.png."
)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// hpa, hpa:FILE.yaml (a manifest, autoscaling/v2), predictive, square-root, lcp or cron (each with :FILE.toml), keda,
    /// kpa, phpa, constant:N, random, clairvoyant, clairvoyant:PERCENT or model:RUN.
    #[arg(long, default_value = "hpa")]
    pub(crate) policy: PolicySpec,
    /// How requests are simulated; the scenario's choice when absent.
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineArg>,
    /// Root of everything random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Which of the root's validation episodes.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) episode: u64,
    /// Length of the episode in hours; an evaluation episode of the scenario when absent.
    #[arg(long, value_parser = hours)]
    pub(crate) hours: Option<f64>,
    /// The folder; `runs/DATE-TIME-simulate-POLICY-SCENARIO` when absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace what is in the folder.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn hours(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|h| (0.01..=720.0).contains(h));
    value.ok_or_else(|| "expected hours, 0.01 to 720".to_owned())
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ScenarioArgs {
    #[command(subcommand)]
    pub(crate) command: ScenarioCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Names and descriptions of the built-in scenarios.
    List,
    /// The text of a built-in scenario, with comments: a start for one's own.
    Show {
        /// Its name.
        name: String,
    },
    /// Check a scenario file.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscale_eval::tune::Halving;
    use clap::CommandFactory;

    /// A flag that was ignored would look as if it counted.
    #[test]
    fn nothing_that_a_manifest_says_may_stand_beside_resume() {
        let command = Cli::command();
        let train = command.find_subcommand("train").expect("a command");
        let mut allowed = Vec::new();
        for flag in train.get_arguments().filter(|argument| argument.get_long() != Some("resume")) {
            let Some(name) = flag.get_long() else { continue };
            let value =
                flag.get_possible_values().first().map_or("1".to_owned(), |v| v.get_name().to_owned());
            let word = if flag.get_action().takes_values() {
                format!("--{name}={value}")
            } else {
                format!("--{name}")
            };
            // What makes no sense without a trace is refused for that first.
            let trace = ["target-mean-rps", "test-every-days"].contains(&name).then_some("--trace=a.csv");
            let words = ["autoscale", "train", "--resume=run", &word].into_iter().chain(trace);
            match Cli::try_parse_from(words) {
                Ok(_) => allowed.push(name),
                Err(error) => {
                    assert!(error.to_string().contains("'--resume <RUN>' cannot be used with"), "{error}");
                }
            }
        }
        assert_eq!(allowed, ["log", "quiet", "json"]);
    }

    #[test]
    fn help_names_the_least_budget() {
        let command = Cli::command();
        let tune = command.find_subcommand("tune").expect("a command");
        let budget = tune.get_arguments().find(|a| a.get_id() == "budget").expect("a flag");
        let help = budget.get_help().expect("it has help").to_string();
        assert!(help.contains(&format!("at least {}", 2 * Halving::BROAD.least())), "{help}");
    }
}
