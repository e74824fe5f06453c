//! The post-norm transformer block of HRM and TRM: attention, SwiGLU, RMSNorm without gain.

use super::init::Init;
use super::params::{Bound, Spec};
use crate::Result;
use crate::ops::attention::Rope;
use crate::ops::{attention, matmul, rms_norm, swiglu};
use crate::tape::{Tape, Var};

pub const RMS_NORM_EPS: f32 = 1e-5;

/// Inner width of the SwiGLU MLP: round(expansion * C * 2/3), up to a multiple of 256.
pub fn mlp_width(c: usize, expansion: f64) -> usize {
    let exact = (expansion * c as f64 * 2.0 / 3.0).round_ties_even() as usize;
    exact.next_multiple_of(256)
}

/// The block's parameters under the official names.
pub fn specs(prefix: &str, c: usize, expansion: f64) -> Vec<Spec> {
    let f = mlp_width(c, expansion);
    let linear = |name: &str, out: usize, inp: usize| {
        Spec::new(format!("{prefix}.{name}.weight"), [out, inp], Init::lecun(inp))
    };
    vec![
        linear("self_attn.qkv_proj", 3 * c, c),
        linear("self_attn.o_proj", c, c),
        linear("mlp.gate_up_proj", 2 * f, c),
        linear("mlp.down_proj", c, f),
    ]
}

/// swiglu(x w^T) v^T, w (2F, C), v (C, F): in two kernels where there are such, else three ops.
pub fn gated_mlp(tape: &mut Tape, x: &Var, w: &Var, v: &Var) -> Result<Var> {
    if let Some(y) = matmul::gated_mlp(tape, x, w, v)? {
        return Ok(y);
    }
    let gate_up = matmul::linear(tape, x, w, None)?;
    let inner = swiglu::forward(tape, &gate_up)?;
    drop(gate_up);
    matmul::linear(tape, &inner, v, None)
}

/// One block's weights as variables of the current step.
#[derive(Clone)]
pub struct Block {
    qkv: Var,     // (3C, C)
    o: Var,       // (C, C)
    gate_up: Var, // (2F, C)
    down: Var,    // (C, F)
    heads: usize,
    rope: Option<Rope>,
}

impl Block {
    pub fn bind(params: &Bound, prefix: &str, heads: usize, rope: Option<&Rope>) -> Result<Self> {
        let get = |name: &str| params.get(&format!("{prefix}.{name}.weight"));
        Ok(Self {
            qkv: get("self_attn.qkv_proj")?,
            o: get("self_attn.o_proj")?,
            gate_up: get("mlp.gate_up_proj")?,
            down: get("mlp.down_proj")?,
            heads,
            rope: rope.cloned(),
        })
    }

    /// h = norm(x + attention(x)); y = norm(h + mlp(h)).  x, y (B, T, C).
    pub fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let a = tape.scope("self_attn", |tape| {
            let qkv = tape.scope("qkv_proj", |tape| matmul::linear(tape, x, &self.qkv, None))?;
            let a = attention::forward(tape, &qkv, self.heads, self.rope.as_ref())?;
            drop(qkv);
            matmul::linear(tape, &a, &self.o, None)
        })?;
        let h = rms_norm::forward(tape, x, &a, RMS_NORM_EPS)?;
        drop(a);
        let m = tape.scope("mlp", |tape| gated_mlp(tape, &h, &self.gate_up, &self.down))?;
        rms_norm::forward(tape, &h, &m, RMS_NORM_EPS)
    }

    /// Every tracked variable that [`forward`](Self::forward) uses besides x.
    pub fn vars(&self) -> [&Var; 4] {
        [&self.qkv, &self.o, &self.gate_up, &self.down]
    }
}
