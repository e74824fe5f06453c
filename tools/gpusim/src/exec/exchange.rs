//! Exchange between the lanes of a warp: vote, match, shuffle, reduction.

use super::core::Core;
use super::lanes::{ALL, LANES, Lane, lanes};
use super::warp::Warp;
use crate::ptx::program::{AtomOp, Instr, NO_SLOT, Op, ShuffleMode, VoteMode};
use crate::ptx::types::Ty;
use crate::report::Kind;

/// `mask`: the lanes that execute; `need`: those that the instruction names.
pub fn run(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, pc: usize, mask: u32, need: u32) {
    match i.op {
        Op::Vote(mode) => vote(warp, i, mask, need, mode),
        Op::Match { all, wide } => matching(warp, i, mask, all, wide),
        Op::Shuffle(mode) => shuffle(core, warp, i, pc, mask, mode),
        Op::Redux(op, ty) => redux(warp, i, mask, op, ty),
        _ => {}
    }
}

fn vote(warp: &mut Warp, i: &Instr, mask: u32, need: u32, mode: VoteMode) {
    let p = warp.regs.pred(i.a) ^ if i.imm != 0 { ALL } else { 0 };
    let yes = p & mask & need;
    let voters = mask & need;
    let holds = match mode {
        VoteMode::All => yes == voters,
        VoteMode::Any => yes != 0,
        VoteMode::Uni => yes == 0 || yes == voters,
        VoteMode::Ballot => return u32::write(&mut warp.regs, i.d, mask, &[yes; LANES]),
    };
    warp.regs.set_pred(i.d, mask, if holds { ALL } else { 0 });
}

fn matching(warp: &mut Warp, i: &Instr, mask: u32, all: bool, wide: bool) {
    let a = if wide { u64::read(&warp.regs, i.a) } else { warp.regs.wide(i.a) };
    let equal = |l: usize| lanes(mask).filter(|&o| a[o] == a[l]).fold(0, |m, o| m | 1 << o);
    let mut out = [0; LANES];
    for l in lanes(mask) {
        let same = equal(l);
        out[l] = if all && same != mask { 0 } else { same };
    }
    u32::write(&mut warp.regs, i.d, mask, &out);
    if i.q != NO_SLOT {
        let uniform = out[mask.trailing_zeros() as usize] == mask;
        warp.regs.set_pred(i.q, mask, if uniform { ALL } else { 0 });
    }
}

/// Source lane by the formulas of the PTX manual; a lane outside its segment keeps its own value.
pub fn source_lane(mode: ShuffleMode, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let max = (lane & segment) | (clamp & !segment);
    let min = lane & segment;
    let (from, inside) = match mode {
        ShuffleMode::Up => (lane.wrapping_sub(b), lane as i32 - b as i32 >= max as i32),
        ShuffleMode::Down => (lane + b, lane + b <= max),
        ShuffleMode::Bfly => (lane ^ b, lane ^ b <= max),
        ShuffleMode::Idx => (min | (b & !segment), min | (b & !segment) <= max),
    };
    if inside { (from, true) } else { (lane, false) }
}

fn shuffle(
    core: &mut Core<'_>,
    warp: &mut Warp,
    i: &Instr,
    pc: usize,
    mask: u32,
    mode: ShuffleMode,
) {
    let clamp = u32::read(&warp.regs, core.program.list(i)[0]);
    let (a, b) = (u32::read(&warp.regs, i.a), u32::read(&warp.regs, i.b));
    let mut out = [0; LANES];
    let mut inside = 0;
    for l in lanes(mask) {
        let (from, valid) = source_lane(mode, l as u32, b[l], clamp[l]);
        inside |= u32::from(valid) << l;
        out[l] = a[from as usize];
        if mask >> from & 1 == 0 {
            core.report(Kind::InactiveLane, pc, Some(warp.thread(l)), None, |_| {
                format!("lane {l} reads lane {from}, which takes no part in the shuffle")
            });
        }
    }
    u32::write(&mut warp.regs, i.d, mask, &out);
    if i.q != NO_SLOT {
        warp.regs.set_pred(i.q, mask, inside);
    }
}

fn redux(warp: &mut Warp, i: &Instr, mask: u32, op: AtomOp, ty: Ty) {
    let a = u32::read(&warp.regs, i.a);
    let values = lanes(mask).map(|l| a[l]);
    let signed = ty == Ty::S32;
    let combine = |x: u32, y: u32| match op {
        AtomOp::Add => x.wrapping_add(y),
        AtomOp::Min if signed => (x as i32).min(y as i32) as u32,
        AtomOp::Max if signed => (x as i32).max(y as i32) as u32,
        AtomOp::Min => x.min(y),
        AtomOp::Max => x.max(y),
        AtomOp::And => x & y,
        AtomOp::Or => x | y,
        _ => x ^ y,
    };
    let total = values.reduce(combine).unwrap_or(0);
    u32::write(&mut warp.regs, i.d, mask, &[total; LANES]);
}
