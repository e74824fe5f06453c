//! The interpreter: runs the groups of a warp until it waits for other warps, or ends.

use super::access::{self, Access};
use super::core::Core;
use super::lanes::{ALL, LANES, Lane, lanes};
use super::warp::{Group, Parked, Warp};
use super::{approx, async_copy, atomics, compare, convert, exchange, float, host, int, matrix};
use crate::ptx::program::{BarrierKind, Bool, Instr, NO_SLOT, Op, Special};
use crate::ptx::types::{Space, Ty};
use crate::report::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Every lane left exited.
    Exited,
    /// All groups wait at block barriers.
    Barrier,
    /// The time slice is over; others may run.
    Slice,
    /// The kernel is over: trap, assertion or budget.
    Stopped,
}

/// Instructions of a warp before others, or its other groups, get their turn.
const SLICE: u64 = 1 << 16;

pub fn run(core: &mut Core<'_>, warp: &mut Warp) -> Stop {
    let mut slice = SLICE;
    let mut forced = false;
    loop {
        let now = core.budget;
        let Some(current) = warp.schedule(u64::MAX - now) else {
            if let Some(stop) = stuck(core, warp, &mut forced) {
                return stop;
            }
            continue;
        };
        let spent = slice;
        let next = group(core, warp, current, &mut slice, std::mem::take(&mut forced));
        core.budget = core.budget.saturating_sub(spent - slice);
        match next {
            Some(stop) => return stop,
            None if core.budget == 0 => {
                let pc = warp.groups.first().map_or(0, |g| g.pc);
                core.report(Kind::Budget, pc, Some(warp.thread(0)), None, |core| {
                    let most = core.session.instruction_budget;
                    format!("launch executed {most} warp instructions: probably an endless loop")
                });
                core.stopped = Some("instruction budget exceeded".into());
                return Stop::Stopped;
            }
            None if slice == 0 => {
                warp.rotate = true;
                return Stop::Slice;
            }
            None => {}
        }
    }
}

/// No group can run: either all wait at block barriers, or some wait for lanes that will not come.
fn stuck(core: &mut Core<'_>, warp: &mut Warp, forced: &mut bool) -> Option<Stop> {
    let waiting = warp.groups.iter().enumerate().filter_map(|(i, g)| match g.parked {
        Parked::Lanes(need) => Some((g.pc, i, need)),
        _ => None,
    });
    let Some((pc, i, need)) = waiting.min() else { return Some(Stop::Barrier) };
    let missing = need & warp.live & !warp.groups[i].mask;
    if missing == 0 {
        // The others exited meanwhile; the instruction will say so.
        warp.groups[i].parked = Parked::No;
        return None;
    }
    let lane = warp.groups[i].mask.trailing_zeros() as usize;
    let barrier = matches!(core.program.code[pc].op, Op::Barrier { .. });
    let kind = if barrier { Kind::BarrierDivergence } else { Kind::SyncMask };
    core.report(kind, pc, Some(warp.thread(lane)), None, |_| {
        let what = if barrier { "block barrier" } else { "warp-synchronous instruction" };
        format!(
            "{what} that lanes {missing:#010x} of the warp do not reach together with the others"
        )
    });
    warp.groups[i].parked = Parked::No;
    *forced = true;
    None
}

/// Lanes for which an instruction is executed.
#[inline(always)]
fn enabled(warp: &Warp, i: &Instr, active: u32) -> u32 {
    if i.guard.slot == NO_SLOT {
        return active;
    }
    let p = warp.regs.pred(i.guard.slot);
    active & if i.guard.negated { !p } else { p }
}

/// Runs one group until the groups change; `None`: schedule again.
fn group(
    core: &mut Core<'_>,
    warp: &mut Warp,
    current: usize,
    slice: &mut u64,
    mut forced: bool,
) -> Option<Stop> {
    let program = core.program;
    let alone = warp.groups.len() == 1;
    let meeting = if alone { usize::MAX } else { warp.next_meeting(current) };
    let active = warp.groups[current].mask;
    let mut pc = warp.groups[current].pc;
    loop {
        if *slice == 0 {
            warp.groups[current].pc = pc;
            return None;
        }
        *slice -= 1;
        let i = &program.code[pc];
        let mask = enabled(warp, i, active);
        core.tally.issued[pc] += 1;
        core.tally.lanes[pc] += u64::from(mask.count_ones());
        if mask == 0 {
            pc += 1;
        } else if is_flow(i.op) {
            warp.groups[current].pc = pc;
            let partial = mask != active && splits(i.op);
            if partial {
                split(warp, current, mask, pc);
                return None;
            }
            match flow(core, warp, current, i, mask, forced) {
                Flow::Next => pc += 1,
                Flow::Jump(to) if alone => pc = to,
                Flow::Jump(to) => {
                    warp.groups[current].pc = to;
                    return None;
                }
                Flow::Schedule => return None,
                Flow::Stop(stop) => return Some(stop),
            }
            forced = false;
        } else {
            execute(core, warp, i, pc, mask);
            pc += 1;
        }
        if pc >= meeting {
            warp.groups[current].pc = pc;
            return None;
        }
    }
}

/// The lanes that do not take an instruction go on behind it; the others do it on their own.
fn split(warp: &mut Warp, current: usize, mask: u32, pc: usize) {
    let g = &mut warp.groups[current];
    let rest = Group {
        pc: pc + 1,
        mask: g.mask & !mask,
        stack: g.stack.clone(),
        parked: Parked::No,
        ran: g.ran,
    };
    g.mask = mask;
    warp.groups.push(rest);
}

/// Instructions that move lanes, or wait for other lanes.
#[inline(always)]
fn is_flow(op: Op) -> bool {
    matches!(
        op,
        Op::Bra
            | Op::Brx
            | Op::Call
            | Op::Ret
            | Op::Exit
            | Op::Barrier { .. }
            | Op::WarpSync
            | Op::Vote(_)
            | Op::Match { .. }
            | Op::Shuffle(_)
            | Op::Redux(..)
            | Op::Mma(_)
            | Op::Ldmatrix { .. }
            | Op::Stmatrix { .. }
            | Op::Trap
            | Op::AssertFail
    )
}

/// Those that part of a group does on its own, apart from the rest.
fn splits(op: Op) -> bool {
    !matches!(op, Op::Bra | Op::Exit | Op::Trap | Op::AssertFail)
}

enum Flow {
    Next,
    Jump(usize),
    Schedule,
    Stop(Stop),
}

#[inline(always)]
fn flow(
    core: &mut Core<'_>,
    warp: &mut Warp,
    current: usize,
    i: &Instr,
    mask: u32,
    forced: bool,
) -> Flow {
    let pc = warp.groups[current].pc;
    let target = i.imm as usize;
    match i.op {
        Op::Bra if mask == warp.groups[current].mask => return Flow::Jump(target),
        Op::Bra => {
            split(warp, current, mask, pc);
            warp.groups[current].pc = target;
            return Flow::Schedule;
        }
        Op::Brx => return table_jump(core, warp, current, i, mask),
        Op::Call => {
            warp.groups[current].stack.push(pc + 1);
            return Flow::Jump(target);
        }
        Op::Ret => {
            let back = warp.groups[current].stack.pop();
            return back.map_or(Flow::Schedule, Flow::Jump);
        }
        Op::Exit => {
            warp.groups[current].pc = pc + 1;
            let done = warp.exit(mask);
            return if done { Flow::Stop(Stop::Exited) } else { Flow::Schedule };
        }
        Op::Trap | Op::AssertFail => {
            host::stop(core, warp, i, pc, mask);
            return Flow::Stop(Stop::Stopped);
        }
        Op::Barrier { kind, aligned } => {
            return barrier(core, warp, current, i, kind, aligned && !forced);
        }
        _ => {}
    }
    let need = members(core, warp, i, pc, mask);
    if need & warp.live & !mask != 0 && !forced {
        if i.op == Op::WarpSync && met_elsewhere(core, warp, current, need) {
            return Flow::Schedule;
        }
        warp.groups[current].parked = Parked::Lanes(need);
        return Flow::Schedule;
    }
    match i.op {
        Op::WarpSync => core.clock.sync_warp(warp.index, mask, mask == warp.live),
        Op::Mma(kind) => matrix::mma(core, warp, i, kind),
        Op::Ldmatrix { count, trans } => matrix::load(core, warp, i, pc, mask, count, trans),
        Op::Stmatrix { count, trans } => matrix::store(core, warp, i, pc, mask, count, trans),
        _ => exchange::run(core, warp, i, pc, mask, need),
    }
    Flow::Next
}

/// Lanes that must take part in a `.sync` instruction.
fn members(core: &mut Core<'_>, warp: &Warp, i: &Instr, pc: usize, mask: u32) -> u32 {
    let slot = match i.op {
        Op::WarpSync => i.a,
        Op::Vote(_) | Op::Match { .. } | Op::Shuffle(_) | Op::Redux(..) => i.c,
        // `.aligned`: the whole warp.
        _ => {
            if mask != ALL {
                core.report(Kind::SyncMask, pc, None, None, |_| {
                    format!("matrix instruction of a warp with only lanes {mask:#010x}")
                });
            }
            return ALL;
        }
    };
    let masks = u32::read(&warp.regs, slot);
    let first = mask.trailing_zeros() as usize;
    let need = masks[first];
    let gone = need & !warp.live;
    if gone != 0 {
        core.report(Kind::SyncMask, pc, Some(warp.thread(first)), None, |_| {
            format!("mask {need:#010x} names lanes {gone:#010x}, which exited or never were")
        });
    }
    let differs = lanes(mask).find(|&l| masks[l] != need);
    let outside = lanes(mask).find(|&l| masks[l] >> l & 1 == 0);
    if let Some(lane) = differs.or(outside) {
        let given = masks[lane];
        core.report(Kind::SyncMask, pc, Some(warp.thread(lane)), None, |_| match differs {
            Some(_) => format!("lanes give different masks: {need:#010x} and {given:#010x}"),
            None => format!("lane {lane} is not in its own mask {given:#010x}"),
        });
    }
    need
}

/// `bar.warp.sync` may be reached at different places: releases all once every lane is at one.
fn met_elsewhere(core: &mut Core<'_>, warp: &mut Warp, current: usize, need: u32) -> bool {
    let at_sync = |g: &Group| {
        core.program.code[g.pc].op == Op::WarpSync && matches!(g.parked, Parked::Lanes(_))
    };
    let mut together = warp.groups[current].mask;
    for g in warp.groups.iter().filter(|g| at_sync(g)) {
        together |= g.mask;
    }
    if need & warp.live & !together != 0 {
        return false;
    }
    for k in 0..warp.groups.len() {
        if k == current || at_sync(&warp.groups[k]) {
            warp.groups[k].pc += 1;
            warp.groups[k].parked = Parked::No;
        }
    }
    core.clock.sync_warp(warp.index, together, together == warp.live);
    true
}

fn table_jump(core: &mut Core<'_>, warp: &mut Warp, current: usize, i: &Instr, mask: u32) -> Flow {
    let targets = core.program.list(i);
    let index = u32::read(&warp.regs, i.a);
    let pc = warp.groups[current].pc;
    let first = mask.trailing_zeros() as usize;
    let Some(&target) = targets.get(index[first] as usize) else {
        core.report(Kind::OutOfBounds, pc, Some(warp.thread(first)), None, |_| {
            format!("branch table of {} entries, index {}", targets.len(), index[first])
        });
        core.stopped = Some("branch table index out of range".into());
        return Flow::Stop(Stop::Stopped);
    };
    let same = lanes(mask).filter(|&l| index[l] == index[first]).fold(0, |m, l| m | 1 << l);
    if same == mask {
        return Flow::Jump(target as usize);
    }
    // The other lanes stay, and take the instruction again on their own.
    let g = &mut warp.groups[current];
    let stay = Group { mask: mask & !same, ..g.clone() };
    (g.mask, g.pc) = (same, target as usize);
    warp.groups.push(stay);
    Flow::Schedule
}

fn barrier(
    core: &mut Core<'_>,
    warp: &mut Warp,
    current: usize,
    i: &Instr,
    kind: BarrierKind,
    aligned: bool,
) -> Flow {
    let mask = warp.groups[current].mask;
    if aligned && mask != warp.live {
        warp.groups[current].parked = Parked::Lanes(warp.live);
        return Flow::Schedule;
    }
    super::barrier::arrive(core, warp, current, i, kind);
    match kind {
        BarrierKind::Arrive => Flow::Next,
        _ => {
            warp.groups[current].parked = Parked::Barrier;
            Flow::Schedule
        }
    }
}

/// Everything that works lane by lane.
fn execute(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, pc: usize, mask: u32) {
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

/// Class of an instruction for the counters, and floating-point operations of one lane.
pub fn class(i: &Instr) -> (&'static str, u64) {
    use crate::ptx::program::FloatOp;
    match i.op {
        Op::Float(op, ty, _) => {
            let each = if op == FloatOp::Fma { 2 } else { 1 };
            let packed = matches!(ty, Ty::F16x2 | Ty::BF16x2);
            let none = matches!(op, FloatOp::Neg | FloatOp::Abs | FloatOp::Copysign);
            let flops = if none { 0 } else { each * if packed { 2 } else { 1 } };
            let class = match ty {
                Ty::F32 => "float",
                Ty::F64 => "double",
                _ => "half",
            };
            (class, flops)
        }
        Op::Approx(..) => ("special", 1),
        Op::Convert(_) | Op::ConvertPair(_) => ("convert", 0),
        Op::Mov32 | Op::Mov64 | Op::MovPred | Op::Pack(_) | Op::Unpack(_) => ("move", 0),
        Op::Load { space, .. } => (
            match space {
                Space::Global | Space::Generic => "ld_global",
                Space::Shared => "ld_shared",
                Space::Local => "ld_local",
                Space::Param | Space::Const => "ld_const",
            },
            0,
        ),
        Op::Store { space, .. } => (
            match space {
                Space::Shared => "st_shared",
                Space::Local => "st_local",
                _ => "st_global",
            },
            0,
        ),
        Op::Atom { space, .. } => {
            (if space == Space::Shared { "atom_shared" } else { "atom_global" }, 0)
        }
        Op::CpAsync(_) | Op::CpAsyncCommit | Op::CpAsyncWait => ("cp_async", 0),
        Op::Ldmatrix { .. } | Op::Stmatrix { .. } => ("matrix_move", 0),
        Op::Mma(_) => ("mma", 0),
        Op::Barrier { .. } | Op::WarpSync | Op::Fence(_) => ("barrier", 0),
        Op::Vote(_) | Op::Match { .. } | Op::Shuffle(_) | Op::Redux(..) => ("exchange", 0),
        Op::Bra | Op::Brx | Op::Call | Op::Ret | Op::Exit => ("control", 0),
        Op::Setp(_) | Op::Set(..) | Op::Selp(_) | Op::Slct { .. } | Op::Testp(..) => ("compare", 0),
        Op::PredLogic(_) | Op::PredNot => ("compare", 0),
        Op::LocalCopy | Op::Nop | Op::Trap | Op::AssertFail | Op::Printf => ("other", 0),
        Op::Special(_) | Op::ActiveMask => ("other", 0),
        _ => ("int", 0),
    }
}
