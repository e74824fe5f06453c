//! What a pair asks for, in words: how large its output is beside its input, and the simplest
//! description of a list that fits the pair. A description of pairs, not of tasks: a pair that
//! happens to look like a crop counts as one.

use crate::data::augment::transform;
use crate::data::{Grid, Pair};

/// Kinds in the order in which they are tried.
pub fn transform_kind(pair: &Pair) -> &'static str {
    let (a, b) = (&pair.input, &pair.output);
    if a == b {
        return "copy";
    }
    if (1..8).any(|t| transform(a, t) == *b) {
        return "turn or mirror";
    }
    if (a.h(), a.w()) == (b.h(), b.w()) {
        return same_shape(a, b);
    }
    if b.h() <= a.h() && b.w() <= a.w() {
        return if is_part(b, a) { "crop" } else { "summary (smaller, no crop)" };
    }
    match b.h().is_multiple_of(a.h().max(1)) && b.w().is_multiple_of(a.w().max(1)) {
        true => "tile or enlarge",
        false => "other size",
    }
}

fn same_shape(a: &Grid, b: &Grid) -> &'static str {
    let pairs = || a.cells().iter().zip(b.cells());
    let mut map = [None; 256];
    if pairs().all(|(x, y)| *map[*x as usize].get_or_insert(*y) == *y) {
        return "recolour (one colour for another)";
    }
    let changed = pairs().filter(|(x, y)| x != y).count();
    if pairs().all(|(x, y)| x == y || *x == 0) {
        return "fill the background";
    }
    match 2 * changed <= a.cells().len() {
        true => "edit (at most half of the cells)",
        false => "redraw (more than half of the cells)",
    }
}

fn is_part(part: &Grid, whole: &Grid) -> bool {
    let tops = 0..=whole.h() - part.h();
    let mut places = tops.flat_map(|r| (0..=whole.w() - part.w()).map(move |c| (r, c)));
    places.any(|(r, c)| whole.window(r, c, part.h(), part.w()).as_ref() == Some(part))
}

/// Height x width of the output against the input.
pub fn size_change(pair: &Pair) -> &'static str {
    let (a, b) = (&pair.input, &pair.output);
    if (a.h(), a.w()) == (b.h(), b.w()) {
        return "same shape";
    }
    match b.cells().len().cmp(&a.cells().len()) {
        std::cmp::Ordering::Less => "smaller",
        std::cmp::Ordering::Equal => "as many cells in another shape",
        std::cmp::Ordering::Greater => "larger",
    }
}

/// Different values in both grids.
pub fn colours(pair: &Pair) -> usize {
    let mut seen = [false; 256];
    pair.input.cells().iter().chain(pair.output.cells()).for_each(|c| seen[*c as usize] = true);
    seen.into_iter().filter(|seen| *seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows separated by `/`.
    fn grid(text: &str) -> Grid {
        let rows: Vec<&str> = text.split('/').collect();
        let cells = rows.iter().flat_map(|r| r.bytes().map(|b| b - b'0')).collect();
        Grid::new(rows.len(), rows[0].len(), cells).unwrap()
    }

    #[test]
    fn each_kind_by_an_example() {
        let cases = [
            ("12", "12", "copy", "same shape", 2),
            ("12", "1/2", "turn or mirror", "as many cells in another shape", 2),
            ("122", "344", "recolour (one colour for another)", "same shape", 4),
            ("1002", "1302", "fill the background", "same shape", 4),
            ("1112", "1152", "edit (at most half of the cells)", "same shape", 3),
            ("1112", "3452", "redraw (more than half of the cells)", "same shape", 5),
            ("123/456", "23", "crop", "smaller", 6),
            ("123/456", "26", "summary (smaller, no crop)", "smaller", 6),
            ("12", "1122/1122", "tile or enlarge", "larger", 2),
            ("12", "121", "other size", "larger", 2),
            ("123", "12/31", "other size", "larger", 3),
        ];
        for (input, output, kind, size, n) in cases {
            let pair = Pair { input: grid(input), output: grid(output) };
            let got = (transform_kind(&pair), size_change(&pair), colours(&pair));
            assert_eq!(got, (kind, size, n), "{input} -> {output}");
        }
    }
}
