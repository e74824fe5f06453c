//! What a run is on disk: its plan, its folder and lock, its checkpoints and counters, its log; and
//! how a process goes on from there. What is computed between two checkpoints is the business of
//! `train`.

pub mod checkpoint;
pub mod folder;
pub mod ledger;
pub mod log;
pub mod plan;
pub mod resume;
pub mod signal;
pub mod tracking;
pub mod trained;
