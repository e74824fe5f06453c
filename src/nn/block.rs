//! The post-norm block of HRM and TRM: something that lets positions see each other, then a SwiGLU
//! over each; RMSNorm without gain. Positions see each other by attention or, in TRM's `mlp_t`, by
//! a SwiGLU over the sequence.

use super::init::Init;
use super::params::{ATTENTION_DECAY, Bound, Spec};
use crate::Result;
use crate::ops::attention::Rope;
use crate::ops::layout::Layout;
use crate::ops::{attention, matmul, rms_norm, take_first, transpose};
use crate::tape::{Tape, Var};

pub const RMS_NORM_EPS: f32 = 1e-5;

/// Inner width of the SwiGLU MLP: round(expansion * C * 2/3), up to a multiple of 256.
pub fn mlp_width(c: usize, expansion: f64) -> usize {
    let exact = (expansion * c as f64 * 2.0 / 3.0).round_ties_even() as usize;
    exact.next_multiple_of(256)
}

/// Parameters of a block with attention, under the official names.
pub fn specs(prefix: &str, c: usize, expansion: f64) -> Vec<Spec> {
    let mut specs = vec![
        linear(prefix, "self_attn.qkv_proj", 3 * c, c).hidden(3, ATTENTION_DECAY),
        linear(prefix, "self_attn.o_proj", c, c).hidden(1, ATTENTION_DECAY),
    ];
    specs.extend(mlp_specs(prefix, "mlp", c, expansion));
    specs
}

/// Those of a block that mixes `t` positions by an MLP.
pub fn mlp_t_specs(prefix: &str, t: usize, c: usize, expansion: f64) -> Vec<Spec> {
    let both = [mlp_specs(prefix, "mlp_t", t, expansion), mlp_specs(prefix, "mlp", c, expansion)];
    both.into_iter().flatten().collect()
}

fn linear(prefix: &str, name: &str, out: usize, inp: usize) -> Spec {
    Spec::new(format!("{prefix}.{name}.weight"), [out, inp], Init::lecun(inp))
}

fn mlp_specs(prefix: &str, name: &str, c: usize, expansion: f64) -> [Spec; 2] {
    let f = mlp_width(c, expansion);
    [
        linear(prefix, &format!("{name}.gate_up_proj"), 2 * f, c).hidden(2, 1.0),
        linear(prefix, &format!("{name}.down_proj"), c, f).hidden(1, 1.0),
    ]
}

/// swiglu(x w^T) v^T, w (2F, C), v (C, F): in two kernels where there are such.
pub fn gated_mlp(tape: &mut Tape, x: &Var, w: &Var, v: &Var) -> Result<Var> {
    if let Some(y) = matmul::gated_mlp(tape, x, w, v)? {
        return Ok(y);
    }
    let inner = matmul::linear_swiglu(tape, x, w)?;
    matmul::linear(tape, &inner, v, None)
}

/// One block's weights as variables of the current step.
#[derive(Clone)]
pub struct Block {
    mixer: Mixer,
    mlp: Mlp,
    layout: Layout,
}

/// What lets positions see each other.
#[derive(Clone)]
enum Mixer {
    Attention {
        qkv: Var, // (3C, C)
        o: Var,   // (C, C)
        heads: usize,
        rope: Option<Rope>,
    },
    MlpT(Mlp), // its C is T
}

#[derive(Clone)]
struct Mlp {
    gate_up: Var, // (2F, C)
    down: Var,    // (C, F)
}

impl Mlp {
    fn bind(params: &Bound, prefix: &str, name: &str) -> Result<Self> {
        let get = |part: &str| params.get(&format!("{prefix}.{name}.{part}.weight"));
        Ok(Self { gate_up: get("gate_up_proj")?, down: get("down_proj")? })
    }

    /// norm(x + mlp(x))
    fn forward(&self, tape: &mut Tape, name: &str, x: &Var) -> Result<Var> {
        let m = tape.scope(name, |tape| gated_mlp(tape, x, &self.gate_up, &self.down))?;
        rms_norm::forward(tape, x, &m, RMS_NORM_EPS)
    }
}

impl Block {
    pub fn bind(
        params: &Bound,
        prefix: &str,
        heads: usize,
        rope: Option<&Rope>,
        layout: &Layout,
    ) -> Result<Self> {
        let get = |name: &str| params.get(&format!("{prefix}.self_attn.{name}.weight"));
        let (qkv, o) = (get("qkv_proj")?, get("o_proj")?);
        let mixer = Mixer::Attention { qkv, o, heads, rope: rope.cloned() };
        Ok(Self { mixer, mlp: Mlp::bind(params, prefix, "mlp")?, layout: layout.clone() })
    }

    /// Every row of `layout` has all positions.
    pub fn bind_mlp_t(params: &Bound, prefix: &str, layout: &Layout) -> Result<Self> {
        let mixer = Mixer::MlpT(Mlp::bind(params, prefix, "mlp_t")?);
        Ok(Self { mixer, mlp: Mlp::bind(params, prefix, "mlp")?, layout: layout.clone() })
    }

    /// y = norm(h + mlp(h)).  x, y (N, C).  With attention h = norm(x + attention(x)); with
    /// mlp_t h^T = norm(x^T + mlp_t(x^T)), where the norm, too, goes over T.
    pub fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let h = match &self.mixer {
            Mixer::Attention { qkv, o, heads, rope } => {
                let a = tape.scope("self_attn", |tape| {
                    let qkv = tape.scope("qkv_proj", |tape| matmul::linear(tape, x, qkv, None))?;
                    let a = attention::forward(tape, &qkv, *heads, rope.as_ref(), &self.layout)?;
                    drop(qkv);
                    matmul::linear(tape, &a, o, None)
                })?;
                rms_norm::forward(tape, x, &a, RMS_NORM_EPS)?
            }
            Mixer::MlpT(mlp) => {
                let x_t = transpose::forward(tape, x)?;
                let h_t = mlp.forward(tape, "mlp_t", &x_t)?;
                drop(x_t);
                transpose::forward(tape, &h_t)?
            }
        };
        self.mlp.forward(tape, "mlp", &h)
    }

    /// [`forward`](Self::forward) at the first position alone, (B, C), for the same work before it.
    pub fn forward_first(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let Mixer::Attention { qkv, o, heads, rope } = &self.mixer else {
            let y = self.forward(tape, x)?;
            return take_first::forward(tape, &y, &self.layout);
        };
        let a = tape.scope("self_attn", |tape| {
            let qkv = tape.scope("qkv_proj", |tape| matmul::linear(tape, x, qkv, None))?;
            let a = attention::forward(tape, &qkv, *heads, rope.as_ref(), &self.layout)?;
            drop(qkv);
            let a = take_first::forward(tape, &a, &self.layout)?;
            matmul::linear(tape, &a, o, None)
        })?;
        let x = take_first::forward(tape, x, &self.layout)?;
        let h = rms_norm::forward(tape, &x, &a, RMS_NORM_EPS)?;
        self.mlp.forward(tape, "mlp", &h)
    }

    /// Whose positions are whose.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Every tracked variable that [`forward`](Self::forward) uses besides x.
    pub fn vars(&self) -> [&Var; 4] {
        let [a, b] = match &self.mixer {
            Mixer::Attention { qkv, o, .. } => [qkv, o],
            Mixer::MlpT(mlp) => [&mlp.gate_up, &mlp.down],
        };
        [a, b, &self.mlp.gate_up, &self.mlp.down]
    }
}
