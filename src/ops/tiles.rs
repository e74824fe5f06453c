//! Slots cut into tiles, a block of attention for each. The lists depend on slots only and are made
//! with the layout: no launch uploads any, and a step finds the memory that was planned.

use std::sync::Arc;

use crate::Result;
use crate::backend::{Device, DeviceKind, Purpose};
use crate::tensor::Tensor;

/// Positions that a warp of the tensor-core kernels has.
pub const STEP: usize = 16;
/// Positions of the slots that backward takes in one launch.
pub const SHORT: usize = 96;

/// How the blocks of a launch divide slots.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cut {
    /// Every slot into tiles of so many positions.
    Every(usize),
    /// Every slot, those up to [`SHORT`] or the longer ones, into as few tiles of at most so many
    /// steps as they need, and those as small as that allows.
    Steps(usize),
    ShortSteps(usize),
    LongSteps(usize),
}

/// All that are asked for.
const CUTS: [Cut; 7] = [
    Cut::Every(8),
    Cut::Every(16),
    Cut::Every(32),
    Cut::Steps(8),
    Cut::ShortSteps(6),
    Cut::LongSteps(8),
    Cut::LongSteps(6),
];

/// What one cut made.
#[derive(Clone)]
pub struct Tiles {
    /// Positions of a tile, at most.
    pub height: usize,
    /// The slot and the first position in it, those of the largest slots first.
    pub list: Tensor, // (L, 2) i32
}

impl Cut {
    /// Whether slots of `room` positions take part.
    pub fn takes(self, room: usize) -> bool {
        match self {
            Cut::Every(_) | Cut::Steps(_) => true,
            Cut::ShortSteps(_) => room <= SHORT,
            Cut::LongSteps(_) => room > SHORT,
        }
    }

    /// Positions of a tile for slots of these sizes.
    pub fn height(self, sizes: impl Iterator<Item = usize>) -> usize {
        let most = match self {
            Cut::Every(height) => return height,
            Cut::Steps(most) | Cut::ShortSteps(most) | Cut::LongSteps(most) => most,
        };
        let steps: Vec<usize> =
            sizes.filter(|room| self.takes(*room)).map(|room| room.div_ceil(STEP)).collect();
        let tiles = |height| steps.iter().map(|steps| steps.div_ceil(height)).sum::<usize>();
        let fewest = tiles(most);
        STEP * (1..=most).find(|&height| tiles(height) == fewest).unwrap_or(most)
    }
}

/// The lists of a layout.
#[derive(Clone)]
pub struct Lists {
    made: Arc<[(Cut, Tiles)]>,
}

impl Lists {
    /// None on a CPU, where no launch asks for them.
    pub fn new(device: &Device, sizes: &[usize]) -> Result<Self> {
        if device.kind() == DeviceKind::Cpu {
            return Ok(Self { made: Arc::default() });
        }
        let mut slots: Vec<(usize, usize)> = sizes.iter().copied().enumerate().collect();
        slots.sort_by_key(|&(_, room)| std::cmp::Reverse(room));
        let mut all = vec![];
        let mut places = vec![];
        for cut in CUTS {
            let (height, from) = (cut.height(sizes.iter().copied()), all.len());
            for &(slot, room) in slots.iter().filter(|(_, room)| cut.takes(*room)) {
                all.extend((0..room).step_by(height).flat_map(|at| [slot as i32, at as i32]));
            }
            if all.len() > from {
                places.push((cut, height, from, (all.len() - from) / 2));
            }
        }
        if all.is_empty() {
            return Ok(Self { made: Arc::default() });
        }
        let all = Tensor::from_slice(device, &all, [all.len()], Purpose::Workspace)?;
        let made = places.into_iter().map(|(cut, height, from, tiles)| {
            Ok((cut, Tiles { height, list: all.view(from, [tiles, 2])? }))
        });
        Ok(Self { made: made.collect::<Result<_>>()? })
    }

    /// The tiles of a cut; none where no slot takes part.
    pub fn of(&self, cut: Cut) -> Option<&Tiles> {
        debug_assert!(CUTS.contains(&cut), "{cut:?} is not made");
        self.made.iter().find(|(made, _)| *made == cut).map(|(_, tiles)| tiles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shared_evenly() {
        let alike = |t, most| Cut::Steps(most).height([t, t].into_iter()) / STEP;
        assert_eq!(alike(1, 8), 1);
        assert_eq!(alike(82, 8), 6); // Sudoku
        assert_eq!(alike(901, 8), 8); // ARC
        assert_eq!(alike(901, 6), 6);
        assert_eq!(alike(130, 8), 5);
        let height = |cut: Cut, sizes: &[usize]| cut.height(sizes.iter().copied()) / STEP;
        assert_eq!(height(Cut::Steps(8), &[82, 130, 17]), 6);
        assert_eq!(height(Cut::Steps(8), &[901, 17]), 8);
        assert_eq!(height(Cut::ShortSteps(6), &[901, 17, 33]), 3);
        assert_eq!(height(Cut::LongSteps(6), &[97, 17, 33]), 4);
    }
}
