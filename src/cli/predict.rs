//! `hrm predict`: one ARC task, solved with a checkpoint.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::common::Compute;
use super::rollouts::RolloutArgs;
use crate::data::{DataSet, Kind, Task, combined, terminal};
use crate::io::file;
use crate::io::progress::{self, Bar};
use crate::io::say::say;
use crate::io::units;
use crate::run::signal;
use crate::run::trained::Trained;
use crate::solve::{FineTune, Options, Progress, Solver, Stop, files, known};
use crate::{Error, Result};

/// Solve one ARC task with a checkpoint: pictures, votes, and how sure it is
///
/// The task is asked as itself and as its variants (turned, mirrored, recoloured); the answers are
/// turned back and vote: most votes first, then the mean of q_halt. A task of the data set is
/// recognised by its pairs and asked under its trained puzzle embeddings; whether its test pairs
/// were trained on is said. For a task that was never seen, fresh puzzle embeddings start where the
/// trained task is that explains its pairs best, and are fine-tuned on them; then pairs are left
/// out one at a time to see how far that can be trusted. Same seed and steps: same answer, if the
/// budget does not end it. Writes prediction.json (two attempts per test input, votes, confidence)
/// and prediction.png.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm predict runs/arc-small-1 task.json\n",
    "  hrm predict runs/arc-small-1 a85d4709           by its id, where the data set or data/raw has it\n",
    "  hrm predict runs/arc-small-1 arc-agi_evaluation_challenges.json:00576224\n",
    "  hrm predict best.safetensors task.json --json --output out\n",
    "  hrm predict runs/arc-small-1 new.json --budget 5m --steps 2000 --fine-tune all\n",
    "Ctrl-C answers with what there is; a second one ends at once. NO_COLOR=1 draws digits.",
))]
pub struct Predict {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint
    /// file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// Task file in the layout of the ARC repositories, a file of all tasks (Kaggle) with the id of
    /// one, or the id of a task
    #[arg(value_name = "TASK.json | ID")]
    pub task: String,
    /// Data set that the model was trained on; default: the one of the run
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What learns from a task that was never seen; default: embedding, or all for a model that has
    /// no puzzle embeddings
    #[arg(long, value_enum)]
    pub fine_tune: Option<FineTune>,
    /// Fine-tuning steps at most
    #[arg(long, value_name = "N", default_value_t = Options::default().steps)]
    pub steps: u64,
    /// Variants at most that an unseen task is asked as, itself included
    #[arg(long, value_name = "N", default_value_t = Options::default().variants)]
    pub variants: usize,
    /// Seed of the variants, and of the order of fine-tuning
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Time for everything, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub budget: Duration,
    /// Where files go; default: predict/TASK in the run folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the content of prediction.json instead
    #[arg(long)]
    pub json: bool,
    /// Pictures in 24-bit colour
    #[arg(long, value_enum, default_value = "auto")]
    pub color: Colour,
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    #[command(flatten)]
    pub compute: Compute,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

pub fn run(args: Predict) -> Result<()> {
    let started = Instant::now();
    let (device, _) = args.compute.start()?;
    if is_task(&args.path) && is_model(Path::new(&args.task)) {
        return Err(Error::invalid(format!(
            "{} is a task and {} a model: the model comes first, `hrm predict RUN TASK.json`",
            args.path.display(),
            args.task
        )));
    }
    let trained = Trained::open(&args.path)?;
    let run_dir = trained.run_dir.clone();
    let data = match &args.data {
        Some(dir) => Some(trained.data(Some(dir))?),
        None => trained
            .data(None)
            .inspect_err(|e| say!("warning: trained tasks cannot be recognised: {e}"))
            .ok(),
    };
    let task = find_task(&args.task, &trained.plan.data_dir, data.as_ref())?;
    say!("{}: step {}", trained.reader.path().display(), trained.step());
    let halt = args.rollouts.halt(trained.shape()?.dims(), Kind::Arc);
    let mut solver = Solver::new(trained, data, &device)?.with_halt(halt)?;
    signal::install()?;
    let options = Options {
        budget: args.budget.saturating_sub(started.elapsed()),
        fine_tune: args.fine_tune,
        steps: args.steps,
        variants: args.variants,
        seed: args.seed,
    };
    let mut bars = Bars::default();
    let outcome = solver.solve(&task, &options, |at| bars.show(at))?;
    drop(bars);
    let output = args.output.unwrap_or_else(|| run_dir.join("predict").join(&task.id));
    files::write(&output, &task, &outcome)?;
    if args.json {
        let json = serde_json::to_string_pretty(&files::prediction(&outcome));
        outln!("{}", json.map_err(|e| Error::invalid(format!("prediction: {e}")))?);
    } else {
        let colour = match args.color {
            Colour::Auto => terminal::has_colour(),
            Colour::Always => true,
            Colour::Never => false,
        };
        for i in 0..outcome.tests.len() {
            outln!("{}", terminal::pictures(&files::panels(&outcome, i), colour));
        }
        out!("{}", outcome.summary());
    }
    say!("prediction.json and prediction.png: {}", output.display());
    Ok(())
}

/// Whether a path looks like a task's: a JSON file, or the id of one, which is no path at all.
fn is_task(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json") || !path.exists()
}

/// Whether a path looks like a model's: a run folder or a checkpoint.
fn is_model(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|extension| extension == "safetensors")
}

/// A file, else a task id: of the task files beside the data set (`data/raw`), else of the data
/// set.
fn find_task(asked: &str, data_dir: &Path, data: Option<&DataSet>) -> Result<Task> {
    let path = Path::new(asked);
    if let Some((file, id)) = asked.split_once(".json:") {
        return combined_task(Path::new(&format!("{file}.json")), Some(id));
    }
    if combined::is_challenges(path) {
        return combined_task(path, None);
    }
    if file::exists(path)? || asked.ends_with(".json") {
        return Task::read(path);
    }
    let raw = data_dir.parent().unwrap_or(Path::new("")).join("raw");
    for source in folders(&raw) {
        for set in folders(&source) {
            let task = set.join(format!("{asked}.json"));
            if path.components().count() == 1 && task.is_file() {
                return Task::read(&task);
            }
        }
    }
    let task = data.map(|data| known::by_name(data, asked)).transpose()?.flatten();
    let task = task.ok_or_else(|| {
        Error::invalid(format!(
            "{asked}: neither a file nor the id of a task in {} or the data set {}",
            raw.display(),
            data_dir.display()
        ))
    })?;
    match task.test.is_empty() {
        false => Ok(task),
        true => Err(Error::invalid(format!(
            "{asked}: all pairs of this task were trained on and the data set does not tell which are its \
             test pairs; name its file"
        ))),
    }
}

/// A task of Kaggle's files of all tasks; without an id the only one.
fn combined_task(path: &Path, id: Option<&str>) -> Result<Task> {
    if combined::is_one_task(path)? {
        let file = path.display();
        return match id {
            Some(id) => Err(Error::invalid(format!("{file} is one task: leave out :{id}"))),
            None => Task::read(path),
        };
    }
    let mut tasks = combined::read(path)?;
    let found = match id {
        Some(id) => tasks.iter().position(|(name, _)| name == id),
        None => (tasks.len() == 1).then_some(0),
    };
    let Some(found) = found else {
        let (count, file) = (tasks.len(), path.display());
        let first = tasks.first().map_or("ID", |(name, _)| name);
        return Err(Error::invalid(match id {
            Some(id) => format!("{file}: none of its {count} tasks is called {id}"),
            None => format!("{file} holds {count} tasks: name one, such as {file}:{first}"),
        }));
    };
    let (id, text) = tasks.swap_remove(found);
    Task::parse(&id, &text?).map_err(|what| Error::corrupt(path, format!("{id}: {what}")))
}

/// Sorted; none where there is no such folder.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders
}

/// One bar per stage.
#[derive(Default)]
struct Bars {
    stage: String,
    done: usize,
    bar: Option<Bar>,
}

impl Bars {
    fn show(&mut self, at: Progress) -> Option<Stop> {
        let (stage, done, of) = match at {
            Progress::Starting { asked, of } => ("comparing with trained tasks".into(), asked, of),
            Progress::Fitting { step, of } => ("fine-tuning".into(), step as usize, of as usize),
            Progress::Answering { votes, of } => ("answering".into(), votes, of),
            Progress::Checking { votes, of } => ("checking own examples".into(), votes, of),
            Progress::HoldingOut { pair, pairs, step, of } => {
                let stage = format!("without example {} of {pairs}", pair + 1);
                (stage, step as usize, of as usize)
            }
        };
        if self.bar.is_none() || self.stage != stage {
            let bar = progress::Progress::Shown.bar(&stage, of as u64);
            *self = Self { stage, done: 0, bar: Some(bar) };
        }
        if let Some(bar) = &self.bar {
            bar.advance((done - self.done) as u64);
            self.done = done;
        }
        signal::asked_to_stop().then_some(Stop::Answer)
    }
}
