//! Variants of a task: one of 8 dihedral transforms and a permutation of the colours, applied to
//! every grid alike. A variant is written into the puzzle's name (`<id>_t3_0123456789`) so that
//! predictions can be undone before voting: `new = transform(colours[old])`.

use std::fmt;

use super::grid::{Grid, Pair};
use super::pattern::Pattern;
use super::vocab::COLOURS;
use crate::rng::Rng;

/// The transform that undoes transform `t`.
pub const INVERSE: [u8; 8] = [0, 3, 2, 1, 4, 5, 6, 7];

/// How to read a stored h x w grid so that it appears transformed: cell (r, c) of the result is
/// `cells[start + r * row_step + c * col_step]`.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub h: usize,
    pub w: usize,
    pub start: usize,
    pub row_step: isize,
    pub col_step: isize,
}

impl View {
    /// Numbering of the official builder: 1, 2, 3 quarter turns counter-clockwise, 4 left-right,
    /// 5 up-down, 6 transpose, 7 anti-transpose. Of an empty grid there is nothing to go through.
    #[inline]
    pub fn new(transform: u8, h: usize, w: usize) -> Self {
        let (down, right) = (w as isize, 1);
        let (last_row, last_col) = (h.saturating_sub(1) * w, w.saturating_sub(1));
        let (start, row_step, col_step) = match transform & 7 {
            0 => (0, down, right),
            1 => (last_col, -right, down),
            2 => (last_row + last_col, -down, -right),
            3 => (last_row, right, -down),
            4 => (last_col, down, -right),
            5 => (last_row, -down, right),
            6 => (0, right, down),
            _ => (last_row + last_col, -right, -down),
        };
        let (h, w) = if swaps_sides(transform) { (w, h) } else { (h, w) };
        Self { h, w, start, row_step, col_step }
    }
}

pub fn swaps_sides(transform: u8) -> bool {
    matches!(transform & 7, 1 | 3 | 6 | 7)
}

pub fn transform(grid: &Grid, transform: u8) -> Grid {
    if grid.is_empty() {
        return grid.clone();
    }
    let v = View::new(transform, grid.h(), grid.w());
    Grid::from_fn(v.h, v.w, |r, c| {
        let i = v.start as isize + r as isize * v.row_step + c as isize * v.col_step;
        grid.cells()[i as usize]
    })
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Variant {
    pub transform: u8,
    pub colours: [u8; COLOURS],
}

impl Variant {
    pub const IDENTITY: Self = Self { transform: 0, colours: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] };

    /// Any transform, colours 1..=9 permuted; colour 0 stays, it is the background.
    pub fn random(rng: &mut Rng) -> Self {
        let mut variant = Self { transform: rng.below(8) as u8, ..Self::IDENTITY };
        rng.shuffle(&mut variant.colours[1..]);
        variant
    }

    pub fn apply(&self, grid: &Grid) -> Grid {
        transform(&grid.map(|c| self.colours[c as usize]), self.transform)
    }

    pub fn apply_pair(&self, pair: &Pair) -> Pair {
        Pair { input: self.apply(&pair.input), output: self.apply(&pair.output) }
    }

    pub fn undo(&self, grid: &Grid) -> Grid {
        let mut original = [0; COLOURS];
        for (from, &to) in self.colours.iter().enumerate() {
            original[to as usize] = from as u8;
        }
        transform(grid, INVERSE[self.transform as usize]).map(|c| original[c as usize])
    }

    /// Transform in the low byte, then 4 bits per colour. Identity packs to `0x9876543210_00`.
    pub fn to_bits(self) -> u64 {
        let colours = self.colours.iter().rev().fold(0u64, |bits, &c| bits << 4 | c as u64);
        colours << 8 | self.transform as u64
    }

    /// `None` unless the bits hold a transform and a permutation.
    #[inline]
    pub fn from_bits(bits: u64) -> Option<Self> {
        let mut colours = [0; COLOURS];
        let mut seen = 0u32;
        for (i, colour) in colours.iter_mut().enumerate() {
            *colour = (bits >> (8 + 4 * i)) as u8 & 15;
            seen |= 1 << *colour;
        }
        let valid = bits >> 48 == 0 && bits & 0xF8 == 0 && seen == (1 << COLOURS) - 1;
        valid.then_some(Self { transform: bits as u8 & 7, colours })
    }

    /// `t3_0123456789`
    fn parse(text: &str) -> Option<Self> {
        let (transform, digits) = text.strip_prefix('t')?.split_once('_')?;
        let (&[transform @ b'0'..=b'7'], digits) = (transform.as_bytes(), digits.as_bytes()) else {
            return None;
        };
        let digits: &[u8; COLOURS] = digits.try_into().ok()?;
        let mut bits = (transform - b'0') as u64;
        for (i, d) in digits.iter().enumerate() {
            let value = d.is_ascii_digit().then(|| d - b'0')?;
            bits |= (value as u64) << (8 + 4 * i);
        }
        Self::from_bits(bits)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}_", self.transform)?;
        self.colours.iter().try_for_each(|c| write!(f, "{c}"))
    }
}

/// A puzzle's name taken apart: `<id>`, `<id>_t3_0123456789` or
/// `<id>_pupscale2_t3_0123456789` (see [`Pattern`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PuzzleName {
    pub task: String,
    pub pattern: Option<Pattern>,
    pub variant: Option<Variant>,
}

impl PuzzleName {
    /// Never fails: what is not a suffix belongs to the task id. Reads TRM's spelling too
    /// (`<id>|||t3|||0123456789`).
    pub fn parse(name: &str) -> Self {
        let name = &name.replace("|||", "_");
        let cut = |name: &str| {
            let at = name.rmatch_indices('_').nth(1)?.0;
            Some((name[..at].to_owned(), Variant::parse(&name[at + 1..])?))
        };
        let (rest, variant) = match cut(name) {
            Some((rest, variant)) => (rest, Some(variant)),
            None => (name.to_owned(), None),
        };
        let pattern = rest.rsplit_once('_').and_then(|(task, suffix)| {
            Some((task.to_owned(), Pattern::parse(suffix.strip_prefix('p')?)?))
        });
        match pattern {
            Some((task, pattern)) => Self { task, pattern: Some(pattern), variant },
            None => Self { task: rest, pattern: None, variant },
        }
    }

    /// Whether it is the task as published: no transform, no permuted colours, no pattern.
    pub fn is_original(&self) -> bool {
        self.variant.is_none() && self.pattern.is_none()
    }

    /// A grid of the original task as this puzzle shows it.
    pub fn apply(&self, grid: &Grid) -> Grid {
        let grid = self.pattern.map_or_else(|| grid.clone(), |p| p.apply(grid));
        self.variant.map_or_else(|| grid.clone(), |v| v.apply(&grid))
    }

    /// A pair of the original task as this puzzle shows it.
    pub fn apply_pair(&self, pair: &Pair) -> Pair {
        Pair { input: self.apply(&pair.input), output: self.apply(&pair.output) }
    }

    /// Back to the grid of the original task. `None` if the grid cannot come from the pattern:
    /// a prediction may have any shape.
    pub fn undo(&self, grid: &Grid) -> Option<Grid> {
        let grid = self.variant.map_or_else(|| grid.clone(), |v| v.undo(grid));
        match self.pattern {
            Some(pattern) => pattern.undo(&grid),
            None => Some(grid),
        }
    }
}

impl fmt::Display for PuzzleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.task)?;
        if let Some(pattern) = self.pattern {
            write!(f, "_p{pattern}")?;
        }
        self.variant.map_or(Ok(()), |v| write!(f, "_{v}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn every_transform_is_undone_by_its_inverse() {
        let grid = Grid::from_fn(2, 3, |r, c| (3 * r + c) as u8);
        for t in 0..8 {
            assert_eq!(transform(&transform(&grid, t), INVERSE[t as usize]), grid, "transform {t}");
        }
    }

    #[test]
    fn names_and_bits_round_trip() {
        let mut rng = Rng::new(0, Stream::Test, 0);
        for _ in 0..100 {
            let variant = Variant::random(&mut rng);
            assert_eq!(variant.colours[0], 0);
            assert_eq!(Variant::from_bits(variant.to_bits()), Some(variant));
            for pattern in [None, Some(Pattern::Upscale), Some(Pattern::Border(3))] {
                let task = "007bbfb7_a".to_owned();
                let name = PuzzleName { task, pattern, variant: Some(variant) };
                assert_eq!(PuzzleName::parse(&name.to_string()), name);
            }
        }
    }

    #[test]
    fn trm_names_are_read() {
        let name = PuzzleName::parse("007bbfb7|||t3|||0213456789");
        assert_eq!(name.to_string(), "007bbfb7_t3_0213456789");
        assert_eq!((name.task.as_str(), name.variant.unwrap().transform), ("007bbfb7", 3));
    }

    #[test]
    fn look_alikes_belong_to_the_task_id() {
        for name in ["abc", "a_t3", "a_t8_0123456789", "a_t3_0123456788", "a_t3_012345678", "a_pq"]
        {
            let parsed = PuzzleName::parse(name);
            assert_eq!((parsed.task.as_str(), parsed.variant, parsed.pattern), (name, None, None));
        }
    }
}
