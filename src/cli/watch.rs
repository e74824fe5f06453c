//! `hrm watch`: how a run stands, from its folder alone.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::watch::{Run, Summary, newest};
use crate::{Error, Result};

/// Show how a run of train or distill stands, while it trains or afterwards
///
/// Prints progress, the best validation, a curve of each metric and the last lines of the log. Only
/// reads: the run is not disturbed.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm watch                        the newest run below runs/\n",
    "  hrm watch runs/arc-small-1 --json",
))]
pub struct Watch {
    /// Run folder; default: the one below runs/ that was written to last
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: Watch) -> Result<()> {
    let dir = args.run.map_or_else(|| newest(Path::new("runs")), Ok)?;
    let summary = Summary::of(&Run::read(&dir)?);
    if args.json {
        let json = serde_json::to_string_pretty(&summary);
        outln!("{}", json.map_err(|e| Error::invalid(format!("summary: {e}")))?);
    } else {
        out!("{}", summary.text());
    }
    Ok(())
}
