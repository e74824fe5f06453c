//! cublasLt products against plain loops in f64, and its misuse.

use std::sync::Arc;

use cudarc::cublaslt::{result, sys};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DevicePtrMut};
use half::bf16;
use sys::cublasLtMatmulDescAttributes_t as Attribute;
use sys::cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute;

use crate::common::simulate;

/// One product, column-major: D = epilogue(alpha op(A) op(B) + beta C).
#[derive(Clone)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    trans_a: bool,
    trans_b: bool,
    alpha: f32,
    beta: f32,
    epilogue: sys::cublasLtEpilogue_t,
    /// Rows of padding in the leading dimension of every matrix.
    padding: usize,
    alignment: u32,
    workspace: usize,
}

impl Case {
    fn new(m: usize, n: usize, k: usize) -> Self {
        let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT;
        Self {
            m,
            n,
            k,
            trans_a: false,
            trans_b: false,
            alpha: 1.0,
            beta: 0.0,
            epilogue,
            padding: 0,
            alignment: 256,
            workspace: 0,
        }
    }

    fn stored(rows: usize, cols: usize, transposed: bool) -> (usize, usize) {
        if transposed { (cols, rows) } else { (rows, cols) }
    }
}

/// Values in -1..1 that bf16 holds exactly.
fn values(count: usize, salt: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + salt * 101) % 129) as f32 / 64.0 - 1.0).collect()
}

fn matrix(rows: usize, cols: usize, ld: usize, salt: usize) -> Vec<f32> {
    let mut all = vec![f32::NAN; ld * cols];
    let values = values(rows * cols, salt);
    for col in 0..cols {
        all[col * ld..col * ld + rows].copy_from_slice(&values[col * rows..(col + 1) * rows]);
    }
    all
}

/// D in f64, without padding.
fn reference(case: &Case, a: &[f32], b: &[f32], c: &[f32], bias: &[f32]) -> Vec<f64> {
    use sys::cublasLtEpilogue_t as E;
    let ld = |rows| rows + case.padding;
    let at = |x: &[f32], rows, row, col| f64::from(x[row + col * ld(rows)]);
    let op = |x: &[f32], rows, cols, transposed, row, col| match transposed {
        false => at(x, rows, row, col),
        true => at(x, cols, col, row),
    };
    let mut d = Vec::with_capacity(case.m * case.n);
    for j in 0..case.n {
        for (i, bias) in bias.iter().enumerate() {
            let products = (0..case.k).map(|p| {
                op(a, case.m, case.k, case.trans_a, i, p)
                    * op(b, case.k, case.n, case.trans_b, p, j)
            });
            let mut value = f64::from(case.alpha) * products.sum::<f64>();
            if case.beta != 0.0 {
                value += f64::from(case.beta) * at(c, case.m, i, j);
            }
            if matches!(case.epilogue, E::CUBLASLT_EPILOGUE_BIAS | E::CUBLASLT_EPILOGUE_RELU_BIAS) {
                value += f64::from(*bias);
            }
            if matches!(case.epilogue, E::CUBLASLT_EPILOGUE_RELU | E::CUBLASLT_EPILOGUE_RELU_BIAS) {
                value = value.max(0.0);
            }
            d.push(value);
        }
    }
    d
}

trait Value: cudarc::driver::DeviceRepr + Clone + 'static {
    const TYPE: sys::cudaDataType;
    /// Half a unit in the last place, relative.
    const ROUNDING: f64;
    fn from(value: f32) -> Self;
    fn to(self) -> f64;
}

impl Value for f32 {
    const TYPE: sys::cudaDataType = sys::cudaDataType::CUDA_R_32F;
    const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
    fn from(value: f32) -> Self {
        value
    }
    fn to(self) -> f64 {
        self.into()
    }
}

/// bf16 as the device sees it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Short(u16);
// SAFETY: a plain 16-bit value.
unsafe impl cudarc::driver::DeviceRepr for Short {}

impl Value for Short {
    const TYPE: sys::cudaDataType = sys::cudaDataType::CUDA_R_16BF;
    const ROUNDING: f64 = 1.0 / 256.0;
    fn from(value: f32) -> Self {
        Self(bf16::from_f32(value).to_bits())
    }
    fn to(self) -> f64 {
        bf16::from_bits(self.0).to_f64()
    }
}

struct Operands<I, O> {
    a: CudaSlice<I>,
    b: CudaSlice<I>,
    c: CudaSlice<O>,
    bias: CudaSlice<O>,
}

/// Run the product on the simulator; D replaces C. `spoil` may change what is passed on.
fn run<I: Value, O: Value>(
    stream: &Arc<CudaStream>,
    case: &Case,
    operands: &mut Operands<I, O>,
    offset_bytes: u64,
) -> Result<(), result::CublasError> {
    let handle = result::create_handle()?;
    let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
    let desc = result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?;
    let layout = |ty, (rows, cols): (usize, usize)| {
        result::create_matrix_layout(ty, rows as u64, cols as u64, (rows + case.padding) as i64)
    };
    let a = layout(I::TYPE, Case::stored(case.m, case.k, case.trans_a))?;
    let b = layout(I::TYPE, Case::stored(case.k, case.n, case.trans_b))?;
    let d = layout(O::TYPE, (case.m, case.n))?;
    let (a_at, _a) = operands.a.device_ptr(stream);
    let (b_at, _b) = operands.b.device_ptr(stream);
    let (bias_at, _bias) = operands.bias.device_ptr(stream);
    let (c_at, _c) = operands.c.device_ptr_mut(stream);
    // SAFETY: attributes have the types that the library expects; descriptors and buffers live
    // until the end.
    unsafe {
        let set = |attribute, value: *const std::ffi::c_void, bytes| {
            result::set_matmul_desc_attribute(desc, attribute, value, bytes)
        };
        let (trans_a, trans_b) = (i32::from(case.trans_a), i32::from(case.trans_b));
        set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, (&raw const trans_a).cast(), 4)?;
        set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, (&raw const trans_b).cast(), 4)?;
        set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, (&raw const case.epilogue).cast(), 4)?;
        set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, (&raw const bias_at).cast(), 8)?;
        let preference = result::create_matmul_pref()?;
        use PreferenceAttribute::*;
        let bytes = case.workspace as u64;
        let most = CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        result::set_matmul_pref_attribute(preference, most, (&raw const bytes).cast(), 8)?;
        for attribute in [
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            let alignment = &raw const case.alignment;
            result::set_matmul_pref_attribute(preference, attribute, alignment.cast(), 4)?;
        }
        let found = result::get_matmul_algo_heuristic(handle, desc, a, b, d, d, preference)?;
        let workspace = stream.alloc::<u8>(case.workspace.max(1)).unwrap();
        let (workspace_at, _workspace) = workspace.device_ptr(stream);
        result::matmul(
            handle,
            desc,
            (&raw const case.alpha).cast(),
            (&raw const case.beta).cast(),
            (a_at + offset_bytes) as *const _,
            a,
            b_at as *const _,
            b,
            c_at as *const _,
            d,
            c_at as *mut _,
            d,
            &found.algo,
            workspace_at as *mut _,
            case.workspace,
            stream.cu_stream().cast(),
        )?;
        result::destroy_matmul_pref(preference)?;
        [a, b, d].into_iter().try_for_each(|layout| result::destroy_matrix_layout(layout))?;
        result::destroy_matmul_desc(desc)?;
        result::destroy_handle(handle)
    }
}

fn upload<V: Value>(stream: &Arc<CudaStream>, values: &[f32]) -> CudaSlice<V> {
    let values: Vec<V> = values.iter().map(|&value| V::from(value)).collect();
    stream.clone_htod(&values).unwrap()
}

fn check<I: Value, O: Value>(case: &Case) {
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let host = |rows: usize, cols: usize, salt| matrix(rows, cols, rows + case.padding, salt);
    let (a_rows, a_cols) = Case::stored(case.m, case.k, case.trans_a);
    let (b_rows, b_cols) = Case::stored(case.k, case.n, case.trans_b);
    let (a, b) = (host(a_rows, a_cols, 1), host(b_rows, b_cols, 2));
    let (c, bias) = (host(case.m, case.n, 3), values(case.m, 4));
    let mut operands = Operands::<I, O> {
        a: upload(&stream, &a),
        b: upload(&stream, &b),
        c: upload(&stream, &c),
        bias: upload(&stream, &bias),
    };
    run(&stream, case, &mut operands, 0).unwrap();
    let got: Vec<O> = stream.clone_dtoh(&operands.c).unwrap();
    let want = reference(case, &a, &b, &c, &bias);
    // f32 accumulation of k products of values below 1, then one rounding at the store.
    let sum_error = case.k as f64 * case.k as f64 / f64::from(1 << 24);
    for j in 0..case.n {
        for i in 0..case.m {
            let got = got[i + j * (case.m + case.padding)].clone().to();
            let want = want[i + j * case.m];
            let allowed = sum_error + 1.01 * O::ROUNDING * want.abs();
            assert!((got - want).abs() <= allowed, "d[{i},{j}]: {got} is not {want}");
        }
    }
}

#[test]
fn products_match_f64_in_every_transpose_and_type() {
    simulate(
        "blaslt::products_match_f64_in_every_transpose_and_type",
        0..2,
        || {
            for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
                for padding in [0, 3] {
                    let case = Case { trans_a, trans_b, padding, ..Case::new(33, 17, 29) };
                    check::<f32, f32>(&case);
                    check::<Short, Short>(&Case { beta: 0.5, alpha: 2.0, ..case.clone() });
                    check::<Short, f32>(&Case { workspace: 4096, beta: 1.0, ..case });
                }
            }
        },
        |outcome| outcome.clean(),
    );
}

#[test]
fn epilogues_match_f64() {
    simulate(
        "blaslt::epilogues_match_f64",
        0..1,
        || {
            use sys::cublasLtEpilogue_t::*;
            for epilogue in
                [CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU_BIAS]
            {
                check::<f32, f32>(&Case { epilogue, beta: -1.5, ..Case::new(20, 12, 8) });
                check::<Short, Short>(&Case { epilogue, trans_a: true, ..Case::new(20, 12, 8) });
            }
        },
        |outcome| outcome.clean(),
    );
}

/// A product of f32 matrices of 8 x 8, the last argument made wrong by the caller.
fn misuse(case: Case, operand_elems: usize, offset_bytes: u64) {
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let zeros = |elems| stream.alloc_zeros::<f32>(elems).unwrap();
    let mut operands = Operands::<f32, f32> {
        a: zeros(operand_elems),
        b: zeros(64),
        c: zeros(64),
        bias: zeros(8),
    };
    let called = run(&stream, &case, &mut operands, offset_bytes);
    assert!(called.is_err() || stream.synchronize().is_err());
}

#[test]
fn a_pointer_less_aligned_than_promised_is_found() {
    simulate(
        "blaslt::a_pointer_less_aligned_than_promised_is_found",
        0..1,
        || {
            misuse(Case::new(8, 8, 8), 72, 16);
        },
        |outcome| outcome.found("not aligned to the 256 bytes"),
    );
}

#[test]
fn a_matrix_longer_than_its_buffer_is_found() {
    simulate(
        "blaslt::a_matrix_longer_than_its_buffer_is_found",
        0..3,
        || {
            misuse(Case::new(8, 8, 8), 63, 0);
        },
        |outcome| outcome.found("OutOfBounds"),
    );
}

#[test]
fn an_epilogue_that_is_not_modelled_is_refused() {
    simulate(
        "blaslt::an_epilogue_that_is_not_modelled_is_refused",
        0..1,
        || {
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_GELU;
            misuse(Case { epilogue, ..Case::new(8, 8, 8) }, 64, 0);
        },
        |outcome| outcome.found("NotModelled"),
    );
}

/// A handle made in the primary context and destroyed there, or after its release.
fn handle_and_context(release_first: bool) {
    use cudarc::driver::result::{ctx, device, init, primary_ctx};
    init().unwrap();
    let device = device::get(0).unwrap();
    // SAFETY: what is made here is released here, in either order.
    unsafe {
        let context = primary_ctx::retain(device).unwrap();
        ctx::set_current(context).unwrap();
        let handle = result::create_handle().unwrap();
        if release_first {
            primary_ctx::release(device).unwrap();
            assert!(result::destroy_handle(handle).is_err());
        } else {
            result::destroy_handle(handle).unwrap();
            primary_ctx::release(device).unwrap();
        }
    }
}

#[test]
fn a_handle_that_outlives_its_context_is_found() {
    const NAME: &str = "blaslt::a_handle_that_outlives_its_context_is_found";
    simulate(
        NAME,
        0..1,
        || handle_and_context(true),
        |outcome| outcome.found("its context is no more"),
    );
}

#[test]
fn a_handle_destroyed_before_its_context_is_right() {
    const NAME: &str = "blaslt::a_handle_destroyed_before_its_context_is_right";
    simulate(NAME, 0..1, || handle_and_context(false), |outcome| outcome.clean());
}
