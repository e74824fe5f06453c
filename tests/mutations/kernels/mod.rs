//! The bugs in kernels/, by what is wrong.

pub mod barriers;
pub mod blocks;
pub mod bounds;
pub mod conv;
pub mod copies;
pub mod coverage;
pub mod initialisation;
pub mod packed;
pub mod places;
pub mod races;
pub mod sighted;
pub mod values;

use crate::mutation::Mutation;

pub const LISTS: [&[Mutation]; 12] = [
    barriers::LIST,
    blocks::LIST,
    bounds::LIST,
    conv::LIST,
    copies::LIST,
    coverage::LIST,
    initialisation::LIST,
    packed::LIST,
    places::LIST,
    races::LIST,
    sighted::LIST,
    values::LIST,
];
