//! Descriptors of products, matrices and preferences: what can be set, and what can be asked.

use std::collections::{HashMap, HashSet};
use std::ffi::{c_int, c_void};

use super::attributes::{Given, Wanted};
use super::status::{BlasError, Result, Status, enter};
use crate::driver::{Driver, out};

/// `cudaDataType_t` of a matrix, bias or scale.
pub const R_32F: i32 = 0;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatmulDesc {
    pub compute_type: i32,
    pub scale_type: i32,
    pub pointer_mode: i32,
    pub trans_a: i32,
    pub trans_b: i32,
    pub epilogue: i32,
    pub bias: u64,
    /// -1: the type of D.
    pub bias_type: i32,
    pub bias_batch_stride: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    pub dtype: i32,
    pub order: i32,
    pub rows: u64,
    pub cols: u64,
    pub ld: i64,
    pub batch_count: i32,
    pub batch_stride_elems: i64,
}

#[derive(Clone, Debug)]
pub struct Preference {
    pub max_workspace_bytes: u64,
    /// Of A, B, C and D.
    pub min_alignment_bytes: [u32; 4],
}

/// All objects of the library.
#[derive(Default)]
pub struct Objects {
    pub handles: HashSet<usize>,
    pub matmuls: HashMap<usize, MatmulDesc>,
    pub layouts: HashMap<usize, Layout>,
    pub preferences: HashMap<usize, Preference>,
}

fn unknown_attribute(driver: &mut Driver, call: &str, attribute: c_int) -> Result {
    driver.gpu.report_not_modelled(call, format!("attribute {attribute} is not modelled"));
    Err(BlasError::NOT_SUPPORTED)
}

/// An attribute that is accepted with one value only.
fn only(driver: &mut Driver, call: &str, attribute: c_int, good: bool) -> Result {
    if good { Ok(()) } else { unknown_attribute(driver, call, attribute) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescCreate(
    desc: *mut usize,
    compute_type: c_int,
    scale_type: c_int,
) -> Status {
    enter("cublasLtMatmulDescCreate", |driver| {
        let handle = driver.handle();
        let new = MatmulDesc {
            compute_type,
            scale_type,
            pointer_mode: 0,
            trans_a: 0,
            trans_b: 0,
            epilogue: 1,
            bias: 0,
            bias_type: -1,
            bias_batch_stride: 0,
        };
        driver.blaslt.matmuls.insert(handle, new);
        Ok(out(desc, handle)?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescDestroy(desc: usize) -> Status {
    enter("cublasLtMatmulDescDestroy", |driver| {
        driver.blaslt.matmuls.remove(&desc).map(drop).ok_or(BlasError::INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescSetAttribute(
    desc: usize,
    attribute: c_int,
    buffer: *const c_void,
    bytes: usize,
) -> Status {
    const CALL: &str = "cublasLtMatmulDescSetAttribute";
    enter(CALL, |driver| {
        let value = Given::new(buffer, bytes)?;
        let desc = driver.blaslt.matmuls.get_mut(&desc).ok_or(BlasError::INVALID_VALUE)?;
        match attribute {
            0 => desc.compute_type = value.i32()?,
            1 => desc.scale_type = value.i32()?,
            2 => desc.pointer_mode = value.i32()?,
            3 => desc.trans_a = value.i32()?,
            4 => desc.trans_b = value.i32()?,
            // C is not transposed; the whole matrix is filled.
            5 => return only(driver, CALL, attribute, value.i32()? == 0),
            6 => return only(driver, CALL, attribute, value.i32()? == 2),
            7 => desc.epilogue = value.i32()?,
            8 => desc.bias = value.u64()?,
            10 => desc.bias_batch_stride = value.i64()?,
            // Number of multiprocessors, fast accumulation of 8-bit types: no effect here.
            15 => {}
            25 => {}
            26 => desc.bias_type = value.i32()?,
            _ => return unknown_attribute(driver, CALL, attribute),
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescGetAttribute(
    desc: usize,
    attribute: c_int,
    buffer: *mut c_void,
    bytes: usize,
    written: *mut usize,
) -> Status {
    const CALL: &str = "cublasLtMatmulDescGetAttribute";
    enter(CALL, |driver| {
        let wanted = Wanted::new(buffer, bytes, written);
        let desc = driver.blaslt.matmuls.get(&desc).ok_or(BlasError::INVALID_VALUE)?;
        match attribute {
            0 => wanted.i32(desc.compute_type),
            1 => wanted.i32(desc.scale_type),
            2 => wanted.i32(desc.pointer_mode),
            3 => wanted.i32(desc.trans_a),
            4 => wanted.i32(desc.trans_b),
            7 => wanted.i32(desc.epilogue),
            8 => wanted.i64(desc.bias as i64),
            10 => wanted.i64(desc.bias_batch_stride),
            26 => wanted.i32(desc.bias_type),
            _ => unknown_attribute(driver, CALL, attribute),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatrixLayoutCreate(
    layout: *mut usize,
    dtype: c_int,
    rows: u64,
    cols: u64,
    ld: i64,
) -> Status {
    enter("cublasLtMatrixLayoutCreate", |driver| {
        let handle = driver.handle();
        let new = Layout { dtype, order: 0, rows, cols, ld, batch_count: 1, batch_stride_elems: 0 };
        driver.blaslt.layouts.insert(handle, new);
        Ok(out(layout, handle)?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatrixLayoutDestroy(layout: usize) -> Status {
    enter("cublasLtMatrixLayoutDestroy", |driver| {
        driver.blaslt.layouts.remove(&layout).map(drop).ok_or(BlasError::INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatrixLayoutSetAttribute(
    layout: usize,
    attribute: c_int,
    buffer: *const c_void,
    bytes: usize,
) -> Status {
    const CALL: &str = "cublasLtMatrixLayoutSetAttribute";
    enter(CALL, |driver| {
        let value = Given::new(buffer, bytes)?;
        let layout = driver.blaslt.layouts.get_mut(&layout).ok_or(BlasError::INVALID_VALUE)?;
        match attribute {
            0 => layout.dtype = value.i32()?,
            1 => layout.order = value.i32()?,
            2 => layout.rows = value.u64()?,
            3 => layout.cols = value.u64()?,
            4 => layout.ld = value.i64()?,
            5 => layout.batch_count = value.i32()?,
            6 => layout.batch_stride_elems = value.i64()?,
            _ => return unknown_attribute(driver, CALL, attribute),
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatrixLayoutGetAttribute(
    layout: usize,
    attribute: c_int,
    buffer: *mut c_void,
    bytes: usize,
    written: *mut usize,
) -> Status {
    const CALL: &str = "cublasLtMatrixLayoutGetAttribute";
    enter(CALL, |driver| {
        let wanted = Wanted::new(buffer, bytes, written);
        let layout = driver.blaslt.layouts.get(&layout).ok_or(BlasError::INVALID_VALUE)?;
        match attribute {
            0 => wanted.i32(layout.dtype),
            1 => wanted.i32(layout.order),
            2 => wanted.i64(layout.rows as i64),
            3 => wanted.i64(layout.cols as i64),
            4 => wanted.i64(layout.ld),
            5 => wanted.i32(layout.batch_count),
            6 => wanted.i64(layout.batch_stride_elems),
            _ => unknown_attribute(driver, CALL, attribute),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulPreferenceCreate(preference: *mut usize) -> Status {
    enter("cublasLtMatmulPreferenceCreate", |driver| {
        let handle = driver.handle();
        let new = Preference { max_workspace_bytes: 0, min_alignment_bytes: [256; 4] };
        driver.blaslt.preferences.insert(handle, new);
        Ok(out(preference, handle)?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulPreferenceDestroy(preference: usize) -> Status {
    enter("cublasLtMatmulPreferenceDestroy", |driver| {
        driver.blaslt.preferences.remove(&preference).map(drop).ok_or(BlasError::INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulPreferenceSetAttribute(
    preference: usize,
    attribute: c_int,
    buffer: *const c_void,
    bytes: usize,
) -> Status {
    const CALL: &str = "cublasLtMatmulPreferenceSetAttribute";
    enter(CALL, |driver| {
        let value = Given::new(buffer, bytes)?;
        let preferences = &mut driver.blaslt.preferences;
        let preference = preferences.get_mut(&preference).ok_or(BlasError::INVALID_VALUE)?;
        match attribute {
            1 => preference.max_workspace_bytes = value.u64()?,
            5..=8 => preference.min_alignment_bytes[attribute as usize - 5] = value.i32()? as u32,
            // Search mode, reduction schemes, implementations: algorithms do not differ here.
            0 | 3 | 12 => {}
            _ => return unknown_attribute(driver, CALL, attribute),
        }
        Ok(())
    })
}
