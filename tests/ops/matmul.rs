//! On CUDA everything runs in both ways: our kernels, and cuBLASLt where it is installed.

use hrm::Result;
use hrm::backend::{Device, DeviceKind, Launched, Products, Purpose};
use hrm::dtype::DType;
use hrm::nn::block::gated_mlp;
use hrm::ops::matmul::{self, Dims, reference};
use hrm::ops::real::Real;
use hrm::ops::swiglu;
use hrm::ops::workloads::{ALL, ARC_TRAIN, Workload};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use crate::check::{Input, Op, compare, input, normal, numbers, op_tests, refuses, tensor};
use crate::common::devices::devices;

/// Every device, a CUDA one once for each way to compute products.
fn devices_both_ways() -> Vec<(String, Device)> {
    let cpu = devices().into_iter().filter(|(_, device)| device.kind() == DeviceKind::Cpu);
    cpu.map(|(name, device)| (name.to_owned(), device)).chain(cuda_both_ways()).collect()
}

/// The CUDA device, if there is one, with products of our own, then with those of the library.
fn cuda_both_ways() -> Vec<(String, Device)> {
    let mut all = vec![];
    for (name, _) in devices().iter().filter(|(_, device)| device.kind() == DeviceKind::Cuda) {
        for products in [Products::Own, Products::Cublaslt] {
            match Device::cuda_with(0, products) {
                Ok(device) => all.push((format!("{name} {products:?}"), device)),
                Err(why) => println!("skipped: {name} {products:?} ({why})"),
            }
        }
    }
    all
}

struct Case {
    n: usize,
    k: usize,
    o: usize,
    bias: bool,
}

const fn case(n: usize, k: usize, o: usize, bias: bool) -> Case {
    Case { n, k, o, bias }
}

const CASES: &[Case] = &[
    case(1, 1, 1, true),
    case(1, 13, 2, true), // the Q head of one row
    case(17, 7, 11, true),
    case(33, 5, 17, false),
    case(4, 3, 40, true),
    case(33, 40, 6, false),
    case(70, 24, 12, false),
    case(24, 128, 12, false), // logits of a vocabulary of 12
    case(97, 64, 100, false),
    case(257, 64, 96, true),  // whole 16-byte rows, ragged tiles
    case(600, 16, 24, true),  // dw in two parts
    case(1030, 9, 10, false), // and with unaligned rows
];

impl Case {
    fn dims(&self) -> Dims {
        Dims { m: self.n, n: self.o, k: self.k }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("matmul n {} k {} o {} bias {}", self.n, self.k, self.o, self.bias)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut x = vec![input(&[self.n, self.k], 1.0, 1), input(&[self.o, self.k], 0.5, 2)];
        x.extend(self.bias.then(|| input(&[self.o], 1.0, 3)));
        x
    }
    fn devices() -> Vec<(String, Device)> {
        devices_both_ways()
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        matmul::linear(tape, &x[0], &x[1], x.get(2))
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); self.n * self.o];
        reference::forward(self.dims(), &x[0], &x[1], x.get(2).map(|b| &b[..]), &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let [mut dx, mut dw] = [0, 1].map(|i: usize| vec![R::default(); x[i].len()]);
        let mut db = vec![R::default(); self.o];
        reference::backward(self.dims(), &x[0], &x[1], dy, [&mut dx, &mut dw, &mut db]);
        let mut grads = vec![dx, dw, db];
        grads.truncate(x.len());
        grads
    }
}

op_tests!(CASES);

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let mut tape = Tape::new(&device);
        let x = var(DType::F32, &[2, 3, 4]);
        let linear =
            |tape: &mut Tape, w: Var, b: Option<Var>| matmul::linear(tape, &x, &w, b.as_ref());
        let w = var(DType::F32, &[5, 3]);
        refuses("width", linear(&mut tape, w, None), &["matmul", "x", "(6, 4)", "(6, 3)"]);
        let w = var(DType::F32, &[5]);
        refuses("rank", linear(&mut tape, w, None), &["matmul", "w (O, K)", "(5)"]);
        let w = var(DType::Bf16, &[5, 4]);
        refuses("dtype", linear(&mut tape, w, None), &["matmul", "w", "bf16", "f32"]);
        let (w, b) = (var(DType::F32, &[5, 4]), var(DType::F32, &[4]));
        refuses("bias", linear(&mut tape, w, Some(b)), &["matmul", "b (O)", "(4)", "(5)"]);
    }
}

/// y, dx, dw and db of one case.
fn all_products(device: &Device, case: &Case, dtype: DType) -> Vec<Vec<f64>> {
    let mut tape = Tape::new(device);
    let inputs = case.inputs();
    let leaves = inputs.iter().map(|i| tape.leaf(tensor(device, dtype, &i.shape, &i.values)));
    let vars: Vec<Var> = leaves.collect();
    let y = case.run(&mut tape, &vars).unwrap();
    let dy = tensor(device, dtype, y.tensor.shape().dims(), &normal(y.tensor.elems(), 1.0, 9));
    let mut grads = tape.backward(&[(&y, dy)]).unwrap();
    let grads = vars.iter().map(|v| grads.take(v.id.unwrap()).unwrap().unwrap());
    std::iter::once(y.tensor.clone()).chain(grads).map(|t| numbers(&t)).collect()
}

/// As near each other as two bf16 roundings, or two orders of an f32 sum.
fn agree(case: &Case, dtype: DType, [a, b]: [&(String, Device); 2]) {
    let (got, want) = (all_products(&a.1, case, dtype), all_products(&b.1, case, dtype));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        // dw and db are f32 in both
        let rounded = if i < 2 { dtype } else { DType::F32 };
        let what = format!("{} {dtype}, {} and {}, product {i}", case.name(), a.0, b.0);
        compare(&what, got, want, want, rounded, 1e-5);
    }
}

#[test]
fn own_kernels_and_library_agree() {
    let both = cuda_both_ways();
    let [own, library] = &both[..] else {
        return println!(
            "skipped: own kernels beside the library ({} of the two here)",
            both.len()
        );
    };
    for case in CASES {
        agree(case, DType::F32, [own, library]);
        agree(case, DType::Bf16, [own, library]);
    }
}

/// Shapes that take the large tiles, dw in many parts, ragged edges included.
#[test]
fn large_tiles_agree_with_the_cpu() {
    let (cpu, cuda) = (("cpu".to_owned(), Device::cpu()), cuda_both_ways());
    if cuda.is_empty() {
        println!("skipped: large tiles (no CUDA device)");
    }
    for (m, width, [fwd, dw, dx], dtypes) in [
        (8190, 248, ["t128", "t128", "t128"], &[DType::F32, DType::Bf16][..]),
        (12_283, 128, ["t96", "t64", "t96"], &[DType::Bf16]),
    ] {
        let case = case(m, width, width, false);
        let launched = launched(&Device::shape_only(DeviceKind::Cuda), DType::Bf16, case.dims());
        let names: Vec<&str> = launched.iter().map(|l| l.kernel).collect();
        let [fwd, dw, dx] = [("fwd", fwd), ("bwd_dw", dw), ("bwd_dx", dx)]
            .map(|(pass, tile)| format!("matmul_{pass}_bf16_{tile}"));
        assert_eq!(names, [&fwd[..], &dw, "matmul_sum_parts_f32", &dx]);
        for device in &cuda {
            for &dtype in dtypes {
                agree(&case, dtype, [device, &cpu]);
            }
        }
    }
}

/// What a linear layer's forward and backward launch.
fn launched(device: &Device, dtype: DType, d: Dims) -> Vec<Launched> {
    let mut tape = Tape::new(device);
    let zeros = |shape: [usize; 2]| Tensor::zeros(device, dtype, shape, Purpose::Weights).unwrap();
    let (x, w, dy) = (zeros([d.m, d.k]), zeros([d.n, d.k]), zeros([d.m, d.n]));
    device.take_work();
    let (x, w) = (tape.leaf(x), tape.leaf(w));
    let y = matmul::linear(&mut tape, &x, &w, None).unwrap();
    tape.backward(&[(&y, dy)]).unwrap();
    device.take_work().launched
}

/// The block's four linear layers.
fn layers(w: &Workload) -> [Dims; 4] {
    let m = w.b * w.t;
    [(3 * w.c, w.c), (w.c, w.c), (2 * w.f, w.c), (w.c, w.f)].map(|(n, k)| Dims { m, n, k })
}

#[test]
fn products_of_a_training_step_keep_a_card_busy() {
    let mut products = 0;
    for dims in layers(&ARC_TRAIN) {
        for l in launched(&Device::shape_only(DeviceKind::Cuda), DType::Bf16, dims) {
            if l.cost.matmul_flops == 0.0 {
                continue; // the sum of parts
            }
            let large = l.kernel.ends_with("_t128") || l.kernel.ends_with("_t96");
            assert!(large, "{dims:?}: {}", l.kernel);
            assert_eq!(l.cost.matmul_flops, 2.0 * (dims.m * dims.n * dims.k) as f64);
            let blocks = l.grid.iter().product::<usize>();
            let busy = blocks as f64 / blocks.next_multiple_of(128) as f64;
            assert!(busy >= 0.92, "{dims:?}: {} has {blocks} blocks", l.kernel);
            products += 1;
        }
    }
    assert!(products > 5, "{products} products were found");
}

#[test]
fn workspace_is_bounded_and_planned_exactly() {
    for dims in ALL.iter().flat_map(layers) {
        let device = Device::shape_only(DeviceKind::Cuda);
        launched(&device, DType::Bf16, dims);
        let bytes = device.usage().peak_bytes[Purpose::Workspace as usize];
        assert!(bytes <= 32 << 20, "{dims:?}: {bytes} bytes");
    }
    for (name, device) in devices_both_ways() {
        if device.kind() == DeviceKind::Cpu {
            continue;
        }
        let plan = Device::shape_only(DeviceKind::Cuda);
        for dims in CASES.iter().map(Case::dims) {
            launched(&plan, DType::Bf16, dims);
            launched(&device, DType::Bf16, dims);
            assert_eq!(device.usage(), plan.usage(), "{name}: {dims:?}");
        }
    }
}

#[test]
fn a_captured_product_replays_to_the_same_bits() {
    for (name, device) in devices_both_ways() {
        if device.kind() == DeviceKind::Cpu {
            continue;
        }
        device.reserve(16 << 20).unwrap();
        let case = case(70, 24, 16, true);
        let vars: Vec<Var> = case
            .inputs()
            .iter()
            .map(|i| Var::constant(tensor(&device, DType::Bf16, &i.shape, &i.values)))
            .collect();
        let run = || case.run(&mut Tape::no_grad(&device), &vars);
        let want = numbers(&run().unwrap().tensor);
        let x = &vars[0].tensor;
        x.zero().unwrap();
        let mut y = None;
        let graph = device.capture(|| run().map(|var| y = Some(var.tensor))).unwrap();
        x.copy_from(&tensor(&device, DType::Bf16, &[70, 24], &case.inputs()[0].values)).unwrap();
        graph.replay().unwrap();
        let y = y.unwrap();
        assert!(numbers(&y) == want, "{name}");
    }
}

/// y and the gradients of x, w and v of a gated MLP, fused or as three ops.
fn gated(device: &Device, dtype: DType, [m, f, k, o]: [usize; 4], fused: bool) -> [Tensor; 4] {
    let mut tape = Tape::new(device);
    let [x, w, v] = [[m, k], [2 * f, k], [o, f]].map(|shape| {
        let values = normal(shape[0] * shape[1], 0.5, shape[1] as u64);
        tape.leaf(tensor(device, dtype, &shape, &values))
    });
    let y = if fused {
        gated_mlp(&mut tape, &x, &w, &v).unwrap()
    } else {
        let gate_up = matmul::linear(&mut tape, &x, &w, None).unwrap();
        let inner = swiglu::forward(&mut tape, &gate_up).unwrap();
        matmul::linear(&mut tape, &inner, &v, None).unwrap()
    };
    let inference = gated_mlp(&mut Tape::no_grad(device), &x, &w, &v).unwrap().tensor;
    assert!(numbers(&inference) == numbers(&y.tensor), "no gradient, the same y");
    let dy = tensor(device, dtype, &[m, o], &normal(m * o, 1.0, 3));
    let mut grads = tape.backward(&[(&y, dy)]).unwrap();
    let mut take = |v: &Var| grads.take(v.id.unwrap()).unwrap().unwrap();
    [y.tensor, take(&x), take(&w), take(&v)]
}

#[test]
fn gated_mlp_is_bit_equal_to_its_three_ops() {
    let sizes @ [m, f, k, o] = [8150, 120, 24, 16];
    let plan = Device::shape_only(DeviceKind::Cuda);
    let mut tape = Tape::new(&plan);
    let [x, w, v, dy] = [[m, k], [2 * f, k], [o, f], [m, o]]
        .map(|shape| Tensor::uninit(&plan, DType::Bf16, shape, Purpose::Weights).unwrap());
    let [x, w, v] = [x, w, v].map(|t| tape.leaf(t));
    let y = gated_mlp(&mut tape, &x, &w, &v).unwrap();
    tape.backward(&[(&y, dy)]).unwrap();
    let names: Vec<_> = plan.take_work().launched.iter().map(|l| l.kernel).collect();
    for fused in ["matmul_swiglu_bf16", "matmul_swiglu_bwd_bf16"] {
        assert!(names.contains(&fused), "{names:?}");
    }

    let want = gated(&Device::cpu(), DType::Bf16, sizes, false).map(|t| numbers(&t));
    for (name, device) in devices_both_ways() {
        let got = gated(&device, DType::Bf16, sizes, true);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let what = format!("gated MLP on {name}, output {i}");
            // what lies between is rounded to bf16: sums that straddle a rounding differ
            compare(&what, &numbers(got), want, want, DType::F32, 2f64.powi(-7));
        }
        if name.ends_with("Own") {
            let three = gated(&device, DType::Bf16, sizes, false);
            for (i, (got, want)) in got.iter().zip(&three).enumerate() {
                assert!(numbers(got) == numbers(want), "{name}: output {i}");
            }
        }
    }
}

#[test]
fn gated_mlp_on_a_cpu_is_bit_equal_to_its_three_ops() {
    let device = Device::cpu();
    // One row, strips and panels that end within a task, several tasks, and an inner width that has
    // no panels of its own.
    for sizes in
        [[1, 32, 3, 2], [7, 32, 24, 16], [70, 96, 41, 8], [1031, 256, 128, 16], [5, 48, 8, 8]]
    {
        for dtype in [DType::F32, DType::Bf16] {
            let [got, want] = [true, false].map(|fused| gated(&device, dtype, sizes, fused));
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!(numbers(got) == numbers(want), "{dtype} {sizes:?}: output {i}");
            }
        }
    }
}
