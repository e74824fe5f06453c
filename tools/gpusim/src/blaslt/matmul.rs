//! The product call: everything is checked and copied at the call, the arithmetic waits for its
//! turn in the stream.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use super::algorithm::Algorithm;
use super::problem::{self, Epilogue, Handles};
use super::product::Product;
use super::status::{BlasError, Status, enter};
use crate::driver::Driver;

const CALL: &str = "cublasLtMatmul";
const WORKSPACE_ALIGNMENT: u64 = 16;

/// A host scalar of type f32.
fn scalar(pointer: *const f32) -> Result<f32, BlasError> {
    if pointer.is_null() {
        return Err(BlasError::INVALID_VALUE);
    }
    // SAFETY: not null; the scale type is f32 and the pointer mode host, or the product was refused
    // before.
    Ok(unsafe { pointer.read_unaligned() })
}

fn wrong(driver: &mut Driver, text: String) -> BlasError {
    driver.gpu.report_host(CALL, text);
    BlasError::INVALID_VALUE
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmul(
    handle: usize,
    desc: usize,
    alpha: *const f32,
    a: u64,
    a_layout: usize,
    b: u64,
    b_layout: usize,
    beta: *const f32,
    c: u64,
    c_layout: usize,
    d: u64,
    d_layout: usize,
    algorithm: *const Algorithm,
    workspace: *mut c_void,
    workspace_bytes: usize,
    stream: usize,
) -> Status {
    enter(CALL, |driver| {
        driver.context()?;
        if !driver.blaslt.handles.contains(&handle) {
            return Err(BlasError::NOT_INITIALIZED);
        }
        let handles = Handles { desc, a: a_layout, b: b_layout, c: c_layout, d: d_layout };
        let (problem, desc) = problem::build(driver, CALL, handles)?;
        let (alpha, beta) = (scalar(alpha)?, scalar(beta)?);
        let c = if beta == 0.0 { d } else { c };
        for (name, pointer, matrix) in
            [('A', a, &problem.a), ('B', b, &problem.b), ('C', c, &problem.c), ('D', d, &problem.d)]
        {
            if pointer == 0 || !pointer.is_multiple_of(matrix.element.bytes()) {
                return Err(wrong(driver, format!("{name} is at {pointer:#x}")));
            }
        }
        let workspace = workspace as u64..workspace as u64 + workspace_bytes as u64;
        if workspace_bytes > 0 && !workspace.start.is_multiple_of(WORKSPACE_ALIGNMENT) {
            let text =
                format!("the workspace at {:#x} is not aligned to 16 bytes", workspace.start);
            return Err(wrong(driver, text));
        }
        // SAFETY: null, or the caller's algorithm.
        if let Some(algorithm) = unsafe { algorithm.as_ref() } {
            let checked = algorithm.check(&problem, &desc, workspace_bytes as u64, [a, b, c, d]);
            checked.map_err(|text| wrong(driver, text))?;
        }
        let product = Product { a, b, c, d, alpha, beta, bias: desc.bias, workspace, problem };
        let target = product.target();
        let sources = [
            (a..a + product.problem.a.bytes(product.problem.batch), "A"),
            (b..b + product.problem.b.bytes(product.problem.batch), "B"),
        ];
        for (source, name) in sources {
            if overlap(&source, &target) {
                return Err(wrong(driver, format!("D overlaps {name}")));
            }
        }
        if beta != 0.0
            && overlap(&(c..c + product.problem.c.bytes(product.problem.batch)), &target)
            && (c != d || product.problem.c != product.problem.d)
        {
            return Err(wrong(driver, "D overlaps C without being C".into()));
        }
        if product.problem.epilogue != Epilogue::None
            && product.problem.epilogue != Epilogue::Relu
            && desc.bias == 0
        {
            return Err(wrong(driver, "the epilogue wants a bias pointer".into()));
        }
        driver.submit(stream, Arc::new(product))?;
        Ok(())
    })
}
