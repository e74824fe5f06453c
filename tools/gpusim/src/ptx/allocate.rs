//! Lets registers that are never live together share a slot, so that a warp's registers fit the cache:
//! compilers write PTX with a new register for almost every value.

use super::liveness::{self, operands};
use super::program::{CLASS, D, Program, R, Slot, index};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Renumbers the slots; returns the most 32-bit registers live at once.
pub fn share_slots(program: &mut Program) -> u32 {
    let counts = [program.r_slots, program.d_slots, program.p_slots].map(|n| n as usize);
    let total: usize = counts.iter().sum();
    let number = move |slot: Slot| match slot & CLASS {
        R => index(slot),
        D => counts[0] + index(slot),
        _ => counts[0] + counts[1] + index(slot),
    };
    let weight = |n: usize| match n {
        n if n < counts[0] => 1,
        n if n < counts[0] + counts[1] => 2,
        _ => 0,
    };
    // Constants are filled once and live for ever.
    let constants: HashSet<usize> = program.constants.iter().map(|c| number(c.0)).collect();
    let blocks = liveness::blocks(program, total, number);
    let mut spans = vec![(usize::MAX, 0); total];
    let mut extend = |n: usize, pc: usize| {
        let (first, last): &mut (usize, usize) = &mut spans[n];
        *first = pc.min(*first);
        *last = pc.max(*last);
    };
    let mut most = 0;
    for block in &blocks {
        block.live_in.iter().for_each(|n| extend(n, block.first));
        block.live_out.iter().for_each(|n| extend(n, block.end - 1));
        let mut live = block.live_out.clone();
        let mut pressure: u32 = live.iter().filter(|n| !constants.contains(n)).map(weight).sum();
        for pc in (block.first..block.end).rev() {
            let always = program.code[pc].guard.slot == super::program::NO_SLOT;
            let (mut read, mut killed) = (Vec::new(), Vec::new());
            operands(&mut program.code[pc], &mut program.lists, |slot, written| {
                let n = number(*slot);
                extend(n, pc);
                match written {
                    true if always => killed.push(n),
                    true => {}
                    false => read.push(n),
                }
            });
            let counted = |n: usize| if constants.contains(&n) { 0 } else { weight(n) };
            for n in killed {
                if live.contains(n) {
                    pressure -= counted(n);
                    live.remove(n);
                }
            }
            for n in read {
                if !live.contains(n) {
                    pressure += counted(n);
                    live.insert(n);
                }
            }
            most = most.max(pressure);
        }
    }
    renumber(program, &spans, &constants, counts, number);
    most
}

/// Linear scan over the spans, for each class on its own.
fn renumber(
    program: &mut Program,
    spans: &[(usize, usize)],
    constants: &HashSet<usize>,
    counts: [usize; 3],
    number: impl Fn(Slot) -> usize,
) {
    let mut place = vec![0; spans.len()];
    let mut base = 0;
    let mut used = [0_u32; 3];
    for (class, count) in counts.into_iter().enumerate() {
        let mut order: Vec<usize> = (base..base + count).collect();
        base += count;
        order.sort_by_key(|n| (!constants.contains(n), spans[*n].0));
        let mut free: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
        let mut busy: BinaryHeap<Reverse<(usize, u32)>> = BinaryHeap::new();
        for n in order {
            let (first, last) = spans[n];
            let fixed = constants.contains(&n);
            if first == usize::MAX && !fixed {
                continue;
            }
            while let Some(&Reverse((end, slot))) = busy.peek()
                && end < first
            {
                busy.pop();
                free.push(Reverse(slot));
            }
            let slot = match free.pop() {
                Some(Reverse(slot)) if !fixed => slot,
                _ => {
                    used[class] += 1;
                    used[class] - 1
                }
            };
            place[n] = slot;
            if !fixed {
                busy.push(Reverse((last, slot)));
            }
        }
    }
    let moved = |slot: Slot| (slot & CLASS) | place[number(slot)];
    for i in &mut program.code {
        operands(i, &mut program.lists, |slot, _| *slot = moved(*slot));
    }
    for (slot, _) in &mut program.constants {
        *slot = moved(*slot);
    }
    [program.r_slots, program.d_slots, program.p_slots] = used;
}
