//! A workload's results on a device against those of the CPU.

use hrm::backend::Device;
use hrm::dtype::DType;

use crate::workloads::{Output, Workload};

/// Largest error, relative to the largest element: far below what a wrong index does, far above
/// what another order of sums does.
const F32_RTOL: f64 = 1e-4;
const BF16_RTOL: f64 = 2e-2;

/// What a failure says before it names the kernel.
pub const DIFFERS: &str = "differs from the CPU: ";

/// Panics with every kernel whose output differs.
pub fn check(workload: &Workload, device: &Device) {
    let run = |device| {
        (workload.run)(device).unwrap_or_else(|error| panic!("{}: {error}", workload.name))
    };
    let (got, want) = (run(device), run(&Device::cpu()));
    assert_eq!(got.len(), want.len());
    let wrong: Vec<String> = got.iter().zip(&want).filter_map(|(g, w)| difference(g, w)).collect();
    assert!(wrong.is_empty(), "{}:\n{}", workload.name, wrong.join("\n"));
}

fn difference(got: &Output, want: &Output) -> Option<String> {
    assert_eq!(got.values.len(), want.values.len());
    let rtol = if got.dtype == DType::Bf16 { BF16_RTOL } else { F32_RTOL };
    assert!(want.values.iter().all(|x| x.is_finite()), "{}: not finite on the CPU", want.kernel);
    let largest = want.values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let mut pairs = got.values.iter().zip(&want.values).enumerate();
    let (i, (g, w)) = pairs.find(|(_, (g, w))| !((*g - *w).abs() <= rtol * largest))?;
    Some(format!("{DIFFERS}{}: element {i} is {g}, not {w}", got.kernel))
}
