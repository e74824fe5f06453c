//! Reusable thread-local work memory, so that a steady training step allocates nothing.
//!
//! Buffers are 64-byte aligned and hold whatever was there before. Nested calls get different
//! buffers, also when a thread that waits for others picks up another piece of work meanwhile.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Elements of unspecified content; the memory goes back when this is dropped.
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    elem: PhantomData<T>,
}

/// `len` elements of unspecified content.
pub fn take<T: Pod>(len: usize) -> Buffer<T> {
    let needed = (len * size_of::<T>()).div_ceil(size_of::<Line>());
    let mut lines = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if lines.len() < needed {
        lines.resize(needed, Line([0; 64]));
    }
    Buffer { lines, len, elem: PhantomData }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        FREE.with_borrow_mut(|free| free.push(std::mem::take(&mut self.lines)));
    }
}

/// Run `f` with `len` elements of unspecified content.
pub fn with<T: Pod, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    f(&mut take(len))
}

/// Run `f` with several slices, each starting on a cache line.
pub fn split<T: Pod, const N: usize, R>(
    lens: &[usize; N],
    f: impl FnOnce([&mut [T]; N]) -> R,
) -> R {
    let padded = |len: usize| len.next_multiple_of(size_of::<Line>() / size_of::<T>());
    with(lens.iter().map(|&len| padded(len)).sum(), |mut rest: &mut [T]| {
        f(lens.map(|len| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(padded(len));
            rest = tail;
            &mut head[..len]
        }))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn nested_buffers_are_distinct_aligned_and_reused() {
        let place = super::with(100, |outer: &mut [f32]| {
            outer.fill(1.0);
            super::with(7, |inner: &mut [u16]| {
                inner.fill(2);
                assert_eq!(inner.as_ptr() as usize % 64, 0);
            });
            assert!(outer.iter().all(|&x| x == 1.0));
            outer.as_ptr() as usize
        });
        assert_eq!(place % 64, 0);
        assert_eq!(place, super::with(100, |again: &mut [f32]| again.as_ptr() as usize));
        super::split(&[3, 0, 5], |[a, b, c]: [&mut [u16]; 3]| {
            assert_eq!((a.len(), b.len(), c.len()), (3, 0, 5));
            assert_eq!((a.as_ptr() as usize % 64, c.as_ptr() as usize % 64), (0, 0));
        });
        super::with(0, |none: &mut [f32]| assert!(none.is_empty()));
    }
}
