//! What an evaluation leaves behind: `eval.json`, `predictions.jsonl`, `submission.json` (ARC),
//! `right.png` and `wrong.png`, `report.html`.

use std::fs;
use std::path::Path;

use super::page::{self, Heading};
use super::report::Report;
use super::{Evaluation, predictions, submission};
use crate::data::sheet::{self, Panel};
use crate::data::{DataSet, Kind};
use crate::io::file;
use crate::{Error, Result};

/// Pictures per sheet.
const PICTURES: usize = 24;

impl Report {
    /// Everything into `dir` (a picture only if there is something to show; one of an earlier
    /// evaluation is removed).
    pub fn write(
        &self,
        dir: &Path,
        data: &DataSet,
        evaluation: &Evaluation,
        heading: &Heading,
    ) -> Result<()> {
        file::create_dir(dir)?;
        // Answers that came from a file are not written again.
        if self.model.cost.is_some() {
            predictions::write(&dir.join(predictions::FILE), data, evaluation, &self.verdicts)?;
        }
        for (name, exact) in [("right.png", true), ("wrong.png", false)] {
            self.write_pictures(&dir.join(name), data, evaluation, exact)?;
        }
        if self.kind == Kind::Arc {
            let path = dir.join(submission::FILE);
            submission::write(&path, data, &self.split, &self.voted)?;
        }
        let html = page::page(self, data, evaluation, heading)?;
        file::write(&dir.join(page::FILE), html.as_bytes())?;
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::invalid(format!("evaluation: {e}")))?;
        json.push(b'\n');
        file::write(&dir.join("eval.json"), &json)
    }

    /// Input, expected, answered; wrong cells marked.
    fn write_pictures(
        &self,
        path: &Path,
        data: &DataSet,
        evaluation: &Evaluation,
        exact: bool,
    ) -> Result<()> {
        let shown = |i: &usize| !self.verdicts[*i].hidden && self.verdicts[*i].exact == exact;
        let chosen = (0..self.verdicts.len()).filter(shown);
        let tiles = chosen.take(PICTURES).map(|i| evaluation.tile(data, i));
        let tiles = tiles.collect::<Result<Vec<_>>>()?;
        if tiles.is_empty() {
            return match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io(path, "remove the old picture")(e))
                }
                _ => Ok(()),
            };
        }
        sheet::write(path, &tiles, self.kind)
    }
}

impl Evaluation {
    /// What is drawn of the `i`-th answer: input, expected, answered with its wrong cells marked.
    pub fn tile(&self, data: &DataSet, i: usize) -> Result<Vec<Panel>> {
        let pair = data.example(&self.split, self.examples[i] as usize)?.pair;
        let answer = Panel::judged(&self.grid(data, i)?, &pair.output);
        Ok(vec![Panel::plain(&pair.input), Panel::plain(&pair.output), answer])
    }
}
