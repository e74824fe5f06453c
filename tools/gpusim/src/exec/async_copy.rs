//! `cp.async`: the copy is read at its issue and lands when its group is waited for. In between the
//! destination is marked, so that touching it too early shows.

use super::access::{self, Access, Place};
use super::core::{Core, IN_FLIGHT};
use super::lanes::{LANES, Lane, lanes};
use super::warp::Warp;
use crate::check::race::{Row, Stamp};
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
    let a = Access { pc, bytes, mask, ordered: false };
    let (mut whole, mut landing) = (0, 0);
    for l in lanes(mask) {
        let thread = warp.thread(l);
        // Bytes past the source size are zeros, and are not read.
        let have = (size[l] as usize).min(bytes);
        let mut value = [0; 16];
        core.tally.counters.bytes_read += have as u64;
        if have == bytes {
            if core.global_ok(pc, thread, from[l], bytes, false) {
                let first = (from[l] - BASE) as usize;
                value[..bytes].copy_from_slice(&core.memory.parts().0[first..first + bytes]);
                access::sector(core, first, bytes, false);
                whole |= 1 << l;
            }
        } else if have > 0 {
            read_part(core, warp, l, from[l], &mut value[..have], a);
        }
        if core.shared_ok(pc, thread, to[l], bytes, true) {
            let first = to[l] as usize;
            core.shared.shadow[first..first + bytes].iter_mut().for_each(|s| *s |= IN_FLIGHT);
            let group = warp.in_flight.committed[l];
            warp.in_flight.copies.push(Copy { lane: l, group, to: first, bytes, value });
            landing |= 1 << l;
        }
    }
    access::race_lanes(core, warp, Place::Global, &from, Access { mask: whole, ..a }, false);
    access::race_lanes(core, warp, Place::Shared, &to, Access { mask: landing, ..a }, true);
}

/// Reads the first bytes of a copy whose rest is zero.
fn read_part(core: &mut Core<'_>, warp: &Warp, lane: usize, from: u64, to: &mut [u8], a: Access) {
    if !from.is_multiple_of(a.bytes as u64) {
        core.global_ok(a.pc, warp.thread(lane), from, a.bytes, false);
        return;
    }
    let have = to.len();
    let step = [8, 4, 2, 1].into_iter().find(|n| have.is_multiple_of(*n)).unwrap_or(1);
    for (k, to) in to.chunks_exact_mut(step).enumerate() {
        let at = from + (k * step) as u64;
        if !core.global_ok(a.pc, warp.thread(lane), at, step, false) {
            return;
        }
        let first = (at - BASE) as usize;
        to.copy_from_slice(&core.memory.parts().0[first..first + step]);
        access::sector(core, first, step, false);
        access::race(core, warp, Place::Global, lane, at, Access { bytes: step, ..a }, false);
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
    let (landing, flying) = in_flight.copies.into_iter().partition::<Vec<Copy>, _>(lands);
    in_flight.copies = flying;
    warp.in_flight = in_flight;
    for c in &landing {
        let range = c.to..c.to + c.bytes;
        core.shared.data[range.clone()].copy_from_slice(&c.value[..c.bytes]);
        core.shared.shadow[range].fill(INITIALISED);
    }
    if core.session.races {
        land(core, warp, pc, &landing);
    }
}

/// A copy counts as written when it lands: others need a barrier after the wait.
fn land(core: &mut Core<'_>, warp: &Warp, pc: usize, landing: &[Copy]) {
    let time = core.clock.time(warp.index);
    for alike in landing.chunk_by(|a, b| a.bytes == b.bytes) {
        for some in alike.chunks(LANES) {
            let mut rows = [Row::default(); LANES];
            for (row, c) in rows.iter_mut().zip(some) {
                let stamp = Stamp::new(time, warp.thread(c.lane), 15, false);
                *row = Row { first: c.to / 4, stamp };
            }
            let (rows, words) = (&rows[..some.len()], some[0].bytes / 4);
            for k in lanes(access::race_rows(core, Place::Shared, rows, words, 0, true)) {
                let c = &some[k];
                let a = Access { pc, bytes: c.bytes, mask: 1 << c.lane, ordered: false };
                access::race(core, warp, Place::Shared, c.lane, c.to as u64, a, true);
            }
        }
    }
}
