//! Distillation of a small autoencoder from a large one: the teacher is trained first, then the
//! student on the same images, from the teacher's answers and the images themselves.
//!
//! `options.rs` what a configuration asks for · `trainer.rs` models, losses and steps · `input.rs` what
//! a step reads · `vgg_file.rs` weights of the perceptual term.

mod input;
mod options;
mod trainer;
mod vgg_file;

pub use options::Options;
pub use trainer::{StepReport, TOTAL, Trainer, Which};
