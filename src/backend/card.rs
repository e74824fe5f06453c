//! A CUDA device as its driver describes it.

/// What the driver says of a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    pub name: String,
    /// Compute capability, 89 for 8.9.
    pub arch: u32,
    pub multiprocessors: usize,
    pub memory_bytes: usize,
    pub free_bytes: usize,
    /// CUDA version that the driver supports, 12080 for 12.8.
    pub driver: i32,
    /// A simulator stands in for the driver: times mean nothing.
    pub simulated: bool,
}
