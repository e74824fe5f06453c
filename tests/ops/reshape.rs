//! Of `ops/reshape.rs`, which has no kernel: values and gradients keep their order.

use hrm::dtype::DType;
use hrm::ops::reshape;
use hrm::tape::Tape;

use crate::check::{normal, numbers, refuses, tensor};
use crate::common::devices::devices;

#[test]
fn gradients_come_back_under_the_old_shape_and_add_up() {
    for (name, device) in devices() {
        let mut tape = Tape::new(&device);
        let values = normal(24, 1.0, 1);
        let x = tape.leaf(tensor(&device, DType::F32, &[2, 3, 4], &values));
        let y = reshape::forward(&mut tape, &x, [2, 12]).unwrap();
        let again = reshape::forward(&mut tape, &x, [24]).unwrap();
        assert_eq!(y.tensor.shape().dims(), [2, 12], "{name}");
        assert_eq!(numbers(&y.tensor), values, "{name}");
        let dy = [normal(24, 1.0, 2), normal(24, 1.0, 3)];
        let seeds = [
            (&y, tensor(&device, DType::F32, &[2, 12], &dy[0])),
            (&again, tensor(&device, DType::F32, &[24], &dy[1])),
        ];
        let grads = tape.backward(&seeds).unwrap();
        let dx = grads.get(x.id).unwrap();
        assert_eq!(dx.shape().dims(), [2, 3, 4], "{name}");
        let want = dy[0].iter().zip(&dy[1]).map(|(&a, &b)| (a as f32 + b as f32) as f64);
        assert_eq!(numbers(dx), want.collect::<Vec<_>>(), "{name}");
        refuses("size", reshape::forward(&mut Tape::new(&device), &x, [23]), &["reshape", "(23)"]);
    }
}
