//! The command line: raw flags in, a validated plan out, one module per subcommand.

use std::process::ExitCode;

pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
