//! Instructions that work lane by lane: everything but control flow.

use super::access::{self, Access};
use super::core::Core;
use super::lanes::{ALL, LANES, Lane, lanes};
use super::warp::Warp;
use super::{approx, async_copy, atomics, compare, convert, float, host, int};
use crate::ptx::program::{Bool, Instr, Op, Special};
use crate::ptx::types::Space;

/// Runs `i` on the lanes of `mask`.
pub fn run(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, pc: usize, mask: u32) {
    let regs = &mut warp.regs;
    match i.op {
        Op::Int(op, ty) => int::run(op, ty, regs, i, mask, &core.program.lists),
        Op::MulWide(ty) => int::mul_wide(ty, false, regs, i, mask),
        Op::MadWide(ty) => int::mul_wide(ty, true, regs, i, mask),
        Op::Carry { op, ty, takes, gives } => int::carry(op, ty, (takes, gives), regs, i, mask),
        Op::Lop3(lut) => int::lop3(lut, regs, i, mask),
        Op::Prmt(mode) => int::prmt(mode, regs, i, mask),
        Op::Shf { left, wrap } => int::shf(left, wrap, regs, i, mask),
        Op::Dp4a { a_signed, b_signed } => int::dp4a(a_signed, b_signed, regs, i, mask),
        Op::Bmsk { clamp } => int::bmsk(clamp, regs, i, mask),
        Op::Szext { signed, clamp } => int::szext(signed, clamp, regs, i, mask),
        Op::Float(op, ty, mode) => float::run(op, ty, mode, regs, i, mask),
        Op::Approx(op, ty, ftz) => approx::run(op, ty, ftz, regs, i, mask),
        Op::Setp(c) => compare::setp(c, regs, i, mask),
        Op::Set(c, to) => compare::set(c, to, regs, i, mask),
        Op::Selp(ty) => compare::selp(ty.bytes() == 8, regs, i, mask),
        Op::Slct { ty, by_float } => compare::slct(ty.bytes() == 8, by_float, regs, i, mask),
        Op::Testp(class, ty) => compare::testp(class, ty, regs, i, mask),
        Op::Convert(c) => convert::run(c, regs, i, mask),
        Op::ConvertPair(c) => convert::pair(c, regs, i, mask),
        Op::Mov32 => convert::mov32(regs, i, mask),
        Op::Mov64 => convert::mov64(regs, i, mask),
        Op::Pack(bytes) => convert::pack(bytes, core.program.list(i), regs, i, mask),
        Op::Unpack(bytes) => convert::unpack(bytes, core.program.list(i), regs, i, mask),
        Op::MovPred => {
            let a = regs.pred(i.a) ^ negate(i.imm & 1);
            regs.set_pred(i.d, mask, a);
        }
        Op::PredNot => {
            let a = !regs.pred(i.a);
            regs.set_pred(i.d, mask, a);
        }
        Op::PredLogic(op) => {
            let a = regs.pred(i.a) ^ negate(i.imm & 1);
            let b = regs.pred(i.b) ^ negate(i.imm & 2);
            let value = match op {
                Bool::And => a & b,
                Bool::Or => a | b,
                Bool::Xor => a ^ b,
            };
            regs.set_pred(i.d, mask, value);
        }
        Op::ActiveMask => u32::write(regs, i.d, mask, &[mask; LANES]),
        Op::Special(special) => {
            let ticks = core.session.instruction_budget - core.budget;
            let value = if special == Special::Clock { ticks & 0xffff_ffff } else { ticks };
            regs.set_wide(i.d, mask, &[value; LANES]);
        }
        Op::Load { space, bytes, signed, ordered } => {
            let a = whole(core, i, pc, mask, bytes, ordered);
            access::load(core, warp, i, space, (bytes, signed), a);
        }
        Op::Store { space, bytes, ordered } => {
            let a = whole(core, i, pc, mask, bytes, ordered);
            access::store(core, warp, i, space, bytes, a);
        }
        Op::Atom { space, op, ty } => atomics::run(core, warp, i, pc, mask, space, op, ty),
        Op::ToGeneric(space) => shift_window(warp, i, mask, space, true),
        Op::FromGeneric(space) => shift_window(warp, i, mask, space, false),
        Op::IsSpace(space) => {
            let at = u64::read(regs, i.a);
            let is = |l: usize| {
                let found = access::resolve(at[l]).0;
                found == space || (space == Space::Const && found == Space::Global)
            };
            let bits = (0..LANES).fold(0, |b, l| b | u32::from(is(l)) << l);
            regs.set_pred(i.d, mask, bits);
        }
        Op::LocalCopy => {
            let &[to, from, bytes] = core.program.list(i) else { return };
            let stride = core.program.local_bytes;
            for l in lanes(mask) {
                let base = l as u32 * stride;
                let (to, from) = ((base + to) as usize, (base + from) as usize);
                let bytes = bytes as usize;
                warp.local.copy_within(from..from + bytes, to);
                warp.local_written.copy_within(from..from + bytes, to);
            }
        }
        Op::CpAsync(bytes) => async_copy::issue(core, warp, i, pc, mask, bytes as usize),
        Op::CpAsyncCommit => warp.in_flight.commit(mask),
        Op::CpAsyncWait => async_copy::wait(core, warp, pc, mask, i.imm),
        Op::Fence(true) => core.handover.fence(),
        Op::Fence(false) => {}
        Op::Printf => host::print(core, warp, i, mask),
        Op::Nop => {}
        _ => unreachable!("control flow is handled by its own function"),
    }
}

fn negate(bit: i64) -> u32 {
    if bit != 0 { ALL } else { 0 }
}

/// The access of all elements of a possibly vectorised instruction.
fn whole(core: &Core<'_>, i: &Instr, pc: usize, mask: u32, bytes: u32, ordered: bool) -> Access {
    let elems = core.program.lists.get(i.list as usize).map_or(1, |l| l.len());
    Access { pc, bytes: bytes as usize * elems, mask, ordered }
}

fn shift_window(warp: &mut Warp, i: &Instr, mask: u32, space: Space, to_generic: bool) {
    let window = match space {
        Space::Shared => super::core::SHARED_WINDOW,
        Space::Local => super::core::LOCAL_WINDOW,
        _ => 0,
    };
    let a = u64::read(&warp.regs, i.a);
    let shifted =
        a.map(|a| if to_generic { a.wrapping_add(window) } else { a.wrapping_sub(window) });
    u64::write(&mut warp.regs, i.d, mask, &shifted);
}
