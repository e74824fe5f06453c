//! A run on one screen of a terminal: state and progress, numbers, curves, the last lines of its
//! log. Draws into any size, down to nothing; reads no file and no clock.
//!
//! `facts.rs` the numbers · `charts.rs` the curves.

mod charts;
mod facts;

#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph};

use super::run::RunView;
use super::summary::{State, Summary};
use crate::io::units::compact_time;
use crate::track::system::Load;

/// From this width on the numbers stand beside the curves.
const WIDE: u16 = 100;
const FACTS_WIDTH: u16 = 34;

/// What there is to see. `load`: of this machine.
pub struct View<'a> {
    pub run: &'a RunView,
    pub summary: &'a Summary,
    pub load: &'a Load,
}

pub fn draw(frame: &mut Frame, view: &View) {
    let area = frame.area();
    let log_lines = (area.height / 5).clamp(2, 12).min(view.run.log.len() as u16 + 1);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(log_lines),
        Constraint::Length(1),
    ];
    let [head, progress, body, log, foot] = Layout::vertical(rows).areas(area);
    frame.render_widget(heading(view), head);
    draw_progress(frame, view.summary, progress);
    let facts = facts::of(view);
    let [numbers, curves] = if area.width >= WIDE {
        let columns = [Constraint::Length(FACTS_WIDTH), Constraint::Min(0)];
        Layout::horizontal(columns).areas(body)
    } else {
        let room = body.height.saturating_sub(charts::LEAST_HEIGHT).max(body.height / 3);
        let lines = facts::lines_needed(facts.len(), area.width).min(room);
        Layout::vertical([Constraint::Length(lines), Constraint::Min(0)]).areas(body)
    };
    facts::draw(frame, &facts, numbers);
    charts::draw(frame, view.run, curves);
    draw_log(frame, view.run, log);
    frame.render_widget(Line::from(" q: quit ").dim(), foot);
}

fn heading<'a>(view: &View<'a>) -> Line<'a> {
    let summary = view.summary;
    let (word, colour) = match summary.state {
        State::Waiting => ("waiting for the first step".to_owned(), Color::Yellow),
        State::Finished => ("finished".to_owned(), Color::Green),
        State::Unfinished if summary.overdue => {
            let silent = compact_time(summary.silent_s.unwrap_or(0.0));
            (format!("stopped? no line for {silent}"), Color::Red)
        }
        State::Unfinished => match view.run.pid {
            Some(pid) if view.load.process_bytes.is_none() => {
                (format!("unfinished; its process {pid} is not on this machine"), Color::Yellow)
            }
            _ => ("running".to_owned(), Color::Green),
        },
    };
    Line::from(vec![
        Span::from(format!(" {}", summary.run)).bold(),
        Span::from(format!("  {}  ", summary.preset)),
        Span::from(word).fg(colour).bold(),
    ])
}

fn draw_progress(frame: &mut Frame, summary: &Summary, area: Rect) {
    let best = summary
        .best
        .as_ref()
        .map(|best| format!("   best {} {:.4} at step {}", best.name, best.value, best.step));
    let best = best.unwrap_or_default();
    let Some(total) = summary.total_steps.filter(|total| *total > 0) else {
        frame.render_widget(Line::from(format!(" step {}{best}", summary.step)), area);
        return;
    };
    let left = match summary.eta_s {
        Some(s) if !summary.overdue => format!("   about {} left", compact_time(s)),
        _ => String::new(),
    };
    let ratio = (summary.step as f64 / total as f64).clamp(0.0, 1.0);
    let gauge = Gauge::default()
        .gauge_style(Style::new().fg(Color::Blue).bg(Color::Black))
        .use_unicode(true)
        .ratio(ratio)
        .label(format!("step {}/{total}{left}{best}", summary.step).fg(Color::White));
    frame.render_widget(gauge, area);
}

fn draw_log(frame: &mut Frame, run: &RunView, area: Rect) {
    let room = area.height.saturating_sub(1) as usize;
    let lines = run.log.iter().skip(run.log.len().saturating_sub(room));
    let lines: Vec<Line> = lines.map(|line| Line::from(line.trim_start())).collect();
    let block = Block::new().title("─ log ").borders(ratatui::widgets::Borders::TOP).dim();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
