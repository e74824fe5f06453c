//! What drives the kernels: small calls of the ops, forward and backward, with awkward sizes. Each
//! returns what its kernels wrote, to be compared with the CPU's.

mod packed;
mod sighted;

use std::cell::Cell;

use hrm::Result;
use hrm::backend::{Device, Purpose};
use hrm::dtype::{DType, Float, bf16};
use hrm::nn::rope;
use hrm::ops;
use hrm::ops::layout::Layout;
use hrm::rng::{self, Rng};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

/// What a kernel wrote.
pub struct Output {
    pub kernel: &'static str,
    pub values: Vec<f64>,
    pub dtype: DType,
}

impl Output {
    fn new(kernel: &'static str, t: &Tensor) -> Result<Self> {
        let values = match t.dtype() {
            DType::Bf16 => t.read::<bf16>()?.iter().map(|x| x.to_f32() as f64).collect(),
            _ => t.read::<f32>()?.iter().map(|&x| x as f64).collect(),
        };
        Ok(Self { kernel, values, dtype: t.dtype() })
    }

    /// The columns of rows of `width` that `kernel` wrote.
    fn columns(&self, kernel: &'static str, width: usize, own: impl Fn(usize) -> bool) -> Self {
        let kept = self.values.iter().enumerate().filter(|(i, _)| own(i % width));
        Self { kernel, values: kept.map(|(_, x)| *x).collect(), dtype: self.dtype }
    }
}

pub struct Workload {
    pub name: &'static str,
    pub run: fn(&Device) -> Result<Vec<Output>>,
}

const fn workload(name: &'static str, run: fn(&Device) -> Result<Vec<Output>>) -> Workload {
    Workload { name, run }
}

pub const WORKLOADS: &[Workload] = &[
    workload("rms_norm", rms_norm),
    workload("rms_norm_wide", rms_norm_wide),
    workload("layer_norm", layer_norm),
    workload("matmul_f32", matmul_f32),
    workload("matmul_bf16", matmul_bf16),
    workload("matmul_bf16_any", matmul_bf16_any),
    workload("matmul_parts", matmul_parts),
    workload("attention_bf16", attention_bf16),
    workload("attention_short", attention_short),
    workload("attention_f32", attention_f32),
    workload("swiglu", swiglu),
    workload("embedding", embedding),
    workload("transpose", transpose),
    workload("cross_entropy", cross_entropy),
    workload("optimizer", optimizer),
    workload("normuon", normuon),
    workload("puzzle_rows", puzzle_rows),
    workload("dropout", dropout),
    workload("add_views", add_views),
    workload("act_halt", act_halt),
    workload("conv2d", conv2d),
    workload("conv_transpose2d", conv_transpose2d),
    workload("max_pool2d", max_pool2d),
    workload("matmul_large", matmul_large),
    workload("gated_mlp", gated_mlp),
    workload("batch_norm", batch_norm),
    workload("depthwise_conv2d", depthwise_conv2d),
    workload("mse", mse),
    workload("kl_gauss", kl_gauss),
    workload("gauss_sample", gauss_sample),
    workload("halt_head", halt_head),
    workload("bce_logits", bce_logits),
    workload("take_first", take_first),
    workload("ema", ema),
    workload("cast", cast),
    workload("relu", relu),
    workload("sigmoid", sigmoid),
    workload("attention_f32_packed", packed::attention_f32),
    workload("attention_bf16_packed", packed::attention_bf16),
    workload("attention_short_packed", packed::attention_short),
    workload("embedding_packed", packed::embedding),
    workload("cross_entropy_packed", packed::cross_entropy),
    workload("take_first_packed", packed::take_first),
    workload("row_embedding_packed", packed::row_embedding),
    workload("act_halt_packed", packed::act_halt),
    workload("state_noise_packed", packed::state_noise),
    workload("attention_f32_sighted", sighted::attention_f32),
    workload("attention_bf16_sighted", sighted::attention_bf16),
    workload("attention_short_sighted", sighted::attention_short),
    workload("attention_cached", sighted::cached),
];

/// Makes the inputs of one workload: standard normal, each from a stream of its own.
struct Inputs<'a> {
    device: &'a Device,
    dtype: DType,
    made: Cell<u64>,
}

impl<'a> Inputs<'a> {
    fn new(device: &'a Device, dtype: DType) -> Self {
        Self { device, dtype, made: Cell::new(0) }
    }

    fn normal(&self, shape: &[usize]) -> Result<Tensor> {
        self.scaled(shape, 1.0)
    }

    fn scaled(&self, shape: &[usize], scale: f64) -> Result<Tensor> {
        self.made.set(self.made.get() + 1);
        let mut rng = Rng::new(1, rng::Stream::Test, self.made.get());
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| (rng.normal() * scale) as f32).collect();
        let t = Tensor::uninit(self.device, self.dtype, shape, Purpose::Activations)?;
        match self.dtype {
            DType::Bf16 => {
                let rounded: Vec<bf16> =
                    values.into_iter().map(<bf16 as Float>::from_f32).collect();
                t.upload(&rounded)?;
            }
            _ => t.upload(&values)?,
        }
        Ok(t)
    }

    /// `uses` calls of one op on the same leaves, each output's gradient being given; so gradients
    /// of the second are added to those of the first. `kernels`: who writes the output, and who
    /// the gradient of each leaf.
    fn drive(
        &self,
        kernels: &[&'static str],
        leaves: Vec<Tensor>,
        uses: usize,
        op: impl Fn(&mut Tape, &[Var]) -> Result<Var>,
    ) -> Result<Vec<Output>> {
        assert_eq!(kernels.len(), leaves.len() + 1, "a kernel for the output and for each leaf");
        let mut tape = Tape::new(self.device);
        let leaves: Vec<Var> = leaves.into_iter().map(|t| tape.leaf(t)).collect();
        let outputs: Vec<Var> = (0..uses).map(|_| op(&mut tape, &leaves)).collect::<Result<_>>()?;
        let seeds = outputs
            .iter()
            .map(|y| {
                let dy = Inputs { dtype: y.tensor.dtype(), made: self.made.clone(), ..*self };
                self.made.set(self.made.get() + 1);
                Ok((y, dy.normal(y.tensor.shape().dims())?))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut grads = tape.backward(&seeds)?;
        let mut written = vec![Output::new(kernels[0], &outputs[0].tensor)?];
        for (leaf, kernel) in leaves.iter().zip(&kernels[1..]) {
            let id = leaf.id.expect("a leaf");
            let gradient = grads.take(id)?.expect("a gradient reaches every leaf");
            written.push(Output::new(kernel, &gradient)?);
        }
        Ok(written)
    }
}

fn ints(device: &Device, shape: &[usize], values: &[i32]) -> Result<Tensor> {
    Tensor::from_slice(device, values, shape, Purpose::Activations)
}

fn floats(device: &Device, values: &[f32]) -> Result<Tensor> {
    Tensor::from_slice(device, values, [values.len()], Purpose::Activations)
}

/// Rows that allow no 16-byte access; the last block is not full.
fn rms_norm(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let kernels = ["rms_norm_fwd_f32", "rms_norm_bwd_f32", "rms_norm_bwd_f32"];
    let leaves = vec![x.normal(&[5, 13])?, x.normal(&[5, 13])?];
    x.drive(&kernels, leaves, 1, |tape, x| ops::rms_norm::forward(tape, &x[0], &x[1], 1e-5))
}

fn rms_norm_wide(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::Bf16);
    let kernels = ["rms_norm_fwd_bf16", "rms_norm_bwd_bf16", "rms_norm_bwd_bf16"];
    let leaves = vec![x.normal(&[6, 328])?, x.normal(&[6, 328])?];
    x.drive(&kernels, leaves, 1, |tape, x| ops::rms_norm::forward(tape, &x[0], &x[1], 1e-5))
}

/// Two parts of the sum over rows.
fn layer_norm(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let kernels = [
        "layer_norm_fwd_f32",
        "layer_norm_bwd_f32",
        "layer_norm_bwd_f32",
        "layer_norm_sum",
        "layer_norm_sum",
    ];
    let leaves =
        vec![x.normal(&[150, 40])?, x.normal(&[150, 40])?, x.normal(&[40])?, x.normal(&[40])?];
    x.drive(&kernels, leaves, 1, |tape, x| {
        let affine = ops::layer_norm::Affine { gain: &x[2], bias: &x[3] };
        ops::layer_norm::forward(tape, &x[0], &x[1], affine, 1e-5)
    })
}

fn linear(x: &Inputs, kernels: [&'static str; 4], [n, k, o]: [usize; 3]) -> Result<Vec<Output>> {
    let leaves = vec![x.normal(&[n, k])?, x.scaled(&[o, k], 0.2)?, x.normal(&[o])?];
    x.drive(&kernels, leaves, 2, |tape, x| ops::matmul::linear(tape, &x[0], &x[1], Some(&x[2])))
}

/// Tails in all three sizes, and more slices of k than stages.
fn matmul_f32(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "matmul_fwd_f32_t64",
        "matmul_bwd_dx_f32_t64",
        "matmul_bwd_dw_f32_t64",
        "matmul_sum_parts_f32",
    ];
    linear(&Inputs::new(device, DType::F32), kernels, [70, 45, 66])
}

fn matmul_bf16(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "matmul_fwd_bf16_t64",
        "matmul_bwd_dx_bf16_t64",
        "matmul_bwd_dw_bf16_t64",
        "matmul_sum_parts_f32",
    ];
    linear(&Inputs::new(device, DType::Bf16), kernels, [72, 200, 80])
}

/// Rows that are no multiple of 16 bytes, as those of the vocabulary.
fn matmul_bf16_any(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "matmul_fwd_bf16_any",
        "matmul_bwd_dx_bf16_any",
        "matmul_bwd_dw_bf16_any",
        "matmul_sum_parts_f32",
    ];
    linear(&Inputs::new(device, DType::Bf16), kernels, [35, 70, 13])
}

/// A sum over rows that is long enough to be cut in two, for dw and for db.
fn matmul_parts(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "matmul_fwd_f32_t64",
        "matmul_bwd_dx_f32_t64",
        "matmul_sum_parts_f32",
        "matmul_sum_parts_f32",
    ];
    linear(&Inputs::new(device, DType::F32), kernels, [530, 9, 10])
}

fn attend(x: &Inputs, kernels: [&'static str; 3], dims: [usize; 4]) -> Result<Vec<Output>> {
    let [b, t, nh, hd] = dims;
    let c = nh * hd;
    let qkv = x.scaled(&[b, t, 3 * c], 1.5)?;
    let tables = rope::tables(x.device, t, hd, 10_000.0)?;
    let [forward, dq, dkv] = kernels;
    let mut written = x.drive(&[forward, dq], vec![qkv], 1, |tape, x| {
        ops::attention::forward(tape, &x[0], nh, Some(&tables), &Layout::of(&x[0].tensor, 0)?)
    })?;
    let all = written.pop().expect("the gradient");
    written.push(all.columns(dq, 3 * c, |i| i < c));
    written.push(all.columns(dkv, 3 * c, |i| i >= c));
    Ok(written)
}

/// Three tiles of keys, the last with a tail; two blocks, some warps of which have no rows.
fn attention_bf16(device: &Device) -> Result<Vec<Output>> {
    let kernels =
        ["attention_fwd_hd32_bf16", "attention_bwd_dq_hd32_bf16", "attention_bwd_dkv_hd32_bf16"];
    attend(&Inputs::new(device, DType::Bf16), kernels, [1, 133, 2, 32])
}

/// Less than one tile: what lies behind the last step was never written.
fn attention_short(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "attention_fwd_hd32_bf16",
        "attention_bwd_short_hd32_bf16",
        "attention_bwd_short_hd32_bf16",
    ];
    attend(&Inputs::new(device, DType::Bf16), kernels, [2, 19, 1, 32])
}

/// Three tiles of 32 rows, the last with a tail.
fn attention_f32(device: &Device) -> Result<Vec<Output>> {
    let kernels = ["attention_fwd_f32", "attention_bwd_dq_f32", "attention_bwd_dkv_f32"];
    attend(&Inputs::new(device, DType::F32), kernels, [1, 70, 2, 12])
}

/// More than one block, and a rest that no piece of 16 bytes covers.
fn swiglu(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let leaves = vec![x.normal(&[31, 2 * 40])?];
    x.drive(&["swiglu_fwd_f32", "swiglu_bwd_f32"], leaves, 2, |tape, x| {
        ops::swiglu::forward(tape, &x[0])
    })
}

fn embedding(device: &Device) -> Result<Vec<Output>> {
    const B: usize = 2;
    const S: usize = 11;
    const C: usize = 24;
    const V: usize = 7;
    let x = Inputs::new(device, DType::F32);
    let tokens: Vec<i32> = (0..B * S).map(|i| (i * 5 % V) as i32).collect();
    let tokens = ints(device, &[B, S], &tokens)?;
    let leaves = vec![x.normal(&[V, C])?, x.normal(&[B, 30])?, x.normal(&[2 + S, C])?];
    let kernels =
        ["embedding_fwd_f32", "embedding_table_sum", "embedding_puzzle_f32", "embedding_pos_f32"];
    x.drive(&kernels, leaves, 1, |tape, x| {
        let layout = Layout::padded(tape.device(), B, 2, S)?;
        ops::embedding::forward(tape, &tokens, &x[0], Some(&x[1]), Some(&x[2]), 4.0, &layout)
    })
}

/// Squares with a tail in both directions; the second gradient is added.
fn transpose(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let kernels = ["transpose_fwd_f32", "transpose_fwd_f32"];
    x.drive(&kernels, vec![x.normal(&[2, 37, 45])?], 2, |tape, x| {
        ops::transpose::forward(tape, &x[0])
    })
}

/// Behind a bias, so that a kernel reads the gradient of the logits. A prefix, and labels that are
/// not scored.
fn cross_entropy(device: &Device) -> Result<Vec<Output>> {
    const B: usize = 2;
    const P: usize = 1;
    const S: usize = 70;
    const V: usize = 12;
    let x = Inputs::new(device, DType::F32);
    let labels: Vec<i32> = (0..B * S)
        .map(|i| if i % 7 == 3 { ops::cross_entropy::IGNORE } else { (i * 5 % V) as i32 })
        .collect();
    let labels = ints(device, &[B, S], &labels)?;
    let leaves = vec![x.normal(&[B, P + S, V])?, x.normal(&[V])?];
    let kernels = ["cross_entropy_fwd_f32", "bias_relu_bwd_f32", "bias_relu_sum"];
    x.drive(&kernels, leaves, 1, |tape, x| {
        let logits = ops::bias_relu::forward(tape, &x[0], &x[1])?;
        let (kind, layout) = (ops::cross_entropy::Kind::Stablemax, Layout::of(&logits.tensor, P)?);
        ops::cross_entropy::forward(tape, kind, &logits, &labels, &layout)
    })
}

/// The norm over several blocks, then the step that obeys it; a count with a rest.
fn optimizer(device: &Device) -> Result<Vec<Output>> {
    use ops::adam::{Hyper, Moments, Rule};
    const ELEMS: usize = 2 * 16 * 1024 + 803;
    let x = Inputs::new(device, DType::F32);
    let zeros = || Tensor::zeros(device, DType::F32, [ELEMS], Purpose::Activations);
    let (p, g) = (x.normal(&[ELEMS])?, x.normal(&[ELEMS])?);
    let moments = Moments { m: zeros()?, v: zeros()? };
    let guard = Tensor::uninit(device, DType::F32, [3], Purpose::Activations)?;
    ops::global_norm::guard(&g, &floats(device, &[1.0, 2.0])?, 1.0, &guard)?;
    let hyper = Hyper { lr: 1e-2, weight_decay: 0.1, beta1: 0.9, beta2: 0.95, t: 1 };
    let rounded = Tensor::uninit(device, DType::Bf16, [ELEMS], Purpose::Activations)?;
    let (rule, factors) = (Rule::AdamAtan2, hyper.on(device)?);
    ops::adam::step(rule, &p, Some(&rounded), &g, &moments, &guard, &factors)?;
    Ok(vec![Output::new("global_norm_guard", &guard)?, Output::new("adam_atan2_step", &p)?])
}

/// Two matrices below each other, whose grams no block of threads fits.
fn normuon(device: &Device) -> Result<Vec<Output>> {
    use ops::normuon::{Hyper, Matrix};
    const DIMS: [usize; 2] = [18, 20];
    let x = Inputs::new(device, DType::F32);
    let zeros = |dims: &[usize]| Tensor::zeros(device, DType::F32, dims, Purpose::Activations);
    let (p, g, m, v) = (x.normal(&DIMS)?, x.normal(&DIMS)?, zeros(&DIMS)?, zeros(&DIMS[..1])?);
    let matrix = Matrix { p, copy: None, g, m, v, blocks: 2, weight_decay: 0.1 };
    let (guard, lr) = (floats(device, &[1.0, 0.5, 1.0])?, floats(device, &[0.5])?);
    ops::normuon::step(&matrix, Hyper { momentum: 0.95, beta2: 0.9 }, &guard, &lr)?;
    let Matrix { p, m, v, .. } = matrix;
    Ok(vec![
        Output::new("normuon_momentum_f32", &m)?,
        Output::new("normuon_rows_f32", &v)?,
        Output::new("normuon_apply_f32", &p)?,
    ])
}

/// One puzzle twice in the batch, and a width that is no multiple of a warp.
fn puzzle_rows(device: &Device) -> Result<Vec<Output>> {
    const NP: usize = 5;
    const D: usize = 44;
    const R: usize = 6;
    let x = Inputs::new(device, DType::F32);
    let table = x.normal(&[NP, D])?;
    let ids = ints(device, &[R], &[3, 0, 3, 4, 1, 0])?;
    let rows = Tensor::uninit(device, DType::F32, [R, D], Purpose::Activations)?;
    ops::puzzle_emb::gather(&table, &ids, &rows)?;
    let (guard, factors) = (floats(device, &[1.0, 1.0, 1.0])?, floats(device, &[0.1, 0.99])?);
    ops::sign_sgd_rows::step(&table, &ids, &x.normal(&[R, D])?, &guard, &factors)?;
    Ok(vec![Output::new("puzzle_emb_gather", &rows)?, Output::new("sign_sgd_rows_step", &table)?])
}

fn dropout(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::Bf16);
    let draw = ops::draw::Draw { seed: 7, number: 3 };
    let draw = ints(device, &[4], &draw.words())?;
    let site = ops::dropout::Site { number: 2, prob: 0.25 };
    let leaves = vec![x.normal(&[3, 1003])?];
    x.drive(&["dropout_fwd_bf16", "dropout_fwd_bf16"], leaves, 1, |tape, x| {
        ops::dropout::forward(tape, &x[0], site, &draw)
    })
}

/// A term that starts in the middle of a buffer, where no 16-byte access is allowed.
fn add_views(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let (a, b) = (x.normal(&[101])?, x.normal(&[100])?);
    let terms = [Var::constant(a.view(1, [100])?), Var::constant(b)];
    let y = ops::add::forward(&mut Tape::no_grad(device), &[&terms[0], &terms[1]])?;
    Ok(vec![Output::new("add_fwd_f32", &y.tensor)?])
}

fn act_halt(device: &Device) -> Result<Vec<Output>> {
    const B: usize = 3;
    const T: usize = 5;
    const C: usize = 12;
    let x = Inputs::new(device, DType::F32);
    let halted = Tensor::from_slice(device, &[1_u8, 0, 1], [B], Purpose::Activations)?;
    let steps = ints(device, &[B], &[4, 2, 4])?;
    let (z, rows) = (x.normal(&[B, T, C])?, x.normal(&[B, 4])?);
    let (q, q_rows) = (x.normal(&[B, 2])?, x.normal(&[B, 2])?);
    ops::act_halt::reset(&halted, &x.normal(&[C])?, &z, &Layout::of(&z, 0)?)?;
    let metrics = Tensor::uninit(device, DType::F32, [8], Purpose::Activations)?;
    ops::act_halt::metrics(&rows, &q, &q_rows, &steps, &halted, &metrics)?;
    Ok(vec![Output::new("act_halt_reset_f32", &z)?, Output::new("act_halt_metrics_f32", &metrics)?])
}

/// Few maps; two blocks of positions, three slices of terms, and a sum over the batch that ends
/// inside a slice. Windows that reach over every edge.
fn conv2d(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let how = ops::conv2d::Conv2d { stride: 2, padding: 1 };
    let leaves = vec![x.normal(&[7, 4, 9, 7])?, x.normal(&[5, 4, 3, 3])?, x.normal(&[5])?];
    let kernels = ["conv2d_fwd_t16", "conv2d_bwd_dx_t16", "conv2d_bwd_dw_t16", "conv2d_sum"];
    x.drive(&kernels, leaves, 2, |tape, x| {
        ops::conv2d::forward(tape, &x[0], &x[1], Some(&x[2]), how)
    })
}

/// Many channels, and parts of the sum over the batch.
fn conv_transpose2d(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let how = ops::conv_transpose2d::ConvTranspose2d { stride: 2, padding: 1, output_padding: 1 };
    let leaves = vec![x.normal(&[60, 34, 3, 3])?, x.normal(&[34, 33, 3, 3])?, x.normal(&[33])?];
    let kernels = [
        "conv_transpose2d_fwd_t64",
        "conv_transpose2d_bwd_dx_t64",
        "conv_transpose2d_sum",
        "conv_transpose2d_sum",
    ];
    x.drive(&kernels, leaves, 1, |tape, x| {
        ops::conv_transpose2d::forward(tape, &x[0], &x[1], Some(&x[2]), how)
    })
}

/// Sides that are odd: a row and a column without a window.
fn max_pool2d(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let leaves = vec![x.normal(&[2, 5, 9, 7])?];
    x.drive(&["max_pool2d_fwd", "max_pool2d_bwd"], leaves, 2, |tape, x| {
        ops::max_pool2d::forward(tape, &x[0])
    })
}

/// Enough rows for the tiles of 128 x 128, ragged in both directions, and dw in many parts.
fn matmul_large(device: &Device) -> Result<Vec<Output>> {
    let kernels = [
        "matmul_fwd_bf16_t128",
        "matmul_bwd_dx_bf16_t128",
        "matmul_sum_parts_f32",
        "matmul_sum_parts_f32",
    ];
    linear(&Inputs::new(device, DType::Bf16), kernels, [8190, 248, 248])
}

/// Enough rows for the fused kernels of a gated MLP.
fn gated_mlp(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::Bf16);
    let (m, f, k, o) = (8150, 120, 24, 16);
    let leaves =
        vec![x.scaled(&[m, k], 0.5)?, x.scaled(&[2 * f, k], 0.5)?, x.scaled(&[o, f], 0.5)?];
    let kernels = [
        "matmul_swiglu_bf16",
        "matmul_swiglu_bwd_bf16",
        "matmul_swiglu_bwd_bf16",
        "matmul_swiglu_bf16",
    ];
    x.drive(&kernels, leaves, 1, |tape, x| hrm::nn::block::gated_mlp(tape, &x[0], &x[1], &x[2]))
}

/// Two parts of a channel's sum, and a side that no piece of 16 bytes divides.
fn batch_norm(device: &Device) -> Result<Vec<Output>> {
    use ops::batch_norm::{Affine, How, Statistics};
    let x = Inputs::new(device, DType::F32);
    let (b, c, side) = (5, 3, 31);
    let leaves = vec![x.normal(&[b, c, side, side])?, x.normal(&[c])?, x.normal(&[c])?];
    let unset = || Tensor::uninit(device, DType::F32, [c], Purpose::Activations);
    let seen = Statistics { mean: unset()?, var: unset()? };
    let kernels = ["batch_norm_fwd", "batch_norm_bwd", "batch_norm_bwd_sum", "batch_norm_bwd_sum"];
    let mut written = x.drive(&kernels, leaves, 2, |tape, x| {
        let affine = Affine { gain: &x[1], bias: &x[2] };
        ops::batch_norm::forward(tape, &x[0], affine, How::Training { seen: &seen }, true)
    })?;
    // What a sum over a part gets wrong shows in the moments first.
    written.insert(0, Output::new("batch_norm_moments", &seen.var)?);
    written.insert(0, Output::new("batch_norm_moments", &seen.mean)?);
    Ok(written)
}

/// Windows that reach over every edge, and a bias.
fn depthwise_conv2d(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let how = ops::conv2d::Conv2d { stride: 2, padding: 1 };
    let leaves = vec![x.normal(&[3, 5, 9, 7])?, x.normal(&[5, 1, 3, 3])?, x.normal(&[5])?];
    let kernels = [
        "depthwise_conv2d_fwd",
        "depthwise_conv2d_bwd_x",
        "depthwise_conv2d_bwd_w",
        "depthwise_conv2d_bwd_w",
    ];
    x.drive(&kernels, leaves, 2, |tape, x| {
        ops::depthwise_conv2d::forward(tape, &x[0], &x[1], &x[2], how)
    })
}

/// Several parts of a mean, the last with a rest.
fn mse(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let leaves = vec![x.normal(&[3, 7001])?, x.normal(&[3, 7001])?];
    x.drive(&["mse_mean", "mse_bwd", "mse_bwd"], leaves, 2, |tape, x| {
        ops::mse::forward(tape, &x[0], &x[1])
    })
}

fn kl_gauss(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let leaves = vec![x.normal(&[9, 1001])?, x.normal(&[9, 1001])?];
    x.drive(&["kl_gauss_mean", "kl_gauss_bwd", "kl_gauss_bwd"], leaves, 2, |tape, x| {
        ops::kl_gauss::forward(tape, &x[0], &x[1])
    })
}

/// Draws of our own, the last block of four not full, then a sample from them.
fn gauss_sample(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let eps = Tensor::uninit(device, DType::F32, [5, 29], Purpose::Activations)?;
    let draw = ops::draw::Draw { seed: 7, number: 3 };
    ops::gauss_sample::draw(&eps, 2, &ints(device, &[4], &draw.words())?)?;
    let leaves = vec![x.normal(&[5, 29])?, x.normal(&[5, 29])?];
    // The gradient of mu is that of the sample itself.
    let kernels = ["gauss_sample_fwd", "add_fwd_f32", "gauss_sample_bwd"];
    let mut written = x.drive(&kernels, leaves, 2, |tape, x| {
        ops::gauss_sample::forward(tape, &x[0], &x[1], &eps)
    })?;
    written.insert(0, Output::new("gauss_sample_draw", &eps)?);
    Ok(written)
}

fn halt_head(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let (b, t, c) = (3, 11, 13);
    let leaves =
        vec![x.normal(&[b, t, c])?, x.normal(&[b, t, c])?, x.normal(&[1, 2 * c])?, x.normal(&[1])?];
    let kernels = [
        "halt_head_fwd_f32",
        "halt_head_bwd_f32",
        "halt_head_bwd_f32",
        "halt_head_bwd_params",
        "halt_head_bwd_params",
    ];
    x.drive(&kernels, leaves, 2, |tape, x| {
        ops::halt_head::forward(tape, &x[0], &x[1], &x[2], &x[3])
    })
}

/// Targets of which one is to be left out.
fn bce_logits(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let targets = Tensor::from_slice(
        device,
        &[1.0_f32, 0.0, -1.0, 0.25, 0.0, 1.0],
        [3, 2],
        Purpose::Activations,
    )?;
    let kernels = ["bce_logits_fwd_f32", "bce_logits_bwd_f32"];
    x.drive(&kernels, vec![x.normal(&[3, 2])?], 2, |tape, x| {
        ops::bce_logits::forward(tape, &x[0], &targets)
    })
}

fn take_first(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let kernels = ["take_first_fwd_f32", "take_first_bwd_f32"];
    x.drive(&kernels, vec![x.normal(&[3, 5, 13])?], 2, |tape, x| {
        ops::take_first::forward(tape, &x[0], &Layout::of(&x[0].tensor, 0)?)
    })
}

/// A step that is made and one that the guard refuses.
fn ema(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    let (average, p) = (x.normal(&[1027])?, x.normal(&[1027])?);
    ops::ema::step(&average, &p, &floats(device, &[0.0, 1.0, 1.0])?, 0.9)?;
    ops::ema::step(&average, &p, &floats(device, &[f32::NAN, 1.0, 0.0])?, 0.5)?;
    Ok(vec![Output::new("ema_step", &average)?])
}

fn cast(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32).normal(&[1027])?;
    let y = Tensor::uninit(device, DType::Bf16, [1027], Purpose::Activations)?;
    ops::cast::from_f32(&x, &y)?;
    Ok(vec![Output::new("cast_fwd_bf16", &y)?])
}

fn relu(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    x.drive(&["relu_fwd", "relu_bwd"], vec![x.normal(&[1027])?], 2, |tape, x| {
        ops::pointwise::relu::forward(tape, &x[0])
    })
}

fn sigmoid(device: &Device) -> Result<Vec<Output>> {
    let x = Inputs::new(device, DType::F32);
    x.drive(&["sigmoid_fwd", "sigmoid_bwd"], vec![x.normal(&[1027])?], 2, |tape, x| {
        ops::pointwise::sigmoid::forward(tape, &x[0])
    })
}
