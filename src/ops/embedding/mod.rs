//! Input embeddings: puzzle prefix, tokens, optional learned positions, scale.
//!
//!   e[b,t]  = puzzle[b], zero-padded to P C, cut into P tokens  for t < P
//!             table[tokens[b,t-P]]                              for t >= P
//!   y[b,t]  = scale * e[b,t]                                    without positions
//!             scale * 0.7071 * (e[b,t] + pos[t])                with learned positions
//!             e[b,t] + pos[t]                                   by [`with_positions`]
//!
//! tokens (B, S) i32, table (V, C), puzzle (B, D) f32 with D <= P C, pos (P + S, C), y (B, P + S, C) in
//! the table's dtype; puzzle is rounded to that dtype first. P is 0 without puzzle. Gradients of
//! table, puzzle and pos are f32 sums in a fixed order. A token outside the table is an error; on
//! CUDA, where nobody waits to hear of it, it makes its row NaN and the guard refuses the step.
//! Reference: `_input_embeddings` of the official HRM.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, refuse, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// 1 / sqrt(2) as the official implementation writes it.
pub const POSITION_SCALE: f32 = 0.707_106_77;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub b: usize,
    pub s: usize,
    pub p: usize,
    pub c: usize,
    pub v: usize,
    pub d: usize,
}

/// What comes before the tokens.
#[derive(Clone, Copy)]
pub struct Prefix<'a> {
    pub puzzle: &'a Var, // (B, D) f32
    /// P
    pub tokens: usize,
}

pub fn forward(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    prefix: Option<Prefix>,
    pos: Option<&Var>,
    scale: f32,
) -> Result<Var> {
    let factor = if pos.is_some() { scale * POSITION_SCALE } else { scale };
    embed(tape, tokens, table, prefix, pos, factor)
}

/// The plain sum of a token's embedding and its position's: no prefix, no scale.
pub fn with_positions(tape: &mut Tape, tokens: &Tensor, table: &Var, pos: &Var) -> Result<Var> {
    embed(tape, tokens, table, None, Some(pos), 1.0)
}

/// y = scale * (e + pos).
fn embed(
    tape: &mut Tape,
    tokens: &Tensor,
    table: &Var,
    prefix: Option<Prefix>,
    pos: Option<&Var>,
    scale: f32,
) -> Result<Var> {
    let [b, s] = tokens.dims("embedding tokens (B, S)")?;
    let [v, c] = table.tensor.dims("embedding table (V, C)")?;
    tokens.expect_dtype("embedding tokens", DType::I32)?;
    let (p, d) = match prefix {
        Some(Prefix { puzzle, tokens: p }) => {
            puzzle.tensor.expect_dtype("embedding puzzle", DType::F32)?;
            let [_, d] = puzzle.tensor.dims("embedding puzzle (B, D)")?;
            puzzle.tensor.expect_dims("embedding puzzle (B, D)", &[b, d])?;
            if d > p * c {
                let room = format!("puzzle rows of {d} do not fit {p} prefix tokens of {c}");
                return Err(refuse("embedding", room));
            }
            (p, d)
        }
        None => (0, 0),
    };
    let puzzle = prefix.map(|p| p.puzzle);
    let dims = Dims { b, s, p, c, v, d };
    if let Some(pos) = pos {
        pos.tensor.expect_dims("embedding pos (T, C)", &[p + s, c])?;
        pos.tensor.expect_dtype("embedding pos", table.tensor.dtype())?;
    }
    let y = tape.alloc(table.tensor.dtype(), [b, p + s, c])?;
    dispatch(
        tape.device(),
        traffic(y.bytes()),
        || {
            by_float!(y.dtype(), "embedding", E => {
                let tokens = tokens.read::<i32>()?;
                if let Some(bad) = tokens.iter().find(|&&t| t < 0 || t as usize >= v) {
                    return Err(refuse("embedding", format!("token {bad} is outside the vocabulary of {v}")));
                }
                let puzzle = puzzle.map(|p| p.tensor.read::<f32>()).transpose()?;
                let pos = pos.map(|p| p.tensor.read::<E>()).transpose()?;
                cpu::forward::<E>(
                    dims,
                    &tokens,
                    &table.tensor.read()?,
                    puzzle.as_deref().unwrap_or(&[]),
                    pos.as_deref(),
                    scale,
                    &mut y.write()?,
                );
                Ok(())
            })
        },
        || {
            let (puzzle, pos) = (puzzle.map(|v| &v.tensor), pos.map(|v| &v.tensor));
            cuda::forward(
                dims,
                cuda::Inputs { tokens, table: &table.tensor, puzzle, pos },
                scale,
                &y,
            )
        },
    )?;
    let mut inputs = vec![table];
    inputs.extend(puzzle);
    inputs.extend(pos);
    tape.output("embedding", y, &inputs, |y| {
        Box::new(Backward {
            y,
            dims,
            scale,
            tokens: tokens.clone(),
            table: table.id,
            puzzle: puzzle.and_then(|v| v.id),
            pos: pos.and_then(|v| v.id),
        })
    })
}

struct Backward {
    y: VarId,
    dims: Dims,
    scale: f32,
    tokens: Tensor, // (B, S)
    table: Option<VarId>,
    puzzle: Option<VarId>,
    pos: Option<VarId>,
}

impl Rule for Backward {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let Dims { b, s, p, c, v, d } = self.dims;
        let dtable = grads.slot(self.table, DType::F32, &[v, c].into())?;
        let dpuzzle = grads.slot(self.puzzle, DType::F32, &[b, d].into())?;
        let dpos = grads.slot(self.pos, DType::F32, &[p + s, c].into())?;
        dispatch(
            dy.device(),
            traffic(dy.bytes()),
            || {
                by_float!(dy.dtype(), "embedding", E => {
                    let dy = dy.read::<E>()?;
                    if let Some((dtable, mode)) = &dtable {
                        let tokens = self.tokens.read()?;
                        cpu::backward_table::<E>(self.dims, &tokens, &dy, self.scale, &mut dtable.write()?, *mode);
                    }
                    if let Some((dpuzzle, mode)) = &dpuzzle {
                        cpu::backward_puzzle::<E>(self.dims, &dy, self.scale, &mut dpuzzle.write()?, *mode);
                    }
                    if let Some((dpos, mode)) = &dpos {
                        cpu::backward_pos::<E>(self.dims, &dy, self.scale, &mut dpos.write()?, *mode);
                    }
                    Ok(())
                })
            },
            || {
                let (dims, scale) = (self.dims, self.scale);
                if let Some((to, mode)) = &dtable {
                    cuda::backward_table(dims, &self.tokens, &dy, scale, to, *mode)?;
                }
                if let Some((to, mode)) = &dpuzzle {
                    cuda::backward_puzzle(dims, &dy, scale, to, *mode)?;
                }
                if let Some((to, mode)) = &dpos {
                    cuda::backward_pos(dims, &dy, scale, to, *mode)?;
                }
                Ok(())
            },
        )
    }
}
