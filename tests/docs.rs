//! The documents: every `hrm` line of README and `docs/` is a command that the program takes, and
//! those that follow `<!-- run -->` are run; links lead somewhere.

#[path = "docs/changelog.rs"]
mod changelog;
#[path = "docs/keys.rs"]
mod keys;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FIRST_BLOCK: [&str; 2] = ["cargo run --release -- train", "tools/test"];
/// README lines at most.
const README_LINES: usize = 150;
const RUN: &str = "<!-- run -->";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|e| e == "md")));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Lines of a fenced shell block without comments, and whether the block is marked to be run.
struct Block {
    lines: Vec<String>,
    run: bool,
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut found, mut open, mut marked) = (vec![], None::<Block>, false);
    for line in text.lines() {
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some(block) => {
                let code = line.split(" # ").next().unwrap_or("").trim();
                block.lines.extend((!code.is_empty()).then(|| code.to_owned()));
            }
            None if line == "```sh" => open = Some(Block { lines: vec![], run: marked }),
            None => marked = line == RUN,
        }
    }
    assert!(open.is_none(), "a block that does not end");
    found
}

/// Words of each `hrm` command of a line, beginning with `hrm`.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = |part: &str| part.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let parts = line.split("&&").map(str::trim);
    parts
        .filter_map(|part| match part.strip_prefix("cargo run --release") {
            Some(rest) => rest.split_once("-- ").map(|(_, args)| words(&format!("hrm {args}"))),
            None => part.starts_with("hrm ").then(|| words(part)),
        })
        .collect()
}

fn asks_for_help(words: &[String]) -> bool {
    words.iter().any(|word| word == "--help" || word == "--version")
}

#[test]
fn every_command_is_one_that_the_program_takes() {
    let (mut parsed, mut wrong) = (0, vec![]);
    for (path, text) in documents() {
        for words in blocks(&text).iter().flat_map(|b| &b.lines).flat_map(|line| commands(line)) {
            parsed += 1;
            if asks_for_help(&words) {
                continue;
            }
            if let Err(e) = hrm::cli::check_line(&words) {
                wrong.push(format!("{}: {}\n{e}", path.display(), words.join(" ")));
            }
        }
    }
    assert!(parsed > 40, "{parsed} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_line_that_the_program_does_not_take_is_refused() {
    for line in ["hrm trian", "hrm train --nothing", "hrm train train.lrr=1", "hrm plan arc9"] {
        let refused = commands(line).iter().all(|words| hrm::cli::check_line(words).is_err());
        assert!(refused, "{line}");
    }
}

#[test]
fn marked_blocks_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut ran = 0;
    for (path, text) in documents() {
        for line in blocks(&text).into_iter().filter(|block| block.run).flat_map(|b| b.lines) {
            for words in commands(&line) {
                let mut command = Command::new(env!("CARGO_BIN_EXE_hrm"));
                let output = command.args(&words[1..]).current_dir(dir.path()).output().unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {line}\n{errors}", path.display());
                ran += 1;
            }
        }
    }
    assert!(ran >= 5, "{ran} commands were run");
}

#[test]
fn the_readme_is_short_and_begins_with_two_commands() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = text.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines, {README_LINES} are allowed");
    assert_eq!(blocks(&text)[0].lines, FIRST_BLOCK);
}

/// Targets of `[..](..)`, without other sites.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchor of a heading as a forge makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn leads_nowhere(from: &Path, text: &str, target: &str) -> bool {
    let (file, part) = target.split_once('#').unwrap_or((target, ""));
    let to = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    if part.is_empty() {
        return !to.exists();
    }
    let there =
        if file.is_empty() { text.to_owned() } else { fs::read_to_string(to).unwrap_or_default() };
    let mut headings = there.lines().filter(|line| line.starts_with('#'));
    !headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == part)
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = vec![];
    for (path, text) in documents() {
        for target in links(&text).into_iter().filter(|target| leads_nowhere(&path, &text, target))
        {
            wrong.push(format!("{}: {target}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
