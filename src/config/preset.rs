//! The presets, embedded in the binary.

/// The preset where none is named.
pub const DEFAULT_PRESET: &str = "arc-small";

pub(super) const BASE: &str = include_str!("../../presets/base.toml");

macro_rules! presets {
    ($($name:literal)+) => {
        /// Name and TOML text, in the order in which help lists them.
        pub const PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../presets/", $name, ".toml")))),+];
    };
}

presets! {
    "arc-small" "arc1" "arc2" "arc-legion" "sudoku-extreme" "maze-hard" "sudoku-mini"
    "trm-arc1" "trm-sudoku" "trm-sudoku-mlp" "trm-maze" "trm-sudoku-mini"
    "arc-full" "arc-simple"
}
