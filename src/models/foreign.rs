//! What the names and shapes of foreign tensors say of the model that they are.

use crate::nn::block::mlp_width;
use crate::shape::Shape;

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
    /// The key that says how many of them are the prefix, where that is a setting.
    pub prefix_key: Option<&'static str>,
}

/// The names in a file.
pub struct Names<'a>(pub Vec<&'a str>);

impl Names<'_> {
    /// What stands before `end` in a name that a whole component of begins there.
    pub fn before(&self, end: &str) -> Option<String> {
        self.0.iter().find_map(|name| {
            let prefix = name.strip_suffix(end)?;
            (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
        })
    }
}

/// The shapes of a file's tensors, under names without any prefix.
pub struct Shapes<'a>(pub Vec<(&'a str, Shape)>);

impl Shapes<'_> {
    /// Width and expansion of a model of `torch.nn.TransformerEncoderLayer`s, of which `layer` is
    /// one.
    pub fn encoder(&self, c: usize, layer: &str) -> Result<Vec<Fact>, String> {
        let (f, _) = self.matrix(&format!("{layer}.linear1.weight"))?;
        let expansion = f as f64 / c as f64;
        Ok(vec![("model.hidden_size", c.to_string()), ("model.expansion", format!("{expansion}"))])
    }

    /// Hidden size, and the expansion that gives every MLP of `inputs` (name, input width) the
    /// inner width that it has.
    pub fn width(&self, c: usize, inputs: &[(String, usize)]) -> Result<Vec<Fact>, String> {
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

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| *n == name)
    }

    /// How many layers there are, counted from 0 without a gap.
    pub fn layers(&self, prefix: impl Fn(usize) -> String) -> usize {
        let exists = |i: &usize| {
            let prefix = format!("{}.", prefix(*i));
            self.0.iter().any(|(name, _)| name.starts_with(&prefix))
        };
        (0..).take_while(exists).count()
    }

    /// Rows and columns of a matrix.
    pub fn find(&self, name: &str) -> Option<(usize, usize)> {
        let (_, shape) = self.0.iter().find(|(n, _)| *n == name)?;
        let [rows, columns] = shape.dims().try_into().ok()?;
        Some((rows, columns))
    }

    pub fn matrix(&self, name: &str) -> Result<(usize, usize), String> {
        let missing = || format!("tensor {name} is missing, or no matrix");
        self.find(name).filter(|(rows, columns)| *rows > 0 && *columns > 0).ok_or_else(missing)
    }
}
