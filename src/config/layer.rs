//! Settings of one source, before they are merged over those below.

use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

use super::table::{flatten, parse};
use crate::{Error, Result};

/// Who set a value, each over those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `base.toml`, which has every key.
    Base,
    /// The preset that is named, or the default one.
    Preset,
    /// The `all_config.yaml` beside a foreign model.
    Official,
    /// The shapes of a foreign model's tensors.
    Weights,
    /// The file of `--config`.
    File,
    /// `key=value`, and flags that stand for it.
    CommandLine,
    /// The device, of what was `auto`.
    Auto,
}

/// A value as its source has it: text gets its type from the key when it is merged.
#[derive(Clone, Debug)]
pub enum Setting {
    /// A word of a command line.
    Text(String),
    /// A value of a TOML file.
    Value(Value),
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Value> for Setting {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

/// Keys of one source with their values, in order.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Who sets them.
    pub source: Source,
    /// Stands before errors of this layer's keys.
    pub(super) name: Option<String>,
    pub(super) preset: Option<String>,
    pub(super) settings: Vec<(String, Setting)>,
}

impl Layer {
    /// No keys yet.
    pub fn new(source: Source) -> Self {
        Self { source, name: None, preset: None, settings: vec![] }
    }

    /// `key=value` as the user wrote them.
    pub fn command_line(texts: &[String]) -> Result<Self> {
        let mut layer = Self::new(Source::CommandLine);
        for text in texts {
            let (key, value) = split(text)?;
            layer.set(key, value.to_owned());
        }
        Ok(layer)
    }

    /// The settings of a TOML file, and the preset that it names.
    pub fn file(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(Error::io(path, "read the configuration"))?;
        let mut table = parse(&path.display().to_string(), &text)?;
        let preset = match table.remove("preset") {
            Some(Value::String(name)) => Some(name),
            Some(other) => {
                return Err(Error::corrupt(path, format!("preset is {other}, expected a name")));
            }
            None => None,
        };
        let name = Some("--config".into());
        Ok(Self { name, preset, ..Self::table(Source::File, &table) })
    }

    /// The preset that a file is meant to lie over.
    pub fn preset(&self) -> Option<&str> {
        self.preset.as_deref()
    }

    pub(super) fn table(source: Source, table: &Table) -> Self {
        let settings = flatten(table).into_iter().map(|(key, value)| (key, value.into()));
        Self { settings: settings.collect(), ..Self::new(source) }
    }

    /// Say what `key` is; a later value of it counts.
    pub fn set(&mut self, key: &str, value: impl Into<Setting>) {
        self.settings.push((key.to_owned(), value.into()));
    }

    /// Whether `key` is set.
    pub fn has(&self, key: &str) -> bool {
        self.settings.iter().any(|(k, _)| k == key)
    }

    /// Whether no key is set.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// The keys that are set, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(|(key, _)| key.as_str())
    }
}

fn split(text: &str) -> Result<(&str, &str)> {
    text.split_once('=').map(|(key, value)| (key.trim(), value.trim())).ok_or_else(|| {
        Error::invalid(format!("{text}: expected key=value, for example train.batch_size=32"))
    })
}
