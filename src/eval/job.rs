//! Evaluates a trained model on a split and writes the files, from the checkpoint to the report.

use std::path::Path;

use super::page::Curve;
use super::report::check_asked;
use super::{
    Evaluation, Evaluator, Halt, Heading, Report, Request, Rollouts, Rules, logits, notes, report,
    saved, select_variants,
};
use crate::backend::Device;
use crate::data::DataSet;
use crate::io::progress::Progress;
use crate::models::{Model, RowForm};
use crate::run::signal;
use crate::run::trained::Trained;
use crate::{Error, Result};

/// Attempts that are always scored: one, and the two that ARC grants.
pub const ATTEMPTS: [usize; 2] = [1, 2];

/// What to evaluate, and where to put it.
pub struct Job<'a> {
    pub data: &'a DataSet,
    pub split: &'a str,
    /// Examples at most, tasks as published first; 0: all.
    pub limit: usize,
    /// Variants of a task at most.
    pub variants: usize,
    pub early_halt: bool,
    /// How the examples are answered the first time.
    pub halt: Halt,
    /// Numbers of attempts to score.
    pub ks: Vec<usize>,
    /// Whether an answer without a grid is a vote.
    pub count_empty: bool,
    /// Whether it may be interrupted and gone on with.
    pub resumable: bool,
    /// A file for what the answers are taken from.
    pub save_logits: Option<&'a Path>,
    /// What the model answered before: taken if it is all that is asked.
    pub answered: Option<Evaluation>,
    /// Shown in the report's page.
    pub curves: Vec<Curve>,
    pub output: &'a Path,
}

impl<'a> Job<'a> {
    /// Everything, once, as the reference evaluates.
    pub fn new(data: &'a DataSet, split: &'a str, output: &'a Path) -> Self {
        Self {
            data,
            split,
            limit: 0,
            variants: usize::MAX,
            early_halt: false,
            halt: Halt::Last,
            ks: ATTEMPTS.to_vec(),
            count_empty: false,
            resumable: false,
            save_logits: None,
            answered: None,
            curves: vec![],
            output,
        }
    }

    pub fn run(mut self, trained: &Trained, device: &Device) -> Result<Report> {
        let Self { data, split, .. } = self;
        let shape = trained.shape()?;
        super::run::check_data(&shape.dims(), Some(trained.trained_on()), data)?;
        if self.save_logits.is_some() && shape.dims().form == RowForm::Sequence {
            return Err(Error::invalid(
                "--save-logits: this model writes its answers token by token and has no logits of a \
                 canvas; hrm export --to onnx gives those of whole sequences",
            ));
        }
        let examples = select_variants(data, split, self.limit, self.variants)?;
        check_asked(data, split, &examples)?;
        let is_all = |known: &Evaluation| known.split == split && known.examples == examples;
        if let Some(known) = self.answered.take_if(|known| is_all(known))
            && !self.early_halt
            && self.halt == Halt::Last
            && self.save_logits.is_none()
        {
            return self.write(trained, &known, None);
        }
        let model = trained.load_as(&shape, device)?;
        if let Halt::Rollouts(rollouts) = self.halt {
            rollouts.check(&*model)?;
        }
        let most = examples.len().saturating_mul(self.halt.trajectories());
        let evaluator = Evaluator::new(&*model, most);
        let layout = trained.plan.config.data.layout;
        let weights = if self.resumable { Some(trained.reader.digest()?) } else { None };
        let kept = |halt| self.output.join(format!("answers-{}.partial", word(halt)));
        let answer = |halt| {
            let progress = Progress::Shown;
            let request = Request { data, split, examples: &examples, layout, halt, progress };
            let path = kept(halt);
            let key = weights.map(|weights| key(weights, &*model, &request));
            let saved = key.as_ref().map(|key| (path.as_path(), key.as_str()));
            let stop = || self.resumable && signal::asked_to_stop();
            evaluator.run(&*model, request, saved, stop)?.ok_or_else(|| {
                Error::Interrupted(format!(
                    "interrupted; what was answered is in {}: the same command goes on from there",
                    path.display()
                ))
            })
        };
        let evaluation = answer(self.halt)?;
        let early = if self.early_halt { Some(answer(Halt::Early)?) } else { None };
        let report = self.write(trained, &evaluation, early.as_ref())?;
        if let Some(file) = self.save_logits {
            logits::save(&*model, &evaluator, data, split, &examples, layout, file)?;
        }
        if self.resumable {
            for halt in [self.halt, Halt::Early] {
                saved::remove(&kept(halt))?;
            }
        }
        Ok(report)
    }

    /// Score the answers and write the files.
    fn write(
        &self,
        trained: &Trained,
        evaluation: &Evaluation,
        early: Option<&Evaluation>,
    ) -> Result<Report> {
        let rules = Rules { ks: &self.ks, count_empty: self.count_empty };
        let mut report = report(self.data, evaluation, early, rules)?;
        report.notes.extend(notes::of_choice(trained, self.data, self.split));
        let heading = Heading { title: trained.title(), curves: self.curves.clone() };
        report.write(self.output, self.data, evaluation, &heading)?;
        Ok(report)
    }
}

fn word(halt: Halt) -> &'static str {
    match halt {
        Halt::Last => "all",
        Halt::Early => "early",
        Halt::Rollouts(_) => "rollouts",
    }
}

/// Everything that the answers depend on.
fn key(weights: blake3::Hash, model: &dyn Model, request: &Request) -> String {
    let mut hash = blake3::Hasher::new();
    let data = request.data.digest();
    let (dtype, device) = (model.dtype(), model.device().kind());
    let (split, halt, layout) = (request.split, word(request.halt), request.layout);
    let words = format!("{weights} {data} {dtype} {device:?} {halt} {split} {layout:?}");
    hash.update(words.as_bytes());
    if let Halt::Rollouts(Rollouts { count, noise, segments, all, sudoku: _ }) = request.halt {
        hash.update(format!(" {count} {noise:?} {segments} {all}").as_bytes());
    }
    request.examples.iter().for_each(|example| {
        hash.update(&example.to_le_bytes());
    });
    hash.finalize().to_hex().to_string()
}
