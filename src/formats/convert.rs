//! Element types of other programs, and what becomes of them here.

use half::f16;

use super::HostTensor;
use crate::dtype::DType;
use crate::shape::{MAX_RANK, Shape};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    F16,
    Bf16,
    F32,
    F64,
    Bool,
    U8,
    I32,
    I64,
}

impl Foreign {
    pub fn size_bytes(self) -> usize {
        match self {
            Foreign::Bool | Foreign::U8 => 1,
            Foreign::F16 | Foreign::Bf16 => 2,
            Foreign::F32 | Foreign::I32 => 4,
            Foreign::F64 | Foreign::I64 => 8,
        }
    }
}

/// Contiguous little-endian `bytes` as a tensor of ours: f16 becomes f32 exactly, f64 is rounded to
/// f32, i64 must fit i32, bool becomes u8.
pub fn tensor(from: Foreign, dims: &[usize], bytes: Vec<u8>) -> Result<HostTensor, String> {
    if dims.len() > MAX_RANK {
        return Err(format!("has {} dimensions, of at most {MAX_RANK}", dims.len()));
    }
    let elems = dims.iter().try_fold(from.size_bytes(), |n, d| n.checked_mul(*d));
    if elems != Some(bytes.len()) {
        return Err(format!("has {} bytes, which is not {from:?} {dims:?}", bytes.len()));
    }
    let word = |w: &[u8]| <[u8; 8]>::try_from(w).unwrap_or_default();
    let (dtype, bytes) = match from {
        Foreign::F32 => (DType::F32, bytes),
        Foreign::Bf16 => (DType::Bf16, bytes),
        Foreign::I32 => (DType::I32, bytes),
        Foreign::U8 | Foreign::Bool => (DType::U8, bytes),
        Foreign::F16 => {
            let halves = bytes.chunks_exact(2).map(|w| f16::from_le_bytes([w[0], w[1]]));
            (DType::F32, halves.flat_map(|x| x.to_f32().to_le_bytes()).collect())
        }
        Foreign::F64 => {
            let doubles = bytes.chunks_exact(8).map(|w| f64::from_le_bytes(word(w)) as f32);
            (DType::F32, doubles.flat_map(f32::to_le_bytes).collect())
        }
        Foreign::I64 => {
            let mut narrow = Vec::with_capacity(bytes.len() / 2);
            for w in bytes.chunks_exact(8) {
                let x = i64::from_le_bytes(word(w));
                let x = i32::try_from(x).map_err(|_| format!("holds {x}, which i32 cannot"))?;
                narrow.extend(x.to_le_bytes());
            }
            (DType::I32, narrow)
        }
    };
    Ok(HostTensor { dtype, shape: Shape::new(dims), bytes })
}
