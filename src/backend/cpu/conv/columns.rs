//! Columns of a matrix that is never stored whole: row `r`, column `n` is an element at
//! `rows[r] + place(n)` of a buffer. Neighbouring columns lie side by side in runs, which are moved
//! whole, in either direction.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use multiversion::multiversion;

use super::PANEL;
use crate::backend::Mode;
use crate::backend::cpu::scratch;

/// `len` columns from `at` on lie from `from` on.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Run {
    from: u32,
    at: u16,
    len: u16,
}

/// The runs of `columns`, which break at every multiple of `row`; column 0 of them is the first.
pub(super) fn runs(
    columns: Range<usize>,
    row: usize,
    place: impl Fn(usize) -> usize,
    f: &mut dyn FnMut(Run),
) {
    let mut n = columns.start;
    while n < columns.end {
        let len = (row - n % row).min(columns.end - n);
        f(Run { from: place(n) as u32, at: (n - columns.start) as u16, len: len as u16 });
        n += len;
    }
}

/// Some columns of all rows.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    rows: &'a [u32],
    runs: &'a [Run],
    /// One past the last element.
    end: usize,
    width: usize,
}

impl Columns<'_> {
    /// Work with the rows and runs that the two sources name.
    pub(super) fn with<R>(
        rows: impl ExactSizeIterator<Item = usize>,
        runs: impl Fn(&mut dyn FnMut(Run)),
        f: impl FnOnce(Columns) -> R,
    ) -> R {
        let mut count = 0;
        runs(&mut |_| count += 1);
        scratch::with(rows.len(), |offsets: &mut [u32]| {
            scratch::with(count, |list: &mut [Run]| {
                let mut last_row = 0;
                for (offset, row) in offsets.iter_mut().zip(rows) {
                    *offset = u32::try_from(row).expect("a group of images has few elements");
                    last_row = last_row.max(row);
                }
                let (mut i, mut last, mut width) = (0, 0, 0);
                runs(&mut |run| {
                    list[i] = run;
                    i += 1;
                    last = last.max(run.from as usize + run.len as usize);
                    width = width.max(run.at as usize + run.len as usize);
                });
                f(Columns { rows: offsets, runs: list, end: last_row + last, width })
            })
        })
    }

    /// The length of all runs, if it is one that copies have a fast path for.
    fn length(&self) -> usize {
        let first = self.runs.first().map_or(0, |run| run.len);
        if self.runs.iter().all(|run| run.len == first) { first as usize } else { 0 }
    }

    /// The columns as a row-major matrix, rows `stride` apart. What lies behind them stays.
    pub(super) fn gather(&self, source: &[f32], to: &mut [f32], stride: usize) {
        assert!(self.end <= source.len() && self.width <= stride);
        assert!(self.rows.len() * stride <= to.len());
        // SAFETY: asserted above; `runs` and `rows` were measured when they were listed.
        unsafe {
            match self.length() {
                2 => gather::<2>(self, source, to, stride),
                4 => gather::<4>(self, source, to, stride),
                8 => gather::<8>(self, source, to, stride),
                16 => gather::<16>(self, source, to, stride),
                32 => gather::<32>(self, source, to, stride),
                _ => gather::<0>(self, source, to, stride),
            }
        }
    }

    /// Add the columns of panels to where they belong.
    pub(super) fn add(&self, panel: &[f32], to: &mut [f32]) {
        assert!(self.end <= to.len() && self.width <= PANEL);
        assert!(self.rows.len() * PANEL <= panel.len());
        // SAFETY: asserted above; `runs` and `rows` were measured when they were listed.
        unsafe {
            match self.length() {
                2 => add::<2>(self, panel, to),
                4 => add::<4>(self, panel, to),
                8 => add::<8>(self, panel, to),
                16 => add::<16>(self, panel, to),
                32 => add::<32>(self, panel, to),
                _ => add::<0>(self, panel, to),
            }
        }
    }

    /// Write the columns of a panel, or add them, with a bias for each row.
    pub(super) fn put(&self, panel: &[f32], bias: Option<&[f32]>, mode: Mode, to: &mut [f32]) {
        assert!(self.end <= to.len() && self.width <= PANEL);
        for (r, (&row, panel)) in self.rows.iter().zip(panel.chunks_exact(PANEL)).enumerate() {
            let bias = bias.map_or(0.0, |bias| bias[r]);
            for run in self.runs {
                let to = &mut to[(row + run.from) as usize..][..run.len as usize];
                let values = &panel[run.at as usize..][..run.len as usize];
                for (to, value) in to.iter_mut().zip(values) {
                    let before = if mode == Mode::Add { *to } else { 0.0 };
                    *to = before + (value + bias);
                }
            }
        }
    }
}

/// # Safety
/// All rows of all runs are inside `source`, and `to` holds the rows, of at most `stride` columns.
/// `LEN` is the length of every run, or 0.
#[multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
unsafe fn gather<const LEN: usize>(c: &Columns, source: &[f32], to: &mut [f32], stride: usize) {
    let (source, mut to) = (source.as_ptr(), to.as_mut_ptr());
    for &row in c.rows {
        for run in c.runs {
            let len = if LEN > 0 { LEN } else { run.len as usize };
            // SAFETY: by contract.
            unsafe {
                let from = source.add(row as usize + run.from as usize);
                std::ptr::copy_nonoverlapping(from, to.add(run.at as usize), len);
            }
        }
        // SAFETY: the next row, or one past the last.
        to = unsafe { to.add(stride) };
    }
}

/// # Safety
/// All rows of all runs are inside `to`, and `panel` holds the rows. `LEN` is the length of every
/// run, or 0.
#[multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
unsafe fn add<const LEN: usize>(c: &Columns, panel: &[f32], to: &mut [f32]) {
    for (&row, panel) in c.rows.iter().zip(panel.chunks_exact(PANEL)) {
        for run in c.runs {
            let len = if LEN > 0 { LEN } else { run.len as usize };
            // SAFETY: by contract.
            let (to, panel) = unsafe {
                let to = to.as_mut_ptr().add(row as usize + run.from as usize);
                let panel = panel.as_ptr().add(run.at as usize);
                (std::slice::from_raw_parts_mut(to, len), std::slice::from_raw_parts(panel, len))
            };
            to.iter_mut().zip(panel).for_each(|(to, value)| *to += value);
        }
    }
}
