//! Global memory, and the sectors that its accesses move.

use super::race::{self, Place, race};
use super::{Access, Buffer, all_and, repeat, run_start};
use crate::check::race::Stamp;
use crate::exec::core::{Core, uniform};
use crate::exec::lanes::{LANES, lanes};
use crate::exec::warp::Warp;
use crate::memory::{BASE, INITIALISED};

pub fn read(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
    core.tally.counters.bytes_read += (a.mask.count_ones() as usize * a.bytes) as u64;
    let time = core.clock.time(warp.index);
    let races = core.session.races;
    if let Some(start) = run_start(at, a) {
        let (first, len) = (start.wrapping_sub(BASE) as usize, LANES * a.bytes);
        let (data, shadow, trace) = core.memory.parts();
        let states = first.checked_add(len).and_then(|end| shadow.get(first..end));
        if states.is_some_and(|s| all_and(s) == INITIALISED) {
            out[..len].copy_from_slice(&data[first..first + len]);
            let stamp = Stamp::new(time, warp.thread(0), 15, a.ordered);
            let calm =
                !races || trace.words().run(first..first + len, a.bytes, false, stamp, &core.clock);
            sectors(core, first, len, false);
            if !calm {
                race::lanes_of(core, warp, Place::Global, at, a, false);
            }
            return;
        }
    }
    core.memory.trace.serial += 1;
    let same = uniform(at, a.mask);
    if let Some(start) = same {
        let l = a.mask.trailing_zeros() as usize;
        if core.global_ok(a.pc, warp.thread(l), start, a.bytes, false) {
            let first = (start - BASE) as usize;
            repeat(&core.memory.parts().0[first..first + a.bytes], out);
            sector(core, first, a.bytes, false);
            // Two readers are all that a word remembers.
            let other = 31 - a.mask.leading_zeros() as usize;
            race(core, warp, Place::Global, l, start, a, false);
            if other != l {
                race(core, warp, Place::Global, other, start, a, false);
            }
        }
        return;
    }
    let mut good = 0;
    for l in lanes(a.mask) {
        if core.global_ok(a.pc, warp.thread(l), at[l], a.bytes, false) {
            let first = (at[l] - BASE) as usize;
            out[l * a.bytes..(l + 1) * a.bytes]
                .copy_from_slice(&core.memory.parts().0[first..first + a.bytes]);
            sector(core, first, a.bytes, false);
            good |= 1 << l;
        }
    }
    race::lanes_of(core, warp, Place::Global, at, Access { mask: good, ..a }, false);
}

pub fn write(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, bytes: &Buffer) {
    core.tally.counters.bytes_written += (a.mask.count_ones() as usize * a.bytes) as u64;
    let time = core.clock.time(warp.index);
    let races = core.session.races;
    if let Some(start) = run_start(at, a) {
        let (first, len) = (start.wrapping_sub(BASE) as usize, LANES * a.bytes);
        let (data, shadow, trace) = core.memory.parts();
        let states = first.checked_add(len).and_then(|end| shadow.get_mut(first..end));
        if let Some(states) = states
            && all_and(states) & 1 == 1
        {
            data[first..first + len].copy_from_slice(&bytes[..len]);
            states.fill(INITIALISED);
            let stamp = Stamp::new(time, warp.thread(0), 15, a.ordered);
            let calm =
                !races || trace.words().run(first..first + len, a.bytes, true, stamp, &core.clock);
            sectors(core, first, len, true);
            if !calm {
                race::lanes_of(core, warp, Place::Global, at, a, true);
            }
            return;
        }
    }
    core.memory.trace.serial += 1;
    let (mut done, mut racing) = (0_u32, 0);
    for l in lanes(a.mask) {
        if core.global_ok(a.pc, warp.thread(l), at[l], a.bytes, true) {
            let first = (at[l] - BASE) as usize;
            let (data, shadow, _) = core.memory.parts();
            let value = &bytes[l * a.bytes..(l + 1) * a.bytes];
            let unchanged = data[first..first + a.bytes] == *value;
            data[first..first + a.bytes].copy_from_slice(value);
            shadow[first..first + a.bytes].fill(INITIALISED);
            sector(core, first, a.bytes, true);
            // Lanes of one instruction may write one value to one place.
            if !(unchanged && lanes(done).any(|o| at[o] == at[l])) {
                racing |= 1 << l;
            }
            done |= 1 << l;
        }
    }
    race::lanes_of(core, warp, Place::Global, at, Access { mask: racing, ..a }, true);
}

/// Counts the sectors of a run of one instruction.
fn sectors(core: &mut Core<'_>, first: usize, len: usize, write: bool) {
    core.memory.trace.serial += 1;
    let end = first + len;
    let mut at = first;
    while at < end {
        let bytes = (32 - at % 32).min(end - at);
        sector(core, at, bytes, write);
        at += bytes;
    }
}

/// Counts a sector once for an instruction, and once for a launch; notes which bytes of it are touched.
pub fn sector(core: &mut Core<'_>, at: usize, bytes: usize, write: bool) {
    let trace = &mut core.memory.trace;
    let serial = trace.serial;
    let c = &mut core.tally.counters;
    let (last, requested, unique, touched) = if write {
        let (requested, unique) = (&mut c.sectors_written, &mut c.unique_sectors_written);
        (&mut trace.sector_written[at / 32], requested, unique, &mut trace.writes)
    } else {
        let (requested, unique) = (&mut c.sectors_read, &mut c.unique_sectors_read);
        (&mut trace.sector_read[at / 32], requested, unique, &mut trace.reads)
    };
    let new = *last < core.first_serial;
    touched.add(at, bytes, new);
    if *last != serial {
        *requested += 1;
        *unique += u64::from(new);
        *last = serial;
    }
}
