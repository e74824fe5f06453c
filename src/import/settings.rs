//! The configuration of an imported model: what its tensors say, then what the preset or the
//! command line says of the rest. Whatever contradicts a tensor is refused by name.

use std::fmt::Display;

use toml::Value;

use crate::config::{Layer, Merged, PRESETS, Settings, Source};
use crate::data::DataSet;
use crate::models::Arch;
use crate::models::foreign::Shown;
use crate::{Error, Result};

/// Where the settings come from that no tensor tells.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub preset: Option<&'a str>,
    pub command_line: &'a Layer,
    pub data: Option<&'a DataSet>,
}

/// A valid configuration, and lines that say what each side contributed.
pub fn resolve(arch: Arch, shown: &Shown, given: Given) -> Result<(Settings, Vec<String>)> {
    contradictions(shown, given)?;
    let preset = preset(arch, shown, given)?;
    let mut facts = facts(shown);
    if let Some(data) = given.data.filter(|_| !facts.has("data.canvas")) {
        facts.set("data.canvas", data.canvas().to_string());
    }
    let mut merged = merge(Some(preset), &facts, given)?;
    // A prefix of any length follows from the canvas, which the preset may say.
    if let Some(key) = shown.prefix_key
        && let Some(positions) = shown.positions
        && !merged.is_asked(key)
    {
        let canvas = match given.data {
            Some(data) => data.canvas(),
            None => canvas(&merged).unwrap_or_default(),
        };
        let cells = canvas.saturating_mul(canvas);
        let prefix = positions.checked_sub(cells);
        let prefix = prefix.filter(|p| shown.puzzles.is_some() || *p == 0).ok_or_else(|| {
            Error::invalid(format!(
                "the weights have {positions} positions, which is not a prefix and the {cells} \
                 cells of data.canvas={canvas}"
            ))
        })?;
        let len = if shown.puzzles.is_some() { prefix } else { 0 };
        facts.set(key, len.to_string());
        merged = merge(Some(preset), &facts, given)?;
    }
    let config = merged.config()?;
    let says = |from: &str, keys: &mut dyn Iterator<Item = &str>| {
        let said = keys.filter_map(|key| Some(format!(" {key}={}", text(merged.value(key)?))));
        format!("from {from}:{}", said.collect::<String>())
    };
    let rest = format!("preset {preset} and the command line");
    let lines = vec![
        says("the tensors", &mut facts.keys()),
        says(&rest, &mut shown.untold.iter().copied()),
    ];
    Ok((config, lines))
}

fn facts(shown: &Shown) -> Layer {
    let mut facts = Layer::new(Source::Weights);
    shown.facts.iter().for_each(|(key, value)| facts.set(key, value.clone()));
    facts
}

fn merge(preset: Option<&str>, facts: &Layer, given: Given) -> Result<Merged> {
    let mut merged = Merged::new(preset)?;
    merged.put(facts)?;
    merged.put(given.command_line)?;
    Ok(merged)
}

/// Settings that the command line gives and the tensors or the data set deny.
fn contradictions(shown: &Shown, given: Given) -> Result<()> {
    let facts = facts(shown);
    let mut told = Merged::<Settings>::new(None)?;
    told.put(&facts)?;
    let asked = merge(None, &facts, given)?;
    for key in facts.keys().filter(|key| asked.is_asked(key)) {
        let (fact, wanted) = (told.value(key), asked.value(key));
        // An expansion is rounded: others may give the same widths, which are compared later.
        if fact != wanted && key != "model.expansion" {
            let [fact, wanted] = [fact, wanted].map(|value| value.map(text).unwrap_or_default());
            return Err(Error::invalid(format!("{key}={wanted}, but the tensors say {fact}")));
        }
    }
    let said = [Source::Weights, Source::CommandLine].contains(&asked.source("data.canvas"));
    match (canvas(&asked).filter(|_| said), given.data) {
        (Some(canvas), Some(data)) if canvas != data.canvas() => {
            Err(other_data(data, "canvas", data.canvas(), canvas))
        }
        _ => Ok(()),
    }
}

/// The preset that was named, or any of the right kind where the command line says all the rest.
fn preset<'a>(arch: Arch, shown: &Shown, given: Given<'a>) -> Result<&'a str> {
    let mut fitting = vec![];
    for (name, _) in PRESETS {
        if Settings::load(Some(name), None, &[])?.model.arch() == arch {
            fitting.push(*name);
        }
    }
    let kind = arch.word();
    if let Some(name) = given.preset {
        let config = Settings::load(Some(name), None, &[])?;
        return match config.model.arch() == arch {
            true => Ok(name),
            false => Err(Error::invalid(format!(
                "the file holds a model of kind {kind}, preset {name} is {}; presets of {kind}: {}",
                config.model.arch().word(),
                fitting.join(", ")
            ))),
        };
    }
    let said =
        |key: &str| given.command_line.has(key) || (key == "data.canvas" && given.data.is_some());
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
pub fn check_data(config: &Settings, vocab_size: usize, data: &DataSet) -> Result<()> {
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

fn canvas(merged: &Merged) -> Option<usize> {
    merged.value("data.canvas")?.as_integer()?.try_into().ok()
}

/// A value as it is written after `key=`.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
