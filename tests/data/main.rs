//! Data sets from the outside: goldens, round trips, order, damage, bad input.

mod arc;
mod boards;
mod fixture;
mod golden;
mod images;
mod interop;
mod order;
mod shards;
