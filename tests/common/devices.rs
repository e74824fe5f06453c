//! The devices that op tests run on.

use hrm::backend::Device;

/// Every device of this build and machine, by name.
pub fn devices() -> Vec<(&'static str, Device)> {
    vec![("cpu", Device::cpu())]
}

/// Absent devices are said by name, never silently green.
#[test]
fn absent_devices_are_named() {
    for name in ["sim", "gpu"] {
        if devices().iter().all(|(present, _)| *present != name) {
            println!("skipped: device {name} not in this build");
        }
    }
    assert_eq!(devices()[0].0, "cpu");
}
