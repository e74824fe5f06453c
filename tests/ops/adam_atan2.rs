use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::adam_atan2::{Hyper, Moments};

use crate::check::tensor;

crate::adam::adam_tests!(adam_atan2);

/// atan2(0, 0) = 0: a parameter that never had a gradient only decays.
#[test]
fn without_gradient_only_decay_acts() {
    let device = Device::cpu();
    let of = |x: f64| tensor(&device, DType::F32, &[1], &[x]);
    let (p, moments) = (of(2.0), Moments { m: of(0.0), v: of(0.0) });
    let guard = tensor(&device, DType::F32, &[3], &[0.0, 1.0, 1.0]);
    let hyper = Hyper { lr: 0.5, weight_decay: 0.5, beta1: 0.9, beta2: 0.95, t: 1 };
    step(&p, &of(0.0), &moments, &guard, &hyper.on(&device).unwrap()).unwrap();
    assert_eq!(p.download::<f32>().unwrap(), [1.5]);
}
