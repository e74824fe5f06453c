//! Matrix instructions. Lane `l` is in row group `g = l / 4` at place `t = l % 4`, as in the figures of the
//! PTX manual.

use super::access::{self, Access, Place};
use super::core::Core;
use super::float::f16_of;
use super::lanes::{ALL, LANES, Lane, Registers, lanes};
use super::round::{canonical, f16_to_f64};
use super::warp::Warp;
use crate::check::race::{Row, Stamp};
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
    let mut touched = Vec::with_capacity(LANES);
    for (j, &d) in list.iter().enumerate() {
        let mut rows = [[0_u16; 8]; 8];
        for (r, row) in rows.iter_mut().enumerate() {
            let start = at[8 * j + r];
            if !core.shared_ok(pc, warp.thread(8 * j + r), start, ROW_BYTES, false) {
                continue;
            }
            let first = start as usize;
            for (c, value) in row.iter_mut().enumerate() {
                let byte = first + 2 * c;
                *value = u16::from_le_bytes([core.shared.data[byte], core.shared.data[byte + 1]]);
            }
            touched.push((r, start));
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
    touch_rows(core, warp, pc, &touched, false);
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
    let mut touched = Vec::with_capacity(LANES);
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
            touched.push((r, start));
        }
    }
    touch_rows(core, warp, pc, &touched, true);
}

fn row_addresses(warp: &Warp, i: &Instr) -> [u64; LANES] {
    // A generic address of shared memory is accepted too.
    access::addresses(&warp.regs, i).map(|a| access::resolve(a).1)
}

fn count_passes(core: &mut Core<'_>, count: u32) {
    core.tally.counters.shared_passes += u64::from(count);
}

/// Word `k` of a row is read or written by the lane `k` places behind the first of the row.
fn touch_rows(core: &mut Core<'_>, warp: &Warp, pc: usize, starts: &[(usize, u64)], write: bool) {
    if !core.session.races {
        return;
    }
    let time = core.clock.time(warp.index);
    let mut rows = [Row::default(); LANES];
    for (row, &(r, start)) in rows.iter_mut().zip(starts) {
        let stamp = Stamp::new(time, warp.thread(4 * r), 15, false);
        *row = Row { first: start as usize / 4, stamp };
    }
    let closer = access::race_rows(core, Place::Shared, &rows[..starts.len()], 4, 1, write);
    for k in lanes(closer) {
        let (r, start) = starts[k];
        for word in 0..4 {
            let a = Access { pc, bytes: 4, mask: ALL, ordered: false };
            let at = start + 4 * word as u64;
            access::race(core, warp, Place::Shared, 4 * r + word, at, a, write);
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

/// Bits of a 16-bit pair, or of a tf32, as f32: element `2w` and element `2w + 1`.
#[inline(always)]
fn widen<const W: usize>(words: &[u32; W], kind: Mma) -> ([f32; W], [f32; W]) {
    let (mut low, mut high) = ([0.0; W], [0.0; W]);
    match kind {
        Mma::M16N8K16 { bf16: true, .. } | Mma::M16N8K8 { bf16: true, .. } => {
            for w in 0..W {
                low[w] = f32::from_bits(words[w] << 16);
                high[w] = f32::from_bits(words[w] & 0xffff_0000);
            }
        }
        Mma::M16N8K8Tf32 | Mma::M16N8K4Tf32 => {
            for w in 0..W {
                low[w] = f32::from_bits(words[w] & !0x1fff);
            }
        }
        _ => {
            for w in 0..W {
                low[w] = f16_to_f64(words[w] as u16) as f32;
                high[w] = f16_to_f64((words[w] >> 16) as u16) as f32;
            }
        }
    }
    (low, high)
}

#[inline(always)]
fn add_product(mut acc: [f32; 8], x: f32, y: &[f32; 8]) -> [f32; 8] {
    for n in 0..8 {
        acc[n] = x.mul_add(y[n], acc[n]);
    }
    acc
}

/// Column of `b`, and of the sums, at each place: even columns first, as registers hold them.
const COLUMNS: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn multiply(regs: &mut Registers, list: &[u32], kind: Mma) {
    let (depth, paired) = depth(kind);
    let f16_acc =
        matches!(kind, Mma::M16N8K16 { f16_acc: true, .. } | Mma::M16N8K8 { f16_acc: true, .. });
    // Words of a row of `a` or a column of `b`; each register holds four.
    let words = if paired { depth / 2 } else { depth };
    let (d, rest) = list.split_at(if f16_acc { 2 } else { 4 });
    let (a_regs, rest) = rest.split_at(words / 2);
    let (b_regs, c_regs) = rest.split_at(words / 4);

    let mut a = [[0_u32; 8]; 16]; // (row, word)
    for (j, &slot) in a_regs.iter().enumerate() {
        // Registers alternate between rows g and g + 8, then go on along k.
        let value = u32::file(regs, slot);
        for g in 0..8 {
            a[8 * (j % 2) + g][4 * (j / 2)..][..4].copy_from_slice(&value[4 * g..4 * g + 4]);
        }
    }
    let mut b = [[0_u32; 8]; 8]; // (word, place of column)
    for (j, &slot) in b_regs.iter().enumerate() {
        let value = u32::file(regs, slot);
        for t in 0..4 {
            for (place, column) in COLUMNS.into_iter().enumerate() {
                b[4 * j + t][place] = value[4 * column + t];
            }
        }
    }
    let mut sum = [[0.0_f32; 8]; 16]; // (row, place of column)
    for (j, &slot) in c_regs.iter().enumerate() {
        let value = u32::file(regs, slot);
        for g in 0..8 {
            let four = &value[4 * g..4 * g + 4];
            for t in 0..4 {
                if f16_acc {
                    sum[8 * j + g][t] = f16_to_f64(four[t] as u16) as f32;
                    sum[8 * j + g][4 + t] = f16_to_f64((four[t] >> 16) as u16) as f32;
                } else {
                    sum[8 * (j / 2) + g][4 * (j % 2) + t] = f32::from_bits(four[t]);
                }
            }
        }
    }
    let (mut b_low, mut b_high) = ([[0.0; 8]; 8], [[0.0; 8]; 8]);
    for w in 0..words {
        (b_low[w], b_high[w]) = widen(&b[w], kind);
    }
    for (row, total) in a.iter().zip(&mut sum) {
        let (low, high) = widen(row, kind);
        let mut acc = *total;
        for w in 0..words {
            acc = add_product(acc, low[w], &b_low[w]);
            if paired {
                acc = add_product(acc, high[w], &b_high[w]);
            }
        }
        *total = acc;
    }
    for (j, &slot) in d.iter().enumerate() {
        let mut value = [0; LANES];
        for g in 0..8 {
            for t in 0..4 {
                value[4 * g + t] = if f16_acc {
                    let row = &sum[8 * j + g];
                    let half = |x: f32| u32::from(f16_of(f64::from(x)));
                    half(row[t]) | half(row[4 + t]) << 16
                } else {
                    canonical(sum[8 * (j / 2) + g][4 * (j % 2) + t]).to_bits()
                };
            }
        }
        u32::write(regs, slot, ALL, &value);
    }
}
