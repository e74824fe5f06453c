//! What a step would take on a card that is not here: formulas over counted work. Every figure is a
//! prediction; nothing in this module was measured by us.
//!
//! `card.rs` cards and how many blocks a multiprocessor holds; `limit.rs` what a kernel waits for;
//! `model.rs` the time of launches; `reach.rs` how near to it kernels may be expected to come.

mod card;
mod limit;
mod model;
mod reach;

pub use card::{Block, Card, Multiprocessor};
pub use limit::Limit;
pub use model::{Class, FORMULA, GRAPH_LAUNCH_S, Prediction};
pub use reach::{REACH, expected_frac};
