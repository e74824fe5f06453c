//! The product on AVX-512 BF16 machines: one kernel for f32 and bf16.
//!
//! Memory is walked in *units* of four bytes along k: one f32, or two bf16, which is what one lane
//! of `vdpbf16ps` multiplies. B is packed once into panels of up to 32 columns, `[unit][column]`;
//! a bf16 sum of odd length gets a zero in its last unit. A strip of up to 14 rows times a panel is
//! 28 accumulators of 16 lanes, one broadcast and two vectors of B: 31 of the 32 registers. A is
//! read where it lies unless it is transposed; then a task packs its strips `[unit][row]`.

use std::arch::x86_64::*;

use super::{CPtr, Mat, Problem};
use crate::backend::Mode;
use crate::backend::cpu::{par, scratch};
use crate::dtype::{DType, Float};

/// Rows of a strip at most, lanes of a vector, columns of a panel at most.
const STRIP: usize = 14;
const LANES: usize = 16;
const PANEL: usize = 2 * LANES;

/// Elements in a unit.
const fn per_unit<E: Float>() -> usize {
    4 / E::DTYPE.size_bytes()
}

const fn is_bf16<E: Float>() -> bool {
    matches!(E::DTYPE, DType::Bf16)
}

/// Cuts rows into strips of nearly equal height, and groups strips and panels into tasks. All of it
/// follows from the shape alone.
struct Plan {
    strips: usize,
    panels: usize,
    strips_per_task: usize,
    panels_per_task: usize,
}

impl Plan {
    /// Below this a task costs more to hand over than to run.
    const MIN_TASK_MULADDS: usize = 1 << 18;
    /// Rows of A that a task walks again and again should stay in its L2 cache.
    const MAX_TASK_A_BYTES: usize = 256 << 10;
    /// Enough for an even end on a machine with a few cores, few enough to be free.
    const TASKS: usize = 24;

    fn new(m: usize, n: usize, k: usize, elem_bytes: usize) -> Self {
        let (strips, panels) = (m.div_ceil(STRIP), n.div_ceil(PANEL));
        let tasks = (m * n * k / Self::MIN_TASK_MULADDS).clamp(1, Self::TASKS);
        let cached = (Self::MAX_TASK_A_BYTES / (STRIP * k * elem_bytes).max(1)).max(1);
        let strips_per_task = strips.div_ceil(tasks).min(cached);
        let tasks_down = strips.div_ceil(strips_per_task);
        let panels_per_task = panels.div_ceil(tasks.div_ceil(tasks_down));
        Self { strips, panels, strips_per_task, panels_per_task }
    }

    fn tasks_across(&self) -> usize {
        self.panels.div_ceil(self.panels_per_task)
    }

    fn tasks(&self) -> usize {
        self.strips.div_ceil(self.strips_per_task) * self.tasks_across()
    }

    /// First row of a strip; heights differ by one at most.
    fn row(&self, strip: usize, m: usize) -> usize {
        strip * m / self.strips
    }
}

/// # Safety
/// The CPU has the features of [`with_features`].
pub(super) unsafe fn run<E: Float, C: Float>(p: &Problem<E, C>) {
    let plan = Plan::new(p.m, p.n, p.k, size_of::<E>());
    let units = p.k.div_ceil(per_unit::<E>());
    scratch::with(units * p.n.next_multiple_of(LANES), |b: &mut [u32]| {
        // Panels are as long as each other, but for the last.
        let panel_words = units * PANEL;
        let pack = |panel: usize, words: &mut [u32]| {
            // SAFETY: CPU features by this function's contract.
            unsafe { pack_panel(p.b, panel * PANEL, p.n, p.k, words) }
        };
        if plan.tasks() == 1 || panel_words == 0 {
            b.chunks_mut(panel_words.max(1)).enumerate().for_each(|(i, words)| pack(i, words));
        } else {
            pack_parallel(b, panel_words, 0, &pack);
        }
        let b = &*b;
        par::tasks(plan.tasks(), |task| {
            // SAFETY: CPU features by this function's contract.
            unsafe { run_task(p, &plan, task, units, b) }
        });
    });
}

fn pack_parallel(
    b: &mut [u32],
    panel_words: usize,
    first_panel: usize,
    pack: &(impl Fn(usize, &mut [u32]) + Sync),
) {
    let panels = b.len().div_ceil(panel_words);
    // Packing moves about 10 GB/s: below 128 KiB it is over before another thread wakes up.
    if panels < 2 || b.len() < (32 << 10) {
        for (i, words) in b.chunks_mut(panel_words).enumerate() {
            pack(first_panel + i, words);
        }
        return;
    }
    let (head, tail) = b.split_at_mut(panels / 2 * panel_words);
    rayon::join(
        || pack_parallel(head, panel_words, first_panel, pack),
        || pack_parallel(tail, panel_words, first_panel + panels / 2, pack),
    );
}

/// # Safety
/// CPU features as below; `b` holds the packed panels of `p.b`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn run_task<E: Float, C: Float>(
    p: &Problem<E, C>,
    plan: &Plan,
    task: usize,
    units: usize,
    b: &[u32],
) {
    let (down, across) = (task / plan.tasks_across(), task % plan.tasks_across());
    let strips = down * plan.strips_per_task..((down + 1) * plan.strips_per_task).min(plan.strips);
    let panels =
        across * plan.panels_per_task..((across + 1) * plan.panels_per_task).min(plan.panels);
    let row = |strip: usize| plan.row(strip, p.m);
    let packed_words = if p.a.transposed { strips.len() * STRIP * units } else { 0 };
    scratch::with(packed_words, |packed: &mut [u32]| {
        if p.a.transposed {
            for (strip, words) in strips.clone().zip(packed.chunks_exact_mut(STRIP * units)) {
                let rows = row(strip)..row(strip + 1);
                // SAFETY: CPU features by this function's contract.
                unsafe { pack_interleaved(p.a, rows.start, rows.end, rows.len(), p.k, words) };
            }
        }
        for panel in panels {
            let col = panel * PANEL;
            let cols = (p.n - col).min(PANEL);
            let b_panel = &b[panel * PANEL * units..][..units * cols.next_multiple_of(LANES)];
            for strip in strips.clone() {
                let rows = row(strip)..row(strip + 1);
                let (a, a_row, a_unit) = if p.a.transposed {
                    let words = &packed[(strip - strips.start) * STRIP * units..][..];
                    (words.as_ptr().cast(), 1, rows.len())
                } else {
                    let start = &p.a.elems[p.a.offset(rows.start, 0).min(p.a.elems.len())..];
                    (start.as_ptr(), p.a.stride, per_unit::<E>())
                };
                // In elements for A as it lies, in words for a packed A.
                let step_bytes = if p.a.transposed { 4 } else { size_of::<E>() };
                let tile = Tile {
                    a: a.cast::<u8>(),
                    a_row_bytes: a_row * step_bytes,
                    a_unit_bytes: a_unit * step_bytes,
                    full_units: if p.a.transposed { units } else { p.k / per_unit::<E>() },
                    half_unit: !p.a.transposed && !p.k.is_multiple_of(per_unit::<E>()),
                    b: b_panel.as_ptr(),
                    bias: p.bias.map(|bias| &bias[col..col + cols]),
                    alpha: p.alpha,
                    mode: p.mode,
                    // SAFETY: rows and columns of this task are inside C.
                    c: CPtr { start: unsafe { p.c.at(rows.start, col) }, stride: p.c.stride },
                    cols,
                };
                // SAFETY: A holds `rows` rows of `units` units at these steps (checked when the
                // matrix was made, or packed above), `b_panel` as many rows of the panel's width.
                unsafe { tile.dispatch(rows.len()) };
            }
        }
    });
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
    /// As `dispatch`, with `rows` = `R` and `cols` <= 16 `V`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    unsafe fn product<const R: usize, const V: usize>(&self) {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.full_units {
            // SAFETY: unit by unit inside A and B.
            unsafe {
                let b_v: [__m512i; V] =
                    std::array::from_fn(|v| _mm512_loadu_si512(b.add(v * LANES).cast()));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a_r = a.add(r * self.a_row_bytes).cast::<i32>().read_unaligned();
                    let a_r = _mm512_set1_epi32(a_r);
                    for (sum, b) in sums.iter_mut().zip(b_v) {
                        *sum = mul_add::<E>(*sum, a_r, b);
                    }
                }
                a = a.add(self.a_unit_bytes);
                b = b.add(V * LANES);
            }
        }
        if self.half_unit {
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the last bf16 of the row; the packed unit has zeros beside it.
                unsafe {
                    let a_r = a.add(r * self.a_row_bytes).cast::<u16>().read_unaligned();
                    let a_r = _mm512_set1_epi32(a_r as i32);
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let b_v = _mm512_loadu_si512(b.add(v * LANES).cast());
                        *sum = mul_add::<E>(*sum, a_r, b_v);
                    }
                }
            }
        }
        for v in 0..V {
            let mask = lanes(self.cols - v * LANES);
            let alpha = _mm512_set1_ps(self.alpha);
            let bias = match self.bias {
                // SAFETY: the mask ends with the slice.
                Some(bias) => unsafe { load(bias.as_ptr().add(v * LANES), mask) },
                None => _mm512_setzero_ps(),
            };
            for (r, sums) in sums.iter().enumerate() {
                // SAFETY: row r and the masked columns are inside C.
                unsafe {
                    let c = self.c.at(r, v * LANES);
                    let mut sum = _mm512_fmadd_ps(sums[v], alpha, bias);
                    if self.mode == Mode::Add {
                        sum = _mm512_add_ps(load(c, mask), sum);
                    }
                    store(c, mask, sum);
                }
            }
        }
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

/// The first `n` of 16 lanes, all of them from 16 on.
fn lanes(n: usize) -> __mmask16 {
    if n >= LANES { !0 } else { (1 << n) - 1 }
}

/// # Safety
/// The masked lanes at `from` are readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn load<E: Float>(from: *const E, mask: __mmask16) -> __m512 {
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

/// # Safety
/// The masked lanes at `to` are writable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn store<E: Float>(to: *mut E, mask: __mmask16, x: __m512) {
    // SAFETY: by contract; masked-off lanes are not touched.
    unsafe {
        if is_bf16::<E>() {
            let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x));
            _mm256_mask_storeu_epi16(to.cast(), mask, halves);
        } else {
            _mm512_mask_storeu_ps(to.cast(), mask, x);
        }
    }
}

/// Columns `col..` of B as `[unit][column]`, padded with zeros to whole vectors.
///
/// # Safety
/// CPU features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn pack_panel<E: Float>(b: Mat<E>, col: usize, n: usize, k: usize, words: &mut [u32]) {
    let end = n.min(col + PANEL);
    let width = (end - col).next_multiple_of(LANES);
    // SAFETY: CPU features by contract.
    unsafe {
        if b.transposed {
            for c in (col..col + width).step_by(LANES) {
                pack_transposed(b, c, end, k, width, &mut words[c - col..]);
            }
        } else {
            pack_interleaved(b.t(), col, end, width, k, words);
        }
    }
}

/// Rows `from..to` of A, which is stored transposed, as `[unit][row]`, `width` words a unit.
///
/// # Safety
/// CPU features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn pack_interleaved<E: Float>(
    a: Mat<E>,
    from: usize,
    to: usize,
    width: usize,
    k: usize,
    words: &mut [u32],
) {
    let per_unit = per_unit::<E>();
    for (unit, words) in words.chunks_exact_mut(width).take(k.div_ceil(per_unit)).enumerate() {
        let k0 = unit * per_unit;
        for (i, words) in words.chunks_mut(LANES).enumerate() {
            let row = from + i * LANES;
            let mask = lanes(to - row);
            let stored = &a.elems[a.offset(row, k0)..];
            // SAFETY: the mask ends with the stored row, and with the words.
            unsafe {
                let packed = if is_bf16::<E>() {
                    let even = _mm256_maskz_loadu_epi16(mask, stored.as_ptr().cast());
                    let mut packed = _mm512_cvtepu16_epi32(even);
                    if k0 + 1 < k {
                        let next = stored[a.stride..].as_ptr().cast();
                        let odd = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, next));
                        packed = _mm512_or_si512(packed, _mm512_slli_epi32::<16>(odd));
                    }
                    packed
                } else {
                    _mm512_maskz_loadu_epi32(mask, stored.as_ptr().cast())
                };
                _mm512_mask_storeu_epi32(words.as_mut_ptr().cast(), lanes(words.len()), packed);
            }
        }
    }
}

/// Sixteen columns from `col` of B, which is stored transposed, as `[unit][column]`, `width` words
/// from one unit to the next.
///
/// # Safety
/// CPU features.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack_transposed<E: Float>(
    b: Mat<E>,
    col: usize,
    end: usize,
    k: usize,
    width: usize,
    words: &mut [u32],
) {
    let per_unit = per_unit::<E>();
    let units = k.div_ceil(per_unit);
    for unit in (0..units).step_by(LANES) {
        let k0 = unit * per_unit;
        // A unit is two halves of 16 bits; the mask ends with the stored row.
        let halves = ((k - k0).min(LANES * per_unit) * 2 / per_unit) as u32;
        let mask = (u32::MAX).checked_shr(32 - halves).unwrap_or(0);
        let rows = std::array::from_fn(|i| {
            if col + i < end {
                let stored = &b.elems[b.offset(k0, col + i)..];
                // SAFETY: the masked halves are inside the stored row.
                unsafe { _mm512_maskz_loadu_epi16(mask, stored.as_ptr().cast()) }
            } else {
                _mm512_setzero_si512()
            }
        });
        let turned = transpose_16x16(rows);
        for (u, turned) in turned.into_iter().enumerate().take(units - unit) {
            let to = &mut words[(unit + u) * width..][..LANES];
            // SAFETY: `to` is 16 words long.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), turned) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_16x16(rows: [__m512i; 16]) -> [__m512i; 16] {
    // Pairs of rows, then quadruples, then 128-bit blocks twice.
    let pairs: [__m512i; 16] = std::array::from_fn(|i| {
        let (a, b) = (rows[i & !1], rows[i | 1]);
        if i % 2 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    let quads: [__m512i; 16] = std::array::from_fn(|i| {
        let (a, b) = (pairs[(i & !3) + (i & 3) / 2], pairs[(i & !3) + 2 + (i & 3) / 2]);
        if i % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    // quads[4 q + j]: rows 4 q .. 4 q + 4 of columns j, j + 4, j + 8, j + 12.
    let eights: [__m512i; 16] = std::array::from_fn(|i| {
        let (half, even, j) = (i / 8, i / 4 % 2 == 0, i % 4);
        let (a, b) = (quads[8 * half + j], quads[8 * half + 4 + j]);
        if even { _mm512_shuffle_i32x4::<0x88>(a, b) } else { _mm512_shuffle_i32x4::<0xdd>(a, b) }
    });
    // eights[8 h + j]: rows 8 h .. of columns j, j + 8; eights[8 h + 4 + j]: of j + 4, j + 12.
    std::array::from_fn(|i| {
        let j = i % 8;
        let (a, b) = (eights[j], eights[8 + j]);
        if i < 8 { _mm512_shuffle_i32x4::<0x88>(a, b) } else { _mm512_shuffle_i32x4::<0xdd>(a, b) }
    })
}
