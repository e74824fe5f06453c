//! The devices that tests run on: the CPU, and a CUDA device where build and machine have one.

use hrm::backend::Device;

/// Every device of this build and machine, by name: `sim` where the simulator stands in for the
/// driver (`tools/gpusim/run cargo nextest run --features cuda`), `gpu` for a real card. Without
/// `cpu` where HRM_TEST_DEVICES is `cuda`, since the CPU has had its turn.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut all = vec![];
    if std::env::var("HRM_TEST_DEVICES").as_deref() != Ok("cuda") {
        all.push(("cpu", Device::cpu()));
    }
    all.extend(cuda().ok());
    assert!(!all.is_empty(), "HRM_TEST_DEVICES=cuda, but {}", cuda().err().unwrap());
    all
}

/// The CUDA device and what to call it, or why there is none.
fn cuda() -> hrm::Result<(&'static str, Device)> {
    let device = Device::cuda(0)?;
    let simulated = device.as_cuda().is_some_and(|cuda| cuda.card().simulated);
    Ok((if simulated { "sim" } else { "gpu" }, device))
}
