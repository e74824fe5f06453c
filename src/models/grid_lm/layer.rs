//! A layer: attention, then a SwiGLU, each on what was normed and added to what came in.

use crate::Result;
use crate::nn::block::{RMS_NORM_EPS, gated_mlp};
use crate::nn::encoder::Noise;
use crate::nn::params::Bound;
use crate::ops::attention::{self, Rope, Sight};
use crate::ops::attention_cached::{self, Cache};
use crate::ops::layout::Layout;
use crate::ops::{add, matmul, rms_norm};
use crate::tape::{self, Tape, Var};
use crate::tensor::Tensor;

/// Dropouts of one layer, each a site of its own: of attention's probabilities, of what attention
/// adds, of what the SwiGLU adds.
pub const SITES_PER_LAYER: u32 = 3;

/// One layer's weights as variables of the current step.
#[derive(Clone)]
pub struct GridLayer {
    qkv: Var,     // (3C, C)
    o: Var,       // (C, C)
    gate_up: Var, // (2F, C)
    down: Var,    // (C, F)
    heads: usize,
}

impl GridLayer {
    pub fn bind(params: &Bound, prefix: &str, heads: usize) -> Result<Self> {
        let get = |name: &str| params.get(&format!("{prefix}.{name}.weight"));
        Ok(Self {
            qkv: get("self_attn.qkv_proj")?,
            o: get("self_attn.o_proj")?,
            gate_up: get("mlp.gate_up_proj")?,
            down: get("mlp.down_proj")?,
            heads,
        })
    }

    /// x, y (N, C). The layer's dropouts are at `site` and the numbers after it.
    fn forward(
        &self,
        tape: &mut Tape,
        x: &Var,
        rope: &Rope,
        layout: &Layout,
        noise: Option<&Noise>,
        site: u32,
    ) -> Result<Var> {
        let a = tape.scope("self_attn", |tape| {
            let x = rms_norm::alone(tape, x, RMS_NORM_EPS)?;
            let qkv = matmul::linear(tape, &x, &self.qkv, None)?;
            let sight = Sight { causal: true, dropout: noise.map(|noise| noise.site(site)) };
            let a = attention::forward_with(tape, &qkv, self.heads, Some(rope), layout, sight)?;
            drop(qkv);
            matmul::linear(tape, &a, &self.o, None)
        })?;
        let a = Noise::apply(noise, tape, a, site + 1)?;
        let x = add::forward(tape, &[x, &a])?;
        drop(a);
        let m = self.mlp(tape, &x)?;
        let m = Noise::apply(noise, tape, m, site + 2)?;
        add::forward(tape, &[&x, &m])
    }

    fn mlp(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        tape.scope("mlp", |tape| {
            let x = rms_norm::alone(tape, x, RMS_NORM_EPS)?;
            gated_mlp(tape, &x, &self.gate_up, &self.down)
        })
    }

    /// The layer over all positions, whose insides are kept, or computed `again` in backward.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        tape: &mut Tape,
        x: Var,
        rope: &Rope,
        layout: &Layout,
        noise: Option<&Noise>,
        site: u32,
        again: bool,
    ) -> Result<Var> {
        if !again {
            return self.forward(tape, &x, rope, layout, noise, site);
        }
        let inputs = [&x, &self.qkv, &self.o, &self.gate_up, &self.down];
        let (layer, input, noise) = (self.clone(), x.clone(), noise.cloned());
        let (rope, layout) = (rope.clone(), layout.clone());
        tape::checkpoint(tape, &inputs, move |tape| {
            layer.forward(tape, &input, &rope, &layout, noise.as_ref(), site)
        })
    }

    /// The layer at the one new position of each sequence, whose keys and values join the cache.
    pub fn read(
        &self,
        tape: &mut Tape,
        x: &Var,
        rope: &Rope,
        cache: &Cache,
        places: &Tensor, // (R)
    ) -> Result<Var> {
        let normed = rms_norm::alone(tape, x, RMS_NORM_EPS)?;
        let qkv = matmul::linear(tape, &normed, &self.qkv, None)?;
        let rows = [x.tensor.shape().rows(), qkv.tensor.shape().last()];
        let qkv = Var::constant(qkv.tensor.view(0, rows)?);
        let a = attention_cached::forward(tape, &qkv, cache, Some(rope), places, self.heads)?;
        let a = Var::constant(a.tensor.view(0, *x.tensor.shape())?);
        let a = matmul::linear(tape, &a, &self.o, None)?;
        let x = add::forward(tape, &[x, &a])?;
        let m = self.mlp(tape, &x)?;
        add::forward(tape, &[&x, &m])
    }
}
