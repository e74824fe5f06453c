//! Causal attention that drops probabilities, and attention with a cache.

use hrm::Result;
use hrm::backend::{Device, Purpose};
use hrm::dtype::DType;
use hrm::nn::rope;
use hrm::ops::attention::Sight;
use hrm::ops::attention_cached::{self, Cache};
use hrm::ops::dropout::Site;
use hrm::ops::layout::Layout;
use hrm::ops::{attention, draw};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use super::{Inputs, Output, ints};

fn attend(x: &Inputs, kernels: [&'static str; 3], dims: [usize; 4]) -> Result<Vec<Output>> {
    let [b, t, nh, hd] = dims;
    let c = nh * hd;
    let qkv = x.scaled(&[b, t, 3 * c], 1.5)?;
    let tables = rope::tables(x.device, t, hd, 10_000.0)?;
    let words = draw::Draw { seed: 7, number: 1 << 32 | 3 }.words();
    let draw = ints(x.device, &[words.len()], &words)?;
    let [forward, dq, dkv] = kernels;
    let mut written = x.drive(&[forward, dq], vec![qkv], 1, |tape, x| {
        let layout = Layout::of(&x[0].tensor, 0)?;
        let dropout = Some((Site { number: 2, prob: 0.25 }, &draw));
        let sight = Sight { causal: true, dropout };
        attention::forward_with(tape, &x[0], nh, Some(&tables), &layout, sight)
    })?;
    let all = written.pop().expect("the gradient");
    written.push(all.columns(dq, 3 * c, |i| i < c));
    written.push(all.columns(dkv, 3 * c, |i| i >= c));
    Ok(written)
}

/// Three tiles of keys, the last with a tail; two blocks of queries.
pub fn attention_bf16(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "attention_fwd_sight_hd32_bf16",
        "attention_bwd_dq_sight_hd32_bf16",
        "attention_bwd_dkv_sight_hd32_bf16",
    ];
    attend(&Inputs::new(device, DType::Bf16), kernels, [1, 133, 2, 32])
}

pub fn attention_short(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "attention_fwd_sight_hd32_bf16",
        "attention_bwd_short_sight_hd32_bf16",
        "attention_bwd_short_sight_hd32_bf16",
    ];
    attend(&Inputs::new(device, DType::Bf16), kernels, [2, 39, 1, 32])
}

pub fn attention_f32(device: &Device) -> Result<Vec<Output>> {
    let kernels =
        ["attention_fwd_sight_f32", "attention_bwd_dq_sight_f32", "attention_bwd_dkv_sight_f32"];
    attend(&Inputs::new(device, DType::F32), kernels, [1, 70, 2, 12])
}

/// A full cache, an idle sequence, an empty cache.
pub fn cached(device: &Device) -> Result<Vec<Output>> {
    const KERNEL: &str = "attention_cached_fwd_f32";
    let (r, cap, nh, hd) = (3, 37, 2, 20);
    let x = Inputs::new(device, DType::F32);
    let lengths = ints(device, &[r], &[36, -1, 0])?;
    let places = Tensor::from_slice(device, &[36, 0, 5], [r], Purpose::Activations)?;
    let cache =
        Cache { k: x.normal(&[r, cap, nh * hd])?, v: x.normal(&[r, cap, nh * hd])?, lengths };
    let qkv = Var::constant(x.normal(&[r, 3 * nh * hd])?);
    let tables = rope::tables(device, cap, hd, 10_000.0)?;
    let tape = &mut Tape::no_grad(device);
    let y = attention_cached::forward(tape, &qkv, &cache, Some(&tables), &places, nh)?;
    [&y.tensor, &cache.k, &cache.v].into_iter().map(|t| Output::new(KERNEL, t)).collect()
}
