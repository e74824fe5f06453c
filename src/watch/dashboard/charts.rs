//! Curves of a run: metrics of one kind share a chart, as many charts as the room takes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use crate::watch::run::RunView;
use crate::watch::summary::number;

/// Below this a chart shows nothing.
const LEAST_WIDTH: u16 = 28;
/// Charts stand side by side where each has this much.
const COLUMN_WIDTH: u16 = 36;
pub const LEAST_HEIGHT: u16 = 6;
const COLOURS: [Color; 4] = [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green];

/// Title and metrics, what matters most first.
const CHARTS: &[(&str, &[&str])] = &[
    ("loss", &["lm_loss", "val_lm_loss"]),
    ("loss", &["loss"]),
    ("accuracy", &["accuracy", "val_accuracy"]),
    ("exact", &["exact_accuracy", "val_exact_accuracy"]),
    ("MSE", &["val_mse"]),
    ("PSNR dB", &["val_psnr_db"]),
    ("ACT steps", &["act_steps", "val_act_steps"]),
    ("ms", &["step_ms", "data_wait_ms"]),
    ("gradient norm", &["grad_norm"]),
    ("learning rate", &["lr"]),
    ("Q loss", &["q_halt_loss", "q_continue_loss"]),
    ("SSIM", &["val_ssim"]),
];

struct Curve<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
}

pub fn draw(frame: &mut Frame, run: &RunView, area: Rect) {
    if area.width < LEAST_WIDTH || area.height < LEAST_HEIGHT {
        return;
    }
    let charts: Vec<(&str, Vec<Curve>)> = CHARTS
        .iter()
        .map(|(title, names)| (*title, curves(run, names)))
        .filter(|(_, curves)| !curves.is_empty())
        .collect();
    if charts.is_empty() {
        frame.render_widget(Paragraph::new(" no metrics yet").dim(), area);
        return;
    }
    let (columns, rows) = grid(charts.len(), area);
    let lines = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    for (line, charts) in lines.iter().zip(charts.chunks(columns)) {
        let cells = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*line);
        for (cell, (title, curves)) in cells.iter().zip(charts) {
            draw_chart(frame, title, curves, *cell);
        }
    }
}

/// Columns and rows for at most `charts` charts.
fn grid(charts: usize, area: Rect) -> (usize, usize) {
    let most_columns = (area.width / COLUMN_WIDTH).clamp(1, 3) as usize;
    let most_rows = (area.height / LEAST_HEIGHT).max(1) as usize;
    let columns = most_columns.min(charts);
    (columns, charts.div_ceil(columns).min(most_rows))
}

fn curves<'a>(run: &RunView, names: &[&'a str]) -> Vec<Curve<'a>> {
    let points = |name| Some(Curve { name, points: run.series(name)?.points() });
    let all = names.iter().copied().filter_map(points);
    all.filter(|curve| !curve.points.is_empty()).collect()
}

fn draw_chart(frame: &mut Frame, title: &str, curves: &[Curve], area: Rect) {
    let mut head = vec![Span::from(format!("─ {title} ")).bold()];
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let last = curve.points.last().map_or(f64::NAN, |p| p.1);
        head.push(Span::from(format!("{} {} ", curve.name, number(last))).fg(colour));
    }
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let x = bounds(all().map(|p| p.0));
    let y = bounds(all().map(|p| p.1));
    let datasets = curves.iter().zip(COLOURS).map(|(curve, colour)| {
        let kind = if curve.points.len() == 1 { GraphType::Scatter } else { GraphType::Line };
        let data = Dataset::default().data(&curve.points).graph_type(kind);
        data.marker(Marker::Braille).style(colour)
    });
    let ends = |[low, high]: [f64; 2]| [low, high].map(|value| Span::from(number(value)));
    let chart = Chart::new(datasets.collect())
        .block(Block::new().title(Line::from(head)))
        .legend_position(None)
        .x_axis(Axis::default().bounds(x).labels(x.map(|step| format!("{step:.0}"))).dim())
        .y_axis(Axis::default().bounds(y).labels(ends(y)).dim());
    frame.render_widget(chart, area);
}

/// Least and greatest, a little apart if they are equal.
fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low < high {
        return [low, high];
    }
    let margin = if low == 0.0 { 1.0 } else { 0.05 * low.abs() };
    [low - margin, high + margin]
}
