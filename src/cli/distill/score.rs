//! `hrm distill test`: a checkpoint's student and teacher, scored beside principal components.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::DistillTest;
use super::dataset;
use crate::backend::Device;
use crate::config::DistillConfig;
use crate::data::images::ImageSet;
use crate::dtype::DType;
use crate::eval::images::{self, Coder, Row};
use crate::io::file;
use crate::io::progress::Progress;
use crate::models::tiny_vae::Autoencoder;
use crate::run::checkpoint::Side;
use crate::run::folder::EVALUATION;
use crate::run::trained::Trained;
use crate::train::distill::{Options, Trainer};
use crate::{Error, Result};

const FILE: &str = "distill.json";

/// What to score on, and where to put it.
pub struct Job<'a> {
    pub set: &'a ImageSet,
    pub output: &'a Path,
    pub device: &'a Device,
    pub progress: Progress,
}

#[derive(Serialize)]
pub struct Report {
    pub checkpoint: String,
    pub preset: String,
    pub step: u64,
    /// The student's row is the first, the teacher's the second where there is one.
    #[serde(flatten)]
    pub images: images::Report,
    /// Teacher to student.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_bytes_ratio: Option<f64>,
}

impl Report {
    pub fn table(&self) -> String {
        let mut text = self.images.table();
        if let (Some(parameters), Some(bytes)) = (self.parameter_ratio, self.weight_bytes_ratio) {
            text += &format!(
                "teacher to student: {parameters:.1} times the parameters, {bytes:.1} times the \
                 bytes of weights (no optimizer state)\n"
            );
        }
        text
    }
}

pub fn run(args: DistillTest) -> Result<()> {
    let (device, _) = args.compute.start()?;
    let trained = Trained::<DistillConfig>::open(&args.path)?;
    let mut data = trained.plan.config.data.clone();
    if let Some(other) = &args.dataset {
        data.dataset = dataset::absolute(other)?;
    }
    let progress = if args.json { Progress::Quiet } else { Progress::Shown };
    let set = dataset::read(&data, progress)?;
    if args.dataset.is_none() && set.digest() != trained.trained_on() {
        return Err(Error::invalid(format!(
            "{}: holds other images than the run was trained on: name the set with --dataset",
            data.dataset
        )));
    }
    let output = args.output.unwrap_or_else(|| trained.run_dir.join(EVALUATION));
    let beside: Vec<Trained<DistillConfig>> =
        args.beside.iter().map(|path| Trained::open(path)).collect::<Result<_>>()?;
    let names: Vec<String> = args.beside.iter().map(|path| name_of(path)).collect();
    let beside: Vec<(String, &Trained<DistillConfig>)> = names.into_iter().zip(&beside).collect();
    progress.note(&format!("{}: step {}", trained.reader.path().display(), trained.step()));
    let job = Job { set: &set, output: &output, device: &device, progress };
    let report = score(&trained, &beside, &job)?;
    if args.json {
        outln!("{}", to_json(&report)?);
    } else {
        out!("{}", report.table());
    }
    progress.note(&format!("pictures and {FILE}: {}", output.display()));
    Ok(())
}

/// Scores a checkpoint, and the students of others, and writes the files.
pub fn score(
    trained: &Trained<DistillConfig>,
    beside: &[(String, &Trained<DistillConfig>)],
    job: &Job,
) -> Result<Report> {
    file::create_dir(job.output)?;
    let trainer = load(trained, job.device)?;
    let has_teacher = trainer.options().teacher.is_some();
    let others = beside
        .iter()
        .map(|(name, other)| Ok((format!("student {name}"), load(other, job.device)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut sides = vec![("student".to_owned(), Scored::of(&trainer, Side::Student)?)];
    if has_teacher {
        sides.push(("teacher".to_owned(), Scored::of(&trainer, Side::Teacher)?));
    }
    for (name, trainer) in &others {
        sides.push((name.clone(), Scored::of(trainer, Side::Student)?));
    }
    let mut coders: Vec<images::report::Named> =
        sides.iter_mut().map(|(name, side)| (name.clone(), side as &mut dyn Coder)).collect();
    let images = images::report(job.set, &mut coders, job.output, job.progress)?;
    let ratio = |count: fn(&Row) -> usize| {
        let teacher = has_teacher.then(|| count(&images.coders[1]) as f64);
        teacher.map(|teacher| teacher / count(&images.coders[0]) as f64)
    };
    let report = Report {
        checkpoint: trained.reader.path().display().to_string(),
        preset: trained.plan.config.preset.clone(),
        step: trained.step(),
        parameter_ratio: ratio(|row| row.parameters),
        weight_bytes_ratio: ratio(|row| row.weight_bytes),
        images,
    };
    file::write(&job.output.join(FILE), (to_json(&report)? + "\n").as_bytes())?;
    Ok(report)
}

fn to_json(report: &Report) -> Result<String> {
    let json = serde_json::to_string_pretty(report);
    json.map_err(|e| Error::invalid(format!("report: {e}")))
}

fn load(trained: &Trained<DistillConfig>, device: &Device) -> Result<Trainer> {
    let config = &trained.plan.config;
    let trainer = Trainer::new(device, Options::of(config, config.train.batch_size))?;
    trained.reader.load(&trainer.state()?)?;
    Ok(trainer)
}

/// The run's folder, or the file's name.
fn name_of(path: &Path) -> String {
    let name = PathBuf::from(path.file_stem().unwrap_or(path.as_os_str()));
    name.display().to_string()
}

/// One of the two models of a trainer.
struct Scored<'a> {
    trainer: &'a Trainer,
    side: Side,
    model: &'a dyn Autoencoder,
    /// Parameters and running statistics.
    weight_elems: usize,
}

impl<'a> Scored<'a> {
    fn of(trainer: &'a Trainer, side: Side) -> Result<Self> {
        let model = trainer.model(side)?;
        let running = model.running().tensors()?;
        let of_norms: usize = running
            .iter()
            .filter(|(_, tensor)| tensor.dtype() == DType::F32)
            .map(|(_, tensor)| tensor.shape().elems())
            .sum();
        Ok(Self { trainer, side, model, weight_elems: model.trainable_elems() + of_norms })
    }
}

impl Coder for Scored<'_> {
    fn units(&self) -> usize {
        self.model.latent()
    }

    fn parameters(&self) -> usize {
        self.model.trainable_elems()
    }

    fn weight_bytes(&self) -> usize {
        size_of::<f32>() * self.weight_elems
    }

    fn encode(&mut self, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        self.trainer.encode(self.side, x)
    }

    fn decode(&mut self, z: &[f32]) -> Result<Vec<f32>> {
        self.trainer.decode(self.side, z)
    }
}
