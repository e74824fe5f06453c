//! A tensor: device, dtype, shape and a range of a buffer. Always contiguous, row-major.
//!
//! Host access is checked while the program runs: a buffer has many readers or one writer.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::backend::{Buffer, Device, Purpose};
use crate::dtype::{DType, Element};
use crate::shape::Shape;
use crate::{Error, Result};

/// Cheap to clone: clones name the same memory.
#[derive(Clone)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    start_bytes: usize,
    shape: Shape,
    dtype: DType,
}

impl Tensor {
    /// Memory whose content is whatever was there before: the caller writes all of it.
    pub fn uninit(
        device: &Device,
        dtype: DType,
        shape: impl Into<Shape>,
        purpose: Purpose,
    ) -> Result<Self> {
        let shape = shape.into();
        let buffer = device.alloc(shape.elems() * dtype.size_bytes(), purpose)?;
        Ok(Self { buffer, start_bytes: 0, shape, dtype })
    }

    pub fn zeros(
        device: &Device,
        dtype: DType,
        shape: impl Into<Shape>,
        purpose: Purpose,
    ) -> Result<Self> {
        let t = Self::uninit(device, dtype, shape, purpose)?;
        t.zero()?;
        Ok(t)
    }

    pub fn from_slice<E: Element>(
        device: &Device,
        values: &[E],
        shape: impl Into<Shape>,
        purpose: Purpose,
    ) -> Result<Self> {
        let t = Self::uninit(device, E::DTYPE, shape, purpose)?;
        t.upload(values)?;
        Ok(t)
    }

    pub fn device(&self) -> &Device {
        self.buffer.device()
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn elems(&self) -> usize {
        self.shape.elems()
    }

    pub fn bytes(&self) -> usize {
        self.elems() * self.dtype.size_bytes()
    }

    /// Exactly `R` dimensions; `what` as in [`Shape::bind`].
    pub fn dims<const R: usize>(&self, what: &str) -> Result<[usize; R]> {
        self.shape.bind(what)
    }

    pub fn expect_dims(&self, what: &str, want: &[usize]) -> Result<()> {
        self.shape.expect(what, want)
    }

    pub fn expect_dtype(&self, what: &str, want: DType) -> Result<()> {
        if self.dtype == want {
            return Ok(());
        }
        let (op, tensor) = what.split_once(' ').unwrap_or(("tensor", what));
        Err(Error::Tensor {
            op: op.into(),
            tensor: tensor.into(),
            got: self.dtype.to_string(),
            want: want.to_string(),
        })
    }

    /// The same elements under another shape.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.elems() != self.elems() {
            return Err(Error::Tensor {
                op: "reshape".into(),
                tensor: "x".into(),
                got: self.shape.to_string(),
                want: format!("{} elements for {shape}", shape.elems()),
            });
        }
        Ok(Self { shape, ..self.clone() })
    }

    /// `shape.elems()` elements starting at element `start`: a view into a flat buffer.
    pub fn view(&self, start: usize, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if start + shape.elems() > self.elems() {
            return Err(Error::Tensor {
                op: "view".into(),
                tensor: format!("x[{start}..{}]", start + shape.elems()),
                got: self.shape.to_string(),
                want: "a range inside x".into(),
            });
        }
        let start_bytes = self.start_bytes + start * self.dtype.size_bytes();
        Ok(Self { start_bytes, shape, ..self.clone() })
    }

    /// Whether this handle is the only one on its memory, so that writing in place is unseen.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1
    }

    /// Host elements for reading. An error if the dtype differs, the tensor has no host memory,
    /// or its buffer is being written.
    pub fn read<E: Element>(&self) -> Result<Read<'_, E>> {
        self.expect_dtype("read x", E::DTYPE)?;
        self.read_as()
    }

    /// Host elements for writing, exclusively.
    pub fn write<E: Element>(&self) -> Result<Write<'_, E>> {
        self.expect_dtype("write x", E::DTYPE)?;
        self.write_as()
    }

    /// Exchange content with a tensor of the same dtype and element count.
    pub fn swap_content(&self, other: &Tensor) -> Result<()> {
        other.expect_dtype("swap x", self.dtype)?;
        other.expect_dims("swap x", self.shape.dims())?;
        if self.device().is_shape_only() {
            return Ok(());
        }
        self.write_bytes()?.swap_with_slice(&mut other.write_bytes()?);
        Ok(())
    }

    /// Raw little-endian bytes, whatever the dtype: for checkpoints and digests.
    pub fn read_bytes(&self) -> Result<Read<'_, u8>> {
        self.read_as()
    }

    pub fn write_bytes(&self) -> Result<Write<'_, u8>> {
        self.write_as()
    }

    fn read_as<E: Element>(&self) -> Result<Read<'_, E>> {
        let range = self.buffer.range()?;
        if !self.buffer.start_read() {
            return Err(self.busy("read while it is being written"));
        }
        // SAFETY: `start_read` succeeded, so no writer exists until `Read` is dropped.
        let bytes = unsafe { range.slice(self.start_bytes, self.bytes()) };
        Ok(Read { slice: bytemuck::cast_slice(bytes), buffer: &self.buffer })
    }

    fn write_as<E: Element>(&self) -> Result<Write<'_, E>> {
        let range = self.buffer.range()?;
        if !self.buffer.start_write() {
            return Err(self.busy("written while it is in use"));
        }
        // SAFETY: `start_write` succeeded, so this is the only reference until `Write` is dropped.
        let bytes = unsafe { range.slice_mut(self.start_bytes, self.bytes()) };
        Ok(Write { slice: bytemuck::cast_slice_mut(bytes), buffer: &self.buffer })
    }

    fn busy(&self, what: &str) -> Error {
        Error::Device {
            device: self.device().name().into(),
            what: format!("tensor {} {what}", self.shape),
        }
    }

    /// Host to device. The shape-only device ignores the values.
    pub fn upload<E: Element>(&self, values: &[E]) -> Result<()> {
        self.expect_dtype("upload x", E::DTYPE)?;
        if values.len() != self.elems() {
            return Err(Error::Tensor {
                op: "upload".into(),
                tensor: "x".into(),
                got: format!("{} values", values.len()),
                want: format!("{} for {}", self.elems(), self.shape),
            });
        }
        if self.device().is_shape_only() {
            return Ok(());
        }
        self.write::<E>()?.copy_from_slice(values);
        Ok(())
    }

    /// Device to host.
    pub fn download<E: Element>(&self) -> Result<Vec<E>> {
        Ok(self.read::<E>()?.to_vec())
    }

    /// All bytes zero: 0 in every dtype.
    pub fn zero(&self) -> Result<()> {
        if self.device().is_shape_only() {
            return Ok(());
        }
        self.write_bytes()?.fill(0);
        Ok(())
    }

    /// Same dtype and element count, another tensor's content.
    pub fn copy_from(&self, source: &Tensor) -> Result<()> {
        source.expect_dtype("copy x", self.dtype)?;
        if source.elems() != self.elems() {
            source.expect_dims("copy x", self.shape.dims())?;
        }
        if self.device().is_shape_only() {
            return Ok(());
        }
        self.write_bytes()?.copy_from_slice(&source.read_bytes()?);
        Ok(())
    }
}

pub struct Read<'a, E> {
    slice: &'a [E],
    buffer: &'a Buffer,
}

impl<E> Deref for Read<'_, E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        self.slice
    }
}

impl<E> Drop for Read<'_, E> {
    fn drop(&mut self) {
        self.buffer.end_read();
    }
}

pub struct Write<'a, E> {
    slice: &'a mut [E],
    buffer: &'a Buffer,
}

impl<E> Deref for Write<'_, E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        self.slice
    }
}

impl<E> DerefMut for Write<'_, E> {
    fn deref_mut(&mut self) -> &mut [E] {
        self.slice
    }
}

impl<E> Drop for Write<'_, E> {
    fn drop(&mut self) {
        self.buffer.end_write();
    }
}
