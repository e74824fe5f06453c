//! The command line: a module per subcommand with its flags, whose doc comments are the help texts,
//! and its printing. Errors go to stderr as `error: ...`; the exit code is 0 only on success.

#[macro_use]
mod print;

mod bench;
mod common;
mod devices;
mod digest;
mod distill;
mod eval;
mod export;
mod import;
mod plan;
mod predict;
mod preset_data;
mod probe;
mod rollouts;
#[cfg(feature = "serve")]
mod serve;
mod train;
mod watch;

pub mod data;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::backend::DeviceKind;
use crate::backend::cpu::path;
use crate::config::{DistillConfig, Settings};
use crate::io::out;
use crate::io::say::say;
use crate::run::signal::EXIT_INTERRUPTED;
use crate::{Error, Result};

#[derive(Debug, Parser)]
#[command(name = "hrm", version, about, max_term_width = 100, propagate_version = true)]
#[command(after_long_help = environment())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Train),
    Eval(eval::Eval),
    Predict(predict::Predict),
    Export(export::Export),
    Import(import::Import),
    Data(data::DataArgs),
    Distill(distill::Distill),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
    Plan(plan::PlanArgs),
    Bench(bench::Bench),
    Digest(digest::Digest),
    Devices(devices::Devices),
    Watch(watch::Watch),
}

/// Help for what every command reads from its environment.
fn environment() -> String {
    format!(
        "Environment:\n  {}={}\n          instructions that products on the CPU run on, of those \
         that it has; without it the\n          fastest (hrm devices names it)",
        path::VARIABLE,
        path::Path::ALL.map(path::Path::word).join("|")
    )
}

pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(e) => return printed(&e),
    };
    let result = path::check().and_then(|()| run(command));
    match result.and_then(|()| out::finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Interrupted(what)) => {
            say!("{what}");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(e) => {
            say!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
        Command::Data(args) => data::run(args),
        Command::Distill(args) => distill::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Digest(args) => digest::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Watch(args) => watch::run(args),
    }
}

/// Checks `words`, which begin with the program's name, as a command line: flags, and for commands
/// that train or plan their settings. Nothing is run.
pub fn check_line(words: &[String]) -> Result<()> {
    let cli = Cli::try_parse_from(words).map_err(|e| Error::invalid(e.to_string()))?;
    match cli.command {
        Command::Train(args) => {
            args.settings.merged::<Settings>(DeviceKind::Cpu)?.config().map(drop)
        }
        Command::Plan(args) => args.check(),
        Command::Distill(args) => {
            args.settings.merged::<DistillConfig>(DeviceKind::Cpu)?.config().map(drop)
        }
        _ => Ok(()),
    }
}

/// Help, the version, or what is wrong with the arguments.
fn printed(text: &clap::Error) -> ExitCode {
    let written = text.print().and_then(|()| std::io::stdout().flush());
    if text.use_stderr() {
        return ExitCode::from(text.exit_code() as u8);
    }
    out::note(written);
    match out::finish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
