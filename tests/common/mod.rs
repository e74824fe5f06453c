//! Shared by the integration tests: comparators that fail on NaN, goldens with a ledger.
#![allow(dead_code)]

pub mod compare;
pub mod devices;
pub mod golden;
