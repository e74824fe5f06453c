//! A grid model among files of other programs, and in words.

use super::names;
use crate::models::foreign::{Names, Shapes, Shown};
use crate::models::{Absent, Architecture};
use crate::sequence::{CANVAS_VOCABULARY, TURNS};

pub struct Kind;

impl Architecture for Kind {
    fn word(&self) -> &'static str {
        "grid_lm"
    }

    fn absent(&self) -> &'static [Absent] {
        const ABSENT: &[Absent] = &[
            Absent::new("l_layers", "4", "grid_lm has the layers of model.h_layers alone"),
            Absent::new("h_cycles", "2", "grid_lm has no cycles"),
            Absent::new("l_cycles", "2", "grid_lm has no cycles"),
            Absent::new("max_cycles", "0", "grid_lm has no cycles"),
            Absent::new("puzzle_emb_ndim", "0", "grid_lm has an embedding for each task instead"),
            Absent::new("puzzle_emb_len", "0", "grid_lm has an embedding for each task instead"),
            Absent::new("pos_encodings", "rope", "grid_lm rotates by x, y and z"),
            Absent::new("mlp_t", "false", "only trm mixes positions by an MLP"),
            Absent::new("loss", "softmax", "grid_lm knows only softmax"),
            Absent::new("halt_max_steps", "1", "grid_lm answers token by token"),
            Absent::new("halt_exploration_prob", "0", "grid_lm has no halting"),
            Absent::new("start_noise", "0", "only hrm and trm start rows from states"),
            Absent::new("depth_curriculum", "false", "only hrm and trm train at several depths"),
            Absent::new("q_continue", "false", "grid_lm has no halting"),
        ];
        ABSENT
    }

    fn token_table(&self) -> &'static str {
        names::TOKENS
    }

    /// [`TURNS`] puzzle ids to each row.
    fn puzzle_table(&self) -> (&'static str, usize) {
        (names::TASKS, TURNS)
    }

    fn marks(&self) -> String {
        format!("{} and {}", names::TASKS, names::TURN)
    }

    fn recognise(&self, names: &Names) -> Option<String> {
        names.before(names::TURN)?;
        names.before(names::TASKS)
    }

    fn infer(&self, shapes: &Shapes) -> Result<Shown, String> {
        let (_, c) = shapes.matrix(names::TOKENS)?;
        let (tasks, _) = shapes.matrix(names::TASKS)?;
        let (f, _) = shapes.matrix(&format!("{}.mlp.gate_up_proj.weight", names::layer(0)))?;
        let facts = vec![
            ("model.hidden_size", c.to_string()),
            ("model.h_layers", shapes.layers(names::layer).to_string()),
            ("model.expansion", format!("{}", (f / 2) as f64 / c as f64)),
        ];
        let untold = vec!["model.num_heads", "data.canvas"];
        let puzzles = Some((tasks * TURNS, 0));
        let vocab_size = CANVAS_VOCABULARY;
        Ok(Shown { facts, untold, vocab_size, puzzles, positions: None, prefix_key: None })
    }

    fn onnx_doc(&self) -> &'static str {
        "One forward over whole sequences: logits of the token that follows each position. `tokens` \
         are colours 0 to 9, start 10, newline 11, separator 12; `cells` number positions (x, y, \
         z); `puzzle_identifiers` are 8 times the task plus the transform."
    }
}
