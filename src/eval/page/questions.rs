//! Every question with its pictures: input, expected, the first attempts with their votes, and the
//! task's own examples behind a fold. Boards: input, expected, answered.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{Markup, html};

use crate::Result;
use crate::data::sheet::{self, Panel};
use crate::data::{DataSet, Grid, Kind, Pair};
use crate::eval::Evaluation;
use crate::eval::kind::transform_kind;
use crate::eval::pass::Voted;
use crate::eval::report::Report;

/// A picture is about so many pixels wide or high,
const SIDE: usize = 130;
/// but its cells are no smaller and no larger than this.
const CELLS: (usize, usize) = (8, 24);
/// Where a task's own examples are.
const TRAIN: &str = "train";

/// One card.
struct Card {
    /// right, second, wrong or hidden: what the filter looks for.
    state: &'static str,
    /// How near: share of cells of the best attempt.
    near: f64,
    name: String,
    what: String,
    pictures: Vec<Picture>,
    examples: Vec<Pair>,
}

struct Picture {
    panel: Panel,
    caption: String,
}

pub(super) fn cards(
    report: &Report,
    data: &DataSet,
    evaluation: &Evaluation,
    most: usize,
) -> Result<Markup> {
    let mut cards = match report.kind {
        Kind::Arc => of_questions(&report.voted, data)?,
        _ => of_boards(report, data, evaluation, most)?,
    };
    let of = cards.len();
    let states = ["hidden", "wrong", "second", "right"];
    let order = |card: &Card| states.iter().position(|s| *s == card.state);
    cards.sort_by(|a, b| order(a).cmp(&order(b)).then(b.near.total_cmp(&a.near)));
    cards.truncate(most);
    let count = |state: &str| cards.iter().filter(|c| c.state == state).count();
    let mut filters = vec![("all", "all", cards.len()), ("wrong", "failed", count("wrong"))];
    if report.kind == Kind::Arc {
        filters.push(("second", "right at the second attempt", count("second")));
    }
    filters.push(("right", "right", count("right")));
    if count("hidden") > 0 {
        filters.push(("hidden", "answer not known", count("hidden")));
    }
    Ok(html! { section {
        h2 { "Questions and answers" }
        @if cards.len() < of { p { (cards.len()) " of " (of) " are shown." } }
        p.filter role="group" aria-label="which" {
            @for (state, label, n) in filters {
                button type="button" data-state=(state) aria-pressed=(state == "all") {
                    (label) " " (n)
                }
            }
        }
        @for card in &cards { (markup(card, report.kind)?) }
    } })
}

fn of_questions(voted: &[Voted], data: &DataSet) -> Result<Vec<Card>> {
    let examples = task_examples(data)?;
    let card = |v: &Voted| {
        let input = &v.question.pair.input;
        let output = v.question.pair.known_output();
        let mut pictures = vec![Picture { panel: Panel::plain(input), caption: "input".into() }];
        pictures
            .extend(output.map(|o| Picture { panel: Panel::plain(o), caption: "expected".into() }));
        for (i, c) in v.candidates.iter().take(2).enumerate() {
            let verdict = match output {
                Some(output) if c.grid == *output => ", right",
                Some(_) => ", wrong",
                None => "",
            };
            let caption = format!(
                "attempt {}{verdict}: {} of {} votes, belief {:.0} %",
                i + 1,
                c.votes,
                v.votes(),
                100.0 * c.q_halt
            );
            let panel = match output {
                Some(output) => Panel::judged(&c.grid, output),
                None => Panel::plain(&c.grid),
            };
            pictures.push(Picture { panel, caption });
        }
        let near = v.candidates.iter().take(2);
        let near = near.filter_map(|c| Some(right_cells(&c.grid, output?)));
        let asks = match v.is_hidden() {
            true => "its answer is not known",
            false => transform_kind(&v.question.pair),
        };
        Card {
            state: match (v.is_hidden(), v.passed(1), v.passed(2)) {
                (true, ..) => "hidden",
                (_, true, _) => "right",
                (_, _, true) => "second",
                _ => "wrong",
            },
            near: near.fold(0.0, f64::max),
            name: format!("{}, test input {}", v.question.task, v.question.number + 1),
            what: match v.candidates.is_empty() {
                true => format!("{asks}; no answer showed a grid"),
                false => asks.to_owned(),
            },
            pictures,
            examples: examples.get(&v.question.task).cloned().unwrap_or_default(),
        }
    };
    Ok(voted.iter().map(card).collect())
}

/// What each task shows, where the data set has it: the pairs of its puzzle in the training split.
fn task_examples(data: &DataSet) -> Result<HashMap<String, Vec<Pair>>> {
    let mut all = HashMap::new();
    if !data.split_names().any(|name| name == TRAIN) {
        return Ok(all);
    }
    let shard = data.split(TRAIN)?;
    let names = data.identifiers()?;
    for (puzzle, original) in super::super::select::originals(data, TRAIN)?.iter().enumerate() {
        if *original {
            let pair = |i| Ok(shard.example(i)?.pair);
            let pairs = shard.puzzle_range(puzzle)?.map(pair).collect::<Result<_>>()?;
            all.insert(names[shard.puzzle_id(puzzle)? as usize].clone(), pairs);
        }
    }
    Ok(all)
}

/// Boards, half of them failed ones if there are as many.
fn of_boards(
    report: &Report,
    data: &DataSet,
    evaluation: &Evaluation,
    most: usize,
) -> Result<Vec<Card>> {
    let all = 0..report.verdicts.len();
    let (right, wrong): (Vec<_>, Vec<_>) = all.partition(|&i| report.verdicts[i].exact);
    let wrong = wrong.into_iter().take(most.saturating_sub((most / 2).min(right.len())));
    let wrong: Vec<usize> = wrong.collect();
    let right = right.into_iter().take(most - wrong.len());
    let card = |i: usize| {
        let example = evaluation.examples[i];
        let Pair { input, output } = data.example(&evaluation.split, example as usize)?.pair;
        let (verdict, answer) = (report.verdicts[i], evaluation.grid(data, i)?);
        let caption = format!("answered, {} of {} cells", verdict.cells.right, verdict.cells.of);
        let answered = Panel::judged(&answer, &output);
        Ok(Card {
            state: if verdict.exact { "right" } else { "wrong" },
            near: verdict.cells.frac(),
            name: format!("board {example}"),
            what: String::new(),
            pictures: vec![
                Picture { panel: Panel::plain(&input), caption: "input".into() },
                Picture { panel: Panel::plain(&output), caption: "expected".into() },
                Picture { panel: answered, caption },
            ],
            examples: vec![],
        })
    };
    wrong.iter().copied().chain(right).map(card).collect()
}

/// Share of the true grid's cells that an answer of its shape has right.
fn right_cells(answer: &Grid, truth: &Grid) -> f64 {
    if (answer.h(), answer.w()) != (truth.h(), truth.w()) {
        return 0.0;
    }
    let right = answer.cells().iter().zip(truth.cells()).filter(|(a, b)| a == b).count();
    right as f64 / truth.cells().len().max(1) as f64
}

fn markup(card: &Card, kind: Kind) -> Result<Markup> {
    let pictures = |pictures: &[Picture]| -> Result<Markup> {
        let all = pictures.iter().map(|p| figure(p, kind)).collect::<Result<Vec<_>>>()?;
        Ok(html! { div.grids { @for figure in all { (figure) } } })
    };
    let shown = card.examples.iter().flat_map(|pair| {
        let plain =
            |grid, caption: &str| Picture { panel: Panel::plain(grid), caption: caption.into() };
        [plain(&pair.input, "input"), plain(&pair.output, "output")]
    });
    let shown: Vec<Picture> = shown.collect();
    Ok(html! { article data-state=(card.state) {
        h3 { (card.name) }
        p { (card.what) }
        (pictures(&card.pictures)?)
        @if !shown.is_empty() {
            details { summary { "the task's " (card.examples.len()) " examples" } (pictures(&shown)?) }
        }
    } })
}

fn figure(picture: &Picture, kind: Kind) -> Result<Markup> {
    let Picture { panel, caption } = picture;
    if panel.grid.is_empty() {
        return Ok(html! { figure { figcaption { (caption) ": no grid" } } });
    }
    let png = BASE64.encode(sheet::picture(panel, kind)?);
    let (h, w) = (panel.grid.h(), panel.grid.w());
    let cell = (SIDE / h.max(w)).clamp(CELLS.0, CELLS.1);
    Ok(html! { figure {
        img src=(format!("data:image/png;base64,{png}")) loading="lazy" width=(cell * w)
            alt=(format!("{caption}, {h} x {w} cells"));
        figcaption { (caption) }
    } })
}
