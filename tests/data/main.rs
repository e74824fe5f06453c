//! Data sets from the outside: goldens, round trips, order, damage, bad input.

#[path = "../common/mod.rs"]
mod common;

mod arc;
mod boards;
mod fixture;
mod forms;
mod golden;
mod images;
mod interop;
mod order;
mod packed;
mod shards;
mod windows;
