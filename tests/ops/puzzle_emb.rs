use hrm::backend::DeviceKind;
use hrm::dtype::DType;
use hrm::ops::puzzle_emb::{gather, reference};

use crate::check::{ints, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

/// A gather is bit-equal to its reference.
#[test]
fn rows_agree_with_reference() {
    for (name, device) in devices() {
        let cases: &[(usize, usize, &[i32])] =
            &[(1, 1, &[0]), (6, 5, &[5, 0, 5]), (40, 33, &[39, 7, 7, 0, 12]), (9, 12, &[8, 0, 8])];
        for &(np, d, ids) in cases {
            let table = normal(np * d, 1.0, 1);
            let rows = tensor(&device, DType::F32, &[ids.len(), d], &vec![f64::NAN; ids.len() * d]);
            let table_dev = tensor(&device, DType::F32, &[np, d], &table);
            gather(&table_dev, &ints(&device, &[ids.len()], ids), &rows).unwrap();
            let mut want = vec![0.0; ids.len() * d];
            reference::gather(&table, ids, d, &mut want);
            assert_eq!(numbers(&rows), want, "{np} x {d} on {name}");
        }
    }
}

/// An error, or on CUDA NaN that no loss survives.
#[test]
fn ids_outside_the_table_are_refused() {
    for (name, device) in devices() {
        let table = tensor(&device, DType::F32, &[5, 3], &[0.0; 15]);
        let rows = tensor(&device, DType::F32, &[2, 3], &[0.0; 6]);
        for bad in [5, -1, i32::MIN, i32::MAX] {
            let result = gather(&table, &ints(&device, &[2], &[4, bad]), &rows);
            if device.kind() == DeviceKind::Cuda {
                result.unwrap();
                let rows = numbers(&rows);
                let wrong = rows[..3] != [0.0; 3] || !rows[3..].iter().all(|x| x.is_nan());
                assert!(!wrong, "{bad} on {name}: {rows:?}");
            } else {
                refuses("id", result, &["puzzle_emb", &format!("puzzle id {bad} "), "5"]);
            }
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let table = tensor(&device, DType::F32, &[5, 3], &[0.0; 15]);
        let ids = ints(&device, &[2], &[0, 1]);
        let narrow = tensor(&device, DType::F32, &[2, 2], &[0.0; 4]);
        let result = gather(&table, &ids, &narrow);
        refuses("rows", result, &["puzzle_emb", "rows (B, D)", "(2, 2)", "(2, 3)"]);
        let half = tensor(&device, DType::Bf16, &[2, 3], &[0.0; 6]);
        refuses("dtype", gather(&table, &ids, &half), &["puzzle_emb", "rows", "bf16", "f32"]);
        let floats = tensor(&device, DType::F32, &[2], &[0.0; 2]);
        let rows = tensor(&device, DType::F32, &[2, 3], &[0.0; 6]);
        refuses("ids", gather(&table, &floats, &rows), &["puzzle_emb", "ids", "f32", "i32"]);
    }
}
