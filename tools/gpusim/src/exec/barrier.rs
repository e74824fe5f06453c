//! Block barriers: who has arrived, and what happens when all have.

use super::core::Core;
use super::lanes::{ALL, LANES, Lane, lanes};
use super::warp::{Parked, Warp};
use crate::ptx::program::{BarrierKind, Instr, NO_SLOT};
use crate::report::Kind;

#[derive(Clone, Copy)]
struct Arrival {
    warp: usize,
    lanes: u32,
    moment: u64,
    waits: bool,
    pc: usize,
    /// Lanes whose predicate of a reduction holds.
    yes: u32,
}

/// One of the sixteen barriers of a block.
#[derive(Clone, Default)]
pub struct Barrier {
    arrivals: Vec<Arrival>,
    /// Threads that complete it, when the instruction says so.
    count: Option<u32>,
}

impl Barrier {
    /// Waited for by a number of threads rather than by the block.
    pub fn is_counted(&self) -> bool {
        self.count.is_some() && !self.arrivals.is_empty()
    }
}

pub const BARRIERS: usize = 16;

/// Registers the arrival of a group.
pub fn arrive(core: &mut Core<'_>, warp: &mut Warp, current: usize, i: &Instr, kind: BarrierKind) {
    let g = &warp.groups[current];
    let (mask, pc) = (g.mask, g.pc);
    let first = mask.trailing_zeros() as usize;
    let id = u32::read(&warp.regs, i.a)[first] as usize;
    let count = (i.b != NO_SLOT).then(|| u32::read(&warp.regs, i.b)[first]);
    if id >= BARRIERS {
        core.report(Kind::BarrierDivergence, pc, Some(warp.thread(first)), None, |_| {
            format!("there is no barrier {id}: a block has {BARRIERS}")
        });
    }
    let thread = Some(warp.thread(first));
    let bad_count = count.is_some_and(|n| n == 0 || !n.is_multiple_of(32));
    if bad_count {
        core.report(Kind::BarrierDivergence, pc, thread, None, |_| {
            format!("barrier for {} threads: no multiple of a warp", count.unwrap_or(0))
        });
    }
    let yes = match i.c {
        NO_SLOT => 0,
        slot => (warp.regs.pred(slot) ^ if i.imm != 0 { ALL } else { 0 }) & mask,
    };
    let moment = core.clock.arrive(warp.index);
    let waits = kind != BarrierKind::Arrive;
    let barrier = &mut core.barriers[id % BARRIERS];
    let other = barrier.count;
    let fresh = barrier.arrivals.is_empty();
    barrier.count = count;
    barrier.arrivals.push(Arrival { warp: warp.index, lanes: mask, moment, waits, pc, yes });
    if !fresh && other != count {
        core.report(Kind::BarrierDivergence, pc, thread, None, |_| {
            format!("barrier {id} for {count:?} threads, for {other:?} by an earlier arrival")
        });
    }
}

/// Completes the barriers that can be; true if any was.
pub fn complete(core: &mut Core<'_>, warps: &mut [Warp]) -> bool {
    let mut any = false;
    for id in 0..BARRIERS {
        let barrier = &core.barriers[id];
        if barrier.arrivals.is_empty() {
            continue;
        }
        let arrived: u32 = barrier.arrivals.iter().map(|a| a.lanes.count_ones()).sum();
        // The barrier counts warps: a partial one as a whole.
        let whole = |a: &Arrival| {
            if warps[a.warp].live & !a.lanes == 0 { 32 } else { a.lanes.count_ones() }
        };
        let counted: u32 = barrier.arrivals.iter().map(whole).sum();
        let live: u32 = warps.iter().map(|w| w.live.count_ones()).sum();
        let enough = barrier.count.map_or(arrived >= live, |n| counted >= n);
        if enough {
            any = true;
            release(core, warps, id, arrived, live);
        }
    }
    any
}

fn release(core: &mut Core<'_>, warps: &mut [Warp], id: usize, arrived: u32, live: u32) {
    let barrier = std::mem::take(&mut core.barriers[id]);
    let threads: u32 = core.config.block.iter().product();
    if barrier.count.is_none() && live < threads {
        let pc = barrier.arrivals[0].pc;
        core.report(Kind::BarrierDivergence, pc, None, None, |_| {
            format!("block barrier that {} threads left out by exiting before it", threads - live)
        });
    }
    let seen: Vec<(usize, u64)> = barrier.arrivals.iter().map(|a| (a.warp, a.moment)).collect();
    let mut waiting: Vec<usize> =
        barrier.arrivals.iter().filter(|a| a.waits).map(|a| a.warp).collect();
    waiting.dedup();
    core.clock.complete(
        &seen,
        &waiting,
        arrived == live && barrier.arrivals.iter().all(|a| a.waits),
    );
    let yes: u32 = barrier.arrivals.iter().map(|a| a.yes.count_ones()).sum();
    for a in barrier.arrivals.iter().filter(|a| a.waits) {
        let warp = &mut warps[a.warp];
        result(core, warp, a, yes, arrived);
        for g in &mut warp.groups {
            if g.parked == Parked::Barrier && g.pc == a.pc && g.mask & a.lanes != 0 {
                g.parked = Parked::No;
                g.pc += 1;
            }
        }
    }
}

/// The value of a reduction, in every lane that waited.
fn result(core: &Core<'_>, warp: &mut Warp, a: &Arrival, yes: u32, arrived: u32) {
    use crate::ptx::program::Op;
    let i = &core.program.code[a.pc];
    let Op::Barrier { kind, .. } = i.op else { return };
    let all = |holds: bool| if holds { ALL } else { 0 };
    match kind {
        BarrierKind::RedPopc => u32::write(&mut warp.regs, i.d, a.lanes, &[yes; LANES]),
        BarrierKind::RedAnd => warp.regs.set_pred(i.d, a.lanes, all(yes == arrived)),
        BarrierKind::RedOr => warp.regs.set_pred(i.d, a.lanes, all(yes > 0)),
        BarrierKind::Sync | BarrierKind::Arrive => {}
    }
}

/// No warp can go on: says where they wait.
pub fn deadlock(core: &mut Core<'_>, warps: &[Warp]) {
    let mut places = Vec::new();
    for (id, b) in core.barriers.iter().enumerate() {
        for a in &b.arrivals {
            places.push((
                a.pc,
                id,
                a.lanes.count_ones(),
                warps[a.warp].thread(lanes(a.lanes).next().unwrap_or(0)),
            ));
        }
    }
    let threads: u32 = places.iter().map(|p| p.2).sum();
    let ids: std::collections::BTreeSet<usize> = places.iter().map(|p| p.1).collect();
    let sites: std::collections::BTreeSet<u32> =
        places.iter().map(|p| core.program.source(p.0).1).collect();
    let Some(&(pc, _, _, thread)) = places.first() else { return };
    core.report(Kind::Deadlock, pc, Some(thread), None, |_| {
        format!("{threads} threads wait for ever at barriers {ids:?}, source lines {sites:?}")
    });
    core.stopped = Some("deadlock at a block barrier".into());
}
