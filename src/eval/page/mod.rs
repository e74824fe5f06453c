//! `report.html`: one file with everything in it, which asks no network for anything: the scores,
//! what fails, the run's curves, and every question as pictures (up to `MOST_QUESTIONS`).
//!
//! `curves.rs` the run's metrics as SVG · `questions.rs` the pictures · `style.css`, `filter.js`.

mod curves;
mod questions;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use curves::Curve;

use super::Evaluation;
use super::breakdown::Breakdown;
use super::report::Report;
use super::score::Share;
use super::table::{Table, count};
use crate::data::DataSet;
use crate::{PROGRAM, Result};

pub const FILE: &str = "report.html";

/// Most questions with pictures; the failed ones that came nearest to the truth go first.
const MOST_QUESTIONS: usize = 500;

/// What a page says beside the scores.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// What was evaluated, such as the checkpoint.
    pub title: String,
    /// The run's metrics; none when it is not known.
    pub curves: Vec<Curve>,
}

/// The whole page.
pub fn page(
    report: &Report,
    data: &DataSet,
    evaluation: &Evaluation,
    heading: &Heading,
) -> Result<String> {
    let questions = questions::cards(report, data, evaluation, MOST_QUESTIONS)?;
    let curves = curves::figures(&heading.curves)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Nothing is loaded, whatever the page may come to hold.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
                title { "hrm: " (heading.title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header {
                    h1 { (heading.title) }
                    p { (report.heading()) }
                }
                main {
                    section {
                        h2 { "Scores" }
                        (scores(&report.scores()))
                        @if let Some(rollouts) = report.rollouts() {
                            h3 { "Rollouts" }
                            (scores(&rollouts))
                            p.note { (ROLLOUTS) }
                        }
                        @for note in &report.notes { p.note { (note) } }
                        (words(report))
                    }
                    @if !curves.is_empty() {
                        section { h2 { "The run" } div.curves { @for c in &curves { (c) } } }
                    }
                    section { h2 { "What fails" } div.breakdowns {
                        @for b in &report.breakdown { (breakdown(b)) }
                    } }
                    (questions)
                }
                footer { (PROGRAM) ", data set " code { (report.data_digest) } }
                script { (PreEscaped(include_str!("filter.js"))) }
            }
        }
    };
    Ok(page.into_string())
}

/// What the table of rollouts shows.
const ROLLOUTS: &str = "Each trajectory but the first starts every segment from a latent state with \
    noise; the one of the highest q_halt answers. Time is that of the whole evaluation, shared out \
    by segments.";

fn scores(table: &Table) -> Markup {
    html! {
        div.wide { table {
            thead { tr { @for cell in &table.head { th { (cell) } } } }
            tbody { @for (name, cells) in &table.lines {
                tr { th { (name) } @for cell in cells { td { (cell) } } }
            } }
        } }
    }
}

/// What the lines of the table mean.
fn words(report: &Report) -> Markup {
    html! {
        details {
            summary { "How to read this" }
            p {
                "Copying the input is the baseline that every score has to beat: it is right wherever \
                 a puzzle changes little, padding above all."
            }
            @if report.questions.is_some() {
                p {
                    "Every variant of a task (turned, mirrored, recoloured) is answered, the change is \
                     undone, and equal answers are votes for one candidate. Candidates are ranked by \
                     votes, then by the mean of sigmoid(q_halt), the model's own belief. pass@k: the \
                     true grid is among the k best. Task score: mean over tasks of the share of their \
                     test inputs that are passed."
                }
            }
        }
    }
}

fn breakdown(b: &Breakdown) -> Markup {
    let two = b.groups.iter().any(|g| g.second.is_some());
    html! {
        div.wide { table {
            thead { tr {
                th { (b.by) }
                th { @if two { "pass@1" } @else { "exact" } }
                @if two { th { "pass@2" } }
                th { "copy" }
            } }
            tbody { @for g in &b.groups { tr {
                th { (g.name) }
                (share(g.first))
                @if let Some(second) = g.second { (share(second)) }
                (share(g.identity))
            } } }
        } }
    }
}

fn share(s: Share) -> Markup {
    html! { td style=(format!("--share:{:.1}%", 100.0 * s.frac())) { (count(s)) } }
}
