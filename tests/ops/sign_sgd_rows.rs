use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::sign_sgd_rows::{FACTORS, factors, reference, step};
use hrm::tensor::Tensor;

use crate::check::{compare, ints, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

const UP: [f64; 3] = [1.0, 1.0, 1.0];
const DOWN: [f64; 3] = [f64::INFINITY, 1.0, 0.0];

fn rates(device: &Device, lr: f64, decay: f64) -> Tensor {
    let values = factors(lr, decay).map(f64::from);
    tensor(device, DType::F32, &[FACTORS], &values)
}

/// Rows of the table, width, touched ids: repeated, first and last row, one alone; more ids than a
/// warp has lanes, more columns than a block.
const CASES: &[(usize, usize, &[i32])] = &[
    (1, 1, &[0]),
    (6, 5, &[5, 0, 5, 2, 5]),
    (40, 33, &[39, 7, 7, 0, 12, 39, 3]),
    (9, 36, &MANY),
    (6, 516, &[5, 0, 5, 2]),
    (4, 131, &[3, 0, 3]),
];

/// 70 ids over rows 1 to 7.
const MANY: [i32; 70] = {
    let (mut ids, mut i) = ([0; 70], 0);
    while i < ids.len() {
        ids[i] = 1 + (i * i % 7) as i32;
        i += 1;
    }
    ids
};

#[test]
fn touched_rows_agree_with_reference_and_others_stay() {
    for (name, device) in devices() {
        for &(np, d, ids) in CASES {
            let mut g = normal(ids.len() * d, 1.0, 2);
            g.iter_mut().step_by(3).for_each(|g| *g = 0.0);
            let table = normal(np * d, 1.0, 1);
            let t = tensor(&device, DType::F32, &[np, d], &table);
            let (ids_dev, g_dev) = (
                ints(&device, &[ids.len()], ids),
                tensor(&device, DType::F32, &[ids.len(), d], &g),
            );
            let guard = tensor(&device, DType::F32, &[3], &UP);
            step(&t, &ids_dev, &g_dev, &guard, &rates(&device, 0.01, 0.1)).unwrap();
            let mut want = table.clone();
            reference::step::<f64>(&mut want, ids, &g, UP, 0.01, 0.1);
            let got = numbers(&t);
            let at = format!("sign_sgd_rows {np} x {d} on {name}");
            compare(&at, &got, &want, &want, DType::F32, 1e-6);
            for row in (0..np).filter(|r| !ids.contains(&(*r as i32))) {
                let row = row * d..(row + 1) * d;
                assert_eq!(got[row.clone()], table[row], "{at}: an untouched row changed");
            }
        }
    }
}

#[test]
fn gradients_that_cancel_leave_only_decay() {
    for (_, device) in devices() {
        let table = tensor(&device, DType::F32, &[2, 2], &[4.0, -8.0, 1.0, 1.0]);
        let g = tensor(&device, DType::F32, &[2, 2], &[0.3, 1.0, -0.3, -1.0]);
        let guard = tensor(&device, DType::F32, &[3], &UP);
        step(&table, &ints(&device, &[2], &[0, 0]), &g, &guard, &rates(&device, 0.5, 0.5)).unwrap();
        assert_eq!(table.download::<f32>().unwrap(), [3.0, -6.0, 1.0, 1.0]);
    }
}

#[test]
fn step_is_refused_when_the_guard_is_down() {
    for (_, device) in devices() {
        let table = tensor(&device, DType::F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let g = tensor(&device, DType::F32, &[1, 2], &[f64::NAN, 1.0]);
        let guard = tensor(&device, DType::F32, &[3], &DOWN);
        step(&table, &ints(&device, &[1], &[1]), &g, &guard, &rates(&device, 0.5, 0.5)).unwrap();
        assert_eq!(table.download::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let f32s = |shape: &[usize]| {
            tensor(&device, DType::F32, shape, &vec![0.0; shape.iter().product()])
        };
        let (table, ids, guard) = (f32s(&[4, 3]), ints(&device, &[2], &[0, 1]), f32s(&[3]));
        let run = |ids: &Tensor, g: &Tensor, guard: &Tensor| {
            step(&table, ids, g, guard, &rates(&device, 0.1, 0.1))
        };
        let short = run(&ids, &f32s(&[1, 3]), &guard);
        refuses("g", short, &["sign_sgd_rows", "g (R, D)", "(1, 3)", "(2, 3)"]);
        let floats = run(&f32s(&[2]), &f32s(&[2, 3]), &guard);
        refuses("ids", floats, &["sign_sgd_rows", "ids", "f32", "i32"]);
        let guard = run(&ids, &f32s(&[2, 3]), &f32s(&[1]));
        refuses("guard", guard, &["sign_sgd_rows", "guard (3)", "(1)"]);
    }
}
