//! One split of a data set in one file: little-endian, memory-mapped, nothing to parse.
//! `format.rs` is the layout, `writer.rs` and `reader.rs` are its two sides.

pub mod format;
pub mod reader;
pub mod writer;

pub use format::{Section, Side, Spec};
pub use reader::{Example, Shard};
pub use writer::{GroupBuf, Writer};
