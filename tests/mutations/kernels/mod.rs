//! The bugs in kernels/, by what is wrong.

pub mod barriers;
pub mod blocks;
pub mod bounds;
pub mod conv;
pub mod copies;
pub mod initialisation;
pub mod places;
pub mod races;
pub mod values;
