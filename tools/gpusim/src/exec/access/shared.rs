//! Shared memory and its banks.

use super::race::{self, Place, race};
use super::{Access, Buffer, all_and, repeat, run_start};
use crate::check::race::Stamp;
use crate::exec::core::{Core, uniform};
use crate::exec::lanes::{ALL, LANES, lanes};
use crate::exec::warp::Warp;
use crate::memory::INITIALISED;

pub fn read(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
    if let Some(start) = run_start(at, a) {
        let (first, len) = (start as usize, LANES * a.bytes);
        let end = first.saturating_add(len);
        if core.shared.shadow.get(first..end).is_some_and(|s| same_state(s, INITIALISED)) {
            out[..len].copy_from_slice(&core.shared.data[first..end]);
            core.tally.counters.shared_passes += (len / 128).max(1) as u64;
            let stamp = Stamp::new(core.clock.time(warp.index), warp.thread(0), 15, a.ordered);
            let calm = !core.session.races
                || core.shared.words().run(first..first + len, a.bytes, false, stamp, &core.clock);
            if !calm {
                race::lanes_of(core, warp, Place::Shared, at, a, false);
            }
            return;
        }
    }
    if let Some(start) = uniform(at, a.mask) {
        return broadcast_shared(core, warp, start, a, out);
    }
    banks(core, at, a);
    let mut good = 0;
    for l in lanes(a.mask) {
        if core.shared_ok(a.pc, warp.thread(l), at[l], a.bytes, false) {
            let first = at[l] as usize;
            out[l * a.bytes..(l + 1) * a.bytes]
                .copy_from_slice(&core.shared.data[first..first + a.bytes]);
            good |= 1 << l;
        }
    }
    race::lanes_of(core, warp, Place::Shared, at, Access { mask: good, ..a }, false);
}

/// All lanes read one place.
fn broadcast_shared(core: &mut Core<'_>, warp: &Warp, start: u64, a: Access, out: &mut Buffer) {
    core.tally.counters.shared_passes += 1;
    let l = a.mask.trailing_zeros() as usize;
    if !core.shared_ok(a.pc, warp.thread(l), start, a.bytes, false) {
        return;
    }
    let first = start as usize;
    repeat(&core.shared.data[first..first + a.bytes], out);
    // Two readers are all that a word remembers.
    let other = 31 - a.mask.leading_zeros() as usize;
    race(core, warp, Place::Shared, l, start, a, false);
    if other != l {
        race(core, warp, Place::Shared, other, start, a, false);
    }
}

fn same_state(states: &[u8], state: u8) -> bool {
    all_and(states) == state && {
        let mut or = 0;
        for &s in states {
            or |= s;
        }
        or == state
    }
}

pub fn write(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, bytes: &Buffer) {
    if let Some(start) = run_start(at, a) {
        let (first, len) = (start as usize, LANES * a.bytes);
        let end = first.saturating_add(len);
        let states = core.shared.shadow.get_mut(first..end);
        // Addressable, and nothing in flight.
        if let Some(states) = states
            && states.iter().fold(true, |ok, &s| ok & (s & 1 == 1) & (s < 4))
        {
            states.fill(INITIALISED);
            core.shared.data[first..end].copy_from_slice(&bytes[..len]);
            core.tally.counters.shared_passes += (len / 128).max(1) as u64;
            let stamp = Stamp::new(core.clock.time(warp.index), warp.thread(0), 15, a.ordered);
            let calm = !core.session.races
                || core.shared.words().run(first..first + len, a.bytes, true, stamp, &core.clock);
            if !calm {
                race::lanes_of(core, warp, Place::Shared, at, a, true);
            }
            return;
        }
    }
    banks(core, at, a);
    let (mut done, mut racing) = (0_u32, 0);
    for l in lanes(a.mask) {
        if core.shared_ok(a.pc, warp.thread(l), at[l], a.bytes, true) {
            let first = at[l] as usize;
            let value = &bytes[l * a.bytes..(l + 1) * a.bytes];
            let to = &mut core.shared.data[first..first + a.bytes];
            let unchanged = *to == *value;
            to.copy_from_slice(value);
            core.shared.shadow[first..first + a.bytes].fill(INITIALISED);
            if !(unchanged && lanes(done).any(|o| at[o] == at[l])) {
                racing |= 1 << l;
            }
            done |= 1 << l;
        }
    }
    race::lanes_of(core, warp, Place::Shared, at, Access { mask: racing, ..a }, true);
}

/// Counts the passes that the 32 banks need, four bytes of each at a time.
fn banks(core: &mut Core<'_>, at: &[u64; LANES], a: Access) {
    // Wide accesses go by half or quarter warps.
    let per_pass = (128 / a.bytes).min(LANES);
    let c = &mut core.tally.counters;
    for group in 0..LANES / per_pass {
        let mask = a.mask & ((ALL >> (32 - per_pass)) << (group * per_pass));
        if mask == 0 {
            continue;
        }
        let mut words = [[u64::MAX; 4]; 32];
        let mut distinct = [0_u8; 32];
        for l in lanes(mask) {
            for k in 0..a.bytes.div_ceil(4) {
                let word = at[l] / 4 + k as u64;
                let bank = word as usize % 32;
                let n = distinct[bank] as usize;
                // More than four words of one bank are counted as if all were distinct.
                if !words[bank][..n.min(4)].contains(&word) {
                    words[bank][n.min(3)] = word;
                    distinct[bank] += 1;
                }
            }
        }
        let passes = u64::from(distinct.into_iter().max().unwrap_or(1));
        c.shared_passes += passes;
        c.bank_conflicts += passes - 1;
    }
}
