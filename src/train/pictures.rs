//! Pictures that a run's trackers show: what the model answers to the first examples of validation.
//! Drawn from the answers that validation has anyway.

use crate::Result;
use crate::data::images::{IMAGE_ELEMS, sheet as images};
use crate::data::{DataSet, sheet};
use crate::eval::Evaluation;
use crate::eval::images::bytes;
use crate::track::Picture;

/// The metric-like names under which they appear.
pub const PREDICTIONS: &str = "val_predictions";
pub const RECONSTRUCTIONS: &str = "val_reconstructions";
/// Examples in a picture of grids.
const GRIDS: usize = 8;
/// Columns of a picture of images.
const IMAGES: usize = 16;

/// A picture of the first examples: input, expected, answered with its wrong cells ringed.
pub fn predictions(data: &DataSet, answers: &Evaluation) -> Result<Picture> {
    let first = 0..answers.examples.len().min(GRIDS);
    let tiles: Result<Vec<_>> = first.map(|i| answers.tile(data, i)).collect();
    picture(&sheet::draw(&tiles?, data.kind()))
}

/// A row of the first images of `x`, under it their reconstructions, (n, 3, 32, 32) in 0..=1 each.
pub fn reconstructions(x: &[f32], y: &[f32]) -> Result<Picture> {
    let [x, y] = [x, y].map(|all| bytes(&all[..all.len().min(IMAGES * IMAGE_ELEMS)]));
    picture(&images::draw(&[&x, &y])?)
}

fn picture(image: &sheet::Image) -> Result<Picture> {
    let (width, height) = image.size();
    Ok(Picture { png: image.png()?, width: width as u32, height: height as u32 })
}
