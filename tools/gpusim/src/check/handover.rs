//! What one block hands to another: a fence, then an atomic, and an atomic of the other on the same address.
//!
//! Blocks are named by the moment they started at. All that a block did counts as handed over, even
//! what it did later, and the fence of the receiver is not asked for.

use std::collections::{HashMap, HashSet};

#[derive(Default)]
struct Released {
    order: Vec<u64>,
    known: HashSet<u64>,
}

/// The hand-overs of one launch, and the state of the block that runs.
#[derive(Default)]
pub struct Handover {
    released: HashMap<u64, Released>,
    block: u64,
    fenced: bool,
    /// Blocks whose work this block may see.
    acquired: HashSet<u64>,
    /// By address: how much of `order` was acquired, and how many blocks were released there.
    done: HashMap<u64, (usize, usize)>,
}

impl Handover {
    pub fn start_block(&mut self, block: u64) {
        self.block = block;
        self.fenced = false;
        self.acquired.clear();
        self.done.clear();
    }

    pub fn fence(&mut self) {
        self.fenced = true;
    }

    /// The running block did an atomic at an address.
    pub fn atomic(&mut self, at: u64) {
        if !self.fenced && !self.released.contains_key(&at) {
            return;
        }
        let place = self.released.entry(at).or_default();
        let (seen, given) = self.done.entry(at).or_default();
        self.acquired.extend(&place.order[*seen..]);
        if self.fenced && *given != self.acquired.len() + 1 {
            for &block in self.acquired.iter().chain([&self.block]) {
                if place.known.insert(block) {
                    place.order.push(block);
                }
            }
            *given = self.acquired.len() + 1;
        }
        *seen = place.order.len();
    }

    pub fn acquired(&self, block: u64) -> bool {
        self.acquired.contains(&block)
    }
}
