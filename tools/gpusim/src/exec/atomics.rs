//! `atom` and `red`: read, combine, write, one lane after another.

use super::access::{self, Access, Place};
use super::core::Core;
use super::float::{bf16_of, f16_of};
use super::lanes::{LANES, lanes};
use super::round::{bf16_to_f32, f16_to_f64, flush};
use super::warp::Warp;
use crate::memory::{BASE, INITIALISED};
use crate::ptx::program::{AtomOp, Instr, NO_SLOT};
use crate::ptx::types::{Space, Ty};
use crate::report::Kind;

#[allow(clippy::too_many_arguments)]
pub fn run(
    core: &mut Core<'_>,
    warp: &mut Warp,
    i: &Instr,
    pc: usize,
    mask: u32,
    space: Space,
    op: AtomOp,
    ty: Ty,
) {
    let at = access::addresses(&warp.regs, i);
    let b = warp.regs.wide(i.b);
    let c = if i.c == NO_SLOT { [0; LANES] } else { warp.regs.wide(i.c) };
    let bytes = ty.bytes() as usize;
    let a = Access { pc, bytes, mask, ordered: true };
    let mut old = [0; LANES];
    core.memory.trace.serial += 1;
    for l in lanes(mask) {
        let (space, at) =
            if space == Space::Generic { access::resolve(at[l]) } else { (space, at[l]) };
        let thread = warp.thread(l);
        let combine = |old: u64| combine(op, ty, old, b[l], c[l]);
        match space {
            Space::Shared => {
                if core.shared_ok(pc, thread, at, bytes, false) {
                    let first = at as usize;
                    old[l] = update(&mut core.shared.data[first..first + bytes], combine);
                    core.shared.shadow[first..first + bytes].fill(INITIALISED);
                    access::race(core, warp, Place::Shared, l, at, a, true);
                }
            }
            Space::Local => core.report(Kind::OutOfBounds, pc, Some(thread), Some(at), |_| {
                "atomic access of local memory".into()
            }),
            _ => {
                if core.global_ok(pc, thread, at, bytes, false) {
                    let first = (at - BASE) as usize;
                    let (data, shadow, _) = core.memory.parts();
                    old[l] = update(&mut data[first..first + bytes], combine);
                    shadow[first..first + bytes].fill(INITIALISED);
                    access::sector(core, first, bytes, false);
                    access::sector(core, first, bytes, true);
                    access::race(core, warp, Place::Global, l, at, a, true);
                    core.handover.atomic(at);
                }
            }
        }
    }
    if i.d != NO_SLOT {
        warp.regs.set_wide(i.d, mask, &old);
    }
}

fn update(place: &mut [u8], combine: impl Fn(u64) -> u64) -> u64 {
    let mut word = [0; 8];
    word[..place.len()].copy_from_slice(place);
    let old = u64::from_le_bytes(word);
    let n = place.len();
    place.copy_from_slice(&combine(old).to_le_bytes()[..n]);
    old
}

fn combine(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
    let bits = 8 * ty.bytes();
    let keep = u64::MAX >> (64 - bits);
    let (old, b, c) = (old & keep, b & keep, c & keep);
    let signed = |x: u64| (x << (64 - bits)) as i64 >> (64 - bits);
    match op {
        AtomOp::Add => add(ty, old, b),
        AtomOp::Min if ty.is_signed() => signed(old).min(signed(b)) as u64,
        AtomOp::Max if ty.is_signed() => signed(old).max(signed(b)) as u64,
        AtomOp::Min => old.min(b),
        AtomOp::Max => old.max(b),
        AtomOp::And => old & b,
        AtomOp::Or => old | b,
        AtomOp::Xor => old ^ b,
        AtomOp::Exch => b,
        AtomOp::Cas if old == b => c,
        AtomOp::Cas => old,
        AtomOp::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomOp::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}

fn add(ty: Ty, old: u64, b: u64) -> u64 {
    let halves = |one: fn(u16, u16) -> u16| {
        let low = one(old as u16, b as u16);
        let high = one((old >> 16) as u16, (b >> 16) as u16);
        u64::from(low) | u64::from(high) << 16
    };
    let bf16 = |x: u16, y: u16| bf16_of(f64::from(bf16_to_f32(x)) + f64::from(bf16_to_f32(y)));
    let f16 = |x: u16, y: u16| f16_of(f16_to_f64(x) + f16_to_f64(y));
    match ty {
        // Float atomics of global memory flush subnormals on cards.
        Ty::F32 => {
            let sum = flush(f32::from_bits(old as u32)) + flush(f32::from_bits(b as u32));
            u64::from(flush(sum).to_bits())
        }
        Ty::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        Ty::F16 => f16(old as u16, b as u16).into(),
        Ty::BF16 => bf16(old as u16, b as u16).into(),
        Ty::F16x2 => halves(f16),
        Ty::BF16x2 => halves(bf16),
        _ => old.wrapping_add(b),
    }
}
