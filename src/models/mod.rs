//! The models. Each knows its parameters and its computation; none knows a device or a data set.

pub mod hrm;
