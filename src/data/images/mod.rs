//! Sets of small colour images for the autoencoders: readers of the published formats and of
//! folders, all into 32 x 32 pixels with three channels.
//!
//! `archive.rs` bounded tar.gz · `cifar.rs` CIFAR-10, binary and python (`crate::formats::pickle`)
//! · `idx.rs` MNIST and Fashion-MNIST · `folder.rs` a folder of PNG and JPEG files (`decode.rs`) ·
//! `open.rs` which of them a path is · `fetch.rs` gets sets to `data/raw` · `sheet.rs` pictures.
//!
//! No file content is trusted: sizes are bounded before memory is taken, nothing is unpacked to
//! disk, no code in a pickle runs, and a set is either whole or refused.

mod archive;
mod cifar;
mod decode;
mod fetch;
mod folder;
mod idx;
mod open;
pub mod sheet;

pub use fetch::{ImageSource, ensure, fetch};
pub use open::open;

/// Every image has this height and width.
pub const SIDE: usize = 32;
/// Red, green, blue.
pub const CHANNELS: usize = 3;
/// Bytes of an image: one per channel and pixel.
pub const IMAGE_ELEMS: usize = CHANNELS * SIDE * SIDE;

/// Images in one block of memory, channel planes row by row.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Images {
    pub n: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<u8>, // (n, channels, height, width)
    /// One per image, or empty: a folder of pictures has none.
    pub labels: Vec<u8>,
}

impl Images {
    pub fn new(pixels: Vec<u8>, labels: Vec<u8>) -> Self {
        let n = pixels.len() / IMAGE_ELEMS;
        assert_eq!(pixels.len(), n * IMAGE_ELEMS, "whole images");
        assert!(labels.is_empty() || labels.len() == n, "{} labels, {n} images", labels.len());
        Self { n, channels: CHANNELS, height: SIDE, width: SIDE, pixels, labels }
    }

    /// The first `n`, or all.
    fn first(mut self, n: usize) -> Self {
        if n < self.n {
            self.n = n;
            self.pixels.truncate(n * IMAGE_ELEMS);
            self.labels.truncate(n);
        }
        self
    }

    /// Image `i`, (channels, height, width).
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * IMAGE_ELEMS..][..IMAGE_ELEMS]
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { n, channels, height, width, .. } = self;
        write!(f, "Images ({n}, {channels}, {height}, {width}), {} labels", self.labels.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetKind {
    Cifar10,
    /// IDX files: MNIST, Fashion-MNIST.
    Idx,
    Pictures,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageSet {
    pub kind: SetKind,
    pub train: Images,
    pub test: Images,
}

impl ImageSet {
    /// The first so many of each split, or all.
    pub fn first(self, train: usize, test: usize) -> Self {
        Self { kind: self.kind, train: self.train.first(train), test: self.test.first(test) }
    }

    /// BLAKE3 of what was read, whatever container it came in.
    pub fn digest(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for images in [&self.train, &self.test] {
            hash.update(&(images.n as u64).to_le_bytes());
            hash.update(&(images.labels.len() as u64).to_le_bytes());
            hash.update(&images.pixels);
            hash.update(&images.labels);
        }
        hash.finalize().to_hex().to_string()
    }
}
