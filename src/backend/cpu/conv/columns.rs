//! Columns of a matrix that is never stored whole: row `r`, column `n` is an element at
//! `rows[r] + place(n)` of a buffer. Neighbouring columns lie side by side in runs, which are moved
//! whole, in either direction.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use macro_rules_attribute::apply;

use super::PANEL;
use crate::backend::Mode;
use crate::backend::cpu::scratch;
use crate::backend::cpu::simd;

/// Where rows start.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    starts: &'a [u32],
    last: usize,
}

impl Rows<'_> {
    pub(super) fn with<R>(
        starts: impl ExactSizeIterator<Item = usize>,
        f: impl FnOnce(Rows) -> R,
    ) -> R {
        scratch::with(starts.len(), |list: &mut [u32]| {
            let mut last = 0;
            for (to, start) in list.iter_mut().zip(starts) {
                *to = u32::try_from(start).expect("a group of images has few elements");
                last = last.max(start);
            }
            f(Rows { starts: list, last })
        })
    }
}

/// The next `len` columns lie from `from` on.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Run {
    from: u32,
    len: u32,
}

/// Some columns of all rows.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    rows: Rows<'a>,
    runs: &'a [Run],
    /// Elements of every run; 0: they differ.
    run_len: usize,
    width: usize,
    /// One past the last element.
    end: usize,
}

impl Columns<'_> {
    /// Work with these columns; runs break at every multiple of `row`, and start at `place`.
    pub(super) fn with<R>(
        rows: Rows,
        columns: Range<usize>,
        row: usize,
        place: impl Fn(usize) -> usize,
        f: impl FnOnce(Columns) -> R,
    ) -> R {
        scratch::with(columns.len() / row + 2, |list: &mut [Run]| {
            let (mut n, mut count, mut end) = (columns.start, 0, 0);
            while n < columns.end {
                let (from, len) = (place(n), (row - n % row).min(columns.end - n));
                list[count] = Run { from: from as u32, len: len as u32 };
                end = end.max(from + len);
                n += len;
                count += 1;
            }
            assert!(end <= u32::MAX as usize, "a group of images has few elements");
            let (runs, width, end) = (&list[..count], columns.len(), rows.last + end);
            let first = runs.first().map_or(0, |run| run.len);
            let run_len = if runs.iter().all(|r| r.len == first) { first as usize } else { 0 };
            f(Columns { rows, runs, run_len, width, end })
        })
    }
}

/// Call `$f::<LEN, N>`: for runs of LEN columns N to a panel, or of any length.
macro_rules! by_length {
    ($len:expr, $f:ident $args:tt) => {
        match $len {
            1 => $f::<1, 32> $args,
            2 => $f::<2, 16> $args,
            4 => $f::<4, 8> $args,
            8 => $f::<8, 4> $args,
            16 => $f::<16, 2> $args,
            32 => $f::<32, 1> $args,
            _ => $f::<0, 1> $args,
        }
    };
}

impl Columns<'_> {
    /// The columns as a row-major matrix, rows `stride` apart. What lies behind them stays.
    pub(super) fn gather(&self, source: &[f32], to: &mut [f32], stride: usize) {
        assert!(self.end <= source.len() && self.width <= stride);
        assert!(self.rows.starts.len() * stride <= to.len());
        // SAFETY: asserted above.
        unsafe { by_length!(self.run_len, gather(self, source, to, stride)) }
    }

    /// Add the columns of a panel to where they belong.
    pub(super) fn add(&self, panel: &[f32], to: &mut [f32]) {
        assert!(self.end <= to.len() && self.width <= PANEL);
        assert!(self.rows.starts.len() * PANEL <= panel.len());
        // SAFETY: asserted above.
        unsafe { by_length!(self.run_len, add(self, panel, to)) }
    }

    /// Write the columns of a panel, or add them, with a bias for each row.
    pub(super) fn put(&self, panel: &[f32], bias: Option<&[f32]>, mode: Mode, to: &mut [f32]) {
        assert!(self.end <= to.len() && self.width <= PANEL);
        assert!(self.rows.starts.len() * PANEL <= panel.len());
        assert!(bias.is_none_or(|bias| bias.len() == self.rows.starts.len()));
        // SAFETY: asserted above.
        unsafe { by_length!(self.run_len, put(self, panel, bias, mode, to)) }
    }

    /// f(row, where the run's elements start, its first column, its length) for all.
    #[inline(always)]
    fn each<const LEN: usize, const N: usize>(
        &self,
        mut f: impl FnMut(usize, usize, usize, usize),
    ) {
        if LEN == 0 {
            for (r, &row) in self.rows.starts.iter().enumerate() {
                let mut at = 0;
                for run in self.runs {
                    f(r, row as usize + run.from as usize, at, run.len as usize);
                    at += run.len as usize;
                }
            }
            return;
        }
        // A panel at a time: the places of its runs stay in registers.
        let mut panels = self.runs.chunks_exact(N);
        let mut at = 0;
        for runs in &mut panels {
            let from: [usize; N] = std::array::from_fn(|i| runs[i].from as usize);
            for (r, &row) in self.rows.starts.iter().enumerate() {
                for (i, from) in from.into_iter().enumerate() {
                    f(r, row as usize + from, at + i * LEN, LEN);
                }
            }
            at += N * LEN;
        }
        let rest = panels.remainder();
        for (r, &row) in self.rows.starts.iter().enumerate() {
            for (i, run) in rest.iter().enumerate() {
                f(r, row as usize + run.from as usize, at + i * LEN, LEN);
            }
        }
    }
}

/// # Safety
/// `source` holds `end` elements, and `to` the rows, of at most `stride` columns. `LEN` is the
/// length of every run, or 0.
#[apply(simd)]
unsafe fn gather<const LEN: usize, const N: usize>(
    c: &Columns,
    source: &[f32],
    to: &mut [f32],
    stride: usize,
) {
    let (source, to) = (source.as_ptr(), to.as_mut_ptr());
    c.each::<LEN, N>(|r, from, at, len| {
        // SAFETY: by contract.
        unsafe { std::ptr::copy_nonoverlapping(source.add(from), to.add(r * stride + at), len) }
    });
}

/// # Safety
/// `to` holds `end` elements, and `panel` the rows. `LEN` is the length of every run, or 0.
#[apply(simd)]
unsafe fn add<const LEN: usize, const N: usize>(c: &Columns, panel: &[f32], to: &mut [f32]) {
    let (panel, to) = (panel.as_ptr(), to.as_mut_ptr());
    c.each::<LEN, N>(|r, from, at, len| {
        for i in 0..len {
            // SAFETY: by contract.
            unsafe { *to.add(from + i) += *panel.add(r * PANEL + at + i) };
        }
    });
}

/// # Safety
/// The contract of `add`.
#[apply(simd)]
unsafe fn put<const LEN: usize, const N: usize>(
    c: &Columns,
    panel: &[f32],
    bias: Option<&[f32]>,
    mode: Mode,
    to: &mut [f32],
) {
    let (panel, to) = (panel.as_ptr(), to.as_mut_ptr());
    c.each::<LEN, N>(|r, from, at, len| {
        let bias = bias.map_or(0.0, |bias| bias[r]);
        for i in 0..len {
            // SAFETY: by contract.
            unsafe {
                let (to, value) = (to.add(from + i), *panel.add(r * PANEL + at + i) + bias);
                *to = if mode == Mode::Add { *to + value } else { value };
            }
        }
    });
}
