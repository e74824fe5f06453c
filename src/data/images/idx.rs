//! MNIST and Fashion-MNIST: IDX files, gzipped or plain. Grey images of at most 32 x 32 pixels get
//! a border of zeros, the same on both sides, and three equal channels.
//!
//! Layout, big-endian: 0x00000803, n, height, width, n * height * width bytes; for labels
//! 0x00000801, n, n bytes.

use std::path::{Path, PathBuf};

use super::archive::read_plain_or_gzip;
use super::{IMAGE_ELEMS, ImageSet, Images, SIDE, SetKind};
use crate::{Error, Result};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
/// Ten times Fashion-MNIST.
const MAX_BYTES: u64 = 512 << 20;

/// `<split>-images-idx3-ubyte` and `<split>-labels-idx1-ubyte` under their usual spellings.
const SPLITS: [&str; 2] = ["train", "t10k"];
const FILES: [(&str, &str); 2] = [("images", "idx3"), ("labels", "idx1")];

/// One of the four files, as it is spelled in this folder.
fn find(dir: &Path, split: &str, (what, idx): (&str, &str)) -> Option<PathBuf> {
    let names = ["-", "."].map(|joint| format!("{split}-{what}{joint}{idx}-ubyte"));
    let spellings = names.iter().flat_map(|name| [format!("{name}.gz"), name.clone()]);
    spellings.map(|name| dir.join(name)).find(|path| path.is_file())
}

/// The folder holds at least one of the four files.
pub fn is_here(dir: &Path) -> bool {
    SPLITS.iter().any(|split| FILES.iter().any(|file| find(dir, split, *file).is_some()))
}

/// The four files of a folder: images and labels of the training set, then of the test set.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let all = SPLITS.iter().flat_map(|split| FILES.map(|file| (split, file)));
    all.map(|(split, file)| {
        find(dir, split, file).ok_or_else(|| {
            let (what, idx) = file;
            let lacks = format!("lacks {split}-{what}-{idx}-ubyte.gz (or without .gz)");
            Error::corrupt(dir, format!("{lacks}: MNIST and Fashion-MNIST are four IDX files"))
        })
    })
    .collect()
}

pub fn read(dir: &Path) -> Result<ImageSet> {
    let files = files(dir)?;
    let split = |images: &Path, labels: &Path| {
        let pixels = load(images, IMAGES, padded)?;
        let labels_read = load(labels, LABELS, |content| {
            let n = word(content, 1)? as usize;
            Ok(body(content, 2, n)?.to_vec())
        })?;
        let (n, n_labels) = (pixels.len() / IMAGE_ELEMS, labels_read.len());
        if n != n_labels {
            let what = format!("{n_labels} labels, but {n} images in {}", images.display());
            return Err(Error::corrupt(labels, what));
        }
        Ok(Images::new(pixels, labels_read))
    };
    let (train, test) = (split(&files[0], &files[1])?, split(&files[2], &files[3])?);
    Ok(ImageSet { kind: SetKind::Idx, train, test })
}

fn load(
    path: &Path,
    magic: u32,
    parse: impl Fn(&[u8]) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>> {
    let content = read_plain_or_gzip(path, MAX_BYTES)?;
    let parsed = word(&content, 0).and_then(|found| match found == magic {
        true => parse(&content),
        false => Err(format!("starts with {found:#010x}, an IDX file of this name {magic:#010x}")),
    });
    parsed.map_err(|what| Error::corrupt(path, format!("{what}: get the file anew")))
}

fn word(content: &[u8], i: usize) -> Result<u32, String> {
    let bytes = content.get(4 * i..4 * i + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
    bytes.map(u32::from_be_bytes).ok_or_else(|| "ends within its header".into())
}

/// What follows `words` of header, if it is as long as they say.
fn body(content: &[u8], words: usize, bytes: usize) -> Result<&[u8], String> {
    let body = content.get(4 * words..).unwrap_or_default();
    match body.len() == bytes {
        true => Ok(body),
        false => Err(format!("{} bytes after the header, which announces {bytes}", body.len())),
    }
}

fn padded(content: &[u8]) -> Result<Vec<u8>, String> {
    let [n, h, w] = [1, 2, 3].map(|i| word(content, i).map(|word| word as usize));
    let (n, h, w) = (n?, h?, w?);
    if !(1..=SIDE).contains(&h) || !(1..=SIDE).contains(&w) {
        return Err(format!("images of {h} x {w} pixels, expected at most {SIDE} x {SIDE}"));
    }
    // No overflow: 2^32 images of 2^10 pixels.
    let grey = body(content, 4, n * h * w)?;
    if n == 0 {
        return Err("holds no images".into());
    }
    let (top, left) = ((SIDE - h) / 2, (SIDE - w) / 2);
    let mut pixels = vec![0; n * IMAGE_ELEMS];
    for (grey, image) in grey.chunks_exact(h * w).zip(pixels.chunks_exact_mut(IMAGE_ELEMS)) {
        for plane in image.chunks_exact_mut(SIDE * SIDE) {
            for (row, to) in grey.chunks_exact(w).zip(plane.chunks_exact_mut(SIDE).skip(top)) {
                to[left..left + w].copy_from_slice(row);
            }
        }
    }
    Ok(pixels)
}
