//! From text to [`Config`]: preset, file and `key=value` merged over `base.toml`.
//!
//! `base.toml` is also the schema: a key is known if it stands there, and its value there gives the
//! type. Errors name the key as the user wrote it.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::preset::{BASE, DEFAULT_PRESET, PRESETS};
use super::{Config, DISTILL_PRESETS, check};
use crate::{Error, Result};

impl Config {
    /// `preset` (or the default one), then the file, then `overrides` (`key=value`), checked.
    pub fn load(preset: Option<&str>, file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let presets = Presets {
            base_name: "base.toml",
            base: BASE,
            default: DEFAULT_PRESET,
            named: PRESETS,
            command: "hrm train",
        };
        let config: Config = presets.load(preset, file, overrides)?;
        config.check()?;
        Ok(config)
    }

    /// Refuse values that cannot be meant; [`load`](Self::load) has done so.
    pub fn check(&self) -> Result<()> {
        check::check(self)
    }
}

/// What one kind of run can be configured by.
pub(super) struct Presets {
    pub base_name: &'static str,
    /// Every key.
    pub base: &'static str,
    pub default: &'static str,
    pub named: &'static [(&'static str, &'static str)],
    /// That takes them.
    pub command: &'static str,
}

impl Presets {
    /// Merged in the order of [`Config::load`]; values are not checked yet.
    pub fn load<C: DeserializeOwned>(
        &self,
        preset: Option<&str>,
        file: Option<&Path>,
        overrides: &[String],
    ) -> Result<C> {
        let file = file.map(read_file).transpose()?;
        let file_preset = file.as_ref().and_then(|(_, preset)| preset.as_deref());
        let name = preset.or(file_preset).unwrap_or(self.default);
        let mut merged = Merge { table: parse(self.base_name, self.base)? };
        merged.layer(&format!("preset {name}"), flatten(&parse(name, self.text(name)?)?))?;
        if let Some((table, _)) = &file {
            merged.layer("--config", flatten(table))?;
        }
        let overrides = overrides.iter().map(|o| split(o)).collect::<Result<Vec<_>>>()?;
        let typed = overrides
            .into_iter()
            .map(|(key, text)| Ok((key.to_owned(), parse_like(key, merged.known(key)?, text)?)))
            .collect::<Result<Vec<_>>>()?;
        merged.layer("command line", typed)?;
        merged.table.insert("preset".into(), Value::String(name.into()));
        merged.table.try_into().map_err(|e| Error::invalid(one_line(&e.to_string())))
    }

    fn text(&self, name: &str) -> Result<&'static str> {
        if let Some((_, text)) = self.named.iter().find(|(n, _)| *n == name) {
            return Ok(text);
        }
        let others = [("hrm train", PRESETS), ("hrm distill", DISTILL_PRESETS)];
        let elsewhere = others.iter().find(|(_, named)| named.iter().any(|(n, _)| *n == name));
        if let Some((command, _)) = elsewhere {
            return Err(Error::invalid(format!(
                "{name} is a preset of `{command}`, not of `{}`: run `{command} {name}`",
                self.command
            )));
        }
        let names: Vec<&str> = self.named.iter().map(|(n, _)| *n).collect();
        let near = did_you_mean(name, names.iter().copied());
        Err(Error::invalid(format!("unknown preset {name}{near}\npresets: {}", names.join(", "))))
    }
}

struct Merge {
    table: Table,
}

impl Merge {
    /// Values of one source over what is there. Naming only one of `max_steps` and `epochs`
    /// switches the other off: who asks for 3 epochs does not mean the preset's step count.
    fn layer(&mut self, source: &str, values: Vec<(String, Value)>) -> Result<()> {
        const LENGTHS: [&str; 2] = ["train.max_steps", "train.epochs"];
        let given = LENGTHS.map(|key| values.iter().any(|(k, _)| k == key));
        for (i, key) in LENGTHS.iter().enumerate() {
            if given[1 - i] && !given[i] {
                *self.slot(key).expect("every base has both") = Value::Integer(0);
            }
        }
        for (key, value) in values {
            let known = self.known(&key).map_err(|e| Error::invalid(format!("{source}: {e}")))?;
            let value = coerce(&key, known, value)?;
            *self.slot(&key).expect("known") = value;
        }
        Ok(())
    }

    fn slot(&mut self, key: &str) -> Option<&mut Value> {
        let (section, name) = key.split_once('.')?;
        self.table.get_mut(section)?.get_mut(name)
    }

    fn known(&self, key: &str) -> Result<&Value> {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let value = self.table.get(section).and_then(|s| s.get(name));
        value.ok_or_else(|| {
            let keys: Vec<String> = flatten(&self.table).into_iter().map(|(k, _)| k).collect();
            let names = keys.iter().map(String::as_str);
            Error::invalid(format!(
                "unknown key {key}{}\nknown keys: {}",
                did_you_mean(key, names),
                keys.join(", ")
            ))
        })
    }
}

/// `section.key` and value, in the table's order.
pub fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut flat = vec![];
    for (section, value) in table {
        match value {
            Value::Table(inner) => flat.extend(
                flatten(inner).into_iter().map(|(key, value)| (format!("{section}.{key}"), value)),
            ),
            other => flat.push((section.clone(), other.clone())),
        }
    }
    flat
}

/// One key that two tables disagree on; `None`: not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    pub key: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

impl std::fmt::Display for Diff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |v: &Option<Value>| v.as_ref().map_or("absent".into(), Value::to_string);
        write!(f, "{}: {} -> {}", self.key, text(&self.old), text(&self.new))
    }
}

pub fn diff(old: &Table, new: &Table) -> Vec<Diff> {
    let (old, new) = (flatten(old), flatten(new));
    let find = |flat: &[(String, Value)], key: &str| {
        flat.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
    };
    let gone = old.iter().filter(|(k, _)| find(&new, k).is_none());
    new.iter()
        .chain(gone)
        .map(|(key, _)| Diff { key: key.clone(), old: find(&old, key), new: find(&new, key) })
        .filter(|d| d.old != d.new)
        .collect()
}

/// `; did you mean NAME?`, or nothing if no name is near. Sections count little: who misspells a
/// key, or leaves its section out, means the key.
pub(super) fn did_you_mean<'a>(got: &str, names: impl Iterator<Item = &'a str>) -> String {
    let near = |name: &str| {
        let ((section_a, a), (section_b, b)) = (split_key(got), split_key(name));
        strsim::jaro_winkler(a, b) + if section_a == section_b { 0.01 } else { 0.0 }
    };
    names
        .map(|name| (near(name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, name)| format!("; did you mean {name}?"))
}

fn split_key(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn read_file(path: &Path) -> Result<(Table, Option<String>)> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read the configuration"))?;
    let mut table = parse(&path.display().to_string(), &text)?;
    let preset = match table.remove("preset") {
        Some(Value::String(name)) => Some(name),
        Some(other) => {
            return Err(Error::corrupt(path, format!("preset is {other}, expected a name")));
        }
        None => None,
    };
    Ok((table, preset))
}

fn parse(name: &str, text: &str) -> Result<Table> {
    text.parse().map_err(|e: toml::de::Error| Error::invalid(format!("{name}: {e}")))
}

fn split(text: &str) -> Result<(&str, &str)> {
    text.split_once('=').map(|(key, value)| (key.trim(), value.trim())).ok_or_else(|| {
        Error::invalid(format!("{text}: expected key=value, for example train.batch_size=32"))
    })
}

/// `text` as the type of `like`.
fn parse_like(key: &str, like: &Value, text: &str) -> Result<Value> {
    let refused = || Error::invalid(format!("{key}={text}: expected {}", describe(like)));
    let number = text.replace('_', "");
    Ok(match like {
        Value::Integer(_) => Value::Integer(match number.parse::<i64>() {
            Ok(n) => n,
            // 1e5 is a natural way to write a step count.
            Err(_) => match number.parse::<f64>() {
                Ok(x) if x.fract() == 0.0 && x.abs() < 1e15 => x as i64,
                _ => return Err(refused()),
            },
        }),
        Value::Float(_) => Value::Float(number.parse().map_err(|_| refused())?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| refused())?),
        _ => Value::String(text.trim_matches('"').to_owned()),
    })
}

/// A value from TOML as the type of `like`; a whole number serves where a fraction may stand.
fn coerce(key: &str, like: &Value, value: Value) -> Result<Value> {
    let value = match (like, value) {
        (Value::Float(_), Value::Integer(n)) => Value::Float(n as f64),
        (_, value) => value,
    };
    if value.as_integer().is_some_and(|n| n < 0) {
        return Err(Error::invalid(format!("{key}={value} must not be negative")));
    }
    if value.same_type(like) {
        return Ok(value);
    }
    Err(Error::invalid(format!("{key} = {value}: expected {}", describe(like))))
}

fn describe(like: &Value) -> &'static str {
    match like {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        _ => "a word",
    }
}

/// serde names the key on a second line; keep everything on one.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines.join(" ")
}
