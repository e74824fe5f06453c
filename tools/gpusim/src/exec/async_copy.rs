//! `cp.async`: the copy is read at its issue and lands when its group is waited for. In between the
//! destination is marked, so that touching it too early shows.

use super::access::{self, Access};
use super::core::{Core, IN_FLIGHT};
use super::lanes::{LANES, Lane, lanes};
use super::warp::Warp;
use crate::memory::{BASE, INITIALISED};
use crate::ptx::program::{Instr, NO_SLOT};

struct Copy {
    lane: usize,
    group: u32,
    to: usize,
    bytes: usize,
    value: [u8; 16],
}

/// Copies of a warp that have not landed, and how many groups each lane committed.
#[derive(Default)]
pub struct InFlight {
    copies: Vec<Copy>,
    committed: [u32; LANES],
}

impl InFlight {
    pub fn commit(&mut self, mask: u32) {
        for l in lanes(mask) {
            self.committed[l] += 1;
        }
    }
}

pub fn issue(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, pc: usize, mask: u32, bytes: usize) {
    let to = access::addresses(&warp.regs, i);
    let added = u64::read(&warp.regs, core.program.list(i)[0])[0];
    let from = u64::read(&warp.regs, i.b).map(|a| a.wrapping_add(added));
    let size = if i.c == NO_SLOT { [bytes as u64; LANES] } else { warp.regs.wide(i.c) };
    core.memory.trace.serial += 1;
    let races = core.session.races;
    for l in lanes(mask) {
        let thread = warp.thread(l);
        // Bytes past the source size are zeros, and are not read.
        let have = (size[l] as usize).min(bytes);
        let mut value = [0; 16];
        let aligned = from[l].is_multiple_of(bytes as u64);
        if have > 0 && aligned {
            let parts = [16, 8, 4, 2, 1].into_iter().find(|p| have.is_multiple_of(*p)).unwrap_or(1);
            for k in (0..have).step_by(parts) {
                let at = from[l] + k as u64;
                if !core.global_ok(pc, thread, at, parts, false) {
                    break;
                }
                let first = (at - BASE) as usize;
                value[k..k + parts].copy_from_slice(&core.memory.parts().0[first..first + parts]);
                access::sector(core, first, parts, false);
                if races {
                    let a = Access { pc, bytes: parts, mask, ordered: false };
                    access::race_global(core, warp, l, at, a, false);
                }
            }
            core.tally.counters.bytes_read += have as u64;
        } else if have > 0 {
            core.global_ok(pc, thread, from[l], bytes, false);
        }
        if !core.shared_ok(pc, thread, to[l], bytes, true) {
            continue;
        }
        let first = to[l] as usize;
        let a = Access { pc, bytes, mask, ordered: false };
        access::race_shared(core, warp, l, to[l], a, true);
        core.shared.shadow[first..first + bytes].iter_mut().for_each(|s| *s |= IN_FLIGHT);
        let group = warp.in_flight.committed[l];
        warp.in_flight.copies.push(Copy { lane: l, group, to: first, bytes, value });
    }
}

/// Lands the groups of each lane but the last `pending` ones; all for a negative number, committed or not.
pub fn wait(core: &mut Core<'_>, warp: &mut Warp, pc: usize, mask: u32, pending: i64) {
    let mut in_flight = std::mem::take(&mut warp.in_flight);
    if pending < 0 {
        in_flight.commit(mask);
    }
    let committed = in_flight.committed;
    let lands = |c: &Copy| {
        let waited = i64::from(committed[c.lane]) - pending.max(0);
        mask >> c.lane & 1 == 1 && i64::from(c.group) < waited
    };
    in_flight.copies.retain(|c| {
        if !lands(c) {
            return true;
        }
        let range = c.to..c.to + c.bytes;
        core.shared.data[range.clone()].copy_from_slice(&c.value[..c.bytes]);
        core.shared.shadow[range].fill(INITIALISED);
        // It counts as written now: others need a barrier after the wait.
        let a = Access { pc, bytes: c.bytes, mask, ordered: false };
        access::race_shared(core, warp, c.lane, c.to as u64, a, true);
        false
    });
    warp.in_flight = in_flight;
}
