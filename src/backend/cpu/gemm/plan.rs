//! Cuts a product into strips of rows and panels of columns, and groups these into tasks. All of it
//! follows from the shape alone.

use std::ops::Range;

use super::PANEL;

/// Strips of nearly equal height and panels of [`PANEL`] columns, by task.
pub(super) struct Plan {
    pub strips: usize,
    /// Rows of a strip; the first `taller` strips have one more.
    height: usize,
    taller: usize,
    panels: usize,
    strips_per_task: usize,
    panels_per_task: usize,
}

impl Plan {
    /// Below this a task costs more to hand over than to run.
    const MIN_TASK_MULADDS: usize = 1 << 18;
    /// Rows of A that a task walks again and again should stay in its L2 cache.
    const MAX_TASK_A_BYTES: usize = 256 << 10;
    /// Enough for an even end on a machine with a few cores, few enough to be free.
    const TASKS: usize = 24;

    /// For strips of at most `strip` rows.
    pub fn new(strip: usize, m: usize, n: usize, k: usize, elem_bytes: usize) -> Self {
        let (strips, panels) = (m.div_ceil(strip), n.div_ceil(PANEL));
        let tasks = (m * n * k / Self::MIN_TASK_MULADDS).clamp(1, Self::TASKS);
        let cached = (Self::MAX_TASK_A_BYTES / (strip * k * elem_bytes).max(1)).max(1);
        let strips_per_task = strips.div_ceil(tasks).min(cached);
        let tasks_down = strips.div_ceil(strips_per_task);
        let panels_per_task = panels.div_ceil(tasks.div_ceil(tasks_down));
        Self::of(m, strips, panels, strips_per_task, panels_per_task)
    }

    /// A single task.
    pub fn whole(strip: usize, m: usize, n: usize) -> Self {
        let (strips, panels) = (m.div_ceil(strip), n.div_ceil(PANEL));
        Self::of(m, strips, panels, strips.max(1), panels.max(1))
    }

    fn of(
        m: usize,
        strips: usize,
        panels: usize,
        strips_per_task: usize,
        panels_per_task: usize,
    ) -> Self {
        let (height, taller) = (m / strips.max(1), m % strips.max(1));
        Self { strips, height, taller, panels, strips_per_task, panels_per_task }
    }

    fn tasks_across(&self) -> usize {
        self.panels.div_ceil(self.panels_per_task)
    }

    pub fn tasks(&self) -> usize {
        self.strips.div_ceil(self.strips_per_task) * self.tasks_across()
    }

    /// The strips and panels of a task.
    pub fn task(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let block = |i: usize, len: usize, end: usize| i * len..((i + 1) * len).min(end);
        (
            block(task / self.tasks_across(), self.strips_per_task, self.strips),
            block(task % self.tasks_across(), self.panels_per_task, self.panels),
        )
    }

    /// First row of a strip; heights differ by one at most.
    pub fn row(&self, strip: usize) -> usize {
        strip * self.height + strip.min(self.taller)
    }
}
