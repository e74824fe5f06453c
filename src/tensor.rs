//! A tensor: device, dtype, shape and a range of a buffer. Always contiguous, row-major.
//!
//! Host access is checked while the program runs: a buffer has many readers or one writer.
#![allow(unsafe_code)]

mod transfer;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::backend::{Arg, Buffer, COPY, Device, DeviceKind, FILL, Purpose};
use crate::dtype::{DType, Element, bf16};
use crate::shape::Shape;
use crate::{Error, Result};

pub use transfer::{Readback, Upload};

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

    /// A view of all elements under another shape.
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

    /// A view of all bytes as elements of another dtype of the same size.
    pub fn as_dtype(&self, dtype: DType) -> Result<Self> {
        match dtype.size_bytes() == self.dtype.size_bytes() {
            true => Ok(Self { dtype, ..self.clone() }),
            false => Err(self.misfit("as_dtype", dtype.to_string())),
        }
    }

    /// Whether this handle is the only one on its memory, so that writing in place is unseen.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1
    }

    /// Elements on the host: the memory itself on a CPU, a copy that waits for the device on CUDA.
    /// An error if the dtype differs, the tensor has no memory, or its buffer is being written.
    pub fn read<E: Element>(&self) -> Result<Read<'_, E>> {
        self.expect_dtype("read x", E::DTYPE)?;
        self.read_as()
    }

    /// Host elements for writing, exclusively. CPU only; see [`upload`](Self::upload).
    pub fn write<E: Element>(&self) -> Result<Write<'_, E>> {
        self.expect_dtype("write x", E::DTYPE)?;
        self.write_as()
    }

    /// Exchange content with a tensor of the same dtype and element count.
    pub fn swap_content(&self, other: &Tensor) -> Result<()> {
        other.expect_dtype("swap x", self.dtype)?;
        other.expect_dims("swap x", self.shape.dims())?;
        match self.device().kind() {
            _ if self.device().is_shape_only() => Ok(()),
            DeviceKind::Cpu => {
                self.write_bytes()?.swap_with_slice(&mut other.write_bytes()?);
                Ok(())
            }
            DeviceKind::Cuda => {
                let held = self.download_bytes()?;
                self.copy_from(other)?;
                other.upload_bytes(&held)
            }
        }
    }

    /// Raw little-endian bytes, whatever the dtype: for checkpoints and digests.
    pub fn read_bytes(&self) -> Result<Read<'_, u8>> {
        self.read_as()
    }

    pub fn write_bytes(&self) -> Result<Write<'_, u8>> {
        self.write_as()
    }

    /// Overwrite with raw little-endian bytes, on any device.
    pub fn upload_bytes(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.bytes() {
            return Err(self.misfit("upload", format!("{} bytes", bytes.len())));
        }
        match self.device().as_cuda() {
            _ if self.device().is_shape_only() => Ok(()),
            Some(cuda) => cuda.upload(self.address()?, bytes),
            None => {
                self.write_bytes()?.copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn download_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes()];
        if let Some(cuda) = self.device().as_cuda() {
            cuda.download(self.address()?, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// Where the first element is on a CUDA device.
    pub(crate) fn address(&self) -> Result<u64> {
        Ok(self.buffer.address()? + self.start_bytes as u64)
    }

    fn read_as<E: Element>(&self) -> Result<Read<'_, E>> {
        if let Some(cuda) = self.device().as_cuda() {
            let mut copy = vec![E::zeroed(); self.bytes() / size_of::<E>()];
            cuda.download(self.address()?, bytemuck::cast_slice_mut(&mut copy))?;
            return Ok(Read(View::Copy(copy)));
        }
        let range = self.buffer.range()?;
        if !self.buffer.start_read() {
            return Err(self.busy("read while it is being written"));
        }
        // SAFETY: `start_read` succeeded, so no writer exists until `Read` is dropped.
        let bytes = unsafe { range.slice(self.start_bytes, self.bytes()) };
        Ok(Read(View::Memory { slice: bytemuck::cast_slice(bytes), buffer: &self.buffer }))
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
            device: self.device().name(),
            what: format!("tensor {} {what}", self.shape),
        }
    }

    /// Host to device. The shape-only device ignores the values.
    pub fn upload<E: Element>(&self, values: &[E]) -> Result<()> {
        self.expect_dtype("upload x", E::DTYPE)?;
        if values.len() != self.elems() {
            return Err(self.misfit("upload", format!("{} values", values.len())));
        }
        self.upload_bytes(bytemuck::cast_slice(values))
    }

    fn misfit(&self, op: &str, got: String) -> Error {
        Error::Tensor {
            op: op.into(),
            tensor: "x".into(),
            got,
            want: format!("{} elements of {} for {}", self.elems(), self.dtype, self.shape),
        }
    }

    /// Device to host.
    pub fn download<E: Element>(&self) -> Result<Vec<E>> {
        Ok(self.read::<E>()?.to_vec())
    }

    /// Elements on the host as f32, whether they are f32 or bf16.
    pub fn to_f32s(&self) -> Result<Vec<f32>> {
        match self.dtype() {
            DType::Bf16 => Ok(self.read::<bf16>()?.iter().map(|x| x.to_f32()).collect()),
            _ => self.download(),
        }
    }

    /// All bytes zero: 0 in every dtype.
    pub fn zero(&self) -> Result<()> {
        match self.device().as_cuda() {
            _ if self.device().is_shape_only() => {
                self.device().count_transfer(FILL, self.bytes());
                Ok(())
            }
            Some(cuda) => cuda.zero(self.address()?, self.bytes()),
            None => {
                self.write_bytes()?.fill(0);
                Ok(())
            }
        }
    }

    /// Same dtype and element count, another tensor's content.
    pub fn copy_from(&self, source: &Tensor) -> Result<()> {
        source.expect_dtype("copy x", self.dtype)?;
        if source.elems() != self.elems() {
            source.expect_dims("copy x", self.shape.dims())?;
        }
        match self.device().as_cuda() {
            _ if self.device().is_shape_only() => {
                self.device().count_transfer(COPY, 2 * self.bytes());
                Ok(())
            }
            Some(cuda) => cuda.copy(self.address()?, source.address()?, self.bytes()),
            None => {
                self.write_bytes()?.copy_from_slice(&source.read_bytes()?);
                Ok(())
            }
        }
    }
}

/// Elements for reading; see [`Tensor::read`].
pub struct Read<'a, E>(View<'a, E>);

enum View<'a, E> {
    Memory { slice: &'a [E], buffer: &'a Buffer },
    Copy(Vec<E>),
}

impl<E> Deref for Read<'_, E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        match &self.0 {
            View::Memory { slice, .. } => slice,
            View::Copy(elements) => elements,
        }
    }
}

impl<E> Drop for Read<'_, E> {
    fn drop(&mut self) {
        if let View::Memory { buffer, .. } = &self.0 {
            buffer.end_read();
        }
    }
}

impl<'a> From<&'a Tensor> for Arg<'a> {
    fn from(t: &'a Tensor) -> Self {
        Arg::Memory(&t.buffer, t.start_bytes)
    }
}

/// `None` is a null pointer.
impl<'a> From<Option<&'a Tensor>> for Arg<'a> {
    fn from(t: Option<&'a Tensor>) -> Self {
        t.map_or(Arg::Null, Arg::from)
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
