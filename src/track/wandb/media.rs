//! Pictures of a W&B run: a file below `files/media/images`, a record that has it uploaded, and an
//! entry of history that points at it. Names and fields as the W&B client gives them to a
//! `wandb.Image`.

use std::fmt::Write as _;

use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use super::Wandb;
use super::records::{self, What};
use crate::track::Picture;
use crate::{Error, Result};

const DIR: &str = "media/images";
/// Digits of the digest in a file's name.
const NAME_DIGITS: usize = 20;

impl Wandb {
    /// A picture of one step, in the line of history that `key` would be in.
    pub fn image(&mut self, step: u64, key: &str, picture: &Picture) -> Result<()> {
        let digest = hex(&Sha256::digest(&picture.png));
        let path = format!("{DIR}/{key}_{step}_{}.png", &digest[..NAME_DIGITS]);
        let (files, dir) = (self.dir.join("files"), self.dir.join("files").join(DIR));
        std::fs::create_dir_all(&dir).map_err(Error::io(&dir, "create the folder of pictures"))?;
        let file = files.join(&path);
        std::fs::write(&file, &picture.png).map_err(Error::io(&file, "write"))?;
        let item = records::FilesItem { path: path.clone(), kind: records::MEDIA };
        self.write(What::Files(records::Files { files: vec![item] }))?;
        let entry = json!({
            "_type": "image-file",
            "path": path,
            "sha256": digest,
            "size": picture.png.len(),
            "format": "png",
            "width": picture.width,
            "height": picture.height,
        });
        self.history(step, &Map::from_iter([(key.to_owned(), entry)]))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
