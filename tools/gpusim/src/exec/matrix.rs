//! Matrix instructions. Lane `l` is in row group `g = l / 4` at place `t = l % 4`, as in the figures of the
//! PTX manual.

use super::access::{self, Access};
use super::core::Core;
use super::float::f16_of;
use super::lanes::{ALL, LANES, Lane, Registers, lanes};
use super::round::{bf16_to_f32, canonical, f16_to_f64};
use super::warp::Warp;
use crate::check::race::Stamp;
use crate::memory::INITIALISED;
use crate::ptx::program::{Instr, Mma};
use multiversion::multiversion;

const ROW_BYTES: usize = 16;

/// `ldmatrix`: matrix `j` has its rows at the addresses of lanes `8j..8j+8`; lane `l` receives two
/// neighbours of row `g`, or with `.trans` of column `g`.
pub fn load(
    core: &mut Core<'_>,
    warp: &mut Warp,
    i: &Instr,
    pc: usize,
    mask: u32,
    count: u32,
    trans: bool,
) {
    let at = row_addresses(warp, i);
    let list = core.program.list(i);
    count_passes(core, count);
    for (j, &d) in list.iter().enumerate() {
        let mut rows = [[0_u16; 8]; 8];
        for (r, row) in rows.iter_mut().enumerate() {
            let start = at[8 * j + r];
            let reader = warp.thread(4 * r);
            if !core.shared_ok(pc, warp.thread(8 * j + r), start, ROW_BYTES, false) {
                continue;
            }
            let first = start as usize;
            for (c, value) in row.iter_mut().enumerate() {
                let byte = first + 2 * c;
                *value = u16::from_le_bytes([core.shared.data[byte], core.shared.data[byte + 1]]);
            }
            touch_row(core, warp, pc, mask, reader, start, false);
        }
        let value: [u32; LANES] = std::array::from_fn(|l| {
            let (g, t) = (l / 4, l % 4);
            let (low, high) = if trans {
                (rows[2 * t][g], rows[2 * t + 1][g])
            } else {
                (rows[g][2 * t], rows[g][2 * t + 1])
            };
            u32::from(low) | u32::from(high) << 16
        });
        u32::write(&mut warp.regs, d, mask, &value);
    }
}

pub fn store(
    core: &mut Core<'_>,
    warp: &mut Warp,
    i: &Instr,
    pc: usize,
    mask: u32,
    count: u32,
    trans: bool,
) {
    let at = row_addresses(warp, i);
    let list = core.program.list(i);
    count_passes(core, count);
    for (j, &s) in list.iter().enumerate() {
        let value = u32::read(&warp.regs, s);
        let mut rows = [[0_u16; 8]; 8];
        for l in lanes(mask) {
            let (g, t) = (l / 4, l % 4);
            for (k, half) in [value[l] as u16, (value[l] >> 16) as u16].into_iter().enumerate() {
                if trans {
                    rows[2 * t + k][g] = half;
                } else {
                    rows[g][2 * t + k] = half;
                }
            }
        }
        for (r, row) in rows.iter().enumerate() {
            let start = at[8 * j + r];
            if !core.shared_ok(pc, warp.thread(8 * j + r), start, ROW_BYTES, true) {
                continue;
            }
            let first = start as usize;
            for (c, value) in row.iter().enumerate() {
                core.shared.data[first + 2 * c..][..2].copy_from_slice(&value.to_le_bytes());
            }
            core.shared.shadow[first..first + ROW_BYTES].fill(INITIALISED);
            touch_row(core, warp, pc, mask, warp.thread(4 * r), start, true);
        }
    }
}

fn row_addresses(warp: &Warp, i: &Instr) -> [u64; LANES] {
    // A generic address of shared memory is accepted too.
    access::addresses(&warp.regs, i).map(|a| access::resolve(a).1)
}

fn count_passes(core: &mut Core<'_>, count: u32) {
    core.tally.counters.shared_passes += u64::from(count);
}

/// Word `k` of a row is read or written by the lane `k` places behind the first of the row.
fn touch_row(
    core: &mut Core<'_>,
    warp: &Warp,
    pc: usize,
    mask: u32,
    first_thread: u32,
    start: u64,
    write: bool,
) {
    if !core.session.races {
        return;
    }
    let stamp = Stamp::new(core.clock.time(warp.index), first_thread, 15, false);
    let first = start as usize / 4;
    let mut words = core.shared.words();
    let calm = if write {
        words.write_run(first, 4, 0, stamp, &core.clock)
    } else {
        words.read_run(first, 4, 0, stamp, &core.clock)
    };
    if !calm {
        for k in 0..4 {
            let lane = first_thread as usize % LANES + k;
            let a = Access { pc, bytes: 4, mask, ordered: false };
            access::race_shared(core, warp, lane, start + 4 * k as u64, a, write);
        }
    }
}

/// `d = a * b + c` over the fragments of a warp; sums in f32, in the order of k.
pub fn mma(core: &mut Core<'_>, warp: &mut Warp, i: &Instr, kind: Mma) {
    let list = core.program.list(i);
    let (k, _) = depth(kind);
    core.tally.counters.mma_flops += 2 * 16 * 8 * k as u64;
    multiply(&mut warp.regs, list, kind);
}

/// Depth, and whether operands are 16-bit pairs.
fn depth(kind: Mma) -> (usize, bool) {
    match kind {
        Mma::M16N8K16 { .. } => (16, true),
        Mma::M16N8K8 { .. } => (8, true),
        Mma::M16N8K8Tf32 => (8, false),
        Mma::M16N8K4Tf32 => (4, false),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn multiply(regs: &mut Registers, list: &[u32], kind: Mma) {
    let (depth, paired) = depth(kind);
    let (bf16, f16_acc) = match kind {
        Mma::M16N8K16 { bf16, f16_acc } | Mma::M16N8K8 { bf16, f16_acc } => (bf16, f16_acc),
        _ => (false, false),
    };
    let accumulators = if f16_acc { 2 } else { 4 };
    let per_k = if paired { 8 } else { 4 };
    let (a_count, b_count) = (2 * depth / per_k, depth / per_k);
    let (d, rest) = list.split_at(accumulators);
    let (a_regs, rest) = rest.split_at(a_count);
    let (b_regs, c_regs) = rest.split_at(b_count);
    let widen = |bits: u32| -> [f32; 2] {
        let halves = [bits as u16, (bits >> 16) as u16];
        if bf16 { halves.map(bf16_to_f32) } else { halves.map(|h| f16_to_f64(h) as f32) }
    };
    let mut a = [[0.0_f32; 16]; 16]; // (m, k)
    let mut b = [[0.0_f32; 8]; 16]; // (k, n)
    for (j, &slot) in a_regs.iter().enumerate() {
        // Registers alternate between rows g and g + 8, then go on along k.
        let (row, k0) = (8 * (j % 2), per_k * (j / 2));
        for (l, bits) in u32::read(regs, slot).into_iter().enumerate() {
            let (g, t) = (l / 4, l % 4);
            if paired {
                [a[row + g][k0 + 2 * t], a[row + g][k0 + 2 * t + 1]] = widen(bits);
            } else {
                a[row + g][k0 + t] = f32::from_bits(bits & !0x1fff);
            }
        }
    }
    for (j, &slot) in b_regs.iter().enumerate() {
        let k0 = per_k * j;
        for (l, bits) in u32::read(regs, slot).into_iter().enumerate() {
            let (g, t) = (l / 4, l % 4);
            if paired {
                [b[k0 + 2 * t][g], b[k0 + 2 * t + 1][g]] = widen(bits);
            } else {
                b[k0 + t][g] = f32::from_bits(bits & !0x1fff);
            }
        }
    }
    let mut sum = [[0.0_f32; 8]; 16];
    for (j, &slot) in c_regs.iter().enumerate() {
        for (l, bits) in u32::read(regs, slot).into_iter().enumerate() {
            let (g, t) = (l / 4, l % 4);
            if f16_acc {
                let halves = [bits as u16, (bits >> 16) as u16];
                let row = &mut sum[8 * j + g];
                [row[2 * t], row[2 * t + 1]] = halves.map(|h| f16_to_f64(h) as f32);
            } else {
                sum[8 * (j / 2) + g][2 * t + j % 2] = f32::from_bits(bits);
            }
        }
    }
    for (row, total) in a.iter().zip(&mut sum) {
        for (x, b_row) in row.iter().zip(&b).take(depth) {
            for (s, y) in total.iter_mut().zip(b_row) {
                *s = x.mul_add(*y, *s);
            }
        }
    }
    for (j, &slot) in d.iter().enumerate() {
        let value: [u32; LANES] = std::array::from_fn(|l| {
            let (g, t) = (l / 4, l % 4);
            if f16_acc {
                let row = &sum[8 * j + g];
                let half = |x: f32| u32::from(f16_of(f64::from(x)));
                half(row[2 * t]) | half(row[2 * t + 1]) << 16
            } else {
                canonical(sum[8 * (j / 2) + g][2 * t + j % 2]).to_bits()
            }
        });
        u32::write(regs, slot, ALL, &value);
    }
}
