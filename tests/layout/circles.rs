//! Circles of files: which file of a module uses which other, and whether any leads back.
//!
//! A `mod.rs` and what lies below it may know each other; what a `mod.rs` re-exports counts as the
//! file that it comes from.

use std::collections::{BTreeMap, BTreeSet};

/// Path from the root of the repository, and the text without comments.
pub type File = (String, String);

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Files that use each other, in however many steps; sorted.
pub fn circles(files: &[File]) -> Vec<Vec<String>> {
    let edges = edges(files);
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|file| (file.as_str(), reachable(&edges, file))).collect();
    let mut circles: Vec<Vec<String>> = vec![];
    for (file, reached) in &reach {
        let circle: Vec<String> = reached
            .iter()
            .filter(|other| reach[*other].contains(file))
            .map(|other| other.to_string())
            .collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reachable<'a>(edges: &'a Edges, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = edges[file].iter().map(String::as_str).collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(edges[file].iter().map(String::as_str));
        }
    }
    reached
}

fn edges(files: &[File]) -> Edges {
    let modules: BTreeMap<Vec<&str>, usize> =
        files.iter().enumerate().map(|(i, (path, _))| (module(path), i)).collect();
    let mut edges = Edges::new();
    for (path, code) in files {
        let own = module(path);
        let targets = edges.entry(path.clone()).or_default();
        for used in used_paths(code, &own) {
            let target = resolve(&used, files, &modules, 0);
            let target = target.map(|i| files[i].0.as_str()).filter(|other| {
                let other = module(other);
                !own.starts_with(&other) && !other.starts_with(&own)
            });
            targets.extend(target.map(str::to_owned));
        }
    }
    edges
}

/// `src/cli/plan/mod.rs` is `cli`, `plan`.
fn module(path: &str) -> Vec<&str> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.trim_end_matches("/mod").split('/').collect()
}

/// The file that a path names, through what a `mod.rs` re-exports.
fn resolve(
    path: &[String],
    files: &[File],
    modules: &BTreeMap<Vec<&str>, usize>,
    depth: usize,
) -> Option<usize> {
    let prefix = |n: usize| path[..n].iter().map(String::as_str).collect::<Vec<_>>();
    let (n, found) = (1..=path.len()).rev().find_map(|n| Some((n, *modules.get(&prefix(n))?)))?;
    let (Some(item), true) = (path.get(n), depth < 8) else { return Some(found) };
    let own = prefix(n);
    let exported = trees(&files[found].1, "use ").into_iter().find_map(|(_, names)| {
        let child: Vec<&str> = own.iter().copied().chain([names[0].as_str()]).collect();
        let is_it = names.last() == Some(item) && modules.contains_key(&child);
        is_it.then(|| own.iter().map(|s| s.to_string()).chain(names).collect::<Vec<_>>())
    });
    exported.map_or(Some(found), |path| resolve(&path, files, modules, depth + 1))
}

/// Every path that begins at the crate or above this module, from the crate's root.
fn used_paths(code: &str, own: &[&str]) -> Vec<Vec<String>> {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or(code);
    let above = |levels: usize| own[..own.len().saturating_sub(levels)].iter();
    let mut paths = vec![];
    for (_, names) in trees(code, "crate::") {
        paths.push(names);
    }
    for (at, names) in trees(code, "super::") {
        // The first of a chain counts the others.
        if !code[..at].ends_with("super::") {
            let levels = 1 + names.iter().take_while(|name| *name == "super").count();
            let names = names.into_iter().skip(levels - 1);
            paths.push(above(levels).map(|s| s.to_string()).chain(names).collect());
        }
    }
    paths
}

/// All paths of the use trees that follow `root`, with the place of the root.
fn trees(code: &str, root: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = vec![];
    for (at, _) in code.match_indices(root) {
        let mut rest = &code[at + root.len()..];
        let mut paths = vec![];
        tree(&mut rest, &[], &mut paths);
        found.extend(paths.into_iter().filter(|path| !path.is_empty()).map(|path| (at, path)));
    }
    found
}

fn tree(rest: &mut &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        *rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            *rest = group;
            loop {
                tree(rest, &path, paths);
                *rest = rest.trim_start();
                match rest.strip_prefix(',') {
                    Some(more) => *rest = more,
                    None => break,
                }
            }
            *rest = rest.strip_prefix('}').unwrap_or(rest);
            return;
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = &rest[..end];
        *rest = &rest[end..];
        if !name.is_empty() && name != "self" {
            path.push(name.to_owned());
        }
        match rest.strip_prefix("::") {
            Some(more) if !name.is_empty() => *rest = more,
            _ => break,
        }
    }
    *rest = rest.strip_prefix('*').unwrap_or(rest);
    *rest = rest.trim_start();
    if let Some(renamed) = rest.strip_prefix("as ") {
        *rest = renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    }
    paths.push(path);
}
