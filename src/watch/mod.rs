//! A run seen from outside. Nothing is written or locked, so a run can be watched while it trains.
//!
//! `run.rs` its folder as it grows (`tail.rs` files, `series.rs` metrics) · `summary.rs` how it
//! stands, as text · `dashboard/` the same as a picture of one screen · `live.rs` which follows the
//! run.

#[cfg(feature = "watch")]
pub mod dashboard;
#[cfg(test)]
mod fixture;
#[cfg(feature = "watch")]
pub mod live;
pub mod run;
pub mod series;
pub mod summary;
mod tail;

pub use run::{RunView, newest};
pub use series::Series;
pub use summary::Summary;
