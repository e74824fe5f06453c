//! A plain encoder among files of other programs, and in words.

use super::names;
use crate::models::foreign::{Names, Shapes, Shown};
use crate::models::{Absent, Architecture};

pub struct Kind;

impl Architecture for Kind {
    fn word(&self) -> &'static str {
        "transformer"
    }

    fn absent(&self) -> &'static [Absent] {
        const ABSENT: &[Absent] = &[
            Absent::new("l_layers", "4", "transformer has the layers of model.h_layers alone"),
            Absent::new("h_cycles", "2", "transformer has no cycles"),
            Absent::new("l_cycles", "2", "transformer has no cycles"),
            Absent::new("max_cycles", "0", "transformer has no cycles"),
            Absent::new("puzzle_emb_ndim", "0", "transformer has no puzzle embeddings"),
            Absent::new("puzzle_emb_len", "0", "transformer has no puzzle embeddings"),
            Absent::new("pos_encodings", "sinusoidal", "transformer knows only sinusoidal"),
            Absent::new("mlp_t", "false", "only trm mixes positions by an MLP"),
            Absent::new("loss", "softmax", "transformer knows only softmax"),
            Absent::new("halt_max_steps", "1", "transformer answers in one segment"),
            Absent::new("halt_exploration_prob", "0", "transformer has no halting"),
            Absent::new("start_noise", "0", "only hrm and trm start rows from states"),
            Absent::new("depth_curriculum", "false", "only hrm and trm train at several depths"),
            Absent::new("q_continue", "false", "transformer has no halting"),
        ];
        ABSENT
    }

    fn token_table(&self) -> &'static str {
        names::TOKEN_EMBEDDING
    }

    fn has_position_table(&self) -> bool {
        true
    }

    fn marks(&self) -> String {
        format!("{}.*", names::layer(0))
    }

    fn recognise(&self, names: &Names) -> Option<String> {
        names.before(&format!("{}.linear1.weight", names::layer(0)))
    }

    fn infer(&self, shapes: &Shapes) -> Result<Shown, String> {
        let (vocab_size, c) = shapes.matrix(names::TOKEN_EMBEDDING)?;
        let mut facts = shapes.encoder(c, &names::layer(0))?;
        facts.push(("model.h_layers", shapes.layers(names::layer).to_string()));
        let untold = vec!["model.num_heads", "data.canvas"];
        let (puzzles, positions, prefix_key) = (None, None, None);
        Ok(Shown { facts, untold, vocab_size, puzzles, positions, prefix_key })
    }
    fn onnx_doc(&self) -> &'static str {
        "The whole answer in one pass."
    }
}
