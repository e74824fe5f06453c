//! The interpreter: runs the groups of a warp until it waits for other warps, or ends.

use super::core::Core;
use super::lanes::{ALL, Lane, lanes};
use super::warp::{Group, Parked, Warp};
use super::{exchange, host, lanewise, matrix};
use crate::ptx::program::{BarrierKind, Instr, NO_SLOT, Op};
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
            lanewise::run(core, warp, i, pc, mask);
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
