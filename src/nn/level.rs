//! A level of a recursive reasoner: blocks that run one after the other over the sum of a state and
//! what is injected into it.

use serde::{Deserialize, Serialize};

use super::block::Block;
use crate::ops::{add, take_first};
use crate::tape::{self, Tape, Var};
use crate::{Error, Result};

/// What is computed again in backward instead of being kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    #[default]
    None,
    /// Each layer or block.
    Layer,
    /// Each cycle through all layers: only the states between cycles are kept.
    Cycle,
}

impl Recompute {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Layer => "layer",
            Self::Cycle => "cycle",
        }
    }
}

/// Official name of block `i` of a level.
pub fn layer(level: &str, i: usize) -> String {
    format!("{level}.layers.{i}")
}

/// One level's weights as variables of the current step.
pub struct Level {
    name: &'static str,
    blocks: Vec<Block>,
    recompute: Recompute,
}

impl Level {
    /// `bind` makes the block with the prefix that it is given.
    pub fn bind(
        name: &'static str,
        layers: usize,
        recompute: Recompute,
        bind: impl Fn(&str) -> Result<Block>,
    ) -> Result<Self> {
        if layers == 0 {
            return Err(Error::invalid(format!("{name} has no layers")));
        }
        let blocks = (0..layers).map(|i| bind(&layer(name, i))).collect::<Result<_>>()?;
        Ok(Self { name, blocks, recompute })
    }

    /// One pass over the sum of `terms`, (N, C) each.
    pub fn forward(&self, tape: &mut Tape, terms: &[&Var]) -> Result<Var> {
        tape.scope(self.name, |tape| {
            let mut x = add::forward(tape, terms)?;
            for (i, block) in self.blocks.iter().enumerate() {
                x = tape.scope(format!("layers.{i}"), |tape| self.layer(tape, block, x))?;
            }
            Ok(x)
        })
    }

    /// What [`forward`](Self::forward) gives at the first position, (B, C): the last block leaves
    /// the others out.
    pub fn forward_first(&self, tape: &mut Tape, terms: &[&Var]) -> Result<Var> {
        tape.scope(self.name, |tape| {
            let mut x = add::forward(tape, terms)?;
            let (last, blocks) = self.blocks.split_last().expect("a level has layers");
            for (i, block) in blocks.iter().enumerate() {
                x = tape.scope(format!("layers.{i}"), |tape| self.layer(tape, block, x))?;
            }
            tape.scope(format!("layers.{}", blocks.len()), |tape| last.forward_first(tape, &x))
        })
    }

    /// x (N, C) at the first position of each row, (B, C).
    pub fn take_first(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        take_first::forward(tape, x, self.blocks[0].layout())
    }

    fn layer(&self, tape: &mut Tape, block: &Block, x: Var) -> Result<Var> {
        if self.recompute != Recompute::Layer {
            return block.forward(tape, &x);
        }
        let (inputs, input) = (block.vars(), x.clone());
        let all = [&x, inputs[0], inputs[1], inputs[2], inputs[3]];
        let again = block.clone();
        tape::checkpoint(tape, &all, move |tape| again.forward(tape, &input))
    }
}
