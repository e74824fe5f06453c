//! A TRM among files of other programs, and in words.

use super::names::L_LEVEL;
use crate::formats::Program;
use crate::models::act::{H_INIT, PREFIX, PUZZLE_TABLE};
use crate::models::foreign::{Names, Shapes, Shown};
use crate::models::onnx::reasoner;
use crate::models::{Absent, Architecture, io};
use crate::nn::level;

pub struct Kind;

impl Architecture for Kind {
    fn word(&self) -> &'static str {
        "trm"
    }

    fn absent(&self) -> &'static [Absent] {
        const ABSENT: &[Absent] = &[
            Absent::new("h_layers", "0", "trm has one network, of model.l_layers"),
            Absent::new("q_continue", "false", "trm halts on its q_halt alone"),
            Absent::new("dropout", "0", "trm has no dropout"),
            Absent::new("max_cycles", "0", "trm halts by model.halt_max_steps"),
        ];
        ABSENT
    }

    fn name_prefix(&self) -> &'static str {
        PREFIX
    }

    fn official(&self) -> Option<(Program, &'static [&'static str])> {
        Some((Program::Trm, &["recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"]))
    }

    fn token_table(&self) -> &'static str {
        io::EMBED_TOKENS
    }

    fn marks(&self) -> String {
        format!("{} and {L_LEVEL}.layers.0.* alone", io::EMBED_TOKENS)
    }

    /// An HRM has the same names and more: it stands before this one in the list.
    fn recognise(&self, names: &Names) -> Option<String> {
        names.before(&format!("{}.mlp.down_proj.weight", level::layer(L_LEVEL, 0)))?;
        names.before(io::EMBED_TOKENS)
    }

    fn infer(&self, shapes: &Shapes) -> Result<Shown, String> {
        if !shapes.has(H_INIT) {
            return Err(format!(
                "holds a TRM of a single state (trm_singlez: there is no {H_INIT}), a variant that \
                 is not computed here"
            ));
        }
        let (vocab_size, c) = shapes.matrix(io::EMBED_TOKENS)?;
        let puzzles = shapes.find(PUZZLE_TABLE);
        let learned = shapes.find(io::EMBED_POS);
        let first = level::layer(L_LEVEL, 0);
        let mixer = shapes.find(&format!("{first}.mlp_t.gate_up_proj.weight"));
        let mut widths = vec![(format!("{first}.mlp"), c)];
        widths.extend(mixer.map(|(_, t)| (format!("{first}.mlp_t"), t)));
        let mut facts = shapes.width(c, &widths)?;
        // Attention with a rotation and without have the same tensors.
        let pos = match (learned, mixer) {
            (Some(_), _) => Some("learned"),
            (None, Some(_)) => Some("none"),
            (None, None) => None,
        };
        facts.extend([
            ("model.l_layers", shapes.layers(|i| level::layer(L_LEVEL, i)).to_string()),
            ("model.puzzle_emb_ndim", puzzles.map_or(0, |(_, d)| d).to_string()),
            ("model.mlp_t", mixer.is_some().to_string()),
        ]);
        facts.extend(pos.map(|pos| ("model.pos_encodings", pos.to_owned())));
        let mut untold = vec!["model.h_cycles", "model.l_cycles", "model.halt_max_steps"];
        if pos.is_none() {
            untold.push("model.pos_encodings");
        }
        if mixer.is_none() {
            untold.push("model.num_heads");
        }
        let positions = learned.map(|(t, _)| t).or(mixer.map(|(_, t)| t));
        if positions.is_none() && puzzles.is_some() {
            untold.push("model.puzzle_emb_len");
        }
        untold.push("data.canvas");
        let prefix_key = Some("model.puzzle_emb_len");
        Ok(Shown { facts, untold, vocab_size, puzzles, positions, prefix_key })
    }

    fn onnx_doc(&self) -> &'static str {
        reasoner::DOC
    }
}
