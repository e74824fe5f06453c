//! The configuration of an imported model: what its tensors say, then what the preset or the command
//! line says of the rest. Whatever contradicts a tensor is refused by name.

use std::fmt::Display;

use super::infer::Shown;
use crate::config::{Arch, Config, PRESETS, flatten};
use crate::data::DataSet;
use crate::{Error, Result};

/// Where the settings come from that no tensor tells.
#[derive(Clone, Copy, Default)]
pub struct Given<'a> {
    pub preset: Option<&'a str>,
    /// `key=value`
    pub overrides: &'a [String],
    pub data: Option<&'a DataSet>,
}

/// A valid configuration, and lines that say what each side contributed.
pub fn resolve(arch: Arch, shown: &Shown, given: Given) -> Result<(Config, Vec<String>)> {
    contradictions(shown, given)?;
    let preset = preset(arch, shown, given)?;
    let mut facts: Vec<String> =
        shown.facts.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if let Some(data) = given.data.filter(|_| shown.fact("data.canvas").is_none()) {
        facts.push(format!("data.canvas={}", data.canvas()));
    }
    let all = |facts: &[String]| [facts, given.overrides].concat();
    // The prefix of a TRM follows from the canvas, which the preset may say.
    if arch == Arch::Trm
        && let Some(positions) = shown.positions
        && asked(given, "model.puzzle_emb_len").is_none()
    {
        let canvas = canvas(preset, given)?;
        let prefix = positions.checked_sub(canvas * canvas);
        let prefix = prefix.filter(|p| shown.puzzles.is_some() || *p == 0).ok_or_else(|| {
            Error::invalid(format!(
                "the weights have {positions} positions, which is not a prefix and the {} cells of \
                 data.canvas={canvas}",
                canvas * canvas
            ))
        })?;
        let len = if shown.puzzles.is_some() { prefix } else { 0 };
        facts.push(format!("model.puzzle_emb_len={len}"));
    }
    let config = Config::load(Some(preset), None, &all(&facts))?;
    let untold: Vec<String> = shown
        .untold
        .iter()
        .filter_map(|key| Some(format!("{key}={}", value_of(&config, key)?)))
        .collect();
    let says = |from: &str, what: &[String]| format!("from {from}: {}", what.join(" "));
    let lines = vec![
        says("the tensors", &facts),
        says(&format!("preset {preset} and the command line"), &untold),
    ];
    Ok((config, lines))
}

/// Settings that the command line gives and the tensors or the data set deny.
fn contradictions(shown: &Shown, given: Given) -> Result<()> {
    for (key, fact) in &shown.facts {
        let Some(wanted) = asked(given, key) else { continue };
        let same = match (wanted.parse::<f64>(), fact.parse::<f64>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => wanted == fact,
        };
        // An expansion is rounded: others may give the same widths, which are compared later.
        if !same && *key != "model.expansion" {
            return Err(Error::invalid(format!("{key}={wanted}, but the tensors say {fact}")));
        }
    }
    let canvas = asked(given, "data.canvas").or(shown.fact("data.canvas"));
    match (canvas, given.data) {
        (Some(canvas), Some(data)) if canvas.parse() != Ok(data.canvas()) => {
            Err(other_data(data, "canvas", data.canvas(), canvas))
        }
        _ => Ok(()),
    }
}

/// The preset that was named, or any of the right kind where the command line says all the rest.
fn preset<'a>(arch: Arch, shown: &Shown, given: Given<'a>) -> Result<&'a str> {
    let mut fitting = vec![];
    for (name, _) in PRESETS {
        if Config::load(Some(name), None, &[])?.model.arch == arch {
            fitting.push(*name);
        }
    }
    let kind = word(arch);
    if let Some(name) = given.preset {
        let config = Config::load(Some(name), None, &[])?;
        return match config.model.arch == arch {
            true => Ok(name),
            false => Err(Error::invalid(format!(
                "the file holds a model of kind {kind}, preset {name} is {}; presets of {kind}: {}",
                word(config.model.arch),
                fitting.join(", ")
            ))),
        };
    }
    let said =
        |key: &str| asked(given, key).is_some() || (key == "data.canvas" && given.data.is_some());
    let missing: Vec<&str> = shown.untold.iter().copied().filter(|key| !said(key)).collect();
    match (missing.is_empty(), fitting.first()) {
        (true, Some(name)) => Ok(name),
        _ => Err(Error::invalid(format!(
            "the file holds a model of kind {kind}, whose shapes do not tell {}: name the preset \
             that it was trained with ({}), or give each as key=value",
            missing.join(", "),
            fitting.join(", ")
        ))),
    }
}

/// Whether the data set has the canvas and the tokens of the model.
pub fn check_data(config: &Config, vocab_size: usize, data: &DataSet) -> Result<()> {
    let same = [
        ("canvas", data.canvas(), config.data.canvas),
        ("vocabulary", data.vocab_size(), vocab_size),
    ];
    match same.into_iter().find(|(_, found, model)| found != model) {
        Some((what, found, model)) => Err(other_data(data, what, found, model)),
        None => Ok(()),
    }
}

fn other_data(data: &DataSet, what: &str, found: usize, model: impl Display) -> Error {
    let dir = data.dir().display();
    Error::invalid(format!(
        "{dir}: {what} {found}, but the model has {model}: it was trained on other data"
    ))
}

/// Of the data set, the command line or the preset, in this order.
fn canvas(preset: &str, given: Given) -> Result<usize> {
    if let Some(data) = given.data {
        return Ok(data.canvas());
    }
    let canvas: Vec<String> =
        asked(given, "data.canvas").iter().map(|text| format!("data.canvas={text}")).collect();
    Ok(Config::load(Some(preset), None, &canvas)?.data.canvas)
}

/// A kind of model as presets write it.
pub(super) fn word(arch: Arch) -> String {
    let value = toml::Value::try_from(arch);
    value.ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn value_of(config: &Config, key: &str) -> Option<String> {
    let table = toml::Table::try_from(config).ok()?;
    let (_, value) = flatten(&table).into_iter().find(|(k, _)| k == key)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn asked<'a>(given: Given<'a>, key: &str) -> Option<&'a str> {
    let pairs = given.overrides.iter().filter_map(|o| o.split_once('='));
    pairs.filter(|(k, _)| k.trim() == key).map(|(_, value)| value.trim()).next_back()
}
