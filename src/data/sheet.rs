//! Pictures: grids in the usual ARC colours, boards with digits, as a contact sheet in one PNG.
//! Cells that are marked (wrong in an answer) wear a double ring, black outside and white inside,
//! which shows on every colour.

use std::path::Path;

use super::grid::Grid;
use super::vocab::Kind;
use crate::io::file;
use crate::{Error, Result};

type Rgb = [u8; 3];

pub const ARC_COLOURS: [Rgb; 10] = [
    [0x00, 0x00, 0x00],
    [0x00, 0x74, 0xD9],
    [0xFF, 0x41, 0x36],
    [0x2E, 0xCC, 0x40],
    [0xFF, 0xDC, 0x00],
    [0xAA, 0xAA, 0xAA],
    [0xF0, 0x12, 0xBE],
    [0xFF, 0x85, 0x1B],
    [0x7F, 0xDB, 0xFF],
    [0x87, 0x0C, 0x25],
];
const WHITE: Rgb = [0xFF; 3];
const PAPER: Rgb = [0xE6, 0xE6, 0xE6];
const LINE: Rgb = [0x55; 3];
/// PAD, wall, free, start, goal, path.
const MAZE_COLOURS: [Rgb; 6] =
    [PAPER, [0x22; 3], WHITE, ARC_COLOURS[3], ARC_COLOURS[2], ARC_COLOURS[1]];
/// 3 x 5 pixels per digit, a row per 3 bits, top row first.
const DIGITS: [u16; 10] = [
    0b111_101_101_101_111,
    0b010_110_010_010_111,
    0b111_001_111_100_111,
    0b111_001_111_001_111,
    0b101_101_111_001_001,
    0b111_100_111_001_111,
    0b111_100_111_101_111,
    0b111_001_010_010_010,
    0b111_101_111_101_111,
    0b111_101_111_001_111,
];
const CELL: usize = 10; // pixels of a cell at least, its line included
const LARGE_CELL: usize = 32; // and at most
const SIDE: usize = 300; // pixels that a panel should have
pub const GAP: usize = 12; // pixels between tiles; half of it between the panels of a tile

/// Pixels of a cell, its line included, where the longest side has so many cells: small grids are
/// drawn large.
pub fn cell_side(longest: usize) -> usize {
    (SIDE / longest.max(1)).clamp(CELL, LARGE_CELL)
}

/// One grid of a tile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panel {
    pub grid: Grid,
    /// Row by row; empty: no cell is marked.
    pub marked: Vec<bool>,
}

impl Panel {
    pub fn plain(grid: &Grid) -> Self {
        Self { grid: grid.clone(), marked: vec![] }
    }

    /// `grid` with every cell marked that `truth` lacks or has otherwise.
    pub fn judged(grid: &Grid, truth: &Grid) -> Self {
        let right = |r, c| r < truth.h() && c < truth.w() && grid.at(r, c) == truth.at(r, c);
        let cells = (0..grid.h()).flat_map(|r| (0..grid.w()).map(move |c| (r, c)));
        Self { grid: grid.clone(), marked: cells.map(|(r, c)| !right(r, c)).collect() }
    }
}

/// A picture in memory.
pub struct Image {
    w: usize,
    h: usize,
    pixels: Vec<u8>,
}

impl Image {
    pub(super) fn new(w: usize, h: usize) -> Self {
        Self { w, h, pixels: PAPER.repeat(w * h) }
    }

    pub(super) fn fill(&mut self, top: usize, left: usize, h: usize, w: usize, colour: Rgb) {
        for y in top..(top + h).min(self.h) {
            for x in left..(left + w).min(self.w) {
                self.pixels[3 * (y * self.w + x)..][..3].copy_from_slice(&colour);
            }
        }
    }

    fn panel(&mut self, top: usize, left: usize, panel: &Panel, kind: Kind, cell: usize) {
        let grid = &panel.grid;
        let (h, w) = (grid.h() * cell + 1, grid.w() * cell + 1);
        self.fill(top, left, h, w, LINE);
        for r in 0..grid.h() {
            for c in 0..grid.w() {
                let (y, x) = (top + r * cell + 1, left + c * cell + 1);
                self.cell(y, x, grid.at(r, c), kind, cell - 1);
                if panel.marked.get(r * grid.w() + c) == Some(&true) {
                    self.ring(y, x, cell - 1, [0; 3]);
                    self.ring(y + 1, x + 1, cell - 3, WHITE);
                }
            }
        }
    }

    /// The outline of a square.
    fn ring(&mut self, top: usize, left: usize, side: usize, colour: Rgb) {
        self.fill(top, left, 1, side, colour);
        self.fill(top + side - 1, left, 1, side, colour);
        self.fill(top, left, side, 1, colour);
        self.fill(top, left + side - 1, side, 1, colour);
    }

    fn cell(&mut self, y: usize, x: usize, value: u8, kind: Kind, side: usize) {
        let colour = match kind {
            Kind::Arc => ARC_COLOURS[value as usize % 10],
            Kind::Maze => MAZE_COLOURS[value as usize % 6],
            Kind::Sudoku => WHITE,
            Kind::Tokens => ARC_COLOURS[value as usize % 10].map(|v| v / 2 + 0x7F),
        };
        self.fill(y, x, side, side, colour);
        let digit = match kind {
            Kind::Sudoku if value >= 2 => value - 1,
            _ => return,
        };
        let glyph = DIGITS[digit as usize % 10];
        let dot = (side / 7).max(1);
        let (top, left) = ((side - 5 * dot) / 2, (side - 3 * dot) / 2);
        for i in (0..15).filter(|i| glyph >> (14 - i) & 1 == 1) {
            self.fill(y + top + i / 3 * dot, x + left + i % 3 * dot, dot, dot, [0; 3]);
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        file::write(path, &self.png()?)
    }

    /// Pixels across and down.
    pub fn size(&self) -> (usize, usize) {
        (self.w, self.h)
    }

    pub fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        let mut encoder = png::Encoder::new(&mut bytes, self.w as u32, self.h as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let invalid = |e: png::EncodingError| Error::invalid(format!("PNG: {e}"));
        let mut writer = encoder.write_header().map_err(invalid)?;
        writer.write_image_data(&self.pixels).map_err(invalid)?;
        writer.finish().map_err(invalid)?;
        Ok(bytes)
    }
}

/// One panel as a PNG.
pub fn picture(panel: &Panel, kind: Kind) -> Result<Vec<u8>> {
    let grid = &panel.grid;
    let cell = cell_side(grid.h().max(grid.w()));
    let mut image = Image::new(grid.w() * cell + 1, grid.h() * cell + 1);
    image.panel(0, 0, panel, kind, cell);
    image.png()
}

/// A file of what [`draw`] shows.
pub fn write(path: &Path, tiles: &[Vec<Panel>], kind: Kind) -> Result<()> {
    draw(tiles, kind).write(path)
}

/// Tiles of panels, left to right, in as many columns as make the sheet about square.
pub fn draw(tiles: &[Vec<Panel>], kind: Kind) -> Image {
    let longest =
        |f: fn(&Grid) -> usize| tiles.iter().flatten().map(|p| f(&p.grid)).max().unwrap_or(1);
    let (h, w) = (longest(Grid::h), longest(Grid::w));
    let cell = cell_side(h.max(w));
    let (grid_h, grid_w) = (h * cell + 1, w * cell + 1);
    let panels = tiles.iter().map(Vec::len).max().unwrap_or(1);
    let (tile_h, tile_w) = (grid_h + GAP, panels * (grid_w + GAP / 2) - GAP / 2 + 2 * GAP);
    let columns = (1..=tiles.len().max(1))
        .find(|&c| c * tile_w >= tiles.len().div_ceil(c) * tile_h)
        .unwrap_or(tiles.len().max(1));
    let lines = tiles.len().div_ceil(columns);
    let mut image = Image::new(columns * tile_w, lines * tile_h + GAP);
    for (i, tile) in tiles.iter().enumerate() {
        let (top, left) = (i / columns * tile_h + GAP, i % columns * tile_w + GAP);
        for (k, panel) in tile.iter().enumerate() {
            image.panel(top, left + k * (grid_w + GAP / 2), panel, kind, cell);
        }
    }
    image
}
