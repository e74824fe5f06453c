//! Data sets: grids, vocabulary, augmentation, shards, samplers. Sees no tensor and no device.

pub mod augment;
pub mod batch;
pub mod builders;
pub mod canvas;
pub mod combined;
pub mod dataset;
pub mod ensure;
pub mod fetch;
pub mod grid;
pub mod images;
pub mod loader;
pub mod manifest;
pub mod npy;
pub mod output;
pub mod overlap;
pub mod pattern;
pub mod sampler;
pub mod shard;
pub mod sheet;
pub mod stats;
pub mod task;
pub mod terminal;
pub mod trm;
pub mod vocab;

pub use batch::{Batch, BatchOptions};
pub use dataset::DataSet;
pub use grid::{Grid, Pair};
pub use loader::{Loaded, Loader};
pub use sampler::{Order, Position, Sampler};
pub use task::Task;
pub use vocab::Kind;
