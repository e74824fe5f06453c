//! The run's metrics over its steps, as SVG figures.

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use crate::{Error, Result};

/// One figure: a few metrics that share an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub title: String,
    /// Name, (step, value).
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

/// Points drawn of a series; more say nothing at this width.
const POINTS: usize = 400;
const SIZE: (u32, u32) = (480, 260); // pixels
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 116, 217), RGBColor(214, 73, 0), RGBColor(46, 139, 64), RGBColor(135, 12, 120)];

pub fn figures(curves: &[Curve]) -> Result<Vec<Markup>> {
    let drawn = curves.iter().filter(|c| c.series.iter().any(|(_, points)| !points.is_empty()));
    let figure = |curve: &Curve| {
        let svg = draw(curve).map_err(|e| Error::invalid(format!("curve {}: {e}", curve.title)))?;
        Ok(html! { figure {
            (PreEscaped(svg))
            figcaption {
                (curve.title) ": "
                @for (i, (name, points)) in curve.series.iter().enumerate() {
                    span style=(format!("color:{}", hex(COLOURS[i % COLOURS.len()]))) {
                        (name) " " (last(points)) " "
                    }
                }
            }
        } })
    };
    drawn.map(figure).collect()
}

fn hex(colour: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

fn last(points: &[(f64, f64)]) -> String {
    points.last().map_or(String::new(), |(_, value)| format!("{value:.4}"))
}

fn draw(curve: &Curve) -> Result<String, Box<dyn std::error::Error>> {
    let series: Vec<_> = curve.series.iter().map(|(_, points)| thinned(points)).collect();
    let all = || series.iter().flatten();
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) =
            all().map(of).fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
        // One point, or a constant, still needs room.
        let room = if high > low { 0.04 * (high - low) } else { high.abs().max(1.0) / 2.0 };
        (low - room)..(high + room)
    };
    let (x, y) = (range(|p| p.0), range(|p| p.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(26)
            .y_label_area_size(52)
            .build_cartesian_2d(x.start.max(0.0)..x.end, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|step| format!("{step:.0}"))
            .label_style(("sans-serif", 13))
            .draw()?;
        for (i, points) in series.into_iter().enumerate() {
            let style = COLOURS[i % COLOURS.len()].stroke_width(2);
            chart.draw_series(LineSeries::new(points, style))?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Finite points, at most about [`POINTS`]: the mean of each run of neighbours.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<_> = points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
    let mean = |run: &[(f64, f64)]| {
        let n = run.len() as f64;
        (run.iter().map(|p| p.0).sum::<f64>() / n, run.iter().map(|p| p.1).sum::<f64>() / n)
    };
    finite.chunks(finite.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_constant_single_and_unfinished_series_are_drawn() {
        let long = (0..10_000).map(|i| (i as f64, (i as f64).sin())).collect();
        let series: [Vec<(f64, f64)>; 4] =
            [long, vec![(1.0, 2.0); 5], vec![(7.0, -0.5)], vec![(1.0, f64::NAN), (2.0, 3.0)]];
        for points in series {
            let curve = Curve { title: "a & b".into(), series: vec![("x<y".into(), points)] };
            let figure = figures(&[curve]).unwrap().remove(0).into_string();
            assert!(figure.contains("<polyline") || figure.contains("<path"), "{figure}");
            assert!(figure.contains("a &amp; b") && figure.contains("x&lt;y"), "{figure}");
            assert!(!figure.contains("NaN\""), "{figure}");
            assert!(figure.len() < 60_000);
        }
        let nothing = Curve { title: "none".into(), series: vec![("x".into(), vec![])] };
        assert!(figures(&[nothing]).unwrap().is_empty());
    }
}
