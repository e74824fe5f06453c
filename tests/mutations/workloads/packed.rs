//! Rows of several lengths end to end, in slots that some of them do not fill.

use hrm::Result;
use hrm::backend::{Device, Purpose};
use hrm::dtype::DType;
use hrm::nn::rope;
use hrm::ops;
use hrm::ops::layout::Layout;
use hrm::tape::Var;
use hrm::tensor::Tensor;

use super::{Inputs, Output, ints};

/// Places that tables have.
const PLACES: usize = 160;

/// Slots of so many positions, `prefix` of them before the cells, and the rows in them.
fn layout(device: &Device, prefix: usize, slots: &[[usize; 2]]) -> Result<Layout> {
    let cells: Vec<usize> = slots.iter().map(|[room, _]| room - prefix).collect();
    let layout = Layout::packed(device, prefix, &cells)?;
    layout.lengths.upload(&Vec::from_iter(slots.iter().map(|[_, t]| *t as i32)))?;
    let place = |r: usize, i: usize| if i < prefix { i } else { i + r + i / 7 };
    let places = slots.iter().enumerate().flat_map(|(r, &[room, t])| {
        (0..room).map(move |i| if i < t { place(r, i) as i32 } else { 0 })
    });
    layout.places.upload(&Vec::from_iter(places))?;
    Ok(layout)
}

fn attend(
    x: &Inputs,
    kernels: [&'static str; 3],
    slots: &[[usize; 2]],
    [nh, hd]: [usize; 2],
) -> Result<Vec<Output>> {
    let (layout, c) = (layout(x.device, 0, slots)?, nh * hd);
    let qkv = x.scaled(&[layout.positions().total(), 3 * c], 1.5)?;
    let tables = rope::tables(x.device, PLACES, hd, 10_000.0)?;
    let [forward, dq, dkv] = kernels;
    let mut written = x.drive(&[forward, dq], vec![qkv], 1, |tape, x| {
        ops::attention::forward(tape, &x[0], nh, Some(&tables), &layout)
    })?;
    let all = written.pop().expect("the gradient");
    written.push(all.columns(dq, 3 * c, |i| i < c));
    written.push(all.columns(dkv, 3 * c, |i| i >= c));
    Ok(written)
}

/// A tile beyond the row, and one that is cut by its end.
pub fn attention_f32(device: &Device) -> Result<Vec<Output>> {
    let kernels = ["attention_fwd_f32", "attention_bwd_dq_f32", "attention_bwd_dkv_f32"];
    let slots = [[9, 9], [70, 27], [41, 40]];
    attend(&Inputs::new(device, DType::F32), kernels, &slots, [2, 12])
}

/// Warps beyond the row, and one that is cut by its end.
pub fn attention_bf16(device: &Device) -> Result<Vec<Output>> {
    let kernels =
        ["attention_fwd_hd32_bf16", "attention_bwd_dq_hd32_bf16", "attention_bwd_dkv_hd32_bf16"];
    let slots = [[101, 101], [263, 70]];
    attend(&Inputs::new(device, DType::Bf16), kernels, &slots, [2, 32])
}

pub fn attention_short(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "attention_fwd_hd32_bf16",
        "attention_bwd_short_hd32_bf16",
        "attention_bwd_short_hd32_bf16",
    ];
    let slots = [[19, 18], [49, 10]];
    attend(&Inputs::new(device, DType::Bf16), kernels, &slots, [1, 32])
}

/// More cells than a part of the table's gradient has.
pub fn embedding(device: &Device) -> Result<Vec<Output>> {
    const C: usize = 24;
    const V: usize = 7;
    const P: usize = 2;
    let x = Inputs::new(device, DType::F32);
    let layout = layout(device, P, &[[7, 7], [103, 100], [31, 31]])?;
    let cells = layout.cells().total();
    let tokens = ints(device, &[cells], &Vec::from_iter((0..cells).map(|i| (i * 5 % V) as i32)))?;
    let leaves = vec![x.normal(&[V, C])?, x.normal(&[3, 30])?, x.normal(&[PLACES, C])?];
    let kernels =
        ["embedding_fwd_f32", "embedding_table_sum", "embedding_puzzle_f32", "embedding_pos_f32"];
    // Filling has no gradient: attention, whose gradient of it is zero, stands behind.
    x.drive(&kernels, leaves, 1, |tape, x| {
        let (table, puzzle, pos) = (&x[0], Some(&x[1]), Some(&x[2]));
        let y = ops::embedding::forward(tape, &tokens, table, puzzle, pos, 1.0, &layout)?;
        ops::attention::forward(tape, &y, 1, None, &layout)
    })
}

pub fn cross_entropy(device: &Device) -> Result<Vec<Output>> {
    const V: usize = 12;
    const P: usize = 1;
    let x = Inputs::new(device, DType::F32);
    let layout = layout(device, P, &[[9, 9], [70, 50], [33, 33]])?;
    let label = |i: usize| if i % 7 == 3 { ops::cross_entropy::IGNORE } else { (i * 5 % V) as i32 };
    let cells = layout.cells().total();
    let labels = ints(device, &[cells], &Vec::from_iter((0..cells).map(label)))?;
    let kernels = ["cross_entropy_fwd_f32", "cross_entropy_bwd_f32"];
    let leaves = vec![x.normal(&[layout.positions().total(), V])?];
    x.drive(&kernels, leaves, 1, |tape, x| {
        let kind = ops::cross_entropy::Kind::Stablemax;
        ops::cross_entropy::forward(tape, kind, &x[0], &labels, &layout)
    })
}

pub fn take_first(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let layout = layout(device, 0, &[[3, 3], [8, 5], [1, 1]])?;
    let kernels = ["take_first_fwd_f32", "take_first_bwd_f32"];
    x.drive(&kernels, vec![x.normal(&[12, 13])?], 2, |tape, x| {
        ops::take_first::forward(tape, &x[0], &layout)
    })
}

/// Rows of a table by the quotient of a number; two rows take the same one.
pub fn row_embedding(device: &Device) -> Result<Vec<Output>> {
    const C: usize = 13;
    let x = Inputs::new(device, DType::F32);
    let layout = layout(device, 0, &[[3, 3], [8, 5], [1, 1]])?;
    let ids = Tensor::from_slice(device, &[17, 8, 23], [3], Purpose::Activations)?;
    let told = Var::constant(x.normal(&[12, C])?);
    let kernels = ["row_embedding_fwd_f32", "row_embedding_table"];
    x.drive(&kernels, vec![x.normal(&[3, C])?], 2, |tape, table| {
        ops::row_embedding::forward(tape, &told, &table[0], &ids, 8, &layout)
    })
}

pub fn act_halt(device: &Device) -> Result<Vec<Output>> {
    const C: usize = 12;
    let x = Inputs::new(device, DType::F32);
    let layout = layout(device, 0, &[[3, 3], [8, 5], [21, 20]])?;
    let halted = Tensor::from_slice(device, &[0_u8, 1, 1], [3], Purpose::Activations)?;
    let n = layout.positions().total();
    let (z, dst, src) = (x.normal(&[n, C])?, x.normal(&[n])?, x.normal(&[n])?);
    ops::act_halt::reset(&halted, &x.normal(&[C])?, &z, &layout)?;
    ops::act_halt::admit(&halted, layout.positions(), &src, &dst)?;
    Ok(vec![Output::new("act_halt_reset_f32", &z)?, Output::new("act_halt_admit", &dst)?])
}

/// A last block of four that is not full, and a slot without noise.
pub fn state_noise(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let layout = layout(device, 1, &[[9, 9], [12, 4], [3, 3]])?;
    let z = x.normal(&[layout.positions().total(), 3])?;
    let draws = [(1, 2), (3, 4), (5, 6)].map(|(seed, number)| ops::draw::Draw { seed, number });
    let words: Vec<i32> = draws.iter().flat_map(|draw| draw.words()).collect();
    let sigma = Tensor::from_slice(device, &[0.5_f32, 0.0, 2.0], [3], Purpose::Activations)?;
    ops::state_noise::add(&z, &ints(device, &[3, 4], &words)?, &sigma, &layout)?;
    Ok(vec![Output::new("state_noise_add_f32", &z)?])
}
