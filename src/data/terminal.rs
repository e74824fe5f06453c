//! Grids in a terminal, side by side: 24-bit colour where there is some, digits elsewhere. A cell
//! is two columns wide; where that is too wide for the line, two cells share one character, one
//! above the other. Marked cells (wrong in an answer) show a cross, in digits a star.

use std::io::IsTerminal;

use super::sheet::{ARC_COLOURS, Panel};

/// Columns that pictures may take.
const LINE_COLUMNS: usize = 100;
const GAP: &str = "   ";
const RESET: &str = "\x1b[0m";

/// Whether standard output shows colours and nobody asked for none (<https://no-color.org>).
pub fn has_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
}

/// Panels of ARC grids with their titles, as lines that end in a newline.
pub fn pictures(panels: &[(&str, Panel)], colour: bool) -> String {
    let gaps = GAP.len() * panels.len().saturating_sub(1);
    let columns = |(title, panel): &(&str, Panel)| title.len().max(2 * panel.grid.w());
    let fits = panels.iter().map(columns).sum::<usize>() + gaps <= LINE_COLUMNS;
    let blocks: Vec<Block> = panels
        .iter()
        .map(|(title, panel)| match (colour, fits) {
            (false, _) => Block::new(title, 2 * panel.grid.w(), digits(panel)),
            (true, true) => Block::new(title, 2 * panel.grid.w(), wide(panel)),
            (true, false) => Block::new(title, panel.grid.w(), halves(panel)),
        })
        .collect();
    let height = blocks.iter().map(|b| b.lines.len()).max().unwrap_or(0);
    let mut text = String::new();
    for i in 0..height {
        let line: Vec<String> = blocks.iter().map(|b| b.line(i)).collect();
        text += line.join(GAP).trim_end();
        text.push('\n');
    }
    text
}

/// Lines of a panel, each with the columns that it takes on the screen.
struct Block {
    width: usize,
    lines: Vec<(String, usize)>,
}

impl Block {
    fn new(title: &str, columns: usize, picture: Vec<String>) -> Self {
        let mut lines = vec![(title.to_owned(), title.chars().count())];
        lines.extend(picture.into_iter().map(|line| (line, columns)));
        Self { width: title.chars().count().max(columns), lines }
    }

    fn line(&self, i: usize) -> String {
        let (text, columns) = self.lines.get(i).map_or(("", 0), |(t, c)| (t, *c));
        format!("{text}{}", " ".repeat(self.width - columns))
    }
}

fn cells(panel: &Panel, r: usize) -> impl Iterator<Item = (u8, bool)> + '_ {
    let w = panel.grid.w();
    (0..w).map(move |c| (panel.grid.at(r, c), panel.marked.get(r * w + c) == Some(&true)))
}

fn digits(panel: &Panel) -> Vec<String> {
    let cell = |(colour, marked)| format!("{colour}{}", if marked { '*' } else { ' ' });
    (0..panel.grid.h()).map(|r| cells(panel, r).map(cell).collect()).collect()
}

fn wide(panel: &Panel) -> Vec<String> {
    let cell = |(colour, marked): (u8, bool)| {
        let [r, g, b] = rgb(colour);
        // Black or white, whichever shows on the colour.
        let bright = 3 * r as u32 + 6 * g as u32 + b as u32 > 1275;
        let ink = if bright { 0 } else { 255 };
        let mark = if marked { "><" } else { "  " };
        format!("\x1b[48;2;{r};{g};{b};38;2;{ink};{ink};{ink}m{mark}")
    };
    let line = |r| cells(panel, r).map(cell).collect::<String>() + RESET;
    (0..panel.grid.h()).map(line).collect()
}

/// Two rows of cells per line; too small to mark any.
fn halves(panel: &Panel) -> Vec<String> {
    let grid = &panel.grid;
    let line = |top: usize| {
        let cell = |c| {
            let [r, g, b] = rgb(grid.at(top, c));
            let upper = format!("38;2;{r};{g};{b}");
            match (top + 1 < grid.h()).then(|| rgb(grid.at(top + 1, c))) {
                Some([r, g, b]) => format!("\x1b[{upper};48;2;{r};{g};{b}m\u{2580}"),
                None => format!("\x1b[49;{upper}m\u{2580}"),
            }
        };
        (0..grid.w()).map(cell).collect::<String>() + RESET
    };
    (0..grid.h()).step_by(2).map(line).collect()
}

fn rgb(colour: u8) -> [u8; 3] {
    ARC_COLOURS[colour as usize % ARC_COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Grid;

    fn grid(h: usize, w: usize) -> Grid {
        Grid::from_fn(h, w, |r, c| ((r * w + c) % 10) as u8)
    }

    #[test]
    fn digits_stand_side_by_side_and_wrong_ones_wear_a_star() {
        let answer = Panel::judged(&grid(2, 2), &Grid::new(2, 2, vec![0, 1, 2, 9]).unwrap());
        let text = pictures(&[("in", Panel::plain(&grid(1, 3))), ("out", answer)], false);
        assert_eq!(text, "in       out\n0 1 2    0 1\n         2 3*\n");
    }

    #[test]
    fn colours_are_those_of_the_sheet() {
        let text = pictures(&[("", Panel::plain(&grid(1, 2)))], true);
        assert!(text.contains("48;2;0;0;0;") && text.contains("48;2;0;116;217;"), "{text:?}");
        assert!(text.trim_end().ends_with(RESET));
    }

    #[test]
    fn what_is_too_wide_takes_half_the_columns_and_half_the_lines() {
        let panels = [("a", Panel::plain(&grid(5, 30))), ("b", Panel::plain(&grid(5, 30)))];
        let text = pictures(&panels, true);
        assert_eq!(text.lines().count(), 1 + 3);
        let blocks = text.lines().map(|l| l.matches('\u{2580}').count());
        assert_eq!(blocks.collect::<Vec<_>>(), [0, 60, 60, 60]);
    }

    #[test]
    fn an_empty_answer_is_a_title() {
        let nothing = Grid::from_fn(0, 0, |_, _| 0);
        assert_eq!(pictures(&[("none", Panel::plain(&nothing))], true), "none\n");
    }
}
