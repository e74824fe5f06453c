//! What teacher and student are and how they are trained, from a configuration.

use std::path::PathBuf;

use crate::config::{self, DistillConfig, Projector, Student};
use crate::models::tiny_vae::{Kind, Weights};
use crate::train::optimizer::{OptimizerConfig, Rule};

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub batch_size: usize,
    pub student: Kind,
    /// None: the student is trained alone.
    pub teacher: Option<Kind>,
    pub projector_is_trained: bool,
    /// Weights of VGG16 for the perceptual term, which is the teacher's encoder's otherwise.
    pub vgg: Option<PathBuf>,
    pub student_weights: Weights,
    pub teacher_weights: Weights,
    pub optimizer: OptimizerConfig,
    pub seed: u64,
}

/// `model.features` that is no path.
const OF_TEACHER: &str = "teacher";

impl Options {
    pub fn of(config: &DistillConfig, batch_size: usize) -> Self {
        let DistillConfig { model: m, loss: l, train: t, .. } = config;
        Self {
            batch_size,
            student: match m.student {
                Student::TinyVae => Kind::TINY,
                Student::UltraTinyVae => Kind::ULTRA_TINY,
                Student::TinyVaePro => Kind::TinyVaePro,
            },
            teacher: match m.teacher {
                config::Teacher::StandardVae => Some(Kind::STANDARD),
                config::Teacher::None => None,
            },
            projector_is_trained: m.projector == Projector::Trained,
            vgg: (m.features != OF_TEACHER && l.perceptual > 0.0).then(|| (&m.features).into()),
            student_weights: [l.recon, l.kl, l.latent, l.output, l.perceptual],
            teacher_weights: [1.0, l.teacher_kl, 0.0, 0.0, 0.0],
            optimizer: OptimizerConfig {
                rule: Rule::AdamW,
                beta1: t.beta1,
                beta2: t.beta2,
                weight_decay: t.weight_decay,
                puzzle_emb_weight_decay: 0.0,
                clip: t.clip,
                ema: 0.0,
            },
            seed: t.seed,
        }
    }
}
