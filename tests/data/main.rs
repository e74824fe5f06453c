//! Data sets from the outside: goldens, round trips, order, damage, bad input.

mod arc;
mod fixture;
mod golden;
mod order;
mod shards;
