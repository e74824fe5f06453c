//! Layers of settings merged over `base.toml`: preset, file, `key=value`.
//!
//! `base.toml` is also the schema: a key is known if it stands there, and its value there gives the
//! type. Errors name the key as the user wrote it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use toml::{Table, Value};

use super::hints::{did_you_mean, hint};
use super::layer::{Layer, Setting, Source};
use super::precision::{AUTO, PRECISION};
use super::table::{flatten, parse};
use super::{RunConfig, Settings};
use crate::backend::DeviceKind;
use crate::{Error, Result};

/// Settings of several sources, each over those below; every key knows who set it.
#[derive(Clone, Debug)]
pub struct Merged<C = Settings> {
    table: Table,
    /// Keys that are no longer at their value of the base.
    sources: BTreeMap<String, Source>,
    preset: String,
    config: PhantomData<C>,
}

impl<C: RunConfig> Merged<C> {
    /// `preset` (or the default one) over the base.
    pub fn new(preset: Option<&str>) -> Result<Self> {
        let presets = C::PRESETS;
        let name = preset.unwrap_or(presets.default);
        let table = parse(presets.base_name, presets.base)?;
        let (sources, config) = (BTreeMap::new(), PhantomData);
        let mut merged = Self { table, sources, preset: name.into(), config };
        let layer = Layer::table(Source::Preset, &parse(name, presets.text(name)?)?);
        merged.put(&Layer { name: Some(format!("preset {name}")), ..layer })?;
        Ok(merged)
    }

    /// Preset (else the file's, else the default one), then the file, then the command line.
    pub fn of(preset: Option<&str>, file: Option<&Path>, command_line: &Layer) -> Result<Self> {
        let file = file.map(Layer::file).transpose()?;
        let mut merged = Self::new(preset.or(file.as_ref().and_then(|f| f.preset.as_deref())))?;
        for layer in file.iter().chain([command_line]) {
            merged.put(layer)?;
        }
        Ok(merged)
    }

    /// `layer` over what is there. Naming only one of `max_steps` and `epochs` switches the other
    /// off: who asks for 3 epochs does not mean the preset's step count.
    pub fn put(&mut self, layer: &Layer) -> Result<()> {
        const LENGTHS: [&str; 2] = ["train.max_steps", "train.epochs"];
        let given = LENGTHS.map(|key| layer.has(key));
        for (i, key) in LENGTHS.iter().enumerate() {
            if given[1 - i] && !given[i] {
                self.replace(key, Value::Integer(0), layer.source);
            }
        }
        for (key, setting) in &layer.settings {
            let like = self.known(key).map_err(|e| match &layer.name {
                Some(name) => Error::invalid(format!("{name}: {e}")),
                None => e,
            })?;
            let value = match setting {
                Setting::Text(text) => parse_like(key, like, text)?,
                Setting::Value(value) => value.clone(),
            };
            let value = coerce(key, like, value)?;
            self.replace(key, value, layer.source);
        }
        Ok(())
    }

    /// What is `auto` becomes what suits `device`, before there can be a configuration.
    pub fn on(mut self, device: DeviceKind) -> Self {
        if self.value(PRECISION).and_then(Value::as_str) == Some(AUTO) {
            let word = C::fastest_precision(device).word().to_owned();
            self.replace(PRECISION, Value::String(word), Source::Auto);
        }
        self
    }

    /// The checked configuration.
    pub fn config(&self) -> Result<C> {
        let mut table = self.settled()?;
        table.insert("preset".into(), Value::String(self.preset.clone()));
        let config: C = table
            .try_into()
            .map_err(|e: toml::de::Error| Error::invalid(one_line(&e.to_string())))?;
        config.check()?;
        Ok(config)
    }

    /// Name of the preset over which the rest lies.
    pub fn preset(&self) -> &str {
        &self.preset
    }

    /// The value of `section.key`, if there is such a key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        let (section, name) = key.split_once('.')?;
        self.table.get(section)?.get(name)
    }

    /// Who set `key`.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).copied().unwrap_or(Source::Base)
    }

    /// Whether the command line says what `key` is.
    pub fn is_asked(&self, key: &str) -> bool {
        self.source(key) == Source::CommandLine
    }

    /// Every key of the configuration with its value and who set it.
    pub fn entries(&self) -> Result<impl Iterator<Item = (String, Value, Source)>> {
        Ok(flatten(&self.settled()?).into_iter().map(|(key, value)| {
            let source = self.source(&key);
            (key, value, source)
        }))
    }

    /// The table without keys that the chosen model does not have. What was said below the source
    /// that chose the model was not meant for it.
    fn settled(&self) -> Result<Table> {
        let mut table = self.table.clone();
        let chosen = self.source("model.arch").max(Source::Preset);
        C::settle(&mut table, |key| self.source(key) >= chosen)?;
        Ok(table)
    }

    fn replace(&mut self, key: &str, value: Value, source: Source) {
        if let Some(slot) = self.slot(key) {
            *slot = value;
            self.sources.insert(key.to_owned(), source);
        }
    }

    fn slot(&mut self, key: &str) -> Option<&mut Value> {
        let (section, name) = key.split_once('.')?;
        self.table.get_mut(section)?.get_mut(name)
    }

    fn known(&self, key: &str) -> Result<&Value> {
        self.value(key).ok_or_else(|| {
            let keys: Vec<String> = flatten(&self.table).into_iter().map(|(k, _)| k).collect();
            let names = keys.iter().map(String::as_str);
            let near = match hint(key) {
                Some(ours) => format!(", a key of the official programs; here: {ours}"),
                None => did_you_mean(key, names),
            };
            Error::invalid(format!("unknown key {key}{near}\nknown keys: {}", keys.join(", ")))
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Precision;

    #[test]
    fn every_key_knows_who_set_it() {
        let file = std::env::temp_dir().join(format!("hrm-sources-{}.toml", std::process::id()));
        std::fs::write(&file, "preset = \"sudoku-mini\"\n[train]\nlr = 1\nseed = 3\n").unwrap();
        let asked = ["train.seed=4".to_owned(), "train.epochs=2".to_owned()];
        let layer = Layer::command_line(&asked).unwrap();
        let merged = Merged::<Settings>::of(None, Some(&file), &layer).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(merged.source("train.beta1"), Source::Base);
        assert_eq!(merged.source("data.dataset"), Source::Preset);
        assert_eq!(merged.source("train.lr"), Source::File);
        assert_eq!(merged.source("train.seed"), Source::CommandLine);
        // Whoever asks for epochs says that steps do not end the run.
        assert_eq!(merged.source("train.max_steps"), Source::CommandLine);
        let merged = merged.on(DeviceKind::Cpu);
        let config = merged.config().unwrap();
        assert_eq!((config.train.lr, config.train.seed, config.train.max_steps), (1.0, 4, 0));
        let keys: Vec<String> = merged.entries().unwrap().map(|(key, ..)| key).collect();
        assert!(
            keys.contains(&"model.arch".into()) && !keys.contains(&"preset".into()),
            "{keys:?}"
        );
    }

    #[test]
    fn precision_that_is_left_to_the_device_becomes_a_word() {
        let of = |asked: &[&str], device| {
            let asked: Vec<String> = asked.iter().map(|a| format!("{PRECISION}={a}")).collect();
            let layer = Layer::command_line(&asked).unwrap();
            let merged = Merged::<Settings>::of(None, None, &layer).unwrap();
            assert_eq!(merged.config().is_err(), asked.is_empty() || asked[0].ends_with(AUTO));
            let merged = merged.on(device);
            (merged.config().unwrap().train.precision, merged.source(PRECISION))
        };
        for asked in [&[][..], &[AUTO]] {
            for device in [DeviceKind::Cpu, DeviceKind::Cuda] {
                assert_eq!(of(asked, device), (Precision::fastest(device), Source::Auto));
            }
        }
        let told = (Precision::F32, Source::CommandLine);
        assert_eq!(of(&["f32"], DeviceKind::Cuda), told);
        let paper = Merged::<Settings>::new(Some("arc1")).unwrap().on(DeviceKind::Cpu);
        assert_eq!(paper.config().unwrap().train.precision, Precision::Bf16);
        assert_eq!(paper.source(PRECISION), Source::Preset);
    }
}
