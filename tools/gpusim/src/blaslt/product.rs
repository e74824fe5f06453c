//! The arithmetic of a product: inputs to f32, one f32 product, epilogue, one rounding at the
//! store.

use std::ops::Range;

use half::{bf16, f16};

use super::problem::{Element, Epilogue, Matrix, Problem, Rounding};
use crate::driver::{Accesses, Gpu, NodeKind, Work};
use crate::memory::AccessError;
use crate::report::Counters;

const SECTOR_BYTES: u64 = 32;

pub struct Product {
    pub problem: Problem,
    pub a: u64,
    pub b: u64,
    pub c: u64,
    pub d: u64,
    pub alpha: f32,
    pub beta: f32,
    pub bias: u64,
    pub workspace: Range<u64>,
}

impl Work for Product {
    fn label(&self) -> String {
        let [m, n, k] = self.problem.shape();
        format!("cublasLtMatmul {} {m}x{n}x{k}", self.problem.kind)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Kernel
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        let mut accesses = Accesses::default();
        if !self.workspace.is_empty() {
            let bytes = self.workspace.end - self.workspace.start;
            if let Err(error) = gpu.memory.poison(self.workspace.start, bytes) {
                gpu.report_access(&self.label(), error, "workspace");
            }
            accesses.writes.push(self.workspace.clone());
        }
        for batch in 0..self.problem.batch {
            if let Err((operand, error)) = self.run_one(batch, gpu, &mut accesses) {
                gpu.report_access(&self.label(), error, operand);
                break;
            }
        }
        self.count(gpu, &accesses);
        accesses
    }
}

impl Product {
    /// All bytes from D's first to its last.
    pub fn target(&self) -> Range<u64> {
        self.d..self.d + self.problem.d.bytes(self.problem.batch)
    }

    fn run_one(
        &self,
        batch: u64,
        gpu: &mut Gpu,
        accesses: &mut Accesses,
    ) -> Result<(), (&'static str, AccessError)> {
        let problem = &self.problem;
        let [m, n, k] = problem.shape().map(|size| size as usize);
        let at = |start: u64, matrix: &Matrix| {
            start + batch * matrix.batch_stride * matrix.element.bytes()
        };
        let mut operand = |name, start, matrix: &Matrix| {
            let mut values =
                read(gpu, start, matrix, &mut accesses.reads).map_err(|e| (name, e))?;
            round(&mut values, problem.rounding);
            Ok(values)
        };
        let a = operand("A", at(self.a, &problem.a), &problem.a)?;
        let b = operand("B", at(self.b, &problem.b), &problem.b)?;
        let mut sums = vec![0.0_f32; m * n];
        multiply([m, n, k], &a, &b, &mut sums);

        let start = at(self.c, &problem.c);
        let c = match self.beta == 0.0 {
            true => None,
            false => Some(read(gpu, start, &problem.c, &mut accesses.reads).map_err(|e| ("C", e))?),
        };
        let bias_at = self.bias + batch * problem.bias_batch_stride * problem.d.element.bytes();
        let bias = match problem.epilogue {
            Epilogue::Bias | Epilogue::ReluBias => {
                let vector = vector(problem.d.element, m as u64);
                Some(read(gpu, bias_at, &vector, &mut accesses.reads).map_err(|e| ("bias", e))?)
            }
            _ => None,
        };
        for (index, sum) in sums.iter_mut().enumerate() {
            let mut value = self.alpha * *sum;
            if let Some(c) = &c {
                value += self.beta * c[index];
            }
            if let Some(bias) = &bias {
                value += bias[index % m];
            }
            if matches!(problem.epilogue, Epilogue::Relu | Epilogue::ReluBias) {
                // As max(value, 0), but a NaN stays one.
                value = if value < 0.0 { 0.0 } else { value };
            }
            *sum = value;
        }
        let start = at(self.d, &problem.d);
        write(gpu, start, &problem.d, &sums, &mut accesses.writes).map_err(|e| ("D", e))?;

        let gradient: Option<Vec<f32>> = match problem.epilogue {
            Epilogue::BiasGradientA => {
                Some((0..m).map(|i| (0..k).map(|p| a[p * m + i]).sum()).collect())
            }
            Epilogue::BiasGradientB => Some(b.chunks_exact(k).map(|c| c.iter().sum()).collect()),
            _ => None,
        };
        if let Some(gradient) = gradient {
            let vector = vector(problem.d.element, gradient.len() as u64);
            write(gpu, bias_at, &vector, &gradient, &mut accesses.writes)
                .map_err(|e| ("bias gradient", e))?;
        }
        Ok(())
    }

    fn count(&self, gpu: &mut Gpu, accesses: &Accesses) {
        let [m, n, k] = self.problem.shape();
        let bytes = |ranges: &[Range<u64>]| ranges.iter().map(|r| r.end - r.start).sum::<u64>();
        let (read, written) = (bytes(&accesses.reads), bytes(&accesses.writes));
        let name = format!("cublasLtMatmul {}", self.problem.kind);
        let counters: &mut Counters = gpu.session.counters.entry(name).or_default();
        counters.launches += 1;
        counters.mma_flops += 2 * m * n * k * self.problem.batch;
        counters.bytes_read += read;
        counters.bytes_written += written;
        counters.sectors_read += read.div_ceil(SECTOR_BYTES);
        counters.sectors_written += written.div_ceil(SECTOR_BYTES);
        counters.unique_sectors_read += read.div_ceil(SECTOR_BYTES);
        counters.unique_sectors_written += written.div_ceil(SECTOR_BYTES);
    }
}

fn vector(element: Element, rows: u64) -> Matrix {
    Matrix { element, rows, cols: 1, row_stride: 1, col_stride: rows, batch_stride: 0 }
}

/// C = A B, each column after column.
fn multiply([m, n, k]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32]) {
    assert_eq!((a.len(), b.len(), c.len()), (m * k, k * n, m * n));
    let (m_stride, k_stride) = (m as isize, k as isize);
    // SAFETY: the lengths, asserted above, are those that sizes and strides reach.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            1,
            m_stride,
            b.as_ptr(),
            1,
            k_stride,
            0.0,
            c.as_mut_ptr(),
            1,
            m_stride,
        );
    }
}

/// The contiguous runs of a matrix in memory: how many, elements of each, elements from one to the
/// next.
fn runs(matrix: &Matrix) -> (u64, u64, u64) {
    let (count, length, step) = match matrix.row_stride {
        1 => (matrix.cols, matrix.rows, matrix.col_stride),
        _ => (matrix.rows, matrix.cols, matrix.row_stride),
    };
    if step == length { (1, count * length, step) } else { (count, length, step) }
}

/// The matrix in f32, column after column.
fn read(
    gpu: &Gpu,
    start: u64,
    matrix: &Matrix,
    touched: &mut Vec<Range<u64>>,
) -> Result<Vec<f32>, AccessError> {
    let width = matrix.element.bytes();
    let (count, length, step) = runs(matrix);
    let mut values = Vec::with_capacity((matrix.rows * matrix.cols) as usize);
    for run in 0..count {
        let at = start + run * step * width;
        let bytes = gpu.memory.read(at, length * width)?;
        touched.push(at..at + length * width);
        decode(matrix.element, bytes, &mut values);
    }
    Ok(if matrix.row_stride == 1 { values } else { turn(&values, matrix.cols as usize) })
}

/// Store values, given column after column.
fn write(
    gpu: &mut Gpu,
    start: u64,
    matrix: &Matrix,
    values: &[f32],
    touched: &mut Vec<Range<u64>>,
) -> Result<(), AccessError> {
    let width = matrix.element.bytes();
    let (count, length, step) = runs(matrix);
    let turned;
    let values = match matrix.row_stride {
        1 => values,
        _ => {
            turned = turn(values, matrix.rows as usize);
            &turned
        }
    };
    for (run, values) in (0..count).zip(values.chunks_exact(length as usize)) {
        let at = start + run * step * width;
        encode(matrix.element, values, gpu.memory.overwrite(at, length * width)?);
        touched.push(at..at + length * width);
    }
    Ok(())
}

/// Transpose: runs of `length` values become runs across them.
fn turn(values: &[f32], length: usize) -> Vec<f32> {
    let count = values.len() / length;
    let mut turned = Vec::with_capacity(values.len());
    for at in 0..length {
        turned.extend((0..count).map(|run| values[run * length + at]));
    }
    turned
}

fn decode(element: Element, bytes: &[u8], values: &mut Vec<f32>) {
    let short = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
    match element {
        Element::F32 => {
            let words = bytes.chunks_exact(4);
            values.extend(words.map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]])));
        }
        Element::F16 => {
            values.extend(bytes.chunks_exact(2).map(|p| f16::from_bits(short(p)).to_f32()));
        }
        Element::Bf16 => {
            let widen = |p: &[u8]| f32::from_bits(u32::from(short(p)) << 16);
            values.extend(bytes.chunks_exact(2).map(widen));
        }
    }
}

fn encode(element: Element, values: &[f32], bytes: &mut [u8]) {
    let width = element.bytes() as usize;
    for (value, out) in values.iter().zip(bytes.chunks_exact_mut(width)) {
        match element {
            Element::F32 => out.copy_from_slice(&value.to_le_bytes()),
            Element::F16 => out.copy_from_slice(&f16::from_f32(*value).to_le_bytes()),
            Element::Bf16 => out.copy_from_slice(&bf16::from_f32(*value).to_le_bytes()),
        }
    }
}

fn round(values: &mut [f32], rounding: Rounding) {
    match rounding {
        Rounding::None => {}
        Rounding::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        Rounding::Bf16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
        Rounding::Tf32 => values.iter_mut().filter(|v| v.is_finite()).for_each(|v| {
            // 10 bits of mantissa are kept, to nearest, ties to even.
            let bits = v.to_bits();
            *v = f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff);
        }),
    }
}
