//! The configuration of an imported model: what its tensors say, then what `all_config.yaml`, the
//! command line or the preset says of the rest. Whatever contradicts a tensor, or the file beside
//! it, is refused by name.

use std::fmt::Display;

use toml::Value;

use super::official::{self, Official};
use crate::backend::DeviceKind;
use crate::config::{Layer, Merged, PRECISION, PRESETS, Settings, Source};
use crate::data::DataSet;
use crate::models::Arch;
use crate::models::foreign::Shown;
use crate::{Error, Result};

/// Where the settings come from that no tensor tells.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub preset: Option<&'a str>,
    pub command_line: &'a Layer,
    /// What the file beside the weights says.
    pub official: Option<&'a Official>,
    pub data: Option<&'a DataSet>,
}

/// A valid configuration, and lines that say what each side contributed.
pub fn resolve(arch: Arch, shown: &Shown, given: Given) -> Result<(Settings, Vec<String>)> {
    contradictions(arch, shown, given)?;
    let preset = preset(arch, shown, given)?;
    let mut facts = facts(shown);
    if let Some(data) = given.data.filter(|_| !facts.has("data.canvas")) {
        facts.set("data.canvas", data.canvas().to_string());
    }
    let mut merged = merge(Some(preset), &facts, given)?;
    // A prefix of any length follows from the canvas, which the preset may say.
    if let Some(key) = shown.prefix_key
        && let Some(positions) = shown.positions
        && ![Source::Official, Source::CommandLine].contains(&merged.source(key))
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
    let merged = merged.on(DeviceKind::Cpu);
    let config = merged.config()?;
    let says = |from: &str, keys: &mut dyn Iterator<Item = &str>| {
        let said = keys.filter_map(|key| Some(format!(" {key}={}", text(merged.value(key)?))));
        format!("from {from}:{}", said.collect::<String>())
    };
    let mut lines = vec![says("the tensors", &mut facts.keys())];
    let mut untold = shown.untold.clone();
    untold.retain(|key| !facts.has(key));
    if let Some(official) = given.official {
        let chosen = |key: &str| key == PRECISION && given.command_line.has(key);
        let told = |key: &&str| !facts.has(key) && !chosen(key);
        let mut keys: Vec<&str> = official.settings.keys().filter(told).collect();
        keys.sort_unstable();
        keys.dedup();
        lines.push(says(official::FILE, &mut keys.iter().copied()));
        untold.retain(|key| !keys.contains(key));
    }
    let rest = format!("preset {preset} and the command line");
    if !untold.is_empty() {
        lines.push(says(&rest, &mut untold.into_iter()));
    }
    if merged.source(PRECISION) == Source::Auto {
        lines.push(says("this CPU", &mut [PRECISION].into_iter()));
    }
    Ok((config, lines))
}

fn facts(shown: &Shown) -> Layer {
    let mut facts = Layer::new(Source::Weights);
    shown.facts.iter().for_each(|(key, value)| facts.set(key, value.clone()));
    facts
}

fn merge(preset: Option<&str>, facts: &Layer, given: Given) -> Result<Merged> {
    let mut merged = Merged::new(preset)?;
    if let Some(official) = given.official {
        merged.put(&official.settings)?;
    }
    merged.put(facts)?;
    merged.put(given.command_line)?;
    Ok(merged)
}

/// Settings of one source that another denies.
fn contradictions(arch: Arch, shown: &Shown, given: Given) -> Result<()> {
    let facts = facts(shown);
    let tensors = (&facts, "the tensors say");
    if let Some(official) = given.official {
        if official.arch != arch {
            return Err(Error::invalid(format!(
                "{} beside it is of a model of kind {}, the tensors are those of {}",
                official::FILE,
                official.arch.word(),
                arch.word()
            )));
        }
        let file = (&official.settings, "all_config.yaml beside it says");
        agree(tensors, (&official.settings, "all_config.yaml says "))?;
        agree(file, (given.command_line, ""))?;
    }
    agree(tensors, (given.command_line, ""))?;
    let asked = merge(None, &facts, given)?;
    let said = [Source::Weights, Source::CommandLine].contains(&asked.source("data.canvas"));
    match (canvas(&asked).filter(|_| said), given.data) {
        (Some(canvas), Some(data)) if canvas != data.canvas() => {
            Err(other_data(data, "canvas", data.canvas(), canvas))
        }
        _ => Ok(()),
    }
}

/// Refuses what `asked` says of a key otherwise than `told`; each has the words for what it says.
fn agree((told, says): (&Layer, &str), (asked, asks): (&Layer, &str)) -> Result<()> {
    let of = |layer: &Layer| -> Result<Merged> {
        let mut merged = Merged::new(None)?;
        merged.put(layer)?;
        Ok(merged)
    };
    let (told_values, asked_values) = (of(told)?, of(asked)?);
    for key in told.keys().filter(|key| asked.has(key)) {
        let (is, wanted) = (told_values.value(key), asked_values.value(key));
        // An expansion is rounded: others may give the same widths, which are compared later. How
        // one computes is no fact of the model.
        if is != wanted && !["model.expansion", PRECISION].contains(&key) {
            let [is, wanted] = [is, wanted].map(|value| value.map(text).unwrap_or_default());
            return Err(Error::invalid(format!("{asks}{key}={wanted}, but {says} {is}")));
        }
    }
    Ok(())
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
    let said = |key: &str| {
        given.command_line.has(key)
            || given.official.is_some_and(|official| official.settings.has(key))
            || (key == "data.canvas" && given.data.is_some())
    };
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
