//! A run seen from outside: `run.rs` reads its folder, `summary.rs` says how it stands. Nothing is
//! written or locked, so a run can be watched while it trains.

pub mod run;
pub mod summary;

pub use run::{Run, newest};
pub use summary::Summary;
