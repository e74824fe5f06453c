//! The product on AVX-512 BF16 machines: one kernel for f32 and bf16.
//!
//! Memory is walked in *units* of four bytes along k: one f32, or two bf16, which is what one lane
//! of `vdpbf16ps` multiplies. B is packed into panels of up to 32 columns, `[unit][column]`. A
//! strip of up to 14 rows times a panel is 28 accumulators of 16 lanes, one broadcast and two
//! vectors of B: 31 of the 32 registers. A is read where it lies, unless it is transposed: then it
//! is packed into strips, `[unit][row]`.

use std::arch::x86_64::*;

use super::pack::{self, LANES, is_bf16, lanes, per_unit};
use super::plan::Plan;
use super::{CPtr, Mat, PANEL, Problem};
use crate::backend::Mode;
use crate::backend::cpu::{par, scratch};
use crate::dtype::Float;

/// Rows of a strip, at most.
const STRIP: usize = 14;

pub(super) fn packed_words<E: Float>(k: usize, n: usize) -> usize {
    n.next_multiple_of(PANEL) * k.div_ceil(per_unit::<E>())
}

/// # Safety
/// The CPU has the features that `run_task` enables.
pub(super) unsafe fn pack_b<E: Float>(b: Mat<E>, words: &mut [u32]) {
    let (k, n) = b.dims();
    // SAFETY: CPU features by this function's contract.
    unsafe { pack::pieces(b.t(), k, |panel| (panel * PANEL).min(n), PANEL, LANES, words) };
}

/// # Safety
/// The CPU has the features that `run_task` enables.
pub(super) unsafe fn run<E: Float, C: Float>(p: &Problem<E, C>, b: Mat<E>) {
    let plan = Plan::new(STRIP, p.m, p.n, p.k, size_of::<E>());
    scratch::with(packed_words::<E>(p.k, p.n), |words: &mut [u32]| {
        // SAFETY: CPU features by this function's contract.
        unsafe {
            pack_b(b, words);
            run_plan(p, &plan, words);
        }
    });
}

/// # Safety
/// The CPU has the features that `run_task` enables; `b` was filled by `pack_b`.
pub(super) unsafe fn run_packed<E: Float, C: Float>(p: &Problem<E, C>, b: &[u32]) {
    // SAFETY: by this function's contract.
    unsafe { run_plan(p, &Plan::whole(STRIP, p.m, p.n), b) };
}

/// # Safety
/// The contract of `run_packed`.
unsafe fn run_plan<E: Float, C: Float>(p: &Problem<E, C>, plan: &Plan, b: &[u32]) {
    let units = p.k.div_ceil(per_unit::<E>());
    let a_words = if p.a.transposed { plan.strips * STRIP * units } else { 0 };
    scratch::with(a_words, |a: &mut [u32]| {
        if p.a.transposed {
            let split = |strip: usize| plan.row(strip);
            // SAFETY: CPU features by this function's contract.
            unsafe { pack::pieces(p.a, p.k, split, STRIP, 1, a) };
        }
        let a = &*a;
        par::tasks(plan.tasks(), |task| {
            // SAFETY: CPU features by this function's contract; a and b are packed.
            unsafe { run_task(p, plan, task, units, a, b) }
        });
    });
}

/// # Safety
/// CPU features as below; `b` holds the packed panels of B, `a` the packed strips of `p.a` if
/// that is transposed.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn run_task<E: Float, C: Float>(
    p: &Problem<E, C>,
    plan: &Plan,
    task: usize,
    units: usize,
    a: &[u32],
    b: &[u32],
) {
    let (strips, panels) = plan.task(task);
    for panel in panels {
        let col = panel * PANEL;
        let cols = (p.n - col).min(PANEL);
        for strip in strips.clone() {
            let (row, rows) = (plan.row(strip), plan.row(strip + 1));
            let rows = rows - row;
            let (a, a_row_bytes, a_unit_bytes) = if p.a.transposed {
                (a[strip * STRIP * units..].as_ptr().cast(), 4, 4 * rows)
            } else {
                let start = &p.a.elems[p.a.offset(row, 0).min(p.a.elems.len())..];
                (start.as_ptr().cast::<u8>(), p.a.stride * size_of::<E>(), 4)
            };
            let tile = Tile {
                a,
                a_row_bytes,
                a_unit_bytes,
                full_units: if p.a.transposed { units } else { p.k / per_unit::<E>() },
                half_unit: !p.a.transposed && !p.k.is_multiple_of(per_unit::<E>()),
                b: b[panel * PANEL * units..].as_ptr(),
                bias: p.bias.map(|bias| &bias[col..col + cols]),
                alpha: p.alpha,
                mode: p.mode,
                // SAFETY: rows and columns of this task are inside C.
                c: CPtr { start: unsafe { p.c.at(row, col) }, stride: p.c.stride },
                cols,
            };
            // SAFETY: A holds `rows` rows of `units` units at these steps (checked when the
            // matrix was made, or packed), `b` a panel of as many units.
            unsafe { tile.dispatch(rows) };
        }
    }
}

/// One strip times one panel.
struct Tile<'a, E, C> {
    a: *const u8,
    a_row_bytes: usize,
    a_unit_bytes: usize,
    full_units: usize,
    /// A last unit of which only the first bf16 may be read.
    half_unit: bool,
    b: *const u32,
    bias: Option<&'a [E]>,
    alpha: f32,
    mode: Mode,
    c: CPtr<C>,
    cols: usize,
}

/// The block for each `$i` below `$n`, written out: the accumulators stay in registers only where
/// every index is a constant.
macro_rules! each {
    ($i:ident < V, $block:block) => { each!($i < V, $block, 0 1) };
    ($i:ident < R, $block:block) => { each!($i < R, $block, 0 1 2 3 4 5 6 7 8 9 10 11 12 13) };
    ($i:ident < $n:ident, $block:block, $($literal:literal)+) => {$(
        if $literal < $n {
            let $i: usize = $literal;
            $block
        }
    )+};
}

macro_rules! by_height {
    ($self:ident, $rows:ident, $vectors:literal: $($r:literal)+) => {
        match $rows {
            // SAFETY: by the contract of `dispatch`.
            $($r => unsafe { $self.product::<$r, $vectors>() },)+
            _ => unreachable!("a strip has 1 to {STRIP} rows"),
        }
    };
}

impl<E: Float, C: Float> Tile<'_, E, C> {
    /// # Safety
    /// CPU features; A readable for `rows` rows, B for all units, C for `rows` x `cols`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    unsafe fn dispatch(&self, rows: usize) {
        if self.cols > LANES {
            by_height!(self, rows, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        } else {
            by_height!(self, rows, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        }
    }

    /// # Safety
    /// The contract of `dispatch`, with `rows` = `R` and `cols` <= 16 `V`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    unsafe fn product<const R: usize, const V: usize>(&self) {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.full_units {
            // SAFETY: unit by unit inside A and B.
            unsafe {
                let b_v: [__m512i; V] =
                    std::array::from_fn(|v| _mm512_loadu_si512(b.add(v * LANES).cast()));
                each!(r < R, {
                    let a_r = a.add(r * self.a_row_bytes).cast::<i32>().read_unaligned();
                    let a_r = _mm512_set1_epi32(a_r);
                    each!(v < V, { sums[r][v] = mul_add::<E>(sums[r][v], a_r, b_v[v]) });
                });
                a = a.add(self.a_unit_bytes);
                b = b.add(V * LANES);
            }
        }
        if self.half_unit {
            // SAFETY: the last bf16 of each row; the packed unit has zeros beside it.
            unsafe {
                each!(r < R, {
                    let a_r = a.add(r * self.a_row_bytes).cast::<u16>().read_unaligned();
                    let a_r = _mm512_set1_epi32(a_r as i32);
                    each!(v < V, {
                        let b_v = _mm512_loadu_si512(b.add(v * LANES).cast());
                        sums[r][v] = mul_add::<E>(sums[r][v], a_r, b_v);
                    });
                });
            }
        }
        each!(v < V, {
            let mask = lanes(self.cols - v * LANES);
            let alpha = _mm512_set1_ps(self.alpha);
            let bias = match self.bias {
                // SAFETY: the mask ends with the slice.
                Some(bias) => unsafe { load(bias.as_ptr().add(v * LANES), mask) },
                None => _mm512_setzero_ps(),
            };
            // SAFETY: the rows and the masked columns are inside C.
            unsafe {
                each!(r < R, {
                    let c = self.c.at(r, v * LANES);
                    let mut sum = _mm512_fmadd_ps(sums[r][v], alpha, bias);
                    if self.mode == Mode::Add {
                        sum = _mm512_add_ps(load(c, mask), sum);
                    }
                    store(c, mask, sum);
                });
            }
        });
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn mul_add<E: Float>(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    if is_bf16::<E>() {
        // SAFETY: both types are 64 bytes of anything.
        let halves = |x| unsafe { std::mem::transmute::<__m512i, __m512bh>(x) };
        _mm512_dpbf16_ps(sum, halves(a), halves(b))
    } else {
        _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
    }
}

/// # Safety
/// The masked lanes at `from` are readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn load<E: Float>(from: *const E, mask: __mmask16) -> __m512 {
    // SAFETY: by contract; masked-off lanes are not touched.
    unsafe {
        if is_bf16::<E>() {
            let halves = _mm256_maskz_loadu_epi16(mask, from.cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        } else {
            _mm512_maskz_loadu_ps(mask, from.cast())
        }
    }
}

/// All lanes: an unmasked access is much faster.
const ALL: __mmask16 = !0;

/// # Safety
/// The masked lanes at `to` are writable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn store<E: Float>(to: *mut E, mask: __mmask16, x: __m512) {
    // SAFETY: by contract; masked-off lanes are not touched.
    unsafe {
        if is_bf16::<E>() {
            let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x));
            match mask {
                ALL => _mm256_storeu_si256(to.cast(), halves),
                _ => _mm256_mask_storeu_epi16(to.cast(), mask, halves),
            }
        } else {
            match mask {
                ALL => _mm512_storeu_ps(to.cast(), x),
                _ => _mm512_mask_storeu_ps(to.cast(), mask, x),
            }
        }
    }
}
