//! A planted bug, and the search for it.

use std::fs;

use crate::child::{self, Finding, Outcome, Place};
use crate::compile::Workshop;
use crate::host::{self, Scene};
use crate::parity::DIFFERS;

/// One edit of one file of kernels/, and how it must be caught.
pub struct Mutation {
    pub name: &'static str,
    pub file: &'static str,
    /// What is edited; it stands there once.
    pub from: &'static str,
    pub to: &'static str,
    /// The kernel file that is compiled, without `.cu`; the edit may be in a header of it.
    pub module: &'static str,
    pub workload: &'static str,
    pub caught: Caught,
}

pub enum Caught {
    /// The first finding is of one of these kinds, in this kernel, and its line, or a line from
    /// which that was inlined, holds the end of one of these texts: (file, text that stands there
    /// once after the edit). No text: the finding is about a call of the host.
    Finding {
        kinds: &'static [&'static str],
        kernel: &'static str,
        at: &'static [(&'static str, &'static str)],
    },
    /// Nothing that a checker of accesses can see: the first output to differ from the CPU's is
    /// this kernel's.
    Values { kernel: &'static str },
}

/// The order of streams, blocks and warps in which bugs are looked for. Others find them too, a
/// race perhaps first at its other end; a wrong value may need a late copy to show.
const SEED: u64 = 1;

/// Plants each and prints what was found; panics in the end with all that were missed.
pub fn all_are_caught(list: &[Mutation]) {
    let mut missed = vec![];
    for mutation in list {
        let workshop = Workshop::new();
        match plant(mutation, &workshop) {
            Ok(()) => {
                judge(mutation.name, mutation.workload, &mutation.caught, &workshop, &mut missed);
            }
            Err(why) => missed.push(format!("{}: {why}", mutation.name)),
        }
    }
    assert!(missed.is_empty(), "{} bugs missed:\n{}", missed.len(), missed.join("\n"));
}

/// The same for scenes.
pub fn all_scenes_are_caught(scenes: impl Iterator<Item = &'static Scene>) {
    let workshop = Workshop::with(&host::MODULES);
    let mut missed = vec![];
    scenes.for_each(|s| judge(s.name, s.name, &s.caught, &workshop, &mut missed));
    assert!(missed.is_empty(), "{} bugs missed:\n{}", missed.len(), missed.join("\n"));
}

fn judge(name: &str, part: &str, caught: &Caught, workshop: &Workshop, missed: &mut Vec<String>) {
    let outcome = child::run(part, SEED, Some(&workshop.ptx()));
    match verdict(caught, &outcome, workshop) {
        Ok(found) => println!("{name:56} {found}"),
        Err(why) => missed.push(format!("{name}: {why}\n{}", outcome.text)),
    }
}

fn plant(mutation: &Mutation, workshop: &Workshop) -> Result<(), String> {
    let Mutation { file, from, to, module, .. } = mutation;
    line_of(workshop, file, from)?;
    let path = workshop.source(file);
    let text = fs::read_to_string(&path).expect("read above");
    fs::write(&path, text.replace(from, to)).expect("a written kernel");
    workshop.compile(module)
}

/// What was found, in words, or why that is not what must be.
fn verdict(caught: &Caught, outcome: &Outcome, workshop: &Workshop) -> Result<String, String> {
    match caught {
        Caught::Values { kernel } => {
            if let Some(finding) = outcome.findings.first() {
                return Err(format!("a finding where values were to differ: {finding}"));
            }
            let differs = outcome.text.lines().find_map(|line| line.strip_prefix(DIFFERS));
            match differs.and_then(|line| line.split_once(": ")) {
                Some((found, _)) if found == *kernel => {
                    Ok(format!("{:22} {kernel}", "values differ"))
                }
                other => Err(format!("the values of {kernel} were to differ: {other:?}")),
            }
        }
        Caught::Finding { kinds, kernel, at } => {
            let first = outcome.findings.first().ok_or("no finding")?;
            let named = first.kernel == *kernel || at.is_empty() && first.names(kernel);
            if !named || !kinds.contains(&&*first.kind) {
                return Err(format!("{first} is not {kinds:?} in {kernel}"));
            }
            if at.is_empty() {
                return Ok(format!("{:22} {kernel}", first.kind));
            }
            let lines = at.iter().map(|(file, text)| line_of(workshop, file, text));
            let lines: Vec<Place> = lines.collect::<Result<_, _>>()?;
            let Some(place) = frames(first).find(|p| lines.iter().any(|line| same(p, line))) else {
                let lines: Vec<String> = lines.iter().map(Place::to_string).collect();
                return Err(format!("{first} is not at {}", lines.join(" or ")));
            };
            Ok(format!("{:22} {kernel} {place}", first.kind))
        }
    }
}

/// Where the end of `text` stands.
fn line_of(workshop: &Workshop, file: &str, text: &str) -> Result<Place, String> {
    let all = fs::read_to_string(workshop.source(file)).map_err(|e| format!("{file}: {e}"))?;
    let found = all.matches(text).count();
    if found != 1 {
        return Err(format!("{file} holds this {found} times, not once: {text}"));
    }
    let end = all.find(text).expect("counted above") + text.trim_end().len();
    Ok(Place { file: file.into(), line: all[..end].matches('\n').count() as u32 + 1 })
}

fn frames(finding: &Finding) -> impl Iterator<Item = &Place> {
    std::iter::once(&finding.place).chain(&finding.callers)
}

/// `found` has a whole path.
fn same(found: &Place, line: &Place) -> bool {
    found.line == line.line && found.file.ends_with(&format!("/{}", line.file))
}
