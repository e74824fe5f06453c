//! `hrm digest`: the digest of a training state.

use super::args;
use crate::run::checkpoint::{Folder, Reader};
use crate::run::folder::CHECKPOINTS;
use crate::{Error, Result};

pub fn run(args: args::Digest) -> Result<()> {
    let path = &args.path;
    let reader = if path.is_dir() {
        let folder = Folder::new(path.join(CHECKPOINTS));
        folder.newest(|line| eprintln!("warning: {line}"))?.ok_or_else(|| {
            Error::invalid(format!("{}: there is no checkpoint in this folder", path.display()))
        })?
    } else {
        Reader::open(path)?
    };
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
