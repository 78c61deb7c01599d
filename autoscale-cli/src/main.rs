//! `autoscale`: train a scaling policy, compare it with the Horizontal Pod Autoscaler, look at scenarios and traces.

mod algorithm;
mod arena;
mod args;
mod commands;
mod dashboard;
mod digest;
mod interrupt;
mod plot;
mod policy_spec;
mod progress;
mod report;
mod rule;
mod run_folder;
mod settings;
mod tensorboard;

use clap::Parser;
use std::process::ExitCode;

/// Tensors come and go by the thousand, and the tensor library copies those whose memory is not aligned as it needs it: with
/// the system's allocator nearly all, with this one none.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whoever reads may have seen enough, as `head` has after a few lines: that is no fault to tell of. The exit status is that of
/// a program that the signal for it has ended.
fn end_with_the_reader() {
    const BY_SIGPIPE: i32 = 128 + 13;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let told = panic.payload_as_str().unwrap_or_default();
        if told.starts_with("failed printing to stdout") && told.contains("Broken pipe") {
            std::process::exit(BY_SIGPIPE);
        }
        usual(panic);
    }));
}

fn main() -> ExitCode {
    end_with_the_reader();
    let result = match args::Cli::parse().command {
        args::Command::Train(args) => commands::train::run(&args),
        args::Command::Evaluate(args) => commands::evaluate::run(&args),
        args::Command::Compare(args) => commands::compare::run(&args),
        #[cfg(feature = "live")]
        args::Command::Controller(args) => commands::controller::run(&args),
        #[cfg(feature = "live")]
        args::Command::Demo(args) => commands::demo::run(&args),
        args::Command::Tune(args) => commands::tune::run(&args),
        args::Command::Sweep(args) => commands::sweep::run(&args),
        args::Command::Shadow(args) => commands::shadow::run(&args),
        args::Command::Simulate(args) => commands::simulate::run(&args),
        args::Command::Visualize(args) => commands::visualize::run(&args),
        args::Command::Scenario(args) => commands::scenario::run(&args),
        args::Command::Trace(args) => commands::trace::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
