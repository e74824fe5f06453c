//! How deep a segment goes, for a training that begins shallow.

/// How many thirds of its cycles a segment goes through, rounded up to whole cycles.
///
/// Reference: "CGAR" (arXiv 2511.08653), whose TRM of 6 x 3 cycles begins with 2 x 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    thirds: usize,
}

impl Depth {
    pub const FULL: Self = Self { thirds: 3 };

    /// The curriculum: from which share of a run's steps on a segment is how deep.
    pub const CURRICULUM: [(f64, Self); 3] =
        [(0.0, Self { thirds: 1 }), (0.3, Self { thirds: 2 }), (0.6, Self::FULL)];

    /// The depth of step number `step` (from 1) of `total`.
    pub fn at(step: u64, total: u64) -> Self {
        let mut end = 0;
        let mut stages = Self::steps(total).into_iter();
        let reached = stages.find(|(steps, _)| {
            end += steps;
            step <= end
        });
        reached.map_or(Self::FULL, |(_, depth)| depth)
    }

    /// Steps of each depth in a run of `total`.
    pub fn steps(total: u64) -> [(u64, Self); 3] {
        let begin = |stage: usize| match Self::CURRICULUM.get(stage) {
            Some((from, _)) => (from * total as f64).round() as u64,
            None => total,
        };
        std::array::from_fn(|stage| (begin(stage + 1) - begin(stage), Self::CURRICULUM[stage].1))
    }

    /// Cycles that are left of `cycles`.
    pub fn of(self, cycles: usize) -> usize {
        (cycles * self.thirds).div_ceil(Self::FULL.thirds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_grow_to_all_of_them_and_steps_are_counted_as_they_are_taken() {
        let cycles = Depth::CURRICULUM.map(|(_, depth)| [6, 3, 2, 1].map(|n| depth.of(n)));
        assert_eq!(cycles, [[2, 1, 1, 1], [4, 2, 2, 1], [6, 3, 2, 1]]);
        for total in [1, 2, 3, 7, 100] {
            let taken: Vec<Depth> = (1..=total).map(|step| Depth::at(step, total)).collect();
            let counted = Depth::steps(total).into_iter();
            let counted: Vec<Depth> =
                counted.flat_map(|(n, depth)| vec![depth; n as usize]).collect();
            assert_eq!(taken, counted, "{total}");
        }
        assert_eq!(Depth::steps(100).map(|(steps, _)| steps), [30, 30, 40]);
    }
}
