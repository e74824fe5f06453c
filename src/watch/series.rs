//! The values of one metric over a run of any length, in bounded memory: when there are too many
//! points, neighbours become their mean.

use std::collections::VecDeque;

/// Points kept are at most twice this.
const POINTS: usize = 2048;
/// Values kept as they came.
const RECENT: usize = 20;

#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    /// Mean step and mean value of [`per_point`](Self::per_point) values each.
    points: Vec<(f64, f64)>,
    per_point: usize,
    /// Sums over the values of the next point, and how many there are.
    next: (f64, f64, usize),
    recent: VecDeque<f64>,
    last: (u64, f64),
    lowest: (u64, f64),
}

impl Series {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            points: vec![],
            per_point: 1,
            next: (0.0, 0.0, 0),
            recent: VecDeque::with_capacity(RECENT),
            last: (0, f64::NAN),
            lowest: (0, f64::INFINITY),
        }
    }

    /// The value at a step; steps ascend. A value that is not finite is no point of a curve.
    pub fn push(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.last = (step, value);
        if value < self.lowest.1 {
            self.lowest = (step, value);
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        let (steps, values, n) = &mut self.next;
        (*steps, *values, *n) = (*steps + step as f64, *values + value, *n + 1);
        if *n == self.per_point {
            let point = (*steps / *n as f64, *values / *n as f64);
            self.next = (0.0, 0.0, 0);
            self.points.push(point);
            if self.points.len() == 2 * POINTS {
                self.halve();
            }
        }
    }

    fn halve(&mut self) {
        let mean =
            |pair: &[(f64, f64)]| ((pair[0].0 + pair[1].0) / 2.0, (pair[0].1 + pair[1].1) / 2.0);
        self.points = self.points.chunks_exact(2).map(mean).collect();
        self.per_point *= 2;
    }

    /// Step and value of each point in order; the last one is the newest value itself.
    pub fn points(&self) -> Vec<(f64, f64)> {
        let mut points = self.points.clone();
        if self.next.2 > 0 {
            points.push((self.last.0 as f64, self.last.1));
        }
        points
    }

    /// The newest value and its step; NaN if there is none.
    pub fn last(&self) -> (u64, f64) {
        self.last
    }

    /// The lowest value and the first step that had it; infinite if there is none.
    pub fn lowest(&self) -> (u64, f64) {
        self.lowest
    }

    /// Mean of the newest values; NaN if there is none.
    pub fn recent_mean(&self) -> f64 {
        self.recent.iter().sum::<f64>() / self.recent.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_shape_in_bounded_memory() {
        let mut series = Series::new("a");
        let n = 1_000_000_u64;
        for step in 1..=n {
            // A straight line, so that the mean of neighbours lies on it.
            series.push(step, 3.0 - step as f64 / n as f64);
        }
        let points = series.points();
        assert!(points.len() > POINTS / 2 && points.len() <= 2 * POINTS + 1, "{}", points.len());
        assert!(points.windows(2).all(|p| p[0].0 < p[1].0));
        for (step, value) in points {
            assert!((value - (3.0 - step / n as f64)).abs() <= 1e-9, "{step}: {value}");
        }
        assert_eq!((series.last(), series.lowest()), ((n, 2.0), (n, 2.0)));
    }

    #[test]
    fn ties_go_to_the_earlier_step_and_nan_to_none() {
        let mut series = Series::new("a");
        assert!(series.last().1.is_nan() && series.recent_mean().is_nan());
        for (step, value) in [(1, 3.0), (2, f64::NAN), (3, 1.0), (4, 1.0), (5, f64::INFINITY)] {
            series.push(step, value);
        }
        assert_eq!((series.lowest(), series.last()), ((3, 1.0), (4, 1.0)));
        assert_eq!(series.points().len(), 3);
        assert!((series.recent_mean() - 5.0 / 3.0).abs() <= 1e-12);
    }
}
