//! `dataset.json`: what a data set folder holds. It is written last and atomically, so a folder
//! without it is an unfinished build.

use std::collections::BTreeMap;
use std::path::Path;

use super::shard::Spec;
use super::shard::writer::Written;
use super::vocab::Kind;
use crate::io::file;
use crate::io::json::{self, Object};
use crate::{Error, Result};

pub const FILE: &str = "dataset.json";
pub const IDENTIFIERS_FILE: &str = "identifiers.json";
const FORMAT: &str = "hrm-shards";
const VERSION: u32 = 1;
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    pub format: String,
    pub version: u32,
    pub kind: Kind,
    pub canvas: usize,
    pub vocab_size: usize,
    /// Ids 0 (blank) to `num_puzzle_ids - 1`: rows of the puzzle embedding.
    pub num_puzzle_ids: usize,
    /// BLAKE3 of `identifiers.json`, the list of names by puzzle id.
    pub identifiers_digest: String,
    pub splits: BTreeMap<String, Split>,
    /// Builder version, options, what was left out. Not part of the digest.
    pub provenance: serde_json::Value,
}

#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Split {
    pub shard: String,
    pub bytes: u64,
    /// BLAKE3 of the shard's header page, which holds the checksums of its sections.
    pub digest: String,
    pub examples: u64,
    pub puzzles: u64,
    pub groups: u64,
    pub mean_puzzle_examples: f64,
}

impl Split {
    pub fn new(shard: String, written: &Written) -> Self {
        let Written { bytes, digest, examples, puzzles, groups } = written.clone();
        let mean_puzzle_examples = examples as f64 / puzzles.max(1) as f64;
        Self { shard, bytes, digest, examples, puzzles, groups, mean_puzzle_examples }
    }
}

impl Manifest {
    pub fn new(
        spec: Spec,
        num_puzzle_ids: usize,
        identifiers_digest: String,
        splits: BTreeMap<String, Split>,
        provenance: serde_json::Value,
    ) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            kind: spec.kind,
            canvas: spec.canvas,
            vocab_size: spec.vocab_size,
            num_puzzle_ids,
            identifiers_digest,
            splits,
            provenance,
        }
    }

    pub fn spec(&self) -> Spec {
        Spec { kind: self.kind, canvas: self.canvas, vocab_size: self.vocab_size }
    }

    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !file::exists(dir)? || !dir.is_dir() {
            return Err(Error::invalid(format!(
                "{}: there is no data set here; `hrm data build --output-dir {0}` makes one",
                dir.display()
            )));
        }
        if !file::exists(&path)? {
            return Err(Error::corrupt(
                dir,
                format!(
                    "has no {FILE}, which is written last: an unfinished build, or not a data \
                         set; build it again"
                ),
            ));
        }
        let text = file::read_at_most(&path, MAX_FILE_BYTES)?;
        let Object(manifest): Object<Self> = json::parse(&text)
            .map_err(|e| Error::corrupt(&path, format!("not a data set manifest: {e}")))?;
        manifest.check().map_err(|what| Error::corrupt(&path, what))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT || self.version != VERSION {
            let (format, version) = (&self.format, self.version);
            return Err(format!(
                "format {format:?} version {version}; this program reads {FORMAT:?} {VERSION}"
            ));
        }
        self.spec().check()?;
        if self.num_puzzle_ids == 0 || self.num_puzzle_ids > u32::MAX as usize {
            return Err(format!("num_puzzle_ids {}: at least the blank id", self.num_puzzle_ids));
        }
        for (name, split) in &self.splits {
            let plain = Path::new(&split.shard).file_name() == Some(split.shard.as_ref());
            if !plain {
                return Err(format!("split {name}: shard {:?} is not a file name", split.shard));
            }
        }
        Ok(())
    }

    /// Identifies the data: equal digests mean equal batches for equal seeds. Leaves out how the
    /// data was made.
    pub fn digest(&self) -> String {
        let mut data = self.clone();
        data.provenance = serde_json::Value::Null;
        let json = serde_json::to_vec(&data).unwrap_or_default();
        blake3::hash(&json).to_hex()[..32].to_owned()
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::invalid(format!("manifest: {e}")))?;
        json.push(b'\n');
        file::write(&dir.join(FILE), &json)
    }
}
