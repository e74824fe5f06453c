//! Entry point: parse, run, exit code. Everything else is in the library.

fn main() -> std::process::ExitCode {
    hrm::cli::main()
}
