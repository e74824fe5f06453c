//! A folder of PNG and JPEG files, subfolders included, in the order of their paths.
//!
//! With subfolders `train` and `test` these are the split. Otherwise a tenth is held out by the
//! hash of a file's content: adding files moves none of the others, and two copies of one picture
//! never lie on both sides.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::decode::decode;
use super::{ImageSet, Images, SetKind};
use crate::io::progress::Progress;
use crate::{Error, Result};

/// One file in so many is held out.
const HELD_OUT: u64 = 10;

struct Decoded {
    image: Vec<u8>,
    /// Hash of the file's content.
    hash: u64,
}

pub fn read(dir: &Path, progress: Progress) -> Result<ImageSet> {
    let (train, test) = (dir.join("train"), dir.join("test"));
    if train.is_dir() && test.is_dir() {
        let images = |dir: &Path| Ok(join(decode_all(&pictures(dir)?, dir, progress)?.iter()));
        let kind = SetKind::Pictures;
        return Ok(ImageSet { kind, train: images(&train)?, test: images(&test)? });
    }
    let decoded = decode_all(&pictures(dir)?, dir, progress)?;
    let least = decoded.iter().map(|d| d.hash).min();
    // A folder too small for a tenth still has a test image.
    let none_by_share = !decoded.iter().any(|d| d.hash.is_multiple_of(HELD_OUT));
    let held_out =
        |d: &&Decoded| d.hash.is_multiple_of(HELD_OUT) || none_by_share && Some(d.hash) == least;
    let (test, train): (Vec<_>, Vec<_>) = decoded.iter().partition(held_out);
    if train.is_empty() {
        let what = "holds too few different pictures to hold any out as test: add more, or make \
                    folders train and test";
        return Err(Error::corrupt(dir, what));
    }
    let (train, test) = (join(train.into_iter()), join(test.into_iter()));
    Ok(ImageSet { kind: SetKind::Pictures, train, test })
}

fn join<'a>(decoded: impl Iterator<Item = &'a Decoded>) -> Images {
    Images::new(decoded.flat_map(|d| &d.image).copied().collect(), vec![])
}

/// Sorted; names that begin with a dot are left out, links to folders are not followed.
fn pictures(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (vec![], vec![dir.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder, "read"))? {
            let entry = entry.map_err(Error::io(&folder, "read"))?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            if is_dir {
                open.push(path);
            } else if extension.is_some_and(|e| ["png", "jpg", "jpeg"].contains(&&e[..])) {
                found.push(path);
            }
        }
    }
    found.sort();
    match found.is_empty() {
        false => Ok(found),
        true => Err(Error::corrupt(
            dir,
            "holds no images: expected PNG or JPEG files, the batches or the archive of CIFAR-10, \
             or the IDX files of MNIST or Fashion-MNIST",
        )),
    }
}

fn decode_all(files: &[PathBuf], dir: &Path, progress: Progress) -> Result<Vec<Decoded>> {
    let bar = progress.bar(&format!("reading {}", dir.display()), files.len() as u64);
    let one = |path: &PathBuf| {
        let bytes = fs::read(path).map_err(Error::io(path, "read picture"))?;
        let image = decode(&bytes).map_err(|what| {
            Error::corrupt(path, format!("{what}: repair the file or take it away"))
        })?;
        let hash = blake3::hash(&bytes);
        let hash = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 bytes"));
        bar.advance(1);
        Ok(Decoded { image: image.to_vec(), hash })
    };
    // The first error in the order of paths, whatever thread met one first.
    let all: Vec<Result<Decoded>> = files.par_iter().map(one).collect();
    all.into_iter().collect()
}
