//! An `hrm_seed` among files of other programs, and in words.

use super::names;
use crate::models::foreign::{Names, Shapes, Shown};
use crate::models::{Absent, Architecture};
use crate::nn::level::Recompute;

pub struct Kind;

impl Architecture for Kind {
    fn word(&self) -> &'static str {
        "hrm_seed"
    }

    fn absent(&self) -> &'static [Absent] {
        const ABSENT: &[Absent] = &[
            Absent::new("h_cycles", "2", "hrm_seed runs up to model.max_cycles cycles"),
            Absent::new("l_cycles", "2", "hrm_seed runs up to model.max_cycles cycles"),
            Absent::new("puzzle_emb_ndim", "0", "hrm_seed has no puzzle embeddings"),
            Absent::new("puzzle_emb_len", "0", "hrm_seed has no puzzle embeddings"),
            Absent::new("pos_encodings", "sinusoidal", "hrm_seed knows only sinusoidal"),
            Absent::new("mlp_t", "false", "only trm mixes positions by an MLP"),
            Absent::new("loss", "softmax", "hrm_seed knows only softmax"),
            Absent::new("halt_max_steps", "1", "hrm_seed answers in one segment"),
            Absent::new("halt_exploration_prob", "0", "hrm_seed halts by the batch's mean"),
            Absent::new("start_noise", "0", "only hrm and trm start rows from states"),
            Absent::new("depth_curriculum", "false", "only hrm and trm train at several depths"),
            Absent::new("q_continue", "false", "hrm_seed halts by the batch's mean"),
        ];
        ABSENT
    }

    fn token_table(&self) -> &'static str {
        names::TOKEN_EMBEDDING
    }

    fn has_position_table(&self) -> bool {
        true
    }

    fn recomputations(&self) -> &'static [Recompute] {
        &[Recompute::None, Recompute::Layer, Recompute::Cycle]
    }

    fn marks(&self) -> String {
        format!("{}.*", names::h_layer(0))
    }

    fn recognise(&self, names: &Names) -> Option<String> {
        names.before(&format!("{}.linear1.weight", names::h_layer(0)))
    }

    fn infer(&self, shapes: &Shapes) -> Result<Shown, String> {
        let (vocab_size, c) = shapes.matrix(names::TOKEN_EMBEDDING)?;
        let mut facts = shapes.encoder(c, &names::h_layer(0))?;
        facts.push(("model.h_layers", shapes.layers(names::h_layer).to_string()));
        facts.push(("model.l_layers", shapes.layers(names::l_layer).to_string()));
        let untold = vec!["model.num_heads", "model.max_cycles", "data.canvas"];
        let (puzzles, positions, prefix_key) = (None, None, None);
        Ok(Shown { facts, untold, vocab_size, puzzles, positions, prefix_key })
    }
    fn onnx_doc(&self) -> &'static str {
        "The whole answer: cycles run until their number is reached or, from the second on, the \
         mean halting probability of the batch is above 0.9. q_halt is the last cycle's logit, \
         cycles how many there were."
    }
}
