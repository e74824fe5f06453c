//! What a step would take on a card that is not here: formulas over counted work. Every figure is a
//! prediction; nothing in this module was measured by us.
//!
//! `card.rs` cards and how many blocks a multiprocessor holds; `model.rs` the time of launches;
//! `reach.rs` how near to it kernels may be expected to come.

mod card;
mod model;
mod reach;

pub use card::{Block, Card, Multiprocessor};
pub use model::{Class, FORMULA, GRAPH_LAUNCH_S, Limit, Prediction};
pub use reach::{REACH, expected_frac};
