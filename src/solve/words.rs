//! An [`Outcome`] for people: what was done, the votes, and how far to trust the answers.

use std::fmt::Write;

use super::options::{Ended, FineTune, Fitted};
use super::outcome::{HeldOut, Origin, Outcome, Test};
use crate::eval::Share;

impl Outcome {
    /// All of it but the pictures.
    pub fn summary(&self) -> String {
        let mut text = format!("task {}: {}; ", self.task, self.origin.words(&self.task));
        let _ = writeln!(text, "asked as {} variants", self.puzzles);
        for (i, test) in (1..).zip(&self.tests) {
            test.write(i, &mut text);
        }
        for line in self.trust() {
            text += &line;
            text.push('\n');
        }
        let _ = writeln!(text, "{:.1} s", self.wall_s);
        text
    }

    /// How far to trust the answers, plainly; a line per reason.
    pub fn trust(&self) -> Vec<String> {
        let leaked = (1..).zip(&self.tests).filter_map(|(i, test)| {
            if test.trained_on {
                return Some(format!(
                    "test {i}: the model was trained on this very pair: its answer is memory, not ability"
                ));
            }
            let task = test.trained_as.as_ref()?;
            Some(format!(
                "test {i}: the model was trained on this pair in task {task}, turned or recoloured: its \
                 answer may be memory"
            ))
        });
        let mut lines: Vec<String> = leaked.collect();
        let learnt = match self.origin {
            Origin::Unseen { fine_tune: FineTune::None, .. } => "",
            _ => ", which it was trained on",
        };
        lines.push(match self.own_pairs {
            None => "own examples: not asked, the time was up".into(),
            Some(Share { right: 0, of }) => {
                format!("reproduces 0 of {of} of its own examples{learnt}: do not trust this answer")
            }
            Some(Share { right, of }) if right < of => format!(
                "reproduces {right} of {of} of its own examples{learnt}: it has not understood the task"
            ),
            Some(Share { of, .. }) => {
                format!("reproduces all {of} of its own examples{learnt}: needed, not enough")
            }
        });
        lines.extend(self.held_out.map(HeldOut::words));
        lines
    }
}

impl Origin {
    fn words(&self, task: &str) -> String {
        match self {
            Origin::Known { name } if name == task => "trained on".into(),
            Origin::Known { name } => format!("trained on, as {name}"),
            Origin::Unseen { looked_for, same_name, started_from, fine_tune, fitted } => {
                let seen = match (looked_for, same_name) {
                    (false, _) => "taken as never seen, for want of the data set",
                    (true, true) => "not trained on (another one of this name was)",
                    (true, false) => "not trained on",
                };
                let start = match started_from {
                    Some(task) => format!("nearest to {task}, whose embedding it starts from; "),
                    None => String::new(),
                };
                format!("{seen}; {start}{}", fitted.words(*fine_tune))
            }
        }
    }
}

impl Fitted {
    fn words(&self, fine_tune: FineTune) -> String {
        let what = match fine_tune {
            FineTune::None => return "answered as it is, without fine-tuning".into(),
            FineTune::Embedding => "puzzle embeddings",
            FineTune::All => "all weights",
        };
        let why = match self.ended {
            Ended::Reproduced => "until its examples were reproduced",
            Ended::Steps => "all that were allowed",
            Ended::Time => "then its share of the time was up",
            Ended::Stopped => "then it was stopped",
        };
        format!("{what} fine-tuned on its examples for {} steps, {why}", self.steps)
    }
}

impl HeldOut {
    fn words(self) -> String {
        let Self { answered: Share { right, of }, pairs, cut_short } = self;
        if of == 0 {
            return "held-out examples: none was tried, there was no time".into();
        }
        let verdict = match right {
            0 => "do not trust this answer",
            _ if right < of || of < pairs as u64 => "doubtful",
            _ => "that speaks for the answer",
        };
        let tried = match of < pairs as u64 {
            true => format!(" (of {pairs}; then the time was up)"),
            false => String::new(),
        };
        let short = match cut_short {
            0 => String::new(),
            n => format!(", {n} of them fine-tuned for less time than the answer"),
        };
        format!("answers {right} of {of} held-out examples{tried}{short}: {verdict}")
    }
}

impl Test {
    fn write(&self, number: usize, text: &mut String) {
        let judged = |right| match right {
            Some(true) => ", right",
            Some(false) => ", wrong",
            None => "",
        };
        let cast = self.votes_cast;
        let unreadable = match self.unreadable {
            0 => String::new(),
            n => format!(" ({n} without a readable grid)"),
        };
        let _ = writeln!(
            text,
            "test {number}: {} different answers in {cast} votes{unreadable}, ACT steps {:.1}",
            self.candidates, self.act_steps
        );
        if self.attempts.is_empty() {
            *text += "  no answer showed a grid\n";
        }
        for (i, a) in (1..).zip(&self.attempts) {
            let (h, w) = (a.grid.h(), a.grid.w());
            let _ = writeln!(
                text,
                "  attempt {i}: {h} x {w}, {} of {cast} votes ({:.0} %), mean q_halt {:.2}{}",
                a.votes,
                100.0 * a.share,
                a.q_halt,
                judged(a.right)
            );
        }
        if self.identity_right.is_some() {
            let _ = writeln!(text, "  copy of the input{}", judged(self.identity_right));
        }
    }
}
