//! Data sets from the outside: goldens, round trips, order, damage, bad input.

mod fixture;
mod order;
mod shards;
