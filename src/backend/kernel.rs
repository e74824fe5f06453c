//! What an op says to launch a CUDA kernel: plain data, in every build.
//!
//! `ops/<op>/cuda.rs` declares its kernels and builds a [`Launch`]; the CUDA backend runs it, the
//! shape-only device counts it. A kernel's parameters are declared once and compared with the PTX
//! when the kernel is first used, so that a wrong count or kind is an error, not undefined
//! behaviour.

use super::{Buffer, Cost};
use crate::dtype::DType;
use crate::{Error, Result};

/// Blocks along y, and along z: the limit that every card has.
pub const MAX_BLOCKS_Y: usize = 65_535;

/// A `__global__` function of `kernels/*.cu`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    pub op: &'static str,
    pub name: &'static str,
    pub params: &'static [Param],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// Pointer to what is written (and maybe read). Either may be null where the kernel says so.
    Out,
    /// Pointer to what is only read.
    In,
    U32,
    F32,
}

/// What one kernel takes of a multiprocessor, from `ptxas -v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resources {
    pub arch: u32,
    /// Threads of the largest block that the kernel may be launched with; 0: it does not say.
    pub threads: usize,
    /// Registers of a thread.
    pub registers: usize,
    pub spilled_bytes: usize,
    pub stack_bytes: usize,
    /// Static; a launch may add to it.
    pub shared_bytes: usize,
}

impl Param {
    /// The type that such a parameter has in PTX.
    pub const fn ptx(self) -> &'static str {
        match self {
            Param::Out | Param::In => "u64",
            Param::U32 => "u32",
            Param::F32 => "f32",
        }
    }
}

/// The f32 and bf16 variant of one kernel, `<prefix>_f32` and `<prefix>_bf16`.
macro_rules! kernel_pair {
    ($op:literal, $prefix:literal, [$($param:ident),* $(,)?]) => {{
        use $crate::backend::{Kernel, Param};
        const PARAMS: &[Param] = &[$(Param::$param),*];
        [
            Kernel { op: $op, name: concat!($prefix, "_f32"), params: PARAMS },
            Kernel { op: $op, name: concat!($prefix, "_bf16"), params: PARAMS },
        ]
    }};
}
pub(crate) use kernel_pair;

/// One kernel of any name.
macro_rules! kernel {
    ($op:literal, $name:literal, [$($param:ident),* $(,)?]) => {{
        use $crate::backend::{Kernel, Param};
        const PARAMS: &[Param] = &[$(Param::$param),*];
        Kernel { op: $op, name: $name, params: PARAMS }
    }};
}
pub(crate) use kernel;

/// The variant for `dtype`.
pub fn by_dtype(dtype: DType, pair: &'static [Kernel; 2]) -> Result<&'static Kernel> {
    match dtype {
        DType::F32 => Ok(&pair[0]),
        DType::Bf16 => Ok(&pair[1]),
        other => Err(Error::Tensor {
            op: pair[0].op.into(),
            tensor: "x".into(),
            got: other.to_string(),
            want: "f32 or bf16".into(),
        }),
    }
}

/// One argument, in the order of [`Kernel::params`]. Tensors, `Option`s of tensors and numbers turn
/// into it by `into()`.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A buffer from this byte on.
    Memory(&'a Buffer, usize),
    Null,
    /// A size or count; an error if it does not fit 32 bits.
    Size(usize),
    F32(f32),
}

impl From<usize> for Arg<'_> {
    fn from(n: usize) -> Self {
        Arg::Size(n)
    }
}

impl From<u32> for Arg<'_> {
    fn from(n: u32) -> Self {
        Arg::Size(n as usize)
    }
}

impl From<f32> for Arg<'_> {
    fn from(x: f32) -> Self {
        Arg::F32(x)
    }
}

impl From<super::Mode> for Arg<'_> {
    /// The kernels' `add` parameter.
    fn from(mode: super::Mode) -> Self {
        Arg::Size((mode == super::Mode::Add) as usize)
    }
}

pub struct Launch<'a> {
    pub kernel: &'static Kernel,
    /// Blocks.
    pub grid: [usize; 3],
    /// Threads of a block.
    pub block: [usize; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: usize,
    pub args: &'a [Arg<'a>],
    pub cost: Cost,
}

impl Launch<'_> {
    /// Whether the arguments are what the kernel declares; the same check on every device.
    pub fn check(&self) -> Result<()> {
        let Kernel { op, name, params } = self.kernel;
        let wrong = |what: String| Err(Error::invalid(format!("{op}: {name}: {what}")));
        if self.args.len() != params.len() {
            return wrong(format!("{} arguments for {params:?}", self.args.len()));
        }
        for (i, (arg, param)) in self.args.iter().zip(*params).enumerate() {
            let fits = match (arg, param) {
                (Arg::Memory(..) | Arg::Null, Param::In | Param::Out) => true,
                (Arg::Size(n), Param::U32) => *n <= u32::MAX as usize,
                (Arg::F32(_), Param::F32) => true,
                _ => false,
            };
            if !fits {
                return wrong(format!("argument {i} does not fit {param:?}"));
            }
        }
        let sizes = self.grid.iter().chain(&self.block);
        if sizes.clone().any(|&n| n == 0) || self.grid[0] > i32::MAX as usize {
            return wrong(format!("grid {:?} of blocks {:?}", self.grid, self.block));
        }
        if self.grid[1] > MAX_BLOCKS_Y
            || self.grid[2] > MAX_BLOCKS_Y
            || self.block.iter().product::<usize>() > 1024
        {
            return wrong(format!("grid {:?} of blocks {:?}", self.grid, self.block));
        }
        Ok(())
    }
}
