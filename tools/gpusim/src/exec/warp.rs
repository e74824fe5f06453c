//! A warp: its registers, and which lanes are where.
//!
//! Lanes at one place form a group. The group that is deepest in calls and lowest in the code runs
//! first and merges with those it meets, so that divergent lanes meet again as early as they can.

use super::async_copy::InFlight;
use super::lanes::{ALL, LANES, Registers};
use crate::ptx::program::{Constant, Program};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    No,
    /// At a `.sync` instruction, until these lanes are there too.
    Lanes(u32),
    /// Arrived at a block barrier.
    Barrier,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub pc: usize,
    pub mask: u32,
    /// Return addresses.
    pub stack: Vec<usize>,
    pub parked: Parked,
    /// When it last ran; the longest waiting one goes first after a time slice.
    pub ran: u64,
}

pub struct Warp {
    pub index: usize,
    pub regs: Registers,
    /// Lanes that exist and did not exit.
    pub live: u32,
    pub groups: Vec<Group>,
    pub local: Vec<u8>,
    pub local_written: Vec<bool>,
    pub in_flight: InFlight,
    pub rotate: bool,
    /// Ran a block of the launch before: constants of the launch are in place.
    started: bool,
}

/// What a launch tells a warp about its place.
#[derive(Clone, Copy)]
pub struct Place {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub block_id: [u32; 3],
    pub dynamic_shared_bytes: u32,
    pub total_shared_bytes: u32,
    pub grid_id: u64,
    pub sm: u32,
}

/// Streaming multiprocessors of the card that is modelled.
pub const SMS: u32 = 128;

impl Warp {
    pub fn new(program: &Program, index: usize) -> Self {
        let local = program.local_bytes as usize * LANES;
        Self {
            index,
            regs: Registers::new(program),
            live: 0,
            groups: Vec::new(),
            local: vec![0; local],
            local_written: vec![false; local],
            in_flight: InFlight::default(),
            rotate: false,
            started: false,
        }
    }

    /// Back to the start of the kernel, in another block.
    pub fn restart(&mut self, program: &Program, place: Place) {
        let fresh = !std::mem::replace(&mut self.started, true);
        let threads: u32 = place.block.iter().product();
        let here = (threads - 32 * self.index as u32).min(32);
        self.live = ALL >> (32 - here);
        let group = Group { pc: 0, mask: self.live, stack: vec![], parked: Parked::No, ran: 0 };
        self.groups = vec![group];
        self.local_written.fill(false);
        self.in_flight = InFlight::default();
        for &(slot, constant) in &program.constants {
            // Only these differ from block to block.
            if !fresh && !matches!(constant, Constant::Ctaid(_) | Constant::SmId) {
                continue;
            }
            let value: [u64; LANES] =
                std::array::from_fn(|l| self.constant(constant, place, l as u32));
            if super::lanes::is_predicate(slot) {
                self.regs.set_pred(slot, ALL, value[0] as u32);
            } else {
                self.regs.set_wide(slot, ALL, &value);
            }
        }
    }

    /// Linear index in the block of a lane's thread.
    #[inline(always)]
    pub fn thread(&self, lane: usize) -> u32 {
        (self.index * LANES + lane) as u32
    }

    fn constant(&self, constant: Constant, place: Place, lane: u32) -> u64 {
        let [x, y, _] = place.block;
        let t = self.index as u32 * 32 + lane;
        let tid = [t % x, t / x % y, t / (x * y)];
        let mask = |bits: u64| bits & 0xffff_ffff;
        match constant {
            Constant::Bits(bits) => bits,
            Constant::Tid(axis) => tid[axis as usize].into(),
            Constant::Ntid(axis) => place.block[axis as usize].into(),
            Constant::Ctaid(axis) => place.block_id[axis as usize].into(),
            Constant::Nctaid(axis) => place.grid[axis as usize].into(),
            Constant::LaneId => lane.into(),
            Constant::WarpId => self.index as u64,
            Constant::NumWarps => place.block.iter().product::<u32>().div_ceil(32).into(),
            Constant::LaneMaskEq => 1 << lane,
            Constant::LaneMaskLt => (1 << lane) - 1,
            Constant::LaneMaskLe => mask((2 << lane) - 1),
            Constant::LaneMaskGt => mask(!((2 << lane) - 1)),
            Constant::LaneMaskGe => mask(!((1 << lane) - 1)),
            Constant::DynamicSharedBytes => place.dynamic_shared_bytes.into(),
            Constant::TotalSharedBytes => place.total_shared_bytes.into(),
            Constant::GridId => place.grid_id,
            Constant::SmId => place.sm.into(),
            Constant::NumSms => SMS.into(),
            Constant::WarpSize => 32,
        }
    }

    /// The group to run next: its index, after merging it with those at the same place.
    pub fn schedule(&mut self, now: u64) -> Option<usize> {
        let free = |g: &Group| g.parked == Parked::No;
        let order = self.groups.iter().enumerate().filter(|(_, g)| free(g));
        let next = if std::mem::take(&mut self.rotate) {
            order.min_by_key(|(_, g)| g.ran)
        } else {
            order.min_by_key(|(_, g)| (std::cmp::Reverse(g.stack.len()), g.pc))
        };
        let (mut next, _) = next?;
        let mut at = 0;
        while at < self.groups.len() {
            let (g, o) = (&self.groups[next], &self.groups[at]);
            if at != next && o.parked != Parked::Barrier && o.pc == g.pc && o.stack == g.stack {
                self.groups[next].mask |= o.mask;
                self.groups.swap_remove(at);
                if next == self.groups.len() {
                    next = at;
                }
            } else {
                at += 1;
            }
        }
        self.groups[next].ran = now;
        Some(next)
    }

    /// The place at which the running group must look for others.
    pub fn next_meeting(&self, current: usize) -> usize {
        let g = &self.groups[current];
        let others = self.groups.iter().enumerate().filter(|&(i, o)| {
            i != current
                && o.parked != Parked::Barrier
                && o.pc > g.pc
                && o.stack.len() == g.stack.len()
        });
        others.map(|(_, o)| o.pc).min().unwrap_or(usize::MAX)
    }

    /// Ends some lanes; true when none is left.
    pub fn exit(&mut self, mask: u32) -> bool {
        self.live &= !mask;
        for g in &mut self.groups {
            g.mask &= !mask;
        }
        self.groups.retain(|g| g.mask != 0);
        self.live == 0
    }
}
