//! Pattern variations: a transformation of the plane applied to the inputs and outputs of a task
//! alike, so that the task stays consistent. Each can be undone, and is named in the puzzle's
//! name: `upscale2` (each cell becomes 2 x 2), `border5` (a frame of colour 5, one cell wide),
//! `tile2` (the grid repeated 2 x 2), `mirror2` (the grid and its mirror image side by side).

use std::fmt;

use super::grid::{Grid, Pair};
use crate::rng::Rng;
use crate::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pattern {
    Upscale,
    Border(u8),
    Tile,
    Mirror,
}

/// What `--patterns` can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatternKind {
    Upscale,
    Border,
    Tile,
    Mirror,
}

impl PatternKind {
    pub fn draw(self, rng: &mut Rng) -> Pattern {
        match self {
            PatternKind::Upscale => Pattern::Upscale,
            PatternKind::Border => Pattern::Border(rng.below(9) as u8 + 1),
            PatternKind::Tile => Pattern::Tile,
            PatternKind::Mirror => Pattern::Mirror,
        }
    }
}

impl std::str::FromStr for PatternKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "upscale" => Ok(PatternKind::Upscale),
            "border" => Ok(PatternKind::Border),
            "tile" => Ok(PatternKind::Tile),
            "mirror" => Ok(PatternKind::Mirror),
            _ => Err(Error::invalid(format!(
                "pattern `{name}`: there are upscale, border, tile, mirror"
            ))),
        }
    }
}

impl Pattern {
    pub fn parse(name: &str) -> Option<Self> {
        match (name, name.strip_prefix("border").map(str::as_bytes)) {
            ("upscale2", _) => Some(Pattern::Upscale),
            ("tile2", _) => Some(Pattern::Tile),
            ("mirror2", _) => Some(Pattern::Mirror),
            (_, Some([colour @ b'0'..=b'9'])) => Some(Pattern::Border(colour - b'0')),
            _ => None,
        }
    }

    /// Sides after the pattern, to see whether a task still fits the canvas.
    pub fn sides(self, h: usize, w: usize) -> (usize, usize) {
        match self {
            Pattern::Upscale | Pattern::Tile => (2 * h, 2 * w),
            Pattern::Border(_) => (h + 2, w + 2),
            Pattern::Mirror => (h, 2 * w),
        }
    }

    pub fn apply(self, grid: &Grid) -> Grid {
        if grid.is_empty() {
            return grid.clone(); // no frame round nothing
        }
        let (gh, gw) = (grid.h(), grid.w());
        let (h, w) = self.sides(gh, gw);
        Grid::from_fn(h, w, |r, c| match self {
            Pattern::Upscale => grid.at(r / 2, c / 2),
            Pattern::Tile => grid.at(r % gh, c % gw),
            Pattern::Mirror => grid.at(r, if c < gw { c } else { w - 1 - c }),
            Pattern::Border(colour) => {
                let edge = r == 0 || c == 0 || r == h - 1 || c == w - 1;
                if edge { colour } else { grid.at(r - 1, c - 1) }
            }
        })
    }

    pub fn apply_pair(self, pair: &Pair) -> Pair {
        Pair { input: self.apply(&pair.input), output: self.apply(&pair.output) }
    }

    /// `None` if the grid cannot have come from this pattern by its size.
    pub fn undo(self, grid: &Grid) -> Option<Grid> {
        let (h, w) = (grid.h(), grid.w());
        match self {
            Pattern::Upscale if h % 2 == 0 && w % 2 == 0 => {
                Some(Grid::from_fn(h / 2, w / 2, |r, c| grid.at(2 * r, 2 * c)))
            }
            Pattern::Tile if h % 2 == 0 && w % 2 == 0 => grid.window(0, 0, h / 2, w / 2),
            Pattern::Mirror if w % 2 == 0 => grid.window(0, 0, h, w / 2),
            Pattern::Border(_) if h > 2 && w > 2 => grid.window(1, 1, h - 2, w - 2),
            _ => None,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Upscale => f.write_str("upscale2"),
            Pattern::Border(colour) => write!(f, "border{colour}"),
            Pattern::Tile => f.write_str("tile2"),
            Pattern::Mirror => f.write_str("mirror2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_undone_and_parsed_back() {
        let grid = Grid::from_fn(2, 3, |r, c| (3 * r + c) as u8);
        for p in [Pattern::Upscale, Pattern::Border(7), Pattern::Tile, Pattern::Mirror] {
            let wide = p.apply(&grid);
            assert_eq!((wide.h(), wide.w()), p.sides(2, 3));
            assert_eq!(p.undo(&wide).as_ref(), Some(&grid), "{p}");
            assert_eq!(Pattern::parse(&p.to_string()), Some(p));
        }
        assert_eq!(Pattern::Border(1).undo(&grid), None);
    }
}
