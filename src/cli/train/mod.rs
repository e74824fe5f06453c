//! `hrm train`: plan, run folder, loop, closing lines.

mod planned;
mod quick;

use std::path::{Path, PathBuf};

use clap::Args;

use self::planned::{Planned, plan};
use super::common::{Compute, SettingsArgs, precision};
use super::eval;
use crate::config::{Best, DEFAULT_PRESET, PRECISION, Source};
use crate::eval::job::Job;
use crate::io::machine;
use crate::run::folder::{EVALUATION, RunFolder};
use crate::run::log::Log;
use crate::run::trained::Trained;
use crate::run::{signal, tracking};
use crate::train::room::does_not_fit;
use crate::train::tokens::TokenLearner;
use crate::train::{needed::Needed, run, setup, validate};
use crate::{Error, Result};

/// Where runs without a name live.
const RUNS: &str = "runs";
/// Said after a run of the default preset.
const BESIDE: &str = "beside it: hrm train grid-small learns the same tasks in about as long, by a \
                      model that does not recur (scores of both: docs/results.md)";

/// Train a model; goes on by itself where the last run of the same plan stopped
///
/// A preset says what is trained on what; key=value changes any of its settings. Data that the
/// preset needs is fetched and built under data/ when it is missing. The run folder gets the plan,
/// metrics.jsonl, TensorBoard events, a log and checkpoints; wandb/ gets a W&B offline run
/// (WANDB_MODE=disabled: none); after a crash, a kill or Ctrl-C the same command goes on
/// from the newest whole checkpoint, bit for bit.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm train                                    real ARC tasks, small model\n",
    "  hrm train sudoku-mini train.seed=7           a generated Sudoku, another seed\n",
    "  hrm train arc1 --data data/my-arc model.hidden_size=256 train.batch_size=64\n",
    "  hrm train arc1 --data data/my-arc --init imported.safetensors train.lr=1e-5    fine-tune\n",
    "  hrm train --config my.toml --run-dir runs/a  settings from a file, a folder of its own\n",
    "\n",
    "Presets: arc-small (default), arc1, arc2, arc-legion, sudoku-extreme, maze-hard, sudoku-mini (HRM);\n",
    "trm-arc1, trm-sudoku, trm-sudoku-mlp, trm-maze, trm-sudoku-mini, trm-sudoku-small (TRM); grid-small,\n",
    "grid-arc1, grid-arc2 (a causal transformer that writes grids token by token); arc-full (a simplified\n",
    "HRM, back-propagated in full), arc-simple (a plain transformer).\n",
    "arc1 and trm-arc1 lack 160 tasks of the papers (ConceptARC), which are in no package: see docs/guide.md.\n",
    "Validation is on the test split: with train.best=loss the best checkpoint is chosen on what is\n",
    "reported, and that is said; the small presets keep the last one.\n",
    "A misspelt key is answered with the list of all keys.",
))]
pub struct Train {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Folder of a built data set; default: what the preset needs, built when missing
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Run folder; default: the newest unfinished run of the same plan, else runs/PRESET-N
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// A look at whether everything works, not a result: at most 40 steps of 8 rows on few
    /// variants, 16 examples per evaluation. What the command line sets stays
    #[arg(long)]
    pub quick: bool,
    /// Start from the weights of this checkpoint, or of a run's best one, instead of random ones:
    /// to fine-tune what was trained here or came from hrm import
    #[arg(long, value_name = "RUN | CKPT")]
    pub init: Option<PathBuf>,
    /// Start anew; an old run in --run-dir is moved aside
    #[arg(long)]
    pub fresh: bool,
    #[command(flatten)]
    pub compute: Compute,
}

pub fn run(args: Train) -> Result<()> {
    let Planned { mut plan, data, device, merged } = plan(&args)?;
    // From here on there is something to save; before, a signal just ends the process.
    signal::install()?;
    let named = args.run_dir.as_deref();
    let is_auto = merged.source(PRECISION) == Source::Auto;
    let open: &[&str] = if is_auto { &[PRECISION] } else { &[] };
    let folder = RunFolder::choose(Path::new(RUNS), named, args.fresh, &mut plan, open)?;
    let mut log = Log::open(&folder.log())?;
    log.say(&format!("hrm train: run folder {}", folder.dir().display()))?;
    log.say(&plan.summary()?)?;
    if is_auto {
        log.say(&precision(&merged, plan.config.train.precision, device.kind()))?;
    }
    let model = setup::shape(&plan.config, &data)?;
    let needed = Needed::of(device.kind(), &model, setup::options(&plan.config))?;
    let mib = needed.total_bytes() as f64 / (1 << 20) as f64;
    log.say(&format!("memory of a training step: {mib:.0} MiB"))?;
    let room = match device.as_cuda() {
        Some(cuda) => Some((cuda.card().free_bytes, "the card's free memory")),
        None => machine::memory_bytes().map(|(_, available)| (available, "memory available here")),
    };
    if let Some(room) = room.filter(|(bytes, _)| *bytes < needed.total_bytes()) {
        let (kind, options) = (device.kind(), setup::options(&plan.config));
        return Err(does_not_fit(kind, &model, options, needed.total_bytes(), room)?);
    }
    device.reserve(needed.total_bytes())?;
    let learner = TokenLearner::new(&plan, &folder, data.clone(), &model, &device, &mut log)?;
    let outcome = run::run(&plan, &folder, learner, &mut log)?;
    if signal::asked_to_stop() {
        let dir = folder.dir().display();
        return Err(Error::Interrupted(format!(
            "interrupted; training is complete and saved. To see its result: hrm eval {dir}"
        )));
    }
    signal::stop_at_once_from_now_on();
    if outcome.best_val_loss.is_finite() {
        let (step, loss) = (outcome.best_step, outcome.best_val_loss);
        let kept = match plan.config.train.best {
            Best::Loss => "",
            Best::Last => "; the last model is kept",
        };
        log.say(&format!("lowest validation loss {loss:.4} at step {step}{kept}"))?;
    }
    if data.split(validate::SPLIT).is_ok_and(|s| s.examples() > 0) {
        let path = folder.checkpoints.found_best()?.unwrap_or(outcome.checkpoint.clone());
        let trained = Trained::open(&path)?;
        let output = folder.dir().join(EVALUATION);
        let split = validate::SPLIT;
        let rows = model.sizes.batch_size * plan.config.train.grad_accum;
        let limit = match args.quick {
            true => quick::EXAMPLES as usize,
            false => validate::closing_examples(needed.work.total.matmul_flops / rows as f64),
        };
        let (curves, answered) = (eval::curves(folder.dir()), outcome.best_answers);
        let job = Job { limit, curves, answered, ..Job::new(&data, split, &output) };
        let report = job.run(&trained, &device)?;
        log.say(&format!("{}: step {}", path.display(), trained.step()))?;
        log.say(report.table().trim_end())?;
        log.say(&format!("to look at: {}", output.join(eval::PAGE).display()))?;
    }
    if let Some(line) = tracking::sync_line(&folder)? {
        log.say(&line)?;
    }
    if plan.config.preset == DEFAULT_PRESET {
        log.say(BESIDE)?;
    }
    log.say(&format!("done: step {}, {}", outcome.step, outcome.checkpoint.display()))
}
