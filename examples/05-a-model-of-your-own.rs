//! A model of your own, an MLP at every position, trained and asked by the library's trainer and
//! evaluator: `cargo run --example 05-a-model-of-your-own`. `tests/models/own.rs` tests it.

use hrm::backend::Device;
use hrm::data::Batch;
use hrm::dtype::DType;
use hrm::eval::{Evaluator, Halt, Row};
use hrm::models::one_pass::{self, Answer};
use hrm::models::{Carry, Compute, DeviceBatch, Dims, Model, RowForm, Segment, Sizes, Workspace};
use hrm::nn::encoder::Linear;
use hrm::nn::init::Init;
use hrm::nn::level::Recompute;
use hrm::nn::params::{Bound, Params, Spec};
use hrm::ops::act_halt::metric;
use hrm::ops::{bias_relu, embedding, matmul};
use hrm::tape::{Mode, Tape};
use hrm::tensor::Tensor;
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::trainer::{Options, Trainer};

const TOKENS: &str = "tokens.weight";
const HIDDEN: &str = "hidden";
const OUTPUT: &str = "output";

/// logits = output(relu(hidden(e))), e the embedding of the token that stands at the position.
pub struct Mlp {
    dims: Dims,
    params: Params,
}

impl Mlp {
    /// Memory and initial values; `width`: C.
    pub fn new(device: &Device, width: usize, sizes: Sizes, compute: Compute) -> hrm::Result<Self> {
        let vocab = sizes.vocab_size;
        let mut specs = vec![Spec::new(TOKENS, [vocab, width], Init::Normal { std: 1.0 })];
        specs.extend(Linear::specs(HIDDEN, 2 * width, width));
        specs.extend(Linear::specs(OUTPUT, vocab, 2 * width));
        let params = Params::new(device, &specs, compute.dtype, compute.seed)?;
        let dims = Dims {
            batch_size: sizes.batch_size,
            seq_len: sizes.seq_len,
            vocab_size: vocab,
            hidden_size: width,
            prefix: 0,
            puzzle_emb_ndim: 0,
            num_puzzle_ids: sizes.num_puzzle_ids,
            segments: 1,
            ignores_pad: false,
            form: RowForm::Cells,
        };
        Ok(Self { dims, params })
    }
}

fn forward(tape: &mut Tape, weights: &Bound, carry: &Carry) -> hrm::Result<Answer> {
    let (tokens, table) = (&carry.current.inputs, weights.get(TOKENS)?);
    let e = embedding::forward(tape, tokens, &table, None, None, 1.0, &carry.layout)?;
    let hidden = Linear::bind(weights, HIDDEN)?;
    let x = matmul::linear(tape, &e, &hidden.w, None)?;
    let x = bias_relu::forward(tape, &x, &hidden.b)?;
    let logits = Linear::bind(weights, OUTPUT)?.forward(tape, &x)?;
    Ok(Answer { logits, halts: vec![] })
}

impl Model for Mlp {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn would_halt(&self, _: [f32; 2]) -> bool {
        true
    }

    fn train_segment(
        &self,
        tape: Tape,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
        _draw: &Tensor,
        mode: Mode,
    ) -> hrm::Result<Segment> {
        one_pass::train(self, tape, (carry, batch, space), mode, |tape, weights| {
            forward(tape, &weights, carry)
        })
    }

    fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> hrm::Result<Segment> {
        one_pass::evaluate(self, (carry, batch, space), |tape, weights| {
            forward(tape, &weights, carry)
        })
    }
}

pub const SIZES: Sizes = Sizes { batch_size: 4, seq_len: 9, vocab_size: 7, num_puzzle_ids: 1 };

/// Rows of tokens, to be answered by the next token of the vocabulary at every position.
pub fn batch(number: usize) -> Batch {
    let Sizes { batch_size, seq_len, vocab_size, .. } = SIZES;
    let token = |i: usize| ((i * i + 3 * i + number) % vocab_size) as i32;
    let inputs: Vec<i32> = (0..batch_size * seq_len).map(token).collect();
    let labels = inputs.iter().map(|token| (token + 1) % vocab_size as i32).collect();
    Batch::new(inputs, labels, vec![0; batch_size])
}

pub const RATES: Rates = Rates { lr: 1e-2, puzzle_emb_lr: 0.0, muon_lr: 0.0 };

pub fn trainer(device: &Device, dtype: DType) -> hrm::Result<Trainer> {
    let optimizer = OptimizerConfig {
        rule: Rule::AdamW,
        beta1: 0.9,
        beta2: 0.95,
        weight_decay: 0.0,
        puzzle_emb_weight_decay: 0.0,
        clip: 1.0,
        ema: 0.0,
    };
    let options = Options { dtype, recompute: Recompute::None, grad_accum: 1, optimizer, seed: 1 };
    Trainer::of(Box::new(Mlp::new(device, 8, SIZES, options.compute())?), options)
}

/// The model's answers to the rows of a batch, one after another.
pub fn answers(model: &dyn Model, batch: &Batch) -> hrm::Result<Vec<i32>> {
    let rows = batch.inputs.chunks(SIZES.seq_len).zip(batch.labels.chunks(SIZES.seq_len));
    let row = |(inputs, labels): (&[i32], &[i32])| {
        let (inputs, labels) = (inputs.to_vec(), labels.to_vec());
        Ok(Row { inputs, labels, puzzle_id: 0, window: None })
    };
    let mut tokens = vec![];
    Evaluator::new(model, SIZES.batch_size).answer(
        model,
        rows.map(row),
        Halt::Last,
        |_, answer| {
            tokens.extend(answer.tokens.into_iter().map(i32::from));
            Ok(())
        },
    )?;
    Ok(tokens)
}

fn main() -> hrm::Result<()> {
    let mut trainer = trainer(&Device::cpu(), DType::F32)?;
    for step in 0..60 {
        let report = trainer.step(vec![batch(step)], RATES)?;
        if step % 20 == 0 {
            println!("step {step}: loss {:.4}", report.sums[metric::LM_LOSS] / report.rows as f64);
        }
    }
    let asked = batch(0);
    let right = answers(&*trainer.model, &asked)?;
    let right = right.iter().zip(&asked.labels).filter(|(got, want)| got == want).count();
    println!("{right} of {} tokens are right", asked.labels.len());
    Ok(())
}
