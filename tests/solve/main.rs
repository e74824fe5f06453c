//! `hrm predict` and the solver behind it, on checkpoints that `hrm train` made.

mod fixture;
mod known;
mod unseen;
