//! The heuristic: deterministic algorithms that carry what they were asked for, so that a later
//! product can be held to it.

use std::ffi::c_int;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::descriptors::MatmulDesc;
use super::problem::{self, Handles, Problem};
use super::status::{BlasError, Result, Status, enter};
use crate::driver::{Driver, out};

const MAGIC: u64 = 0x6770_7573_696d_6c74;
/// Algorithms that exist; they differ in their number and their workspace.
const COUNT: usize = 3;
/// The first algorithm wants this much workspace, if it may have it, so that workspaces are used.
const WORKSPACE_BYTES: u64 = 1 << 20;

/// `cublasLtMatmulAlgo_t`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Algorithm {
    magic: u64,
    number: u64,
    /// Of the types, transposes and epilogue that it was chosen for.
    problem: u64,
    pub workspace_bytes: u64,
    /// Of A, B, C, D; as log2, one byte each.
    alignment: u64,
    rest: [u64; 3],
}

/// `cublasLtMatmulHeuristicResult_t`
#[repr(C)]
pub struct HeuristicResult {
    algorithm: Algorithm,
    workspace_bytes: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

fn fingerprint(problem: &Problem, desc: &MatmulDesc) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&problem.kind, desc.compute_type, desc.epilogue).hash(&mut hasher);
    hasher.finish()
}

impl Algorithm {
    /// Does it fit this product, its workspace and its pointers (A, B, C, D)? Else why not.
    pub fn check(
        &self,
        problem: &Problem,
        desc: &MatmulDesc,
        workspace_bytes: u64,
        pointers: [u64; 4],
    ) -> Result<(), String> {
        if self.magic != MAGIC {
            return Err("the algorithm did not come from the heuristic".into());
        }
        if self.problem != fingerprint(problem, desc) {
            return Err("the algorithm was chosen for other types, transposes or epilogue".into());
        }
        if workspace_bytes < self.workspace_bytes {
            let wanted = self.workspace_bytes;
            return Err(format!("the workspace has {workspace_bytes} bytes, not {wanted}"));
        }
        for (at, (name, pointer)) in "ABCD".chars().zip(pointers).enumerate() {
            let promised = 1_u64 << self.alignment.to_le_bytes()[at];
            if !pointer.is_multiple_of(promised) {
                return Err(format!(
                    "{name} at {pointer:#x} is not aligned to the {promised} bytes that the \
                     algorithm was chosen for"
                ));
            }
        }
        Ok(())
    }
}

fn choose(
    driver: &mut Driver,
    call: &str,
    handles: Handles,
    preference: usize,
) -> Result<[Algorithm; COUNT]> {
    let (problem, desc) = problem::build(driver, call, handles)?;
    let preference = driver.blaslt.preferences.get(&preference).ok_or(BlasError::INVALID_VALUE)?;
    let most_bytes = preference.max_workspace_bytes;
    let alignments = preference.min_alignment_bytes;
    let elements = [&problem.a, &problem.b, &problem.c, &problem.d].map(|m| m.element.bytes());
    let sane =
        |(&bytes, element): (&u32, u64)| bytes.is_power_of_two() && u64::from(bytes) >= element;
    if !alignments.iter().zip(elements).all(sane) {
        let text = format!("alignments {alignments:?} are no powers of two, or below an element");
        driver.gpu.report_host(call, text);
        return Err(BlasError::INVALID_VALUE);
    }
    let mut alignment = [0; 8];
    alignment.iter_mut().zip(alignments).for_each(|(log, bytes)| *log = bytes.ilog2() as u8);
    Ok(std::array::from_fn(|number| Algorithm {
        magic: MAGIC,
        number: number as u64,
        problem: fingerprint(&problem, &desc),
        workspace_bytes: if number == 0 { most_bytes.min(WORKSPACE_BYTES) } else { 0 },
        alignment: u64::from_le_bytes(alignment),
        rest: [0; 3],
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    handle: usize,
    desc: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    preference: usize,
    requested: c_int,
    results: *mut HeuristicResult,
    found: *mut c_int,
) -> Status {
    const CALL: &str = "cublasLtMatmulAlgoGetHeuristic";
    enter(CALL, |driver| {
        out(found, 0)?;
        if !driver.blaslt.handles.contains(&handle) {
            return Err(BlasError::NOT_INITIALIZED);
        }
        if results.is_null() || requested < 1 {
            return Err(BlasError::INVALID_VALUE);
        }
        let algorithms = choose(driver, CALL, Handles { desc, a, b, c, d }, preference)?;
        let given = (requested as usize).min(COUNT);
        for (at, algorithm) in algorithms.into_iter().take(given).enumerate() {
            let result = HeuristicResult {
                algorithm,
                workspace_bytes: algorithm.workspace_bytes as usize,
                state: 0,
                waves: 1.0,
                reserved: [0; 4],
            };
            // SAFETY: the caller gives room for `requested` results.
            unsafe { results.add(at).write(result) };
        }
        Ok(out(found, given as c_int)?)
    })
}
