//! The scores as lines of a table: for the terminal and for the page.

use std::fmt::Write as _;

use super::report::{AfterRollouts, Column, Report};
use super::score::Share;
use crate::data::Kind;

/// A table with a head; cells as text.
pub struct Table {
    pub head: Vec<String>, // first the name of a line, then columns
    pub lines: Vec<(String, Vec<String>)>,
}

impl Table {
    /// Columns in line, the first of them `first` wide, the others `width`.
    fn text(&self, first: usize, width: usize) -> String {
        let mut text = String::new();
        let mut row = |name: &str, cells: &[String]| {
            let _ = write!(text, "{name:<first$}");
            cells.iter().for_each(|cell| {
                let _ = write!(text, "{cell:>width$}");
            });
            text.push('\n');
        };
        row(&self.head[0], &self.head[1..]);
        self.lines.iter().for_each(|(name, cells)| row(name, cells));
        text
    }
}

impl Report {
    pub fn columns(&self) -> Vec<(&'static str, &Column)> {
        let mut columns = vec![("model", &self.model)];
        columns.extend(self.early_halt.as_ref().map(|early| ("early halting", early)));
        columns.push(("copy of the input", &self.identity_baseline));
        columns
    }

    pub fn scores(&self) -> Table {
        let columns = self.columns();
        let mut lines = vec![];
        let mut line = |name: &str, cell: &dyn Fn(&Column) -> String| {
            lines.push((name.to_owned(), columns.iter().map(|(_, c)| cell(c)).collect()));
        };
        let arc = self.kind == Kind::Arc;
        // Boards have no padding: each token is a cell.
        if arc {
            line("token accuracy, with padding", &|c| scored(c, c.scores.token_accuracy));
            line("token accuracy, without", &|c| scored(c, c.scores.token_accuracy_not_pad));
        }
        line("cell accuracy", &|c| scored(c, c.scores.cell_accuracy));
        if arc {
            line("right shape", &|c| count(c.scores.same_shape));
            line("exact grids, variants included", &|c| count(c.scores.exact));
            line("exact grids, as published", &|c| {
                count(c.scores.exact_published.unwrap_or_default())
            });
        } else {
            line("exact boards", &|c| count(c.scores.exact));
        }
        for (i, pass) in self.model.pass_at.iter().enumerate() {
            let k = pass.k;
            let attempts = if k == 1 { "1 attempt".to_owned() } else { format!("{k} attempts") };
            line(&format!("pass@{k}, voted"), &|c| count(c.pass_at[i].passed));
            line(&format!("tasks solved, {attempts}"), &|c| count(c.pass_at[i].solved));
            line(&format!("task score, {attempts}"), &|c| scored(c, c.pass_at[i].task_score));
        }
        if self.model.cost.is_some() {
            let cost = |f: fn(&super::report::Cost) -> String| {
                move |c: &Column| c.cost.as_ref().map_or("-".to_owned(), f)
            };
            line("ACT steps", &cost(|c| format!("{:.2}", c.act_steps)));
            line("ACT steps wanted", &cost(|c| format!("{:.2}", c.act_steps_wanted)));
            if self.model.cost.is_some_and(|c| c.asked_again > 0) {
                line("asked again, whole canvas", &cost(|c| c.asked_again.to_string()));
            }
            line("time per example", &cost(|c| format!("{:.1} ms", c.time.ms_per_example)));
            line("time per task", &cost(|c| format!("{:.2} s", c.time.s_per_task)));
            line("time", &cost(|c| format!("{:.1} s", c.time.wall_s)));
        }
        let head = std::iter::once("").chain(columns.iter().map(|(name, _)| *name));
        Table { head: head.map(str::to_owned).collect(), lines }
    }

    /// Scores against the number of trajectories, where rollouts were asked for.
    pub fn rollouts(&self) -> Option<Table> {
        let first = self.rollouts.first()?;
        let is_arc = self.kind == Kind::Arc;
        let mut head = vec!["rollouts at most".to_owned()];
        head.push(if is_arc { "exact, published" } else { "exact boards" }.to_owned());
        head.extend(first.column.pass_at.iter().map(|pass| format!("pass@{}", pass.k)));
        head.extend(first.obeys.map(|_| "found by the rules".to_owned()));
        head.extend(["ACT steps", "time"].map(str::to_owned));
        let line = |at: &AfterRollouts| {
            let scores = &at.column.scores;
            let exact = if is_arc { scores.exact_published } else { Some(scores.exact) };
            let mut cells = vec![count(exact.unwrap_or_default())];
            cells.extend(at.column.pass_at.iter().map(|pass| count(pass.passed)));
            cells.extend(at.obeys.map(count));
            let cost = at.column.cost.as_ref();
            cells.push(cost.map_or("-".to_owned(), |cost| format!("{:.2}", cost.act_steps)));
            cells.push(cost.map_or("-".to_owned(), |cost| format!("{:.1} s", cost.time.wall_s)));
            (at.k.to_string(), cells)
        };
        Some(Table { head, lines: self.rollouts.iter().map(line).collect() })
    }

    pub fn table(&self) -> String {
        let mut text = self.heading() + "\n" + &self.scores().text(31, 18);
        if let Some(rollouts) = self.rollouts() {
            text.push('\n');
            text.push_str(&rollouts.text(16, 19));
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// What was evaluated, in words.
    pub fn heading(&self) -> String {
        let (split, dir) = (&self.split, &self.data_dir);
        let of = format!("split {split} of {dir}: {} of {}", self.examples, self.split_examples);
        let variants = self.examples - self.originals;
        match self.questions {
            Some(q) => {
                let votes = match (q.fewest_answers, q.most_answers) {
                    (_, 1) => "1 vote".to_owned(),
                    (least, most) if least == most => format!("{most} votes"),
                    (least, most) => format!("{least} to {most} votes"),
                };
                format!(
                    "{of} examples ({} as published, {variants} variants): {} test inputs of {} \
                     tasks, {votes} on each",
                    self.originals, q.count, self.tasks,
                )
            }
            None => format!("{of} boards"),
        }
    }
}

/// A mean over what is scored, if anything is: a column may have hidden test inputs only.
fn scored(column: &Column, mean: f64) -> String {
    if column.scores.exact.of == 0 { "-".into() } else { percent(mean) }
}

pub fn percent(x: f64) -> String {
    format!("{:.2} %", 100.0 * x)
}

pub fn count(s: Share) -> String {
    format!("{}/{}", s.right, s.of)
}
