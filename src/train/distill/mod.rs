//! Distillation of a small autoencoder from a large one: the teacher is trained first, then the
//! student on the same images, from the teacher's answers and the images themselves.
//!
//! `options.rs` what a configuration asks for · `trainer.rs` models, losses and steps · `input.rs`
//! what a step reads · `vgg_file.rs` weights of the perceptual term · `order.rs` which images when
//! · `learner.rs` what the loop takes · `needed.rs` memory and work before it begins.

mod input;
mod learner;
mod needed;
mod options;
mod order;
mod trainer;
mod vgg_file;

pub use learner::Distillation;
pub use needed::{Needed, Phase};
pub use options::Options;
pub use order::Length;
pub use trainer::{StepReport, TOTAL, Trainer};
