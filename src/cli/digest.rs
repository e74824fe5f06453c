//! `hrm digest`: the digest of a training state.

use std::path::PathBuf;

use clap::Args;

use crate::Result;
use crate::run::checkpoint::Reader;
use crate::run::trained;

/// Print one digest of a full training state
///
/// Covers every weight, moment, carry and counter; leaves out times, paths and cosmetic settings.
/// Equal digests mean that two runs are in the same state, bit for bit. The digest is the last word
/// of the last line.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  hrm digest runs/arc-small-1")]
pub struct Digest {
    /// Run folder (its newest whole checkpoint is taken) or checkpoint file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: Digest) -> Result<()> {
    let path = &args.path;
    let reader = if path.is_dir() { trained::newest(path)? } else { Reader::open(path)? };
    let digest = reader.digest()?.to_hex();
    let (step, file) = (reader.meta.state.step, reader.path().display());
    match args.json {
        true => {
            let file = file.to_string();
            let json =
                serde_json::json!({ "checkpoint": file, "step": step, "digest": digest.as_str() });
            outln!("{json}");
        }
        false => outln!("{file}  step {step}  {digest}"),
    }
    Ok(())
}
