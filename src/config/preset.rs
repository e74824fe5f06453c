//! The presets of both kinds of run, embedded in the binary.

use super::hints::did_you_mean;
use crate::{Error, Result};

/// The preset of `hrm train` where none is named.
pub const DEFAULT_PRESET: &str = "arc-small";

/// The preset of `hrm distill` where none is named.
pub const DEFAULT_DISTILL_PRESET: &str = "tiny-vae";

/// Name and TOML text of each, in the order in which help lists them.
macro_rules! presets {
    ($folder:literal: $($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../presets/", $folder, $name, ".toml")))),+]
    };
}

/// Presets of `hrm train`: name and TOML text, in the order in which help lists them.
pub const PRESETS: &[(&str, &str)] = presets! { "":
    "arc-small" "grid-small" "arc1" "arc2" "grid-arc1" "grid-arc2" "arc-legion" "sudoku-extreme" "maze-hard" "sudoku-mini"
    "trm-arc1" "trm-sudoku" "trm-sudoku-mlp" "trm-maze" "trm-sudoku-mini" "trm-sudoku-small"
    "arc-full" "arc-simple"
};

/// Presets of `hrm distill`: name and TOML text, in the order in which help lists them.
pub const DISTILL_PRESETS: &[(&str, &str)] = presets! { "distill/":
    "tiny-vae" "ultra-tiny-vae" "tiny-vae-pro"
};

pub(super) const TRAIN: Presets = Presets {
    base_name: "base.toml",
    base: include_str!("../../presets/base.toml"),
    default: DEFAULT_PRESET,
    named: PRESETS,
    command: "hrm train",
};

pub(super) const DISTILL: Presets = Presets {
    base_name: "distill/base.toml",
    base: include_str!("../../presets/distill/base.toml"),
    default: DEFAULT_DISTILL_PRESET,
    named: DISTILL_PRESETS,
    command: "hrm distill",
};

/// What one kind of run can be configured by.
pub struct Presets {
    /// What errors call the base.
    pub base_name: &'static str,
    /// TOML text with every key.
    pub base: &'static str,
    /// The preset where none is named.
    pub default: &'static str,
    /// Name and TOML text of each preset.
    pub named: &'static [(&'static str, &'static str)],
    /// The command that takes them.
    pub command: &'static str,
}

impl Presets {
    pub(super) fn text(&self, name: &str) -> Result<&'static str> {
        if let Some((_, text)) = self.named.iter().find(|(n, _)| *n == name) {
            return Ok(text);
        }
        let others = [&TRAIN, &DISTILL];
        let elsewhere = others.iter().find(|of| of.named.iter().any(|(n, _)| *n == name));
        if let Some(Presets { command, .. }) = elsewhere {
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
