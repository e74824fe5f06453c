//! `hrm watch`: a run's folder as a dashboard that follows it, as text, or as JSON.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::watch::{RunView, Summary, newest};
use crate::{Error, Result};

/// Follow a run of train or distill on the terminal, or look at a finished one
///
/// Shows progress and time left, the best validation, losses, accuracies, ACT steps, times, curves,
/// the last lines of the log, and the load of this machine's CPU and NVIDIA cards. q, Esc or Ctrl-C
/// ends it. Only reads: the run is not disturbed. Where the output is no terminal or a dumb
/// one (TERM=dumb), or with --once, it prints how the run stands and ends.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm watch                        follow the newest run below runs/\n",
    "  hrm watch runs/arc-small-1 --once | less\n",
    "  hrm watch runs/arc-small-1 --json | jq .eta_s\n",
))]
pub struct Watch {
    /// Run folder; default: the one below runs/ that was written to last
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Print how the run stands now, and end
    #[arg(long)]
    pub once: bool,
    /// Print how the run stands now as one JSON object, and end
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: Watch) -> Result<()> {
    let dir = args.run.map_or_else(|| newest(Path::new("runs")), Ok)?;
    let run = RunView::open(&dir)?;
    #[cfg(feature = "watch")]
    if !args.once
        && !args.json
        && std::io::IsTerminal::is_terminal(&std::io::stdout())
        && !is_dumb()
    {
        return crate::watch::live::follow(run);
    }
    let summary = Summary::of(&run);
    if args.json {
        let json = serde_json::to_string_pretty(&summary);
        outln!("{}", json.map_err(|e| Error::invalid(format!("summary: {e}")))?);
    } else {
        out!("{}", summary.text());
    }
    Ok(())
}

#[cfg(feature = "watch")]
/// Whether the terminal cannot draw: an editor's shell, mostly.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
