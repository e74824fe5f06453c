//! What the shapes of a model's tensors say about its configuration, as `key=value`, and what they
//! cannot say: heads, cycles and steps leave no trace in any shape.

use super::names::Tensors;
use crate::config::Arch;
use crate::models::act::PUZZLE_TABLE;
use crate::models::{hrm, hrm_seed, io, transformer, trm};
use crate::nn::block::mlp_width;
use crate::nn::level;

/// What the official programs take unless told otherwise.
const USUAL_EXPANSION: f64 = 4.0;

/// A key of the configuration, and the value that the tensors say.
pub type Fact = (&'static str, String);

/// A model as its tensors show it.
pub struct Shown {
    pub facts: Vec<Fact>,
    /// Keys that no shape tells.
    pub untold: Vec<&'static str>,
    /// V
    pub vocab_size: usize,
    /// NP, D: of the puzzle embeddings, if there are any.
    pub puzzles: Option<(usize, usize)>,
    /// T: positions, prefix included, where some weight has a row for each.
    pub positions: Option<usize>,
}

/// Errors follow the file's name.
pub fn infer(arch: Arch, tensors: &Tensors) -> Result<Shown, String> {
    let shapes = Shapes(tensors);
    match arch {
        Arch::Hrm => shapes.hrm(),
        Arch::Trm => shapes.trm(),
        Arch::HrmSeed => shapes.hrm_seed(),
        Arch::Transformer => shapes.transformer(),
    }
}

struct Shapes<'a>(&'a Tensors);

impl Shapes<'_> {
    fn hrm(&self) -> Result<Shown, String> {
        let (vocab_size, c) = self.matrix(io::EMBED_TOKENS)?;
        let puzzles = self.find(PUZZLE_TABLE);
        let learned = self.find(io::EMBED_POS);
        let first = level::layer(hrm::names::L_LEVEL, 0);
        let mut facts = self.width(c, &[(format!("{first}.mlp"), c)])?;
        facts.extend([
            ("model.h_layers", self.layers(|i| level::layer(hrm::names::H_LEVEL, i)).to_string()),
            ("model.l_layers", self.layers(|i| level::layer(hrm::names::L_LEVEL, i)).to_string()),
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
        Ok(Shown { facts, untold, vocab_size, puzzles, positions })
    }

    fn trm(&self) -> Result<Shown, String> {
        let (vocab_size, c) = self.matrix(io::EMBED_TOKENS)?;
        let puzzles = self.find(PUZZLE_TABLE);
        let learned = self.find(io::EMBED_POS);
        let first = level::layer(trm::names::L_LEVEL, 0);
        let mixer = self.find(&format!("{first}.mlp_t.gate_up_proj.weight"));
        let mut widths = vec![(format!("{first}.mlp"), c)];
        widths.extend(mixer.map(|(_, t)| (format!("{first}.mlp_t"), t)));
        let mut facts = self.width(c, &widths)?;
        let pos = match (learned, mixer) {
            (Some(_), _) => "learned",
            (None, Some(_)) => "none",
            (None, None) => "rope",
        };
        facts.extend([
            ("model.h_layers", "0".into()),
            ("model.l_layers", self.layers(|i| level::layer(trm::names::L_LEVEL, i)).to_string()),
            ("model.puzzle_emb_ndim", puzzles.map_or(0, |(_, d)| d).to_string()),
            ("model.pos_encodings", pos.into()),
            ("model.mlp_t", mixer.is_some().to_string()),
            ("model.q_continue", "false".into()),
        ]);
        let mut untold = vec!["model.h_cycles", "model.l_cycles", "model.halt_max_steps"];
        if mixer.is_none() {
            untold.push("model.num_heads");
        }
        let positions = learned.map(|(t, _)| t).or(mixer.map(|(_, t)| t));
        if positions.is_none() && puzzles.is_some() {
            untold.push("model.puzzle_emb_len");
        }
        untold.push("data.canvas");
        Ok(Shown { facts, untold, vocab_size, puzzles, positions })
    }

    fn hrm_seed(&self) -> Result<Shown, String> {
        let (vocab_size, c) = self.matrix(hrm_seed::names::TOKEN_EMBEDDING)?;
        let h_layers = self.layers(hrm_seed::names::h_layer);
        let l_layers = self.layers(hrm_seed::names::l_layer);
        let mut facts = self.encoder(c, &hrm_seed::names::h_layer(0))?;
        facts.push(("model.h_layers", h_layers.to_string()));
        facts.push(("model.l_layers", l_layers.to_string()));
        let untold = vec!["model.num_heads", "model.max_cycles", "data.canvas"];
        Ok(Shown { facts, untold, vocab_size, puzzles: None, positions: None })
    }

    fn transformer(&self) -> Result<Shown, String> {
        let (vocab_size, c) = self.matrix(transformer::names::TOKEN_EMBEDDING)?;
        let layers = self.layers(transformer::names::layer);
        let mut facts = self.encoder(c, &transformer::names::layer(0))?;
        facts.push(("model.h_layers", layers.to_string()));
        let untold = vec!["model.num_heads", "data.canvas"];
        Ok(Shown { facts, untold, vocab_size, puzzles: None, positions: None })
    }

    fn encoder(&self, c: usize, layer: &str) -> Result<Vec<Fact>, String> {
        let (f, _) = self.matrix(&format!("{layer}.linear1.weight"))?;
        let expansion = f as f64 / c as f64;
        Ok(vec![("model.hidden_size", c.to_string()), ("model.expansion", format!("{expansion}"))])
    }

    /// Hidden size, and the expansion that gives every MLP of `inputs` (name, input width) the inner
    /// width that it has.
    fn width(&self, c: usize, inputs: &[(String, usize)]) -> Result<Vec<Fact>, String> {
        let mut inner = vec![];
        for (name, width) in inputs {
            let (gate_up, _) = self.matrix(&format!("{name}.gate_up_proj.weight"))?;
            inner.push((gate_up / 2, *width));
        }
        let exact = |&(f, width): &(usize, usize)| f as f64 * 1.5 / width as f64;
        let fits = |x: &f64| inner.iter().all(|(f, width)| mlp_width(*width, *x) == *f);
        let mut candidates = std::iter::once(USUAL_EXPANSION).chain(inner.iter().map(exact));
        let expansion = candidates.find(fits).ok_or_else(|| {
            let widths: Vec<String> = inner.iter().map(|(f, _)| f.to_string()).collect();
            format!(
                "inner widths of the MLPs are {}: no expansion gives these (they are rounded up \
                 to multiples of 256)",
                widths.join(" and ")
            )
        })?;
        Ok(vec![("model.hidden_size", c.to_string()), ("model.expansion", format!("{expansion}"))])
    }

    /// How many layers there are, counted from 0 without a gap.
    fn layers(&self, prefix: impl Fn(usize) -> String) -> usize {
        let exists = |i: &usize| {
            let prefix = format!("{}.", prefix(*i));
            self.0.iter().any(|(name, _)| name.starts_with(&prefix))
        };
        (0..).take_while(exists).count()
    }

    fn find(&self, name: &str) -> Option<(usize, usize)> {
        let (_, tensor) = self.0.iter().find(|(n, _)| n == name)?;
        let [rows, columns] = tensor.shape.dims().try_into().ok()?;
        Some((rows, columns))
    }

    fn matrix(&self, name: &str) -> Result<(usize, usize), String> {
        let missing = || format!("tensor {name} is missing, or no matrix");
        self.find(name).filter(|(rows, columns)| *rows > 0 && *columns > 0).ok_or_else(missing)
    }
}
