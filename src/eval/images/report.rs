//! The report of an autoencoder: quality on test images beside other coders and beside principal
//! components of the same training images; a table, JSON and two pictures.
//!
//! `reconstruction.png`: a row each of inputs, of every coder's reconstructions (mean of the
//! posterior, no noise), of the components'. `interpolation.png`: per row two test images at the
//! ends, and between them what lies on the line between their codes.

use std::path::Path;

use serde::Serialize;

use super::codes::CodeStatistics;
use super::{Codes, Pca, Quality, bytes, pixels};
use crate::data::images::{IMAGE_ELEMS, ImageSet, Images, sheet};
use crate::io::progress::Progress;
use crate::{Error, Result};

/// Components of the baseline: as many numbers as the student's code has.
pub const COMPONENTS: usize = 64;
/// Images per pass.
const BATCH: usize = 250;
/// Columns of a picture.
const COLUMNS: usize = 16;
const INTERPOLATIONS: usize = 8;

/// An autoencoder as evaluation sees it: host memory in and out. Batch statistics are not used.
pub trait Coder {
    /// Numbers of a code.
    fn units(&self) -> usize;
    /// Trainable.
    fn parameters(&self) -> usize;
    /// Bytes of everything that a reconstruction needs, nothing of an optimizer.
    fn weight_bytes(&self) -> usize;
    /// (n, 3, 32, 32) to mean and logarithm of the variance, (n, units) each.
    fn encode(&mut self, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)>;
    /// (n, units) to (n, 3, 32, 32) in 0..=1.
    fn decode(&mut self, z: &[f32]) -> Result<Vec<f32>>;
}

/// A coder and the name of its row.
pub type Named<'a> = (String, &'a mut dyn Coder);

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub mse: f64,
    pub psnr_db: f64,
    pub ssim: f64,
    pub parameters: usize,
    pub weight_bytes: usize,
    /// None for the principal components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes: Option<CodeStatistics>,
}

impl Row {
    fn new(name: String, quality: &Quality, parameters: usize, weight_bytes: usize) -> Self {
        let (mse, psnr_db, ssim) = (quality.mse(), quality.psnr_db(), quality.ssim());
        Self { name, mse, psnr_db, ssim, parameters, weight_bytes, codes: None }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub train_images: usize,
    pub test_images: usize,
    pub data_digest: String,
    /// The coders, in the order given; the first one is what the report is about.
    pub coders: Vec<Row>,
    pub pca: Row,
    /// PCA's reconstructions clipped to the range of pixels: no longer linear, and never worse.
    pub pca_clipped: Row,
}

/// Scores every coder on the test images and draws the pictures into `output`.
pub fn report(
    set: &ImageSet,
    coders: &mut [Named],
    output: &Path,
    progress: Progress,
) -> Result<Report> {
    if set.test.n == 0 || set.train.n == 0 {
        return Err(Error::invalid("the image set lacks training or test images"));
    }
    let rows = coders.iter_mut().map(|(name, coder)| row(name, &mut **coder, &set.test, progress));
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    progress.note(&format!("fitting {COMPONENTS} principal components"));
    let pca = Pca::fit(&set.train, COMPONENTS);
    let (plain, clipped) = components_row(&pca, &set.test);
    draw_reconstructions(set, coders, &pca, &output.join("reconstruction.png"))?;
    if let Some((_, coder)) = coders.first_mut() {
        draw_interpolations(&set.test, &mut **coder, &output.join("interpolation.png"))?;
    }
    Ok(Report {
        train_images: set.train.n,
        test_images: set.test.n,
        data_digest: set.digest(),
        coders: rows,
        pca: plain,
        pca_clipped: clipped,
    })
}

fn row(name: &str, coder: &mut dyn Coder, test: &Images, progress: Progress) -> Result<Row> {
    let bar = progress.bar(&format!("reconstructing, {name}"), test.n as u64);
    let (mut quality, mut codes) = (Quality::default(), Codes::new(coder.units()));
    for from in (0..test.n).step_by(BATCH) {
        let x = pixels(test, from..(from + BATCH).min(test.n));
        let (mu, log_var) = coder.encode(&x)?;
        codes.add(&mu, &log_var);
        quality.add(&x, &coder.decode(&mu)?);
        bar.advance((x.len() / IMAGE_ELEMS) as u64);
    }
    let row = Row::new(name.to_owned(), &quality, coder.parameters(), coder.weight_bytes());
    Ok(Row { codes: Some(codes.statistics()), ..row })
}

fn components_row(pca: &Pca, test: &Images) -> (Row, Row) {
    let (mut plain, mut clipped) = (Quality::default(), Quality::default());
    for from in (0..test.n).step_by(BATCH) {
        let x = pixels(test, from..(from + BATCH).min(test.n));
        let mut y = pca.reconstruct(&x);
        plain.add(&x, &y);
        y.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        clipped.add(&x, &y);
    }
    let name = format!("PCA-{}", pca.k);
    let row = |name, quality| Row::new(name, quality, pca.parameters(), 4 * pca.parameters());
    (row(name.clone(), &plain), row(name + " clipped", &clipped))
}

/// Indices spread over the whole set.
fn spread(n: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(n);
    (0..count).map(move |i| i * n / count)
}

fn draw_reconstructions(
    set: &ImageSet,
    coders: &mut [Named],
    pca: &Pca,
    path: &Path,
) -> Result<()> {
    let x: Vec<f32> =
        spread(set.test.n, COLUMNS).flat_map(|i| pixels(&set.test, i..i + 1)).collect();
    let mut rows = vec![bytes(&x)];
    for (_, coder) in coders {
        let (mu, _) = coder.encode(&x)?;
        rows.push(bytes(&coder.decode(&mu)?));
    }
    rows.push(bytes(&pca.reconstruct(&x)));
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    sheet::write(path, &rows)
}

fn draw_interpolations(test: &Images, coder: &mut dyn Coder, path: &Path) -> Result<()> {
    let ends: Vec<usize> = spread(test.n, 2 * INTERPOLATIONS).collect();
    let mut rows = vec![];
    // Of a single image, to itself.
    for pair in ends.chunks(2) {
        let (a, b) = (pair[0], pair[pair.len() - 1]);
        let (x_a, x_b) = (pixels(test, a..a + 1), pixels(test, b..b + 1));
        let ((from, _), (to, _)) = (coder.encode(&x_a)?, coder.encode(&x_b)?);
        let steps = COLUMNS - 2;
        let z: Vec<f32> = (0..steps)
            .flat_map(|i| {
                let t = i as f32 / (steps - 1) as f32;
                from.iter().zip(&to).map(move |(a, b)| a + t * (b - a))
            })
            .collect();
        rows.push([bytes(&x_a), bytes(&coder.decode(&z)?), bytes(&x_b)].concat());
    }
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    sheet::write(path, &rows)
}

impl Report {
    /// Ratios are of the second coder, the teacher, to the first, where there is one.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} test images; components fitted on the same {} training images\n\
             {:<18} {:>9} {:>8} {:>7} {:>11} {:>13} {:>9} {:>8}\n",
            self.test_images,
            self.train_images,
            "",
            "MSE",
            "PSNR dB",
            "SSIM",
            "parameters",
            "weight bytes",
            "active",
            "KL nats",
        );
        for row in self.coders.iter().chain([&self.pca, &self.pca_clipped]) {
            let Row { name, mse, psnr_db, ssim, parameters, weight_bytes, .. } = row;
            text += &format!(
                "{name:<18} {mse:>9.6} {psnr_db:>8.2} {ssim:>7.4} {parameters:>11} \
                 {weight_bytes:>13}"
            );
            if let Some(codes) = &row.codes {
                let active = format!("{}/{}", codes.active_units, codes.units);
                text += &format!(" {active:>9} {:>8.1}", codes.kl_nats);
            }
            text += "\n";
        }
        text
    }
}
