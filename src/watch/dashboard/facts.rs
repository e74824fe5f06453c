//! Names and numbers, in as many columns as fit. What a run does not write is not there.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};

use super::View;
use crate::watch::summary::number;

const GIB: f64 = (1_u64 << 30) as f64;
const COLUMN_WIDTH: u16 = 29;
const NAME_WIDTH: usize = 13;

pub struct Fact {
    name: String,
    value: String,
}

impl Fact {
    fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A metric and how it is called here, what matters most first.
const METRICS: &[(&str, &str)] = &[
    ("lm_loss", "loss"),
    ("loss", "loss"),
    ("accuracy", "accuracy"),
    ("exact_accuracy", "exact"),
    ("act_steps", "ACT steps"),
    ("val_lm_loss", "val loss"),
    ("val_accuracy", "val accuracy"),
    ("val_exact_accuracy", "val exact"),
    ("val_mse", "val MSE"),
    ("val_psnr_db", "val PSNR dB"),
    ("val_ssim", "val SSIM"),
    ("step_ms", "step ms"),
    ("data_wait_ms", "data wait ms"),
    ("samples_per_s", "samples/s"),
    ("grad_norm", "gradient"),
    ("lr", "lr"),
    ("epoch", "epoch"),
];
/// The machine comes after this many of them.
const BEFORE_MACHINE: usize = 13;

pub fn of(view: &View) -> Vec<Fact> {
    let metrics = |range: &[(&str, &str)]| {
        let told = range.iter().filter_map(|(metric, name)| {
            let (_, value) = view.run.series(metric)?.last();
            value.is_finite().then(|| Fact::new(*name, number(value)))
        });
        told.collect::<Vec<Fact>>()
    };
    let (first, rest) = METRICS.split_at(BEFORE_MACHINE);
    [metrics(first), machine(view), metrics(rest)].into_iter().flatten().collect()
}

fn machine(view: &View) -> Vec<Fact> {
    let mut facts = vec![];
    if let Some(memory) = view.run.series("mem_bytes") {
        facts.push(Fact::new("tensors", gib(memory.last().1)));
    }
    let load = view.load;
    if let Some(bytes) = load.process_bytes {
        facts.push(Fact::new("process", gib(bytes)));
    }
    if let Some(percent) = load.cpu_percent {
        facts.push(Fact::new("cpu", format!("{} {percent:3.0} %", bar(percent / 100.0))));
    }
    if load.memory_total_bytes > 0.0 {
        facts.push(Fact::new("memory", share(load.memory_used_bytes, load.memory_total_bytes)));
    }
    for (i, card) in load.cards.iter().enumerate() {
        if let Some(percent) = card.busy_percent {
            let value = format!("{} {percent:3.0} %", bar(percent / 100.0));
            facts.push(Fact::new(format!("gpu {i}"), value));
        }
        if let (Some(used), Some(total)) = (card.memory_used_bytes, card.memory_total_bytes) {
            facts.push(Fact::new(format!("gpu {i} memory"), share(used, total)));
        }
        let heat = card.temperature_c.map(|c| format!("{c:.0} °C"));
        let power = card.power_w.map(|w| format!("{w:.0} W"));
        let clock = card.sm_clock_mhz.map(|mhz| format!("{mhz:.0} MHz"));
        let told: Vec<String> = [heat, power, clock].into_iter().flatten().collect();
        if !told.is_empty() {
            facts.push(Fact::new(format!("gpu {i}"), told.join(" ")));
        }
    }
    facts
}

fn gib(bytes: f64) -> String {
    format!("{:.2} GiB", bytes / GIB)
}

fn share(used: f64, total: f64) -> String {
    format!("{:.1}/{:.1} GiB", used / GIB, total / GIB)
}

fn bar(share: f64) -> String {
    const WIDTH: usize = 8;
    let full = (share.clamp(0.0, 1.0) * WIDTH as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(WIDTH - full)
}

fn columns(width: u16) -> usize {
    (width / COLUMN_WIDTH).max(1) as usize
}

pub fn lines_needed(facts: usize, width: u16) -> u16 {
    facts.div_ceil(columns(width)) as u16
}

/// Column by column; what does not fit is left out.
pub fn draw(frame: &mut Frame, facts: &[Fact], area: Rect) {
    let lines = area.height as usize;
    if lines == 0 {
        return;
    }
    let columns = columns(area.width);
    let width = area.width / columns as u16;
    for (column, facts) in facts.chunks(lines).take(columns).enumerate() {
        let x = area.x + column as u16 * width;
        for (y, fact) in (area.y..).zip(facts) {
            let name = format!(" {:<NAME_WIDTH$}", fact.name);
            let line = Line::from(vec![Span::from(name).dim(), Span::from(fact.value.as_str())]);
            frame.render_widget(line, Rect { x, y, width, height: 1 });
        }
    }
}
