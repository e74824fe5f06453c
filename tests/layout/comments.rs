//! Comments that a reader of one line, of a generated page or of a terminal can use.

/// Columns of a line at most; rustfmt leaves comments as they are.
pub const COLUMNS: usize = 100;

/// Words that point at something which the reader of a generated page does not see.
const FRAGMENTS: [&str; 4] = ["Of ", "The same ", "As ", "Its "];

/// The first lines of documentation that do not stand alone, with their numbers.
pub fn fragments(text: &str) -> Vec<(usize, &str)> {
    let mut before = false;
    let mut found = vec![];
    for (number, line) in (1..).zip(text.lines()) {
        let words = words(line);
        if let (Some(words), false) = (words, before) {
            let is_fragment = FRAGMENTS.iter().any(|start| words.starts_with(start));
            found.extend(is_fragment.then_some((number, line)));
        }
        before = words.is_some();
    }
    found
}

/// What a line of documentation says.
fn words(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    (!rest.starts_with('/')).then(|| rest.trim_start())
}

/// Comments that end behind [`COLUMNS`], with their numbers.
pub fn long(text: &str) -> Vec<(usize, &str)> {
    let lines = (1..).zip(text.lines());
    let is_long =
        |line: &str| line.chars().count() > COLUMNS && line.trim_start().starts_with("//");
    lines.filter(|(_, line)| is_long(line)).collect()
}
