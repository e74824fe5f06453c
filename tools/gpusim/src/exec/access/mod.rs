//! Loads and stores of all spaces: fast when a full warp touches one run of memory, else lane by lane.

mod global;
mod local;
mod race;
mod shared;

pub use global::sector;
pub use race::{Place, lanes_of as race_lanes, race, rows_of as race_rows};

use super::core::{Core, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BYTES};
use super::lanes::{ALL, LANES, Lane, Registers, lanes};
use super::warp::Warp;
use crate::ptx::program::{CLASS, Instr, R};
use crate::ptx::types::Space;
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
        Space::Global | Space::Const => global::read(core, warp, at, a, out),
        Space::Shared => shared::read(core, warp, at, a, out),
        Space::Local => local::read(core, warp, at, a, out),
        Space::Param => local::read_param(core, warp, at, a, out),
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
        Space::Shared => shared::write(core, warp, at, a, bytes),
        Space::Local => local::write(core, warp, at, a, bytes),
        Space::Generic => {
            by_space(at, a, |space, at, a| write(core, warp, space, at, a, bytes));
        }
        _ => global::write(core, warp, at, a, bytes),
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
