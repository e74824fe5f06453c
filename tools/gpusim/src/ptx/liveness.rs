//! Which registers hold a value that some path still reads, at the edges of each basic block.
//!
//! A lane writes its own part of a slot only, so that liveness along the paths of one thread decides
//! what may share a slot, however the lanes of a warp diverge.

use super::program::{Instr, Mma, NO_SLOT, Op, Program, Slot};

/// Calls `f` with each register operand of an instruction, and whether it is written.
pub fn operands(i: &mut Instr, lists: &mut [Box<[Slot]>], mut f: impl FnMut(&mut Slot, bool)) {
    let mut visit = |slot: &mut Slot, written: bool| {
        if *slot != NO_SLOT {
            f(slot, written);
        }
    };
    let carry = match i.op {
        Op::Carry { takes, gives, .. } => Some((takes, gives)),
        _ => None,
    };
    visit(&mut i.guard.slot, false);
    for slot in [&mut i.a, &mut i.b, &mut i.c] {
        visit(slot, false);
    }
    // The list: how many of its first slots are written; the rest are read.
    let written = match i.op {
        Op::Load { .. } | Op::Unpack(_) | Op::Ldmatrix { .. } => usize::MAX,
        Op::Mma(Mma::M16N8K16 { f16_acc: true, .. } | Mma::M16N8K8 { f16_acc: true, .. }) => 2,
        Op::Mma(_) => 4,
        // These hold places of local memory, or branch targets.
        Op::LocalCopy | Op::Printf | Op::AssertFail | Op::Brx => {
            visit(&mut i.d, true);
            return;
        }
        _ => 0,
    };
    let list = lists.get_mut(i.list as usize).map_or(&mut [][..], |l| &mut l[..]);
    for (k, slot) in list.iter_mut().enumerate() {
        visit(slot, k < written);
    }
    visit(&mut i.d, true);
    // The carry may be read, written, or both.
    match carry {
        Some((takes, gives)) => {
            let mut slot = i.q;
            if takes {
                visit(&mut slot, false);
            }
            if gives || !takes {
                visit(&mut i.q, true);
            } else {
                i.q = slot;
            }
        }
        None => visit(&mut i.q, true),
    }
}

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct Set(Vec<u64>);

impl Set {
    fn new(slots: usize) -> Self {
        Self(vec![0; slots.div_ceil(64)])
    }

    pub fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub fn contains(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
    }

    pub fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(w, &bits)| {
            let mut left = bits;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(64 * w + bit)
            })
        })
    }
}

pub struct Block {
    pub first: usize,
    /// Behind the last.
    pub end: usize,
    pub live_in: Set,
    pub live_out: Set,
    next: Vec<usize>,
    reads: Set,
    kills: Set,
}

/// Basic blocks with their live registers; `number` maps a slot to `0..slots`.
pub fn blocks(program: &mut Program, slots: usize, number: impl Fn(Slot) -> usize) -> Vec<Block> {
    let mut out = cut(program, slots);
    let Program { code, lists, .. } = program;
    for block in &mut out {
        for i in &mut code[block.first..block.end] {
            let always = i.guard.slot == NO_SLOT;
            let (reads, kills) = (&mut block.reads, &mut block.kills);
            let mut killed = Vec::new();
            operands(i, lists, |slot, written| {
                let n = number(*slot);
                let known = kills.contains(n);
                if written && always {
                    killed.push(n);
                } else if !written && !known {
                    reads.insert(n);
                }
            });
            killed.into_iter().for_each(|n| kills.insert(n));
        }
    }
    let mut changed = true;
    while changed {
        changed = false;
        for b in (0..out.len()).rev() {
            let mut live = Set::new(slots);
            for &n in &out[b].next {
                live.0.iter_mut().zip(&out[n].live_in.0).for_each(|(a, b)| *a |= b);
            }
            let block = &mut out[b];
            let mut before = live.clone();
            for (w, bits) in before.0.iter_mut().enumerate() {
                *bits = (*bits & !block.kills.0[w]) | block.reads.0[w];
            }
            changed |= before != block.live_in;
            (block.live_in, block.live_out) = (before, live);
        }
    }
    out
}

/// Cuts the code where paths meet or part. A return leads to behind every call.
fn cut(program: &Program, slots: usize) -> Vec<Block> {
    let code = &program.code;
    let mut starts = vec![false; code.len() + 1];
    starts[0] = true;
    let targets = |pc: usize| -> Vec<usize> {
        match code[pc].op {
            Op::Bra | Op::Call => vec![code[pc].imm as usize],
            Op::Brx => program.list(&code[pc]).iter().map(|&t| t as usize).collect(),
            _ => Vec::new(),
        }
    };
    let ends = |op: Op| matches!(op, Op::Bra | Op::Brx | Op::Call | Op::Ret | Op::Exit);
    for (pc, i) in code.iter().enumerate() {
        if ends(i.op) {
            starts[pc + 1] = true;
            targets(pc).into_iter().for_each(|t| starts[t] = true);
        }
    }
    let firsts: Vec<usize> = (0..code.len()).filter(|&pc| starts[pc]).collect();
    let block_at = |pc: usize| firsts.partition_point(|&f| f <= pc) - 1;
    let returns: Vec<usize> =
        (0..code.len()).filter(|&pc| code[pc].op == Op::Call).map(|pc| pc + 1).collect();
    let mut out = Vec::new();
    for (b, &first) in firsts.iter().enumerate() {
        let end = firsts.get(b + 1).copied().unwrap_or(code.len());
        let last = &code[end - 1];
        let mut next: Vec<usize> = targets(end - 1).into_iter().map(block_at).collect();
        if last.op == Op::Ret {
            next.extend(returns.iter().map(|&pc| block_at(pc)));
        }
        let always = last.guard.slot == NO_SLOT && ends(last.op);
        if !always && end < code.len() {
            next.push(block_at(end));
        }
        let empty = Set::new(slots);
        out.push(Block {
            first,
            end,
            live_in: empty.clone(),
            live_out: empty.clone(),
            next,
            reads: empty.clone(),
            kills: empty,
        });
    }
    out
}
