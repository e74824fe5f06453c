use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::normuon::{Hyper, Matrix, reference, step};
use hrm::ops::real::{AsBf16, Real};
use hrm::tensor::Tensor;

use crate::check::{compare, normal, numbers, reals, refuses, tensor};
use crate::common::devices::devices;

const HYPER: Hyper = Hyper { momentum: 0.95, beta2: 0.9 };
const UP: [f64; 3] = [3.0, 0.25, 1.0];
const DOWN: [f64; 3] = [f64::NAN, 0.25, 0.0];
const DECAY: f64 = 0.5;
const STEPS: u64 = 3;

/// Matrices one below the other, of `rows` and `cols` each.
#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    cols: usize,
    blocks: usize,
}

const CASES: &[Case] = &[
    Case { rows: 1, cols: 3, blocks: 1 },
    Case { rows: 5, cols: 13, blocks: 2 },
    Case { rows: 13, cols: 5, blocks: 1 }, // transposed
    Case { rows: 8, cols: 8, blocks: 3 },
    Case { rows: 40, cols: 104, blocks: 2 },
    Case { rows: 136, cols: 72, blocks: 1 }, // more than two tasks and two parts
];

impl Case {
    fn all_rows(&self) -> usize {
        self.blocks * self.rows
    }

    fn elems(&self) -> usize {
        self.all_rows() * self.cols
    }

    fn gradient(&self, t: u64) -> Vec<f64> {
        normal(self.elems(), 1e-3, 10 + t)
    }

    fn lr(t: u64) -> f64 {
        0.5 / t as f64
    }

    /// `dtype` is what forward computes in.
    fn start(&self, device: &Device, dtype: DType) -> Matrix {
        let dims = [self.all_rows(), self.cols];
        let of = |values: &[f64]| tensor(device, DType::F32, &dims, values);
        let zeros = vec![0.0; self.elems()];
        let rounded = || tensor(device, DType::Bf16, &dims, &vec![f64::NAN; self.elems()]);
        Matrix {
            p: of(&normal(self.elems(), 1.0, 1)),
            copy: (dtype == DType::Bf16).then(rounded),
            g: of(&zeros),
            m: of(&zeros),
            v: tensor(device, DType::F32, &[self.all_rows()], &zeros[..self.all_rows()]),
            blocks: self.blocks,
            weight_decay: DECAY,
        }
    }

    /// p, m, v after the steps.
    fn expected<R: Real>(&self) -> [Vec<f64>; 3] {
        let mut p: Vec<R> = reals(&normal(self.elems(), 1.0, 1));
        let (mut m, mut v) = (vec![R::default(); p.len()], vec![R::default(); self.all_rows()]);
        let guard = UP.map(R::of);
        for t in 1..=STEPS {
            let (g, n): (Vec<R>, _) = (reals(&self.gradient(t)), self.rows * self.cols);
            for block in 0..self.blocks {
                let part = block * n..(block + 1) * n;
                let (p, m) = (&mut p[part.clone()], &mut m[part.clone()]);
                let v = &mut v[block * self.rows..][..self.rows];
                let rates = [Self::lr(t), DECAY];
                reference::step([p, m, v], &g[part], self.cols, guard, HYPER, rates);
            }
        }
        [p, m, v].map(|x| x.iter().map(|x| x.to_f64()).collect())
    }

    fn run(&self, device: &Device, dtype: DType) -> Matrix {
        let matrix = self.start(device, dtype);
        let guard = tensor(device, DType::F32, &[3], &UP);
        for t in 1..=STEPS {
            let g = self.gradient(t).iter().map(|&g| g as f32).collect::<Vec<_>>();
            matrix.g.upload(&g).unwrap();
            step(&matrix, HYPER, &guard, &one(device, Self::lr(t))).unwrap();
        }
        matrix
    }
}

fn one(device: &Device, x: f64) -> Tensor {
    tensor(device, DType::F32, &[1], &[x])
}

fn all(matrix: &Matrix) -> [(&'static str, Vec<f64>); 3] {
    let Matrix { p, m, v, .. } = matrix;
    [("p", numbers(p)), ("m", numbers(m)), ("v", numbers(v))]
}

/// Small singular values are raised nearly 500 times, and what rounding adds to them too.
const RTOL: f64 = 1e-4;

#[test]
fn steps_agree_with_reference() {
    for (name, device) in devices() {
        for case in CASES {
            let want = case.expected::<f64>();
            for dtype in [DType::F32, DType::Bf16] {
                let near = match dtype {
                    DType::Bf16 => case.expected::<AsBf16>(),
                    _ => want.clone(),
                };
                let got = case.run(&device, dtype);
                if let Some(copy) = &got.copy {
                    let dims = copy.shape().dims();
                    let rounded = tensor(&device, DType::Bf16, dims, &numbers(&got.p));
                    assert!(numbers(copy) == numbers(&rounded), "{case:?}: copy on {name}");
                }
                for (i, (what, got)) in all(&got).iter().enumerate() {
                    let at = format!("{case:?} {dtype}: {what} on {name}");
                    compare(&at, got, &want[i], &near[i], DType::F32, RTOL);
                }
            }
        }
    }
}

/// Rows of the step are orthogonal to each other and of one length.
#[test]
fn the_reference_makes_singular_values_alike() {
    let (k, n) = (6, 40);
    let x = normal(k * n, 1.0, 5);
    let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let x = reference::orthogonal(&x.iter().map(|x| x / length).collect::<Vec<_>>(), n);
    for i in 0..k {
        for j in 0..k {
            let dot: f64 = (0..n).map(|c| x[i * n + c] * x[j * n + c]).sum();
            let near = if i == j { (0.4..1.6).contains(&dot) } else { dot.abs() < 0.4 };
            assert!(near, "rows {i}, {j}: {dot}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_launch() {
    for (name, device) in devices() {
        for (case, dtype) in CASES.iter().flat_map(|c| [(c, DType::F32), (c, DType::Bf16)]) {
            let bits = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| all(&case.run(&device, dtype)))
            };
            let same = bits(1) == bits(2) && bits(2) == bits(2);
            assert!(same, "{case:?} {dtype}: other bits on {name}");
        }
    }
}

#[test]
fn step_is_refused_when_the_guard_is_down() {
    for (_, device) in devices() {
        for (case, dtype) in CASES.iter().flat_map(|c| [(c, DType::F32), (c, DType::Bf16)]) {
            let matrix = case.run(&device, dtype);
            let (before, copy) = (all(&matrix), matrix.copy.as_ref().map(numbers));
            matrix.g.upload(&vec![f32::NAN; case.elems()]).unwrap();
            let guard = tensor(&device, DType::F32, &[3], &DOWN);
            step(&matrix, HYPER, &guard, &one(&device, 0.1)).unwrap();
            assert_eq!(before, all(&matrix), "{case:?}");
            assert_eq!(copy, matrix.copy.as_ref().map(numbers), "{case:?}");
        }
    }
}

#[test]
fn without_gradient_only_decay_acts() {
    for (_, device) in devices() {
        for (case, dtype) in CASES.iter().flat_map(|c| [(c, DType::F32), (c, DType::Bf16)]) {
            let matrix = case.start(&device, dtype);
            let [(_, before), ..] = all(&matrix);
            let guard = tensor(&device, DType::F32, &[3], &[0.0, 1.0, 1.0]);
            step(&matrix, HYPER, &guard, &one(&device, 0.5)).unwrap();
            let [(_, after), (_, m), (_, v)] = all(&matrix);
            let decayed: Vec<f64> =
                before.iter().map(|&p| (p as f32 * (1.0 - 0.5 * DECAY as f32)) as f64).collect();
            assert_eq!(after, decayed, "{case:?}");
            assert!(m.iter().chain(&v).all(|&x| x == 0.0), "{case:?}");
        }
    }
}

/// A matrix in flat storage starts anywhere; the neighbours stay as they are.
#[test]
fn parts_of_flat_storage_are_stepped_alone() {
    const ELEMS: usize = 64;
    for (name, device) in devices() {
        for start in [1, 4] {
            let flat = |seed| tensor(&device, DType::F32, &[ELEMS], &normal(ELEMS, 1.0, seed));
            let (p, g, m, v) = (flat(1), flat(2), flat(3), flat(4));
            v.upload(&[0.5_f32; ELEMS]).unwrap();
            let part = |t: &Tensor| t.view(start, [3, 5]).unwrap();
            let before = [&p, &m, &v].map(numbers);
            let matrix = Matrix {
                p: part(&p),
                copy: None,
                g: part(&g),
                m: part(&m),
                v: v.view(start, [3]).unwrap(),
                blocks: 1,
                weight_decay: DECAY,
            };
            step(&matrix, HYPER, &tensor(&device, DType::F32, &[3], &UP), &one(&device, 0.1))
                .unwrap();
            for ((old, new), elems) in before.iter().zip([&p, &m, &v].map(numbers)).zip([15, 15, 3])
            {
                let changed: Vec<usize> = (0..ELEMS).filter(|&i| old[i] != new[i]).collect();
                let inside = changed.iter().all(|i| (start..start + elems).contains(i));
                assert!(inside && !changed.is_empty(), "on {name}: {changed:?}");
            }
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let of =
            |dims: &[usize]| tensor(&device, DType::F32, dims, &vec![0.0; dims.iter().product()]);
        let matrix = || CASES[1].start(&device, DType::F32);
        let run = |matrix: Matrix| step(&matrix, HYPER, &of(&[3]), &of(&[1]));
        refuses("g", run(Matrix { g: of(&[10, 12]), ..matrix() }), &["normuon", "g (R, K)", "12"]);
        refuses("m", run(Matrix { m: of(&[9, 13]), ..matrix() }), &["normuon", "m (R, K)", "9"]);
        refuses("v", run(Matrix { v: of(&[5]), ..matrix() }), &["normuon", "v (R)", "(5)"]);
        for blocks in [0, 3] {
            refuses("blocks", run(Matrix { blocks, ..matrix() }), &["normuon", "(10, 13)"]);
        }
        let copy = Some(of(&[10, 13]));
        refuses("copy", run(Matrix { copy, ..matrix() }), &["normuon", "copy (R, K)", "bf16"]);
        let guard = step(&matrix(), HYPER, &of(&[2]), &of(&[1]));
        refuses("guard", guard, &["normuon", "guard (3)", "(2)"]);
        let lr = step(&matrix(), HYPER, &of(&[3]), &of(&[2]));
        refuses("lr", lr, &["normuon", "lr (1)", "(2)"]);
    }
}
