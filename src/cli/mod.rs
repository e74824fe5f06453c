//! The command line: raw flags in, a validated plan out, one module per subcommand.

pub mod data;

use std::process::ExitCode;

pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
