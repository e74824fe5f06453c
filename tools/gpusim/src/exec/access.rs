//! Loads and stores of all spaces: fast when a full warp touches one run of memory, else lane by lane.

use super::core::{Core, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BYTES};
use super::lanes::{ALL, LANES, Lane, Registers, lanes};
use super::warp::Warp;
use crate::check::race::Stamp;
use crate::memory::{BASE, INITIALISED};
use crate::ptx::program::{CLASS, Instr, R};
use crate::ptx::types::Space;
use crate::report::Kind;
use multiversion::multiversion;

/// Bytes of all lanes of one instruction, one lane after another.
pub type Buffer = [u8; LANES * 16];

/// What an access is, beside its addresses.
#[derive(Clone, Copy)]
pub struct Access {
    pub pc: usize,
    /// Bytes of a lane.
    pub bytes: usize,
    pub mask: u32,
    /// Volatile or with a memory order: no race with its like.
    pub ordered: bool,
}

#[inline(always)]
pub fn addresses(regs: &Registers, i: &Instr) -> [u64; LANES] {
    let base = regs.wide(i.a);
    base.map(|a| a.wrapping_add(i.imm as u64))
}

/// The first address, if the lanes of a full warp follow each other.
#[inline(always)]
fn run_start(at: &[u64; LANES], a: Access) -> Option<u64> {
    if a.mask != ALL || !at[0].is_multiple_of(a.bytes as u64) {
        return None;
    }
    let mut off = 0;
    for (l, &x) in at.iter().enumerate() {
        off |= x ^ at[0].wrapping_add((l * a.bytes) as u64);
    }
    (off == 0).then_some(at[0])
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx2", "x86_64+avx2"))]
fn all_and(states: &[u8]) -> u8 {
    let mut and = u8::MAX;
    for &s in states {
        and &= s;
    }
    and
}

pub fn load(
    core: &mut Core<'_>,
    warp: &mut Warp,
    i: &Instr,
    space: Space,
    (elem, signed): (u32, bool),
    a: Access,
) {
    let mut out = [0; LANES * 16];
    let at = addresses(&warp.regs, i);
    read(core, warp, space, &at, a, &mut out);
    let list = core.program.lists.get(i.list as usize);
    match list {
        None => spread(&mut warp.regs, i.d, a.mask, &out, (0, a.bytes), elem, signed),
        Some(list) => {
            for (k, &d) in list.iter().enumerate() {
                let at = (k * elem as usize, a.bytes);
                spread(&mut warp.regs, d, a.mask, &out, at, elem, signed);
            }
        }
    }
}

pub fn store(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, space: Space, elem: u32, a: Access) {
    let mut bytes = [0; LANES * 16];
    let at = addresses(&warp.regs, i);
    match core.program.lists.get(i.list as usize) {
        None => collect(&warp.regs, i.b, &mut bytes, (0, a.bytes), elem),
        Some(list) => {
            for (k, &s) in list.iter().enumerate() {
                collect(&warp.regs, s, &mut bytes, (k * elem as usize, a.bytes), elem);
            }
        }
    }
    write(core, warp, space, &at, a, &bytes);
}

/// Moves element `offset` of each lane from the buffer to a register.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx2", "x86_64+avx2"))]
fn spread(
    regs: &mut Registers,
    d: u32,
    mask: u32,
    from: &Buffer,
    (offset, stride): (usize, usize),
    elem: u32,
    signed: bool,
) {
    let at = |l: usize| offset + l * stride;
    if elem == 4 && d & CLASS == R {
        let mut value = [0; LANES];
        if stride == 4 {
            let (words, _) = from.as_chunks::<4>();
            for l in 0..LANES {
                value[l] = u32::from_le_bytes(words[l]);
            }
        } else {
            for (l, v) in value.iter_mut().enumerate() {
                let (word, _) = from[at(l)..].as_chunks::<4>();
                *v = u32::from_le_bytes(word[0]);
            }
        }
        return u32::write(regs, d, mask, &value);
    }
    let value: [u64; LANES] = std::array::from_fn(|l| {
        let mut word = [0; 8];
        word[..elem as usize].copy_from_slice(&from[at(l)..at(l) + elem as usize]);
        let value = u64::from_le_bytes(word);
        let unused = 64 - 8 * elem;
        if signed { ((value << unused) as i64 >> unused) as u64 } else { value }
    });
    regs.set_wide(d, mask, &value);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx2", "x86_64+avx2"))]
fn collect(regs: &Registers, s: u32, to: &mut Buffer, (offset, stride): (usize, usize), elem: u32) {
    if elem == 4 && s & CLASS == R {
        let value = u32::file(regs, s);
        if stride == 4 {
            let (words, _) = to.as_chunks_mut::<4>();
            for l in 0..LANES {
                words[l] = value[l].to_le_bytes();
            }
        } else {
            for (l, v) in value.iter().enumerate() {
                let (word, _) = to[offset + l * stride..].as_chunks_mut::<4>();
                word[0] = v.to_le_bytes();
            }
        }
        return;
    }
    for (l, v) in regs.wide(s).into_iter().enumerate() {
        to[offset + l * stride..][..elem as usize]
            .copy_from_slice(&v.to_le_bytes()[..elem as usize]);
    }
}

/// The space that a generic address lies in, and the address there.
pub fn resolve(at: u64) -> (Space, u64) {
    if (SHARED_WINDOW..SHARED_WINDOW + WINDOW_BYTES).contains(&at) {
        (Space::Shared, at - SHARED_WINDOW)
    } else if (LOCAL_WINDOW..LOCAL_WINDOW + WINDOW_BYTES).contains(&at) {
        (Space::Local, at - LOCAL_WINDOW)
    } else {
        (Space::Global, at)
    }
}

/// Splits a generic access by space and does each part.
fn by_space(at: &[u64; LANES], a: Access, mut part: impl FnMut(Space, &[u64; LANES], Access)) {
    let resolved = at.map(resolve);
    for space in [Space::Global, Space::Shared, Space::Local] {
        let mut mask = 0;
        for l in lanes(a.mask) {
            mask |= u32::from(resolved[l].0 == space) << l;
        }
        if mask != 0 {
            part(space, &resolved.map(|r| r.1), Access { mask, ..a });
        }
    }
}

pub fn read(
    core: &mut Core<'_>,
    warp: &mut Warp,
    space: Space,
    at: &[u64; LANES],
    a: Access,
    out: &mut Buffer,
) {
    match space {
        Space::Global | Space::Const => read_global(core, warp, at, a, out),
        Space::Shared => read_shared(core, warp, at, a, out),
        Space::Local => read_local(core, warp, at, a, out),
        Space::Param => read_param(core, warp, at, a, out),
        Space::Generic => {
            by_space(at, a, |space, at, a| read(core, warp, space, at, a, out));
        }
    }
}

pub fn write(
    core: &mut Core<'_>,
    warp: &mut Warp,
    space: Space,
    at: &[u64; LANES],
    a: Access,
    bytes: &Buffer,
) {
    match space {
        Space::Shared => write_shared(core, warp, at, a, bytes),
        Space::Local => write_local(core, warp, at, a, bytes),
        Space::Generic => {
            by_space(at, a, |space, at, a| write(core, warp, space, at, a, bytes));
        }
        _ => write_global(core, warp, at, a, bytes),
    }
}

fn read_param(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
    for l in lanes(a.mask) {
        let start = at[l] as usize;
        let to = &mut out[l * a.bytes..(l + 1) * a.bytes];
        match core.config.params.get(start..start.wrapping_add(a.bytes)) {
            Some(from) => to.copy_from_slice(from),
            None => core.report(Kind::ParamOutOfBounds, a.pc, Some(warp.thread(l)), None, |_| {
                format!("read of {} bytes at {start} outside the parameters", a.bytes)
            }),
        }
    }
}

/// Bits of a word that `bytes` bytes at an address touch.
fn word_bytes(at: u64, bytes: usize) -> u32 {
    if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << (at & 3) }
}

fn read_global(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
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
            let calm = !races
                || (a.bytes >= 4 && {
                    let shift = (a.bytes / 4).trailing_zeros();
                    trace.words().read_run(first / 4, len / 4, shift, stamp, &core.clock)
                });
            sectors(core, first, len, false);
            if !calm {
                for l in 0..LANES {
                    race_global(core, warp, l, at[l], a, false);
                }
            }
            return;
        }
    }
    core.memory.trace.serial += 1;
    let same = super::core::uniform(at, a.mask);
    if let Some(start) = same {
        let l = a.mask.trailing_zeros() as usize;
        if core.global_ok(a.pc, warp.thread(l), start, a.bytes, false) {
            let first = (start - BASE) as usize;
            repeat(&core.memory.parts().0[first..first + a.bytes], out);
            sector(core, first, a.bytes, false);
            // Two readers are all that a word remembers.
            let other = 31 - a.mask.leading_zeros() as usize;
            race_global(core, warp, l, start, a, false);
            if other != l {
                race_global(core, warp, other, start, a, false);
            }
        }
        return;
    }
    for l in lanes(a.mask) {
        if core.global_ok(a.pc, warp.thread(l), at[l], a.bytes, false) {
            let first = (at[l] - BASE) as usize;
            out[l * a.bytes..(l + 1) * a.bytes]
                .copy_from_slice(&core.memory.parts().0[first..first + a.bytes]);
            sector(core, first, a.bytes, false);
            race_global(core, warp, l, at[l], a, false);
        }
    }
}

fn write_global(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, bytes: &Buffer) {
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
            let calm = !races
                || (a.bytes >= 4 && {
                    let shift = (a.bytes / 4).trailing_zeros();
                    trace.words().write_run(first / 4, len / 4, shift, stamp, &core.clock)
                });
            sectors(core, first, len, true);
            if !calm {
                for l in 0..LANES {
                    race_global(core, warp, l, at[l], a, true);
                }
            }
            return;
        }
    }
    core.memory.trace.serial += 1;
    let mut done = 0_u32;
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
                race_global(core, warp, l, at[l], a, true);
            }
            done |= 1 << l;
        }
    }
}

/// Registers the words of one lane and reports conflicts.
pub fn race_global(core: &mut Core<'_>, warp: &Warp, lane: usize, at: u64, a: Access, write: bool) {
    if !core.session.races {
        return;
    }
    let time = core.clock.time(warp.index);
    let thread = warp.thread(lane);
    if a.bytes >= 4 {
        // One thread has all the words: a shift by more than their number.
        let stamp = Stamp::new(time, thread, 15, a.ordered);
        let (first, count) = (((at - BASE) / 4) as usize, a.bytes / 4);
        let mut words = core.memory.trace.words();
        let quiet = if write {
            words.write_few(first, count, 8, stamp, &core.clock)
        } else {
            words.read_few(first, count, 8, stamp, &core.clock)
        };
        if quiet {
            return;
        }
    }
    for k in 0..a.bytes.div_ceil(4) {
        let at = at + 4 * k as u64;
        let stamp = Stamp::new(time, thread, word_bytes(at, a.bytes), a.ordered);
        let word = ((at - BASE) / 4) as usize;
        let mut words = core.memory.trace.words();
        let found = if write {
            words.write(word, stamp, &core.clock)
        } else {
            words.read(word, stamp, &core.clock)
        };
        if let Some(c) = found {
            core.report_race(true, write, a.pc, thread, at, c);
        }
    }
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

fn read_shared(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
    if let Some(start) = run_start(at, a) {
        let (first, len) = (start as usize, LANES * a.bytes);
        let end = first.saturating_add(len);
        if core.shared.shadow.get(first..end).is_some_and(|s| same_state(s, INITIALISED)) {
            out[..len].copy_from_slice(&core.shared.data[first..end]);
            core.tally.counters.shared_passes += (len / 128).max(1) as u64;
            let stamp = Stamp::new(core.clock.time(warp.index), warp.thread(0), 15, a.ordered);
            let calm = !core.session.races
                || (a.bytes >= 4 && {
                    let shift = (a.bytes / 4).trailing_zeros();
                    core.shared.words().read_run(first / 4, len / 4, shift, stamp, &core.clock)
                });
            if !calm {
                for l in 0..LANES {
                    race_shared(core, warp, l, at[l], a, false);
                }
            }
            return;
        }
    }
    if let Some(start) = super::core::uniform(at, a.mask) {
        return broadcast_shared(core, warp, start, a, out);
    }
    banks(core, at, a);
    for l in lanes(a.mask) {
        if core.shared_ok(a.pc, warp.thread(l), at[l], a.bytes, false) {
            let first = at[l] as usize;
            out[l * a.bytes..(l + 1) * a.bytes]
                .copy_from_slice(&core.shared.data[first..first + a.bytes]);
            race_shared(core, warp, l, at[l], a, false);
        }
    }
}

/// The same bytes for each lane.
fn repeat(value: &[u8], out: &mut Buffer) {
    if let Ok(word) = <[u8; 4]>::try_from(value) {
        out.as_chunks_mut::<4>().0[..LANES].fill(word);
    } else if let Ok(word) = <[u8; 8]>::try_from(value) {
        out.as_chunks_mut::<8>().0[..LANES].fill(word);
    } else if let Ok(word) = <[u8; 16]>::try_from(value) {
        out.as_chunks_mut::<16>().0.fill(word);
    } else {
        out.chunks_exact_mut(value.len()).take(LANES).for_each(|to| to.copy_from_slice(value));
    }
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
    race_shared(core, warp, l, start, a, false);
    if other != l {
        race_shared(core, warp, other, start, a, false);
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

fn write_shared(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, bytes: &Buffer) {
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
                || (a.bytes >= 4 && {
                    let shift = (a.bytes / 4).trailing_zeros();
                    core.shared.words().write_run(first / 4, len / 4, shift, stamp, &core.clock)
                });
            if !calm {
                for l in 0..LANES {
                    race_shared(core, warp, l, at[l], a, true);
                }
            }
            return;
        }
    }
    banks(core, at, a);
    let mut done = 0_u32;
    for l in lanes(a.mask) {
        if core.shared_ok(a.pc, warp.thread(l), at[l], a.bytes, true) {
            let first = at[l] as usize;
            let value = &bytes[l * a.bytes..(l + 1) * a.bytes];
            let to = &mut core.shared.data[first..first + a.bytes];
            let unchanged = *to == *value;
            to.copy_from_slice(value);
            core.shared.shadow[first..first + a.bytes].fill(INITIALISED);
            if !(unchanged && lanes(done).any(|o| at[o] == at[l])) {
                race_shared(core, warp, l, at[l], a, true);
            }
            done |= 1 << l;
        }
    }
}

pub fn race_shared(core: &mut Core<'_>, warp: &Warp, lane: usize, at: u64, a: Access, write: bool) {
    if !core.session.races {
        return;
    }
    let time = core.clock.time(warp.index);
    let thread = warp.thread(lane);
    if a.bytes >= 4 {
        let stamp = Stamp::new(time, thread, 15, a.ordered);
        let (first, count) = ((at / 4) as usize, a.bytes / 4);
        let mut words = core.shared.words();
        let quiet = if write {
            words.write_few(first, count, 8, stamp, &core.clock)
        } else {
            words.read_few(first, count, 8, stamp, &core.clock)
        };
        if quiet {
            return;
        }
    }
    for k in 0..a.bytes.div_ceil(4) {
        let at = at + 4 * k as u64;
        let stamp = Stamp::new(time, thread, word_bytes(at, a.bytes), a.ordered);
        let mut words = core.shared.words();
        let found = if write {
            words.write((at / 4) as usize, stamp, &core.clock)
        } else {
            words.read((at / 4) as usize, stamp, &core.clock)
        };
        if let Some(c) = found {
            core.report_race(false, write, a.pc, thread, SHARED_WINDOW + at, c);
        }
    }
}

fn read_local(core: &mut Core<'_>, warp: &Warp, at: &[u64; LANES], a: Access, out: &mut Buffer) {
    for l in lanes(a.mask) {
        let Some(first) = local_place(core, warp, l, at[l], a) else { continue };
        if warp.local_written[first..first + a.bytes].contains(&false) {
            let address = Some(LOCAL_WINDOW + at[l]);
            core.report(Kind::Uninitialised, a.pc, Some(warp.thread(l)), address, |_| {
                "read of local memory that was never written".into()
            });
        }
        out[l * a.bytes..(l + 1) * a.bytes].copy_from_slice(&warp.local[first..first + a.bytes]);
    }
}

fn write_local(core: &mut Core<'_>, warp: &mut Warp, at: &[u64; LANES], a: Access, bytes: &Buffer) {
    for l in lanes(a.mask) {
        let Some(first) = local_place(core, warp, l, at[l], a) else { continue };
        warp.local_written[first..first + a.bytes].fill(true);
        warp.local[first..first + a.bytes].copy_from_slice(&bytes[l * a.bytes..(l + 1) * a.bytes]);
    }
}

fn local_place(core: &mut Core<'_>, warp: &Warp, lane: usize, at: u64, a: Access) -> Option<usize> {
    let whole = core.program.local_bytes as u64;
    let address = Some(LOCAL_WINDOW.wrapping_add(at));
    if !at.is_multiple_of(a.bytes as u64) {
        core.report(Kind::Misaligned, a.pc, Some(warp.thread(lane)), address, |_| {
            format!(
                "{}-byte access of local memory at an address that is no multiple of it",
                a.bytes
            )
        });
        return None;
    }
    if at.checked_add(a.bytes as u64).is_none_or(|end| end > whole) {
        core.report(Kind::LocalOutOfBounds, a.pc, Some(warp.thread(lane)), address, |_| {
            format!("access of {} bytes at {at} outside the {whole} bytes of local memory", a.bytes)
        });
        return None;
    }
    Some(lane * whole as usize + at as usize)
}
