//! A product as descriptors define it, checked as a whole: D = epilogue(alpha op(A) op(B) + beta
//! C).

use super::descriptors::{Layout, MatmulDesc, R_32F};
use super::status::{BlasError, Result};
use crate::driver::Driver;

/// `cudaDataType_t`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    F16,
    Bf16,
}

impl Element {
    fn of(code: i32) -> Option<Self> {
        match code {
            R_32F => Some(Self::F32),
            2 => Some(Self::F16),
            14 => Some(Self::Bf16),
            _ => None,
        }
    }

    pub fn bytes(self) -> u64 {
        if self == Self::F32 { 4 } else { 2 }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

/// What inputs are rounded to before they are multiplied (`cublasComputeType_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    None,
    Tf32,
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    None,
    Relu,
    Bias,
    ReluBias,
    /// Sums of op(A)'s rows, or op(B)'s columns, over k go to the bias pointer.
    BiasGradientA,
    BiasGradientB,
}

impl Epilogue {
    fn of(code: i32) -> Option<Self> {
        Some(match code {
            1 => Self::None,
            2 => Self::Relu,
            4 => Self::Bias,
            6 => Self::ReluBias,
            256 => Self::BiasGradientA,
            512 => Self::BiasGradientB,
            _ => return None,
        })
    }
}

/// A matrix of a batch; strides in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    pub element: Element,
    pub rows: u64,
    pub cols: u64,
    pub row_stride: u64,
    pub col_stride: u64,
    pub batch_stride: u64,
}

impl Matrix {
    fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Bytes from the first element to behind the last, batch included.
    pub fn bytes(&self, batch: u64) -> u64 {
        let last = (self.rows - 1) * self.row_stride
            + (self.cols - 1) * self.col_stride
            + (batch - 1) * self.batch_stride;
        (last + 1) * self.element.bytes()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// op(A): m x k, op(B): k x n.
    pub a: Matrix,
    pub b: Matrix,
    pub c: Matrix,
    pub d: Matrix,
    pub batch: u64,
    pub rounding: Rounding,
    pub epilogue: Epilogue,
    pub bias_batch_stride: u64,
    /// Transposes and types, e.g. `bf16 TN to f32`.
    pub kind: String,
}

impl Problem {
    pub fn shape(&self) -> [u64; 3] {
        [self.d.rows, self.d.cols, self.a.cols]
    }
}

/// Handles of the descriptors of a product.
#[derive(Clone, Copy)]
pub struct Handles {
    pub desc: usize,
    pub a: usize,
    pub b: usize,
    pub c: usize,
    pub d: usize,
}

fn wrong(driver: &mut Driver, call: &str, text: String) -> BlasError {
    driver.gpu.report_host(call, text);
    BlasError::INVALID_VALUE
}

fn refused(driver: &mut Driver, call: &str, text: String) -> BlasError {
    driver.gpu.report_not_modelled(call, text);
    BlasError::NOT_SUPPORTED
}

fn matrix(driver: &mut Driver, call: &str, name: char, layout: &Layout) -> Result<Matrix> {
    let Some(element) = Element::of(layout.dtype) else {
        return Err(refused(
            driver,
            call,
            format!("{name}: type {} is not modelled", layout.dtype),
        ));
    };
    let least = match layout.order {
        0 => layout.rows,
        1 => layout.cols,
        order => {
            return Err(refused(driver, call, format!("{name}: order {order} is not modelled")));
        }
    };
    let ld = layout.ld as u64;
    if layout.rows == 0 || layout.cols == 0 || layout.ld < 0 || ld < least {
        let text =
            format!("{name}: {layout:?} is no matrix: its leading dimension is below {least}");
        return Err(wrong(driver, call, text));
    }
    let (row_stride, col_stride) = if layout.order == 0 { (1, ld) } else { (ld, 1) };
    Ok(Matrix {
        element,
        rows: layout.rows,
        cols: layout.cols,
        row_stride,
        col_stride,
        batch_stride: layout.batch_stride_elems as u64,
    })
}

fn rounding(compute_type: i32, element: Element) -> Option<Rounding> {
    match (compute_type, element) {
        (68 | 69, _) => Some(Rounding::None),
        (74, Element::F32) => Some(Rounding::F16),
        (75, Element::F32) => Some(Rounding::Bf16),
        (77, Element::F32) => Some(Rounding::Tf32),
        _ => None,
    }
}

/// Look descriptors up and check that they fit each other.
pub fn build(driver: &mut Driver, call: &str, handles: Handles) -> Result<(Problem, MatmulDesc)> {
    let objects = &driver.blaslt;
    let desc = objects.matmuls.get(&handles.desc).ok_or(BlasError::INVALID_VALUE)?.clone();
    let mut layouts = Vec::with_capacity(4);
    for handle in [handles.a, handles.b, handles.c, handles.d] {
        layouts.push(objects.layouts.get(&handle).ok_or(BlasError::INVALID_VALUE)?.clone());
    }
    let mut matrices = Vec::with_capacity(4);
    for (name, layout) in "ABCD".chars().zip(&layouts) {
        matrices.push(matrix(driver, call, name, layout)?);
    }
    let [mut a, mut b, c, d]: [Matrix; 4] = matrices.try_into().expect("four of them");
    for (name, transpose, matrix) in [("A", desc.trans_a, &mut a), ("B", desc.trans_b, &mut b)] {
        match transpose {
            0 => {}
            1 => *matrix = matrix.clone().transposed(),
            other => {
                return Err(refused(driver, call, format!("{name}: operation {other}")));
            }
        }
    }
    if (a.rows, a.cols, b.cols) != (d.rows, b.rows, d.cols) || (c.rows, c.cols) != (d.rows, d.cols)
    {
        let size = |m: &Matrix| format!("{} x {}", m.rows, m.cols);
        let [a, b, c, d] = [&a, &b, &c, &d].map(size);
        let text = format!("shapes do not fit: op(A) {a}, op(B) {b}, C {c}, D {d}");
        return Err(wrong(driver, call, text));
    }
    let batch = layouts[3].batch_count;
    if batch < 1 || layouts.iter().any(|layout| layout.batch_count != batch) {
        return Err(wrong(driver, call, "batch counts differ, or are below 1".into()));
    }
    if layouts.iter().any(|layout| layout.batch_stride_elems < 0)
        || (batch > 1 && d.batch_stride * d.element.bytes() < d.bytes(1))
    {
        return Err(wrong(
            driver,
            call,
            "a batch stride is negative, or matrices of D overlap".into(),
        ));
    }
    let types = (a.element, b.element, c.element, d.element);
    let fits = a.element == b.element
        && c.element == d.element
        && (d.element == a.element || d.element == Element::F32);
    let Some(rounding) = rounding(desc.compute_type, a.element).filter(|_| fits) else {
        let text = format!("types {types:?} with compute type {}", desc.compute_type);
        return Err(refused(driver, call, text));
    };
    if desc.scale_type != R_32F || desc.pointer_mode != 0 {
        let text = format!("scale type {}, pointer mode {}", desc.scale_type, desc.pointer_mode);
        return Err(refused(driver, call, text));
    }
    let Some(epilogue) = Epilogue::of(desc.epilogue) else {
        return Err(refused(driver, call, format!("epilogue {} is not modelled", desc.epilogue)));
    };
    if desc.bias_type != -1 && Element::of(desc.bias_type) != Some(d.element) {
        return Err(refused(driver, call, format!("bias of type {}", desc.bias_type)));
    }
    let letter = |transpose| if transpose == 0 { 'N' } else { 'T' };
    let kind = format!(
        "{} {}{} to {}",
        a.element.name(),
        letter(desc.trans_a),
        letter(desc.trans_b),
        d.element.name()
    );
    let bias_batch_stride = desc.bias_batch_stride.max(0) as u64;
    let batch = batch as u64;
    Ok((Problem { a, b, c, d, batch, rounding, epilogue, bias_batch_stride, kind }, desc))
}
