//! The call of each op at a workload. Dimension letters are the crate's.

use std::sync::OnceLock;

use hrm::Result;
use hrm::backend::{Device, Purpose};
use hrm::data::fetch::Source;
use hrm::data::{Lengths, RowLayout};
use hrm::dtype::{DType, Float, bf16};
use hrm::nn::{block, rope};
use hrm::ops::act_halt::Halting;
use hrm::ops::adam::{Hyper, Moments, Rule};
use hrm::ops::batch_norm::How;
use hrm::ops::cross_entropy::Kind;
use hrm::ops::draw::Draw;
use hrm::ops::dropout::Site;
use hrm::ops::layout::Layout;
use hrm::ops::workloads::Workload;
use hrm::ops::{
    self, attention, attention_cached, batch_norm, conv_transpose2d, conv2d, gauss_sample,
    layer_norm, matmul, max_pool2d,
};
use hrm::rng::{Rng, Stream};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use crate::Work;

/// Rows of the puzzle table.
const NP: usize = 1000;
const HYPER: Hyper = Hyper { lr: 1e-4, weight_decay: 0.1, beta1: 0.9, beta2: 0.95, t: 10 };

/// Normal numbers, which toggle as many wires as those of training do; integers from 0 to 5.
pub fn filled(device: &Device, dtype: DType, dims: &[usize]) -> Result<Tensor> {
    let t = Tensor::uninit(device, dtype, dims, Purpose::Activations)?;
    let values = normal().iter().cycle().copied().take(t.elems());
    match dtype {
        DType::F32 => t.upload(&values.collect::<Vec<f32>>())?,
        DType::Bf16 => t.upload(&values.map(<bf16 as Float>::from_f32).collect::<Vec<_>>())?,
        DType::I32 => t.upload(&(0..t.elems()).map(|i| (i * 7 % 6) as i32).collect::<Vec<_>>())?,
        DType::U8 => t.upload(&(0..t.elems()).map(|i| (i % 2) as u8).collect::<Vec<_>>())?,
    }
    Ok(t)
}

/// As many as make no two rows of a tensor alike; the larger tensors repeat them.
fn normal() -> &'static [f32] {
    static NORMAL: OnceLock<Vec<f32>> = OnceLock::new();
    NORMAL.get_or_init(|| {
        let mut rng = Rng::new(0, Stream::Test, 0);
        (0..1_000_003).map(|_| rng.normal() as f32).collect()
    })
}

/// Every position of the workload, each `width` wide.
fn positions(w: &Workload, device: &Device, dtype: DType, width: usize) -> Result<Tensor> {
    match w.packed {
        true => filled(device, dtype, &[layout(w, device)?.positions().total(), width]),
        false => filled(device, dtype, &[w.b, w.t, width]),
    }
}

/// Rows that fill their slots, each behind one position of the puzzle's.
fn layout(w: &Workload, device: &Device) -> Result<Layout> {
    let prefix = 1;
    if !w.packed {
        return Layout::padded(device, w.b, prefix, w.t - prefix);
    }
    let lengths = Lengths::published(Source::Arc1, 30, RowLayout::Packed);
    let slots = lengths.expect("lengths of ARC-1 are known").slots(w.b);
    let layout = Layout::packed(device, prefix, &slots)?;
    let positions: Vec<i32> = slots.iter().map(|slot| (prefix + slot) as i32).collect();
    let cells: Vec<i32> = slots.iter().flat_map(|&slot| 0..slot as i32).collect();
    layout.lengths.upload(&positions)?;
    layout.places.upload(&layout.places_of(&cells))?;
    Ok(layout)
}

/// One integer to each cell.
fn cells(w: &Workload, device: &Device) -> Result<Tensor> {
    match w.packed {
        true => filled(device, DType::I32, &[layout(w, device)?.cells().total()]),
        false => filled(device, DType::I32, &[w.b, w.t - 1]),
    }
}

/// norm, clip factor, ok: updates are made.
fn guard_up(device: &Device) -> Result<Tensor> {
    Tensor::from_slice(device, &[1.0_f32; 3], [3], Purpose::Workspace)
}

/// Parameters of one block, flat.
fn block_elems(w: &Workload) -> usize {
    block::specs("", w.c, 4.0).iter().map(|s| s.shape.elems()).sum()
}

pub fn add(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = || positions(w, device, dtype, w.c);
    let run = |tape: &mut _, x: &[_]| ops::add::forward(tape, &[&x[0], &x[1], &x[2]]);
    Ok(Work::Taped(vec![x()?, x()?, x()?], Box::new(run)))
}

/// The widest product: gate and up.
pub fn matmul(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = positions(w, device, dtype, w.c)?;
    let weight = filled(device, dtype, &[2 * w.f, w.c])?;
    let run = |tape: &mut _, x: &[_]| matmul::linear(tape, &x[0], &x[1], None);
    Ok(Work::Taped(vec![x, weight], Box::new(run)))
}

pub fn gated_mlp(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = positions(w, device, dtype, w.c)?;
    let weights = [[2 * w.f, w.c], [w.c, w.f]].map(|shape| filled(device, dtype, &shape));
    let [gate_up, down] = weights;
    let run = |tape: &mut _, x: &[_]| block::gated_mlp(tape, &x[0], &x[1], &x[2]);
    Ok(Work::Taped(vec![x, gate_up?, down?], Box::new(run)))
}

pub fn rms_norm(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = || positions(w, device, dtype, w.c);
    let run =
        |tape: &mut _, x: &[_]| ops::rms_norm::forward(tape, &x[0], &x[1], block::RMS_NORM_EPS);
    Ok(Work::Taped(vec![x()?, x()?], Box::new(run)))
}

pub fn layer_norm(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let (x, of_columns) = (|| positions(w, device, dtype, w.c), || filled(device, dtype, &[w.c]));
    let run = |tape: &mut _, x: &[_]| {
        let affine = layer_norm::Affine { gain: &x[2], bias: &x[3] };
        layer_norm::forward(tape, &x[0], &x[1], affine, layer_norm::EPS)
    };
    Ok(Work::Taped(vec![x()?, x()?, of_columns()?, of_columns()?], Box::new(run)))
}

pub fn bias_relu(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = vec![positions(w, device, dtype, w.f)?, filled(device, dtype, &[w.f])?];
    Ok(Work::Taped(x, Box::new(|tape, x| ops::bias_relu::forward(tape, &x[0], &x[1]))))
}

pub fn dropout(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = positions(w, device, dtype, w.c)?;
    let (draw, site) = (filled(device, DType::I32, &[4])?, Site { number: 1, prob: 0.1 });
    let run = move |tape: &mut _, x: &[_]| ops::dropout::forward(tape, &x[0], site, &draw);
    Ok(Work::Taped(vec![x], Box::new(run)))
}

pub fn swiglu(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = positions(w, device, dtype, 2 * w.f)?;
    Ok(Work::Taped(vec![x], Box::new(|tape, x| ops::swiglu::forward(tape, &x[0]))))
}

fn attend(
    w: &Workload,
    device: &Device,
    dtype: DType,
    causal: bool,
    site: Option<Site>,
) -> Result<Work> {
    let x = positions(w, device, dtype, 3 * w.c)?;
    let (tables, heads) = (rope::tables(device, w.t, w.c / w.nh, 10_000.0)?, w.nh);
    let (layout, draw) = (layout(w, device)?, filled(device, DType::I32, &[4])?);
    let run = move |tape: &mut _, x: &[_]| {
        let sight = attention::Sight { causal, dropout: site.map(|site| (site, &draw)) };
        attention::forward_with(tape, &x[0], heads, Some(&tables), &layout, sight)
    };
    Ok(Work::Taped(vec![x], Box::new(run)))
}

pub fn attention(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    attend(w, device, dtype, false, None)
}

pub fn attention_causal(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    attend(w, device, dtype, true, None)
}

pub fn attention_causal_dropout(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    attend(w, device, dtype, true, Some(Site { number: 1, prob: 0.1 }))
}

/// One more position of every row, whose others are in the cache.
pub fn attention_cached(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = Var::constant(filled(device, dtype, &[w.b, 3 * w.c])?);
    let (tables, heads) = (rope::tables(device, w.t, w.c / w.nh, 10_000.0)?, w.nh);
    let cache = attention_cached::Cache::new(device, dtype, w.b, w.t, w.c)?;
    cache.lengths.upload(&vec![w.t as i32 - 1; w.b])?;
    let places = cache.lengths.clone();
    Ok(Work::Plain(Box::new(move || {
        let tape = &mut Tape::no_grad(places.device());
        attention_cached::forward(tape, &x, &cache, Some(&tables), &places, heads).map(drop)
    })))
}

pub fn embedding(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let table = filled(device, dtype, &[w.v, w.c])?;
    let puzzle = filled(device, DType::F32, &[w.b, w.c])?;
    let layout = layout(w, device)?;
    let tokens = cells(w, device)?;
    let run = move |tape: &mut _, x: &[_]| {
        ops::embedding::forward(tape, &tokens, &x[0], Some(&x[1]), None, 1.0, &layout)
    };
    Ok(Work::Taped(vec![table, puzzle], Box::new(run)))
}

/// A task for every row of the batch, of as many as ARC has.
pub fn row_embedding(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    const TASKS: usize = 800;
    let x = positions(w, device, dtype, w.c)?;
    let table = filled(device, dtype, &[TASKS, w.c])?;
    let layout = layout(w, device)?;
    let ids: Vec<i32> = (0..w.b).map(|row| (row * 7 % TASKS) as i32).collect();
    let ids = Tensor::from_slice(device, &ids, [w.b], Purpose::Activations)?;
    let run = move |tape: &mut _, x: &[_]| {
        ops::row_embedding::forward(tape, &x[0], &x[1], &ids, 1, &layout)
    };
    Ok(Work::Taped(vec![x, table], Box::new(run)))
}

pub fn take_first(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = positions(w, device, dtype, w.c)?;
    let layout = layout(w, device)?;
    let run = move |tape: &mut _, x: &[_]| ops::take_first::forward(tape, &x[0], &layout);
    Ok(Work::Taped(vec![x], Box::new(run)))
}

pub fn transpose(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = filled(device, dtype, &[w.b, w.t, w.c])?;
    Ok(Work::Taped(vec![x], Box::new(|tape, x| ops::transpose::forward(tape, &x[0]))))
}

pub fn halt_head(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let state = || filled(device, dtype, &[w.b, w.t, w.c]);
    let x = vec![
        state()?,
        state()?,
        filled(device, dtype, &[1, 2 * w.c])?,
        filled(device, dtype, &[1])?,
    ];
    let run = |tape: &mut _, x: &[_]| ops::halt_head::forward(tape, &x[0], &x[1], &x[2], &x[3]);
    Ok(Work::Taped(x, Box::new(run)))
}

pub fn cross_entropy(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let logits = positions(w, device, dtype, w.v)?;
    let layout = layout(w, device)?;
    let labels = cells(w, device)?;
    let run = move |tape: &mut _, x: &[_]| {
        ops::cross_entropy::forward(tape, Kind::Stablemax, &x[0], &labels, &layout)
    };
    Ok(Work::Taped(vec![logits], Box::new(run)))
}

pub fn bce_logits(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let (q, targets) = (filled(device, dtype, &[w.b, 2])?, filled(device, DType::F32, &[w.b, 2])?);
    let run = move |tape: &mut _, x: &[_]| ops::bce_logits::forward(tape, &x[0], &targets);
    Ok(Work::Taped(vec![q], Box::new(run)))
}

pub fn puzzle_emb(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let table = filled(device, DType::F32, &[NP, w.c])?;
    let ids = filled(device, DType::I32, &[w.b])?;
    let rows = filled(device, DType::F32, &[w.b, w.c])?;
    Ok(Work::Plain(Box::new(move || ops::puzzle_emb::gather(&table, &ids, &rows))))
}

/// Reset of a carry and the decision.
pub fn act_halt(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let (halted, steps) = (filled(device, DType::U8, &[w.b])?, filled(device, DType::I32, &[w.b])?);
    let (z, init) = (positions(w, device, dtype, w.c)?, filled(device, dtype, &[w.c])?);
    let layout = layout(w, device)?;
    let q = filled(device, dtype, &[w.b, 2])?;
    let how = Halting { max_steps: 16, training: true, q_continue: true, exploration_prob: 0.1 };
    let draw =
        Tensor::from_slice(device, &Draw { seed: 1, number: 1 }.words(), [4], Purpose::Workspace)?;
    Ok(Work::Plain(Box::new(move || {
        ops::act_halt::reset(&halted, &init, &z, &layout)?;
        ops::act_halt::decide(&q, how, Some(&draw), &steps, &halted)
    })))
}

/// Noise for the states of every row.
pub fn state_noise(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let (z, sigma) = (positions(w, device, dtype, w.c)?, filled(device, DType::F32, &[w.b])?);
    let (draws, layout) = (filled(device, DType::I32, &[w.b, Draw::WORDS])?, layout(w, device)?);
    Ok(Work::Plain(Box::new(move || ops::state_noise::add(&z, &draws, &sigma, &layout))))
}

pub fn global_norm(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let g = filled(device, DType::F32, &[block_elems(w)])?;
    let (losses, guard) = (filled(device, DType::F32, &[8])?, guard_up(device)?);
    Ok(Work::Plain(Box::new(move || ops::global_norm::guard(&g, &losses, 1.0, &guard))))
}

fn adam(w: &Workload, device: &Device, rule: Rule) -> Result<Work> {
    let flat = || filled(device, DType::F32, &[block_elems(w)]);
    let (p, g, guard) = (flat()?, flat()?, guard_up(device)?);
    let v = flat()?;
    v.zero()?;
    let moments = Moments { m: flat()?, v };
    let factors = HYPER.on(device)?;
    Ok(Work::Plain(Box::new(move || {
        ops::adam::step(rule, &p, None, &g, &moments, &guard, &factors)
    })))
}

pub fn adam_atan2(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    adam(w, device, Rule::AdamAtan2)
}

pub fn adamw(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    adam(w, device, Rule::AdamW)
}

/// The MLP's outer matrix.
pub fn normuon(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let dims = [w.c, w.f];
    let of = |dtype, dims: &[usize]| filled(device, dtype, dims);
    let copy = if dtype == DType::Bf16 { Some(of(dtype, &dims)?) } else { None };
    let [p, g, m] = [of(DType::F32, &dims)?, of(DType::F32, &dims)?, of(DType::F32, &dims)?];
    let (v, weight_decay) = (Tensor::zeros(device, DType::F32, [w.c], Purpose::Optimizer)?, 0.1);
    let matrix = ops::normuon::Matrix { p, copy, g, m, v, blocks: 1, weight_decay };
    let (guard, lr) = (guard_up(device)?, filled(device, DType::F32, &[1])?);
    let hyper = ops::normuon::Hyper { momentum: 0.95, beta2: 0.95 };
    Ok(Work::Plain(Box::new(move || ops::normuon::step(&matrix, hyper, &guard, &lr))))
}

pub fn sign_sgd_rows(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let table = filled(device, DType::F32, &[NP, w.c])?;
    let (ids, g) = (filled(device, DType::I32, &[w.b])?, filled(device, DType::F32, &[w.b, w.c])?);
    let guard = guard_up(device)?;
    let factors = ops::sign_sgd_rows::factors(1e-2, 0.1);
    let factors = Tensor::from_slice(device, &factors, [factors.len()], Purpose::Workspace)?;
    let run = move || ops::sign_sgd_rows::step(&table, &ids, &g, &guard, &factors);
    Ok(Work::Plain(Box::new(run)))
}

pub fn ema(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let flat = || filled(device, DType::F32, &[block_elems(w)]);
    let (average, p, guard) = (flat()?, flat()?, guard_up(device)?);
    Ok(Work::Plain(Box::new(move || ops::ema::step(&average, &p, &guard, 0.999))))
}

pub fn cast(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let n = [block_elems(w)];
    let (x, y) = (filled(device, DType::F32, &n)?, filled(device, dtype, &n)?);
    Ok(Work::Plain(Box::new(move || ops::cast::from_f32(&x, &y))))
}

/// A middle layer of the VAE's teacher: 4x4, stride 2, on images of a quarter of the width.
pub fn conv2d(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let (x, weight) = pictures(w, device, dtype, [w.c / 4, w.c / 2], [16, 16])?;
    let how = conv2d::Conv2d { stride: 2, padding: 1 };
    let run = move |tape: &mut _, x: &[_]| conv2d::forward(tape, &x[0], &x[1], None, how);
    Ok(Work::Taped(vec![x, weight], Box::new(run)))
}

/// Its mirror image.
pub fn conv_transpose2d(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let (x, weight) = pictures(w, device, dtype, [w.c / 2, w.c / 4], [8, 8])?;
    let weight = weight.reshape([w.c / 2, w.c / 4, 4, 4])?;
    let how = conv_transpose2d::ConvTranspose2d { stride: 2, padding: 1, output_padding: 0 };
    let run = move |tape: &mut _, x: &[_]| conv_transpose2d::forward(tape, &x[0], &x[1], None, how);
    Ok(Work::Taped(vec![x, weight], Box::new(run)))
}

/// Pictures of `[from, to]` channels, and weights between these.
fn pictures(
    w: &Workload,
    device: &Device,
    dtype: DType,
    [from, to]: [usize; 2],
    [height, width]: [usize; 2],
) -> Result<(Tensor, Tensor)> {
    let x = filled(device, dtype, &[w.b, from, height, width])?;
    Ok((x, filled(device, dtype, &[to, from, 4, 4])?))
}

pub fn max_pool2d(w: &Workload, device: &Device, dtype: DType) -> Result<Work> {
    let x = filled(device, dtype, &[w.b, w.c / 4, 32, 32])?;
    Ok(Work::Taped(vec![x], Box::new(|tape, x| max_pool2d::forward(tape, &x[0]))))
}

/// Images of a VAE's first layer: (B, 64, 16, 16).
fn images(w: &Workload, device: &Device) -> Result<Tensor> {
    filled(device, DType::F32, &[w.b, 64, 16, 16])
}

/// A middle layer of the smallest student's encoder.
pub fn depthwise_conv2d(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let (weight, bias) = ([64, 1, 3, 3], [64]);
    let run = |tape: &mut _, x: &[_]| {
        let how = conv2d::Conv2d { stride: 2, padding: 1 };
        ops::depthwise_conv2d::forward(tape, &x[0], &x[1], &x[2], how)
    };
    let of = |shape: &[usize]| filled(device, DType::F32, shape);
    Ok(Work::Taped(vec![images(w, device)?, of(&weight)?, of(&bias)?], Box::new(run)))
}

/// Training, ReLU included.
pub fn batch_norm(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let of_channels = || filled(device, DType::F32, &[64]);
    let seen = batch_norm::Statistics { mean: of_channels()?, var: of_channels()? };
    let run = move |tape: &mut _, x: &[_]| {
        let affine = batch_norm::Affine { gain: &x[1], bias: &x[2] };
        batch_norm::forward(tape, &x[0], affine, How::Training { seen: &seen }, true)
    };
    let x = vec![images(w, device)?, of_channels()?, of_channels()?];
    Ok(Work::Taped(x, Box::new(run)))
}

pub fn relu(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    Ok(Work::Taped(
        vec![images(w, device)?],
        Box::new(|tape, x| ops::pointwise::relu::forward(tape, &x[0])),
    ))
}

pub fn sigmoid(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let run = |tape: &mut _, x: &[_]| ops::pointwise::sigmoid::forward(tape, &x[0]);
    Ok(Work::Taped(vec![images(w, device)?], Box::new(run)))
}

pub fn mse(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let run = |tape: &mut _, x: &[_]| ops::mse::forward(tape, &x[0], &x[1]);
    Ok(Work::Taped(vec![images(w, device)?, images(w, device)?], Box::new(run)))
}

pub fn kl_gauss(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let run = |tape: &mut _, x: &[_]| ops::kl_gauss::forward(tape, &x[0], &x[1]);
    Ok(Work::Taped(vec![images(w, device)?, images(w, device)?], Box::new(run)))
}

/// The noise and the latent.
pub fn gauss_sample(w: &Workload, device: &Device, _: DType) -> Result<Work> {
    let (eps, draw) = (images(w, device)?, filled(device, DType::I32, &[4])?);
    let run = move |tape: &mut _, x: &[_]| {
        gauss_sample::draw(&eps, 0, &draw)?;
        gauss_sample::forward(tape, &x[0], &x[1], &eps)
    };
    Ok(Work::Taped(vec![images(w, device)?, images(w, device)?], Box::new(run)))
}
