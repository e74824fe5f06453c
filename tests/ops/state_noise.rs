use hrm::backend::{Device, Purpose};
use hrm::dtype::DType;
use hrm::ops::draw::Draw;
use hrm::ops::layout::Layout;
use hrm::ops::state_noise::{self, reference};
use hrm::tensor::Tensor;

use crate::check::{compare, ints, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

/// Cells of slots behind one position of a prefix; some have a last block that is not full.
const CELLS: [usize; 4] = [2, 0, 130, 9];
const SIGMA: [f64; 4] = [0.5, 1.0, 0.0, 2.0];
const C: usize = 7;

fn draws() -> [Draw; 4] {
    [(7, 1), (7, 1 << 32), (7, 5), (7 << 40, 3)].map(|(seed, number)| Draw { seed, number })
}

struct Noised {
    z: Tensor,
    layout: Layout,
    before: Vec<f64>,
}

fn noised(device: &Device, dtype: DType, draws: &[Draw; 4]) -> Noised {
    let layout = Layout::packed(device, 1, &CELLS).unwrap();
    let n = layout.positions().total();
    let z = tensor(device, dtype, &[n, C], &normal(n * C, 1.0, 1));
    let before = numbers(&z);
    let words: Vec<i32> = draws.iter().flat_map(|draw| draw.words()).collect();
    let sigma = tensor(device, DType::F32, &[4], &SIGMA);
    state_noise::add(&z, &ints(device, &[4, Draw::WORDS], &words), &sigma, &layout).unwrap();
    Noised { z, layout, before }
}

#[test]
fn values_agree_with_reference() {
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            let Noised { z, layout, before } = noised(&device, dtype, &draws());
            let mut want = before;
            reference::add(&mut want, &draws(), &SIGMA, &layout.positions().host, C);
            let near = vec![1.0; want.len()];
            let rtol = if dtype == DType::F32 { 1e-5 } else { 1e-2 };
            compare(&format!("{name} {dtype}"), &numbers(&z), &want, &near, dtype, rtol);
        }
    }
}

#[test]
fn a_device_adds_the_bits_that_a_cpu_adds() {
    let bits = |device: &Device, dtype| {
        let numbers = numbers(&noised(device, dtype, &draws()).z);
        numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            assert!(bits(&device, dtype) == bits(&Device::cpu(), dtype), "{name} {dtype}");
        }
    }
}

/// What a slot gets is its draw's alone; without a deviation it keeps its bits.
#[test]
fn a_slot_follows_its_own_draw_only() {
    for (name, device) in devices() {
        let first = noised(&device, DType::F32, &draws());
        let mut other = draws();
        (other[0].number, other[1].seed, other[2].seed) = (2, 8, 99);
        let second = noised(&device, DType::F32, &other);
        let (a, b) = (numbers(&first.z), numbers(&second.z));
        let slot = |x: &[f64], slot: usize| {
            let host = &first.layout.positions().host;
            x[host[slot] * C..host[slot + 1] * C].to_vec()
        };
        assert_ne!(slot(&a, 0), slot(&b, 0), "{name}: another number");
        assert_ne!(slot(&a, 1), slot(&b, 1), "{name}: another seed");
        assert_eq!(slot(&a, 2), slot(&first.before, 2), "{name}: sigma 0");
        assert_eq!(slot(&a, 3), slot(&b, 3), "{name}: the same draw");
        assert_ne!(slot(&a, 3), slot(&first.before, 3), "{name}: noise is added");
    }
}

#[test]
fn nonsense_is_refused() {
    for (_, device) in devices() {
        let z = tensor(&device, DType::F32, &[6, 2], &[0.0; 12]);
        let layout = Layout::packed(&device, 1, &[2, 2]).unwrap();
        let add = |z: &Tensor, draws: [usize; 2], sigma: usize| {
            let draws = Tensor::zeros(&device, DType::I32, draws, Purpose::Activations).unwrap();
            let sigma = tensor(&device, DType::F32, &[sigma], &vec![0.0; sigma]);
            state_noise::add(z, &draws, &sigma, &layout)
        };
        refuses("draws", add(&z, [2, 3], 2), &["state_noise", "draws (B, 4)", "(2, 3)"]);
        refuses("sigma", add(&z, [2, 4], 3), &["state_noise", "sigma (B)", "(3)"]);
        let short = tensor(&device, DType::F32, &[5, 2], &[0.0; 10]);
        refuses("z", add(&short, [2, 4], 2), &["state_noise", "z (N, C)"]);
    }
}
