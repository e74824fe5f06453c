//! The post-norm layer of `torch.nn.TransformerEncoderLayer` (biases, ReLU, LayerNorm with gain and
//! bias) and its parts, under PyTorch's parameter names; and where the dropouts of a network draw
//! from.

use super::init::Init;
use super::params::{ATTENTION_DECAY, Bound, Spec};
use crate::Result;
use crate::ops::attention::{self, Sight};
use crate::ops::bias_relu;
use crate::ops::dropout::{self, Site};
use crate::ops::layer_norm::{self, Affine};
use crate::ops::layout::Layout;
use crate::ops::matmul;
use crate::tape::{self, Tape, Var};
use crate::tensor::Tensor;

/// Dropouts of one layer, each a site of its own.
pub const SITES_PER_LAYER: u32 = 4;

/// Dropout in training: the words of the step's draw, and how likely an element is dropped. A
/// network without is `None`.
#[derive(Clone)]
pub struct Noise {
    draw: Tensor, // (4)
    prob: f32,
}

impl Noise {
    pub fn new(draw: &Tensor, prob: f64) -> Option<Self> {
        (prob > 0.0).then(|| Self { draw: draw.clone(), prob: prob as f32 })
    }

    /// The dropout of this number, and the words of its draw.
    pub fn site(&self, number: u32) -> (Site, &Tensor) {
        (Site { number, prob: self.prob }, &self.draw)
    }

    /// x with dropout at `site`, or as it is.
    pub fn apply(noise: Option<&Self>, tape: &mut Tape, x: Var, site: u32) -> Result<Var> {
        let Some(noise) = noise else { return Ok(x) };
        let (site, draw) = noise.site(site);
        dropout::forward(tape, &x, site, draw)
    }
}

/// y = x w^T + b.
#[derive(Clone)]
pub struct Linear {
    pub w: Var,
    pub b: Var,
}

impl Linear {
    pub fn specs(name: &str, out: usize, inp: usize) -> [Spec; 2] {
        [
            Spec::new(format!("{name}.weight"), [out, inp], Init::linear(inp)),
            Spec::new(format!("{name}.bias"), [out], Init::linear(inp)),
        ]
    }

    /// Between hidden states.
    pub fn hidden_specs(name: &str, out: usize, inp: usize) -> [Spec; 2] {
        let [weight, bias] = Self::specs(name, out, inp);
        [weight.hidden(1, 1.0), bias]
    }

    pub fn bind(params: &Bound, name: &str) -> Result<Self> {
        let get = |part: &str| params.get(&format!("{name}.{part}"));
        Ok(Self { w: get("weight")?, b: get("bias")? })
    }

    pub fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        matmul::linear(tape, x, &self.w, Some(&self.b))
    }

    pub fn vars(&self) -> [&Var; 2] {
        [&self.w, &self.b]
    }
}

#[derive(Clone)]
pub struct Norm {
    gain: Var,
    bias: Var,
}

impl Norm {
    pub fn specs(name: &str, c: usize) -> [Spec; 2] {
        [
            Spec::new(format!("{name}.weight"), [c], Init::Constant(1.0)),
            Spec::new(format!("{name}.bias"), [c], Init::Constant(0.0)),
        ]
    }

    pub fn bind(params: &Bound, name: &str) -> Result<Self> {
        let get = |part: &str| params.get(&format!("{name}.{part}"));
        Ok(Self { gain: get("weight")?, bias: get("bias")? })
    }

    pub fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        layer_norm::alone(tape, x, self.affine(), layer_norm::EPS)
    }

    /// norm(x + residual)
    fn of_sum(&self, tape: &mut Tape, x: &Var, residual: &Var) -> Result<Var> {
        layer_norm::forward(tape, x, residual, self.affine(), layer_norm::EPS)
    }

    fn affine(&self) -> Affine<'_> {
        Affine { gain: &self.gain, bias: &self.bias }
    }

    pub fn vars(&self) -> [&Var; 2] {
        [&self.gain, &self.bias]
    }
}

/// One layer's weights as variables of the current step.
#[derive(Clone)]
pub struct EncoderLayer {
    qkv: Linear,   // (3C, C)
    out: Linear,   // (C, C)
    inner: Linear, // (F, C)
    outer: Linear, // (C, F)
    norms: [Norm; 2],
    heads: usize,
    layout: Layout,
}

impl EncoderLayer {
    /// In the order of PyTorch's state_dict; `f` is the inner width of the MLP.
    pub fn specs(prefix: &str, c: usize, f: usize) -> Vec<Spec> {
        let at = |name: &str| format!("{prefix}.{name}");
        let mut specs = vec![
            Spec::new(at("self_attn.in_proj_weight"), [3 * c, c], Init::xavier(3 * c, c))
                .hidden(3, ATTENTION_DECAY),
            Spec::new(at("self_attn.in_proj_bias"), [3 * c], Init::Constant(0.0)),
            Spec::new(at("self_attn.out_proj.weight"), [c, c], Init::linear(c))
                .hidden(1, ATTENTION_DECAY),
            Spec::new(at("self_attn.out_proj.bias"), [c], Init::Constant(0.0)),
        ];
        specs.extend(Linear::hidden_specs(&at("linear1"), f, c));
        specs.extend(Linear::hidden_specs(&at("linear2"), c, f));
        specs.extend(Norm::specs(&at("norm1"), c));
        specs.extend(Norm::specs(&at("norm2"), c));
        specs
    }

    pub fn bind(params: &Bound, prefix: &str, heads: usize, layout: &Layout) -> Result<Self> {
        let at = |name: &str| format!("{prefix}.{name}");
        let in_proj = |part: &str| params.get(&at(&format!("self_attn.in_proj_{part}")));
        Ok(Self {
            qkv: Linear { w: in_proj("weight")?, b: in_proj("bias")? },
            out: Linear::bind(params, &at("self_attn.out_proj"))?,
            inner: Linear::bind(params, &at("linear1"))?,
            outer: Linear::bind(params, &at("linear2"))?,
            norms: [Norm::bind(params, &at("norm1"))?, Norm::bind(params, &at("norm2"))?],
            heads,
            layout: layout.clone(),
        })
    }

    /// h = norm1(x + drop(attention(x))); y = norm2(h + drop(linear2(drop(relu(linear1(h)))))).
    /// x, y (N, C). Probabilities of attention are dropped, too. The layer's dropouts are at `site`
    /// and the numbers after it.
    pub fn forward(
        &self,
        tape: &mut Tape,
        x: &Var,
        noise: Option<&Noise>,
        site: u32,
    ) -> Result<Var> {
        let a = tape.scope("self_attn", |tape| {
            let qkv = self.qkv.forward(tape, x)?;
            let dropout = noise.map(|noise| noise.site(site + 3));
            let sight = Sight { dropout, ..Sight::default() };
            let a = attention::forward_with(tape, &qkv, self.heads, None, &self.layout, sight)?;
            drop(qkv);
            self.out.forward(tape, &a)
        })?;
        let a = Noise::apply(noise, tape, a, site)?;
        let h = self.norms[0].of_sum(tape, x, &a)?;
        drop(a);
        let m = tape.scope("mlp", |tape| {
            let m = matmul::linear(tape, &h, &self.inner.w, None)?;
            let dropout = noise.map(|noise| noise.site(site + 1));
            let m = bias_relu::with_dropout(tape, &m, &self.inner.b, dropout)?;
            self.outer.forward(tape, &m)
        })?;
        let m = Noise::apply(noise, tape, m, site + 2)?;
        self.norms[1].of_sum(tape, &h, &m)
    }

    /// [`forward`](Self::forward), whose insides are kept, or computed `again` in backward.
    pub fn run(
        &self,
        tape: &mut Tape,
        x: Var,
        noise: Option<&Noise>,
        site: u32,
        again: bool,
    ) -> Result<Var> {
        if !again {
            return self.forward(tape, &x, noise, site);
        }
        let mut inputs = vec![&x];
        inputs.extend(self.vars());
        let (layer, input, noise) = (self.clone(), x.clone(), noise.cloned());
        tape::checkpoint(tape, &inputs, move |tape| {
            layer.forward(tape, &input, noise.as_ref(), site)
        })
    }

    /// Every tracked variable that [`forward`](Self::forward) uses besides x.
    pub fn vars(&self) -> Vec<&Var> {
        let linears = [&self.qkv, &self.out, &self.inner, &self.outer];
        let of_linears = linears.into_iter().flat_map(Linear::vars);
        of_linears.chain(self.norms.iter().flat_map(Norm::vars)).collect()
    }
}
