//! An HRM among files of other programs, and in words.

use super::names::{H_LEVEL, L_LEVEL};
use crate::formats::Program;
use crate::models::act::{PREFIX, PUZZLE_TABLE};
use crate::models::foreign::{Names, Shapes, Shown};
use crate::models::onnx::reasoner;
use crate::models::{Absent, Architecture, io};
use crate::nn::level;

pub struct Kind;

impl Architecture for Kind {
    fn word(&self) -> &'static str {
        "hrm"
    }

    fn absent(&self) -> &'static [Absent] {
        const ABSENT: &[Absent] = &[
            Absent::new("puzzle_emb_len", "0", "only trm pads its prefix"),
            Absent::new("mlp_t", "false", "only trm mixes positions by an MLP"),
            Absent::new("dropout", "0", "hrm has no dropout"),
            Absent::new("max_cycles", "0", "hrm halts by model.halt_max_steps"),
        ];
        ABSENT
    }

    fn name_prefix(&self) -> &'static str {
        PREFIX
    }

    fn official(&self) -> Option<(Program, &'static [&'static str])> {
        const NAMES: &[&str] = &[
            "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
            // In the TRM program.
            "recursive_reasoning.hrm@HierarchicalReasoningModel_ACTV1",
        ];
        Some((Program::Hrm, NAMES))
    }

    fn token_table(&self) -> &'static str {
        io::EMBED_TOKENS
    }

    fn marks(&self) -> String {
        format!("{} and {H_LEVEL}.layers.0.*", io::EMBED_TOKENS)
    }

    fn recognise(&self, names: &Names) -> Option<String> {
        names.before(&format!("{}.mlp.down_proj.weight", level::layer(H_LEVEL, 0)))?;
        names.before(io::EMBED_TOKENS)
    }

    fn infer(&self, shapes: &Shapes) -> Result<Shown, String> {
        for level in [H_LEVEL, L_LEVEL] {
            if shapes.has(&format!("{}.mlp_t.gate_up_proj.weight", level::layer(level, 0))) {
                return Err(
                    "holds an HRM that mixes positions by an MLP (mlp_t), a variant of the \
                            TRM program that is not computed here"
                        .into(),
                );
            }
        }
        if shapes.layers(|i| level::layer(L_LEVEL, i)) == 0 {
            return Err(
                "holds the plain transformer of the TRM program (transformers_baseline: an \
                        H level alone), which is not computed here"
                    .into(),
            );
        }
        let (vocab_size, c) = shapes.matrix(io::EMBED_TOKENS)?;
        let puzzles = shapes.find(PUZZLE_TABLE);
        let learned = shapes.find(io::EMBED_POS);
        let first = level::layer(L_LEVEL, 0);
        let mut facts = shapes.width(c, &[(format!("{first}.mlp"), c)])?;
        facts.extend([
            ("model.h_layers", shapes.layers(|i| level::layer(H_LEVEL, i)).to_string()),
            ("model.l_layers", shapes.layers(|i| level::layer(L_LEVEL, i)).to_string()),
            ("model.puzzle_emb_ndim", puzzles.map_or(0, |(_, d)| d).to_string()),
            ("model.pos_encodings", if learned.is_some() { "learned" } else { "rope" }.into()),
        ]);
        let mut untold =
            vec!["model.num_heads", "model.h_cycles", "model.l_cycles", "model.halt_max_steps"];
        let prefix = puzzles.map_or(0, |(_, d)| d.div_ceil(c.max(1)));
        let cells = learned.map(|(t, _)| t.saturating_sub(prefix));
        match cells.map(|s| (s, s.isqrt())) {
            Some((s, side)) if side * side == s && s > 0 => {
                facts.push(("data.canvas", side.to_string()));
            }
            _ => untold.push("data.canvas"),
        }
        let positions = learned.map(|(t, _)| t);
        Ok(Shown { facts, untold, vocab_size, puzzles, positions, prefix_key: None })
    }

    fn onnx_doc(&self) -> &'static str {
        reasoner::DOC
    }
}
