//! The changelog is grouped by kind, the newest version first.

use std::fs;

use super::root;

/// Kinds of changes, in this order.
const KINDS: [&str; 6] = ["Numerics", "Added", "Changed", "Fixed", "Performance", "Internal"];
const UNRELEASED: &str = "Unreleased";

/// Lines that are not where the form has them, with their numbers.
fn misplaced(text: &str) -> Vec<String> {
    let (mut versions, mut kind, mut found) = (0, None, vec![]);
    for (number, line) in (1..).zip(text.lines()) {
        let fits = if let Some(version) = line.strip_prefix("## ") {
            (versions, kind) = (versions + 1, None);
            (version == UNRELEASED) == (versions == 1)
                && (version == UNRELEASED || is_dated(version))
        } else if let Some(name) = line.strip_prefix("### ") {
            let last = kind;
            kind = KINDS.iter().position(|kind| *kind == name);
            kind.is_some() && last < kind
        } else {
            !line.starts_with("- ") || (kind.is_some() && !is_tagged(line))
        };
        found.extend((!fits).then(|| format!("{number}: {line}")));
    }
    found
}

/// `0.1.0 - 2026-11-30`
fn is_dated(version: &str) -> bool {
    let digits = |text: &str, by: char, parts: usize| {
        let all: Vec<&str> = text.split(by).collect();
        all.len() == parts && all.iter().all(|part| part.parse::<u32>().is_ok())
    };
    version
        .split_once(" - ")
        .is_some_and(|(number, date)| digits(number, '.', 3) && digits(date, '-', 3))
}

/// Whether an entry says its kind itself, as those before had to.
fn is_tagged(line: &str) -> bool {
    ["FEATURE ", "BUG ", "PERF ", "NUMERICS ", "INTERNAL "]
        .iter()
        .any(|tag| line[2..].starts_with(tag))
}

#[test]
fn the_changelog_is_by_kind() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    assert!(text.contains("\n## Unreleased\n") && text.lines().count() > 20);
    let found = misplaced(&text);
    assert!(found.is_empty(), "CHANGELOG.md, put under its heading:\n{}", found.join("\n"));
}

#[test]
fn a_line_without_its_heading_is_found() {
    let good =
        "# C\n\n## Unreleased\n\n### Added\n\n- X\n\n### Fixed\n\n- Y\n\n## 0.1.0 - 2026-11-30\n";
    assert_eq!(misplaced(good), [""; 0]);
    for (bad, line) in [
        ("## Unreleased\n- X\n", "2: - X"),
        ("## Unreleased\n### Fixed\n- BUG X\n", "3: - BUG X"),
        ("## Unreleased\n### Fixed\n### Added\n", "3: ### Added"),
        ("## Unreleased\n### Other\n", "2: ### Other"),
        ("## Unreleased\n## 0.1.0\n", "2: ## 0.1.0"),
        ("## 0.1.0 - 2026-11-30\n", "1: ## 0.1.0 - 2026-11-30"),
    ] {
        assert_eq!(misplaced(bad), [line]);
    }
}
