//! Builds an ARC data set: tasks in the order of their ids, each with its distinct variants. The
//! bytes depend on the options and the task files only, not on the number of threads.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::json;

use super::fixed;
use super::source::{self, SourceTask, Sources};
use super::variants::{self, Drawn};
use crate::data::augment::Variant;
use crate::data::canvas::Placement;
use crate::data::grid::Pair;
use crate::data::manifest::Manifest;
use crate::data::output::Output;
use crate::data::overlap::{self, Content};
use crate::data::pattern::PatternKind;
use crate::data::shard::{GroupBuf, Spec};
use crate::data::vocab::MAX_ARC_SIDE;
use crate::io::progress::Progress;
use crate::{Error, Result};

/// Which pairs are never trained on.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Holdout {
    /// The test pairs of evaluation tasks, and of any task that hides an answer; those of other
    /// training tasks are trained on
    Official,
    /// The test pairs of every task
    TestPairs,
}

#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ArcOptions {
    pub num_aug: usize,
    pub seed: u64,
    pub canvas: usize,
    /// Only so many tasks: the smallest by largest grid, ties by id.
    pub max_tasks: Option<usize>,
    pub holdout: Holdout,
    pub patterns: Vec<PatternKind>,
}

impl Default for ArcOptions {
    fn default() -> Self {
        Self {
            num_aug: 100,
            seed: 42,
            canvas: MAX_ARC_SIDE,
            max_tasks: None,
            holdout: Holdout::Official,
            patterns: vec![],
        }
    }
}

/// What was built and what was left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct ArcReport {
    pub tasks: usize,
    /// Tasks with a grid larger than the canvas.
    pub too_large: usize,
    /// Tasks beyond `max_tasks`.
    pub beyond_max_tasks: usize,
    pub duplicate_ids: usize,
    /// Test inputs without an output.
    pub hidden_pairs: usize,
    /// Training pairs left out because a pair that is held out has the same content.
    pub held_out_by_content: usize,
    /// Task files that could not be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Files beside the tasks that are no task files.
    pub other_files: usize,
    /// Tasks with fewer than `num_aug` distinct variants.
    pub short_of_variants: usize,
}

/// Tasks per round of parallel work: bounds the memory held before it is written.
const ROUND: usize = 64;

pub fn build(
    dataset_dirs: &[PathBuf],
    output_dir: &Path,
    options: &ArcOptions,
    progress: Progress,
) -> Result<(Manifest, ArcReport)> {
    if !(1..=MAX_ARC_SIDE).contains(&options.canvas) {
        let canvas = options.canvas;
        return Err(Error::invalid(format!("canvas {canvas}: ARC has 1 to {MAX_ARC_SIDE}")));
    }
    fixed::check_num_aug(options.num_aug)?;
    let Sources { mut tasks, duplicates, unreadable, other_files, digest } =
        source::read(dataset_dirs)?;
    let mut report =
        ArcReport { duplicate_ids: duplicates, unreadable, other_files, ..ArcReport::default() };
    select(&mut tasks, options, &mut report)?;
    let held_out = HeldOut::of(&tasks, options);
    report.held_out_by_content = tasks.iter().map(|task| held_out.trained_pairs(task).1).sum();

    let mut provenance = json!({
        "builder": concat!("hrm ", env!("CARGO_PKG_VERSION")),
        "arc": options,
        "sources": { "tasks": report.tasks, "digest": digest },
    });
    if report.held_out_by_content > 0 {
        provenance["held_out_by_content"] = json!(report.held_out_by_content);
    }
    let spec = Spec::arc(options.canvas);
    let mut output = Output::create(output_dir, spec, provenance)?;
    let (mut train, mut test) = (output.writer("train")?, output.writer("test")?);
    let mut names: Vec<String> = vec![];
    let bar = progress.bar("augmenting tasks", tasks.len() as u64);
    for round in tasks.chunks(ROUND) {
        let built = round.par_iter().map(|source| {
            let built = build_task(source, options, spec, &held_out);
            bar.advance(1);
            built
        });
        for (source, built) in round.iter().zip(built.collect::<Result<Vec<_>>>()?) {
            let first = names.len() as u32 + 1;
            let ids: Vec<u32> = (first..first + built.drawn.len() as u32).collect();
            names.extend(built.drawn.iter().map(|d| d.name(&source.task.id)));
            report.short_of_variants += (built.drawn.len() <= options.num_aug) as usize;
            if let Some(group) = built.train {
                train.push(&group, &ids)?;
            }
            if let Some(group) = built.test {
                test.push(&group, &ids)?;
            }
        }
    }
    drop(bar);
    output.finish_split("train", train)?;
    output.finish_split("test", test)?;
    Ok((output.finish(&names)?, report))
}

/// Drops what does not fit or is not wanted, and says how many.
fn select(tasks: &mut Vec<SourceTask>, options: &ArcOptions, report: &mut ArcReport) -> Result<()> {
    let found = tasks.len();
    tasks.retain(|s| s.task.largest_side() <= options.canvas);
    report.too_large = found - tasks.len();
    if let Some(wanted) = options.max_tasks.filter(|&n| n < tasks.len()) {
        report.beyond_max_tasks = tasks.len() - wanted;
        tasks.sort_by_key(|s| s.task.largest_cells()); // stable: ties stay in order of ids
        tasks.truncate(wanted);
        tasks.sort_by(|a, b| a.task.id.cmp(&b.task.id));
    }
    if tasks.is_empty() {
        return Err(Error::invalid(format!(
            "none of the {found} tasks is left on canvas {} (largest side of each must fit)",
            options.canvas
        )));
    }
    report.tasks = tasks.len();
    report.hidden_pairs = tasks.iter().map(|s| s.task.hidden()).sum();
    Ok(())
}

struct BuiltTask {
    drawn: Vec<Drawn>,
    train: Option<GroupBuf>,
    test: Option<GroupBuf>,
}

/// The pairs of a task that may be trained on and those that are held out, by their place. A task
/// with a hidden test input is asked as a whole, so that its answers can be handed in.
fn divide(source: &SourceTask, holdout: Holdout) -> (Vec<Pair>, Vec<Pair>) {
    let mut train = source.task.train.clone();
    let mut test: Vec<Pair> = source.task.test.iter().cloned().map(Pair::from).collect();
    if holdout == Holdout::Official && !source.evaluation && source.task.hidden() == 0 {
        train.append(&mut test);
    }
    (train, test)
}

/// What is held out of training, by content: the same pair may stand in another task, turned or
/// recoloured, or among the demonstrations of its own, as it is. Demonstrations that only a change
/// of colours turns into the test pair of their own task are what the task shows.
struct HeldOut<'a> {
    /// The tasks that hold the content out.
    tasks: HashMap<Content, BTreeSet<&'a str>>,
    options: &'a ArcOptions,
}

impl<'a> HeldOut<'a> {
    fn of(tasks: &'a [SourceTask], options: &'a ArcOptions) -> Self {
        let mut held_out = Self { tasks: HashMap::new(), options };
        for source in tasks {
            let held = divide(source, options.holdout).1.into_iter();
            for pair in held.filter(|pair| !pair.is_hidden()) {
                for content in overlap::contents(&pair, &options.patterns, options.canvas) {
                    held_out.tasks.entry(content).or_default().insert(&source.task.id);
                }
            }
        }
        held_out
    }

    /// Pairs that are trained on, and how many others of the task are not for their content.
    fn trained_pairs(&self, source: &SourceTask) -> (Vec<Pair>, usize) {
        let (mut train, own) = divide(source, self.options.holdout);
        let before = train.len();
        train.retain(|pair| {
            let contents = overlap::contents(pair, &self.options.patterns, self.options.canvas);
            let mut tasks = contents.iter().filter_map(|content| self.tasks.get(content)).flatten();
            !own.contains(pair) && tasks.all(|task| *task == source.task.id)
        });
        let left_out = before - train.len();
        (train, left_out)
    }
}

fn build_task(
    source: &SourceTask,
    options: &ArcOptions,
    spec: Spec,
    held_out: &HeldOut,
) -> Result<BuiltTask> {
    let task = &source.task;
    let (train, test) = divide(source, options.holdout);
    let all: Vec<&Pair> = train.iter().chain(&test).collect();
    let drawn = variants::draw(
        task,
        &all,
        options.num_aug,
        options.seed,
        options.canvas,
        &options.patterns,
    );
    let group = |pairs: &[Pair], translate: bool| -> Result<Option<GroupBuf>> {
        if pairs.is_empty() {
            return Ok(None);
        }
        let mut group = GroupBuf::new(spec);
        for (number, drawn) in drawn.iter().enumerate() {
            let variant = drawn.variant.unwrap_or(Variant::IDENTITY);
            let patterned: Vec<Pair>;
            let pairs = match drawn.pattern {
                None => pairs,
                Some(pattern) => {
                    patterned = pairs.iter().map(|p| pattern.apply_pair(p)).collect();
                    &patterned
                }
            };
            let (seed, canvas) = (options.seed, options.canvas);
            let places = match translate {
                true => variants::placements(seed, &task.id, number, pairs, variant, canvas),
                false => vec![Placement::default(); pairs.len()],
            };
            group.begin_puzzle(variant);
            for (pair, at) in pairs.iter().zip(places) {
                let stored = group.store(pair)?;
                group.push(stored, at, at)?;
            }
        }
        Ok(Some(group))
    };
    let train = held_out.trained_pairs(source).0;
    let (train, test) = (group(&train, true)?, group(&test, false)?);
    Ok(BuiltTask { drawn, train, test })
}
