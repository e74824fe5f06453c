//! The results of all variants: as text, and as JSON.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::limits::Limits;
use super::step::{Share, Timing};
use crate::dtype::DType;
use crate::io::units::MIB;

/// Ops that a profile shows by name.
const SHOWN_OPS: usize = 12;

/// What became of a variant.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Line {
    Timed(Timing),
    Cut(Cut),
}

/// A variant that was hopeless.
#[derive(Clone, Debug, Serialize)]
pub struct Cut {
    pub shape: String,
    pub variant: String,
    pub cut_after_s: f64,
    /// What its last step took, if one ended.
    pub last_step_ms: Option<f64>,
}

impl Line {
    fn timed(&self) -> Option<&Timing> {
        match self {
            Line::Timed(timing) => Some(timing),
            Line::Cut(_) => None,
        }
    }
}

/// What was measured, and what it is compared with.
pub struct Results {
    /// Device, threads, steps.
    pub heading: String,
    pub lines: Vec<Line>,
    /// Where products were measured.
    pub limits: Option<Limits>,
    /// Names of shapes and the floating-point operations of their products.
    pub flops: Vec<(String, f64)>,
    /// Why PyTorch was not timed, or not all of it.
    pub left_out: Vec<String>,
}

impl Results {
    /// How many times faster than the fastest of PyTorch's, of ours.
    fn ratio(&self, of: &Timing) -> Option<f64> {
        let timed = self.lines.iter().filter_map(Line::timed);
        let torch = timed.filter(|t| t.shape == of.shape && !is_ours(t)).map(|t| t.step_ms);
        let best = torch.min_by(f64::total_cmp).filter(|_| is_ours(of));
        best.map(|best| best / of.step_ms)
    }

    /// The share of the products' limit that ours reaches.
    fn share(&self, of: &Timing) -> Option<f64> {
        let limits = self.limits.as_ref().filter(|_| is_ours(of))?;
        let (_, flops) = self.flops.iter().find(|(shape, _)| *shape == of.shape)?;
        let dtype = if of.variant.ends_with("bf16") { DType::Bf16 } else { DType::F32 };
        Some(limits.share(dtype, *flops, of.step_ms))
    }

    /// Each line with what it is compared with.
    pub fn json(&self) -> Value {
        let line = |line: &Line| {
            let mut value = json!(line);
            if let Some(timing) = line.timed() {
                value["speed_vs_best_pytorch"] = json!(self.ratio(timing));
                value["gemm_limit_share"] = json!(self.share(timing));
            }
            value
        };
        json!(self.lines.iter().map(line).collect::<Vec<_>>())
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        if let Some(limits) = &self.limits {
            let _ = writeln!(text, "{}", limits.line());
        }
        for (shape, flops) in &self.flops {
            let _ = writeln!(text, "{shape}: {:.1} GFLOP in products", flops / 1e9);
        }
        let heads = ["shape", "variant", "median_ms", "fastest_ms", "peak_MiB", "of_limit"];
        let [shape, variant, median, fastest, peak, limit] = heads;
        let _ = writeln!(
            text,
            "{shape:<19}{variant:<22}{median:>10}{fastest:>12}{peak:>10}{limit:>10}   speed"
        );
        for line in &self.lines {
            text += &self.row(line);
        }
        for timing in self.lines.iter().filter_map(Line::timed) {
            text += &profile(timing);
        }
        for reason in &self.left_out {
            let _ = writeln!(text, "PyTorch was not timed: {reason}");
        }
        text
    }

    fn row(&self, line: &Line) -> String {
        match line {
            Line::Timed(t) => {
                let share = self.share(t).map_or(String::new(), |s| format!("{:.0} %", 100.0 * s));
                let ratio =
                    self.ratio(t).map_or(String::new(), |r| format!("{r:.2} x best PyTorch"));
                let row = format!(
                    "{:<19}{:<22}{:>10.1}{:>12.1}{:>10.0}{share:>10}   {ratio}",
                    t.shape,
                    t.variant,
                    t.step_ms,
                    t.fastest_ms,
                    t.peak_bytes as f64 / MIB
                );
                format!("{}\n", row.trim_end())
            }
            Line::Cut(Cut { shape, variant, .. }) => {
                format!("{shape:<19}{variant:<22}{}\n", line.cut().unwrap_or_default())
            }
        }
    }
}

impl Line {
    /// In words, why there is no time.
    pub fn cut(&self) -> Option<String> {
        let Line::Cut(Cut { cut_after_s, last_step_ms, .. }) = self else { return None };
        let step = match last_step_ms {
            Some(ms) => format!("{:.1} s a step", ms / 1e3),
            None => "no step was done".to_owned(),
        };
        Some(format!("cut after {cut_after_s:.0} s: {step}"))
    }
}

fn is_ours(timing: &Timing) -> bool {
    timing.variant.starts_with("hrm")
}

fn profile(timing: &Timing) -> String {
    if timing.profile.is_empty() {
        return String::new();
    }
    let mut text = format!("{} {}, by op:\n", timing.shape, timing.variant);
    let mut line = |op: &str, pass: &str, calls: f64, ms: f64, frac: f64| {
        let percent = 100.0 * frac;
        let _ = writeln!(text, "  {op:<20}{pass:<10}{calls:>7.0}{ms:>10.1} ms{percent:>7.1} %");
    };
    let (ops, host) = timing.profile.split_at(timing.profile.len() - 1);
    let (shown, rest) = ops.split_at(SHOWN_OPS.min(ops.len()));
    for Share { op, pass, calls, ms, frac } in shown {
        line(op, pass, *calls, *ms, *frac);
    }
    if !rest.is_empty() {
        let sum = |of: fn(&Share) -> f64| rest.iter().map(of).sum::<f64>();
        line("others", "", sum(|s| s.calls), sum(|s| s.ms), sum(|s| s.frac));
    }
    for Share { op, pass, calls, ms, frac } in host {
        line(op, pass, *calls, *ms, *frac);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(variant: &str, step_ms: f64) -> Line {
        let (shape, variant, profile) = ("s".to_owned(), variant.to_owned(), vec![]);
        let (fastest_ms, peak_bytes) = (step_ms, 1 << 20);
        Line::Timed(Timing { shape, variant, step_ms, fastest_ms, peak_bytes, profile })
    }

    fn results(lines: Vec<Line>) -> Results {
        let flops = vec![("s".to_owned(), 1e9)];
        Results { heading: "here".into(), lines, limits: None, flops, left_out: vec![] }
    }

    #[test]
    fn ratios_compare_with_the_fastest_of_pytorch() {
        let torch = [timed("PyTorch eager", 40.0), timed("PyTorch x", 20.0)];
        let all = results([&[timed("hrm bf16", 10.0)][..], &torch].concat());
        let ratios: Vec<_> =
            all.lines.iter().map(|line| all.ratio(line.timed().unwrap())).collect();
        assert_eq!(ratios, [Some(2.0), None, None]);
        let alone = results(vec![timed("hrm bf16", 10.0)]);
        assert_eq!(alone.ratio(alone.lines[0].timed().unwrap()), None);
        assert_eq!(all.json()[0]["speed_vs_best_pytorch"], 2.0);
    }

    #[test]
    fn what_was_cut_says_so_and_is_no_yardstick() {
        let cut = |last_step_ms| {
            let (shape, variant) = ("s".to_owned(), "PyTorch eager-bf16".to_owned());
            Line::Cut(Cut { shape, variant, cut_after_s: 43.2, last_step_ms })
        };
        let all = results(vec![timed("hrm f32", 10.0), cut(Some(40_500.0)), cut(None)]);
        assert_eq!(all.ratio(all.lines[0].timed().unwrap()), None);
        let text = all.text();
        assert!(text.contains("cut after 43 s: 40.5 s a step"), "{text}");
        assert!(text.contains("cut after 43 s: no step was done"), "{text}");
        assert_eq!(all.json()[1]["cut_after_s"], 43.2);
        assert!(all.json()[1].get("speed_vs_best_pytorch").is_none());
    }

    #[test]
    fn a_profile_sums_what_it_does_not_name() {
        let share = |op: String, frac| {
            let pass = "forward".to_owned();
            Share { op, pass, calls: 2.0, ms: 100.0 * frac, frac }
        };
        let Line::Timed(mut timing) = timed("hrm f32", 100.0) else { panic!() };
        timing.profile = (0..14).map(|i| share(format!("op{i}"), 0.05)).collect();
        timing.profile.push(share("between ops".into(), 0.3));
        let text = results(vec![Line::Timed(timing)]).text();
        let line = |name: &str| text.lines().find(|l| l.trim_start().starts_with(name)).unwrap();
        assert!(line("op11").ends_with("5.0 %") && !text.contains("op12"), "{text}");
        assert!(
            line("others").ends_with("10.0 %") && line("between").ends_with("30.0 %"),
            "{text}"
        );
    }
}
