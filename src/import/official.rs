//! `all_config.yaml`, which the official HRM and TRM programs keep beside a checkpoint: what no
//! tensor tells, in their words. Read where such a checkpoint is imported, written beside one for
//! them.

use std::fmt::Write as _;
use std::path::Path;

use toml::Value;

use crate::config::{Dataset, Layer, Merged, Settings, Source, flatten};
use crate::formats::{Program, yaml};
use crate::io::file;
use crate::models::{ARCHITECTURES, Arch};
use crate::nn::{block, rope};
use crate::{Error, Result};

pub const FILE: &str = "all_config.yaml";
/// Far above any: those of the official programs have two thousand bytes.
const MAX_BYTES: u64 = 1 << 20;

const LOSS_HEAD: &str = "losses@ACTLossHead";
const LOSS_END: &str = "_cross_entropy";
/// What a TRM has where its file does not say it.
const TRM_PREFIX: &str = "16";

/// Keys of `arch`, and what they are here.
const ARCH: &[(&str, &str)] = &[
    ("H_cycles", "model.h_cycles"),
    ("L_cycles", "model.l_cycles"),
    ("H_layers", "model.h_layers"),
    ("L_layers", "model.l_layers"),
    ("hidden_size", "model.hidden_size"),
    ("num_heads", "model.num_heads"),
    ("expansion", "model.expansion"),
    ("puzzle_emb_ndim", "model.puzzle_emb_ndim"),
    ("puzzle_emb_len", "model.puzzle_emb_len"),
    ("pos_encodings", "model.pos_encodings"),
    ("mlp_t", "model.mlp_t"),
    ("halt_max_steps", "model.halt_max_steps"),
    ("halt_exploration_prob", "model.halt_exploration_prob"),
];

/// Keys of training, which are written only.
const TRAIN: &[(&str, &str)] = &[
    ("epochs", "train.epochs"),
    ("lr", "train.lr"),
    ("lr_min_ratio", "train.lr_min_ratio"),
    ("lr_warmup_steps", "train.warmup_steps"),
    ("weight_decay", "train.weight_decay"),
    ("beta1", "train.beta1"),
    ("beta2", "train.beta2"),
    ("puzzle_emb_lr", "train.puzzle_emb_lr"),
    ("puzzle_emb_weight_decay", "train.puzzle_emb_weight_decay"),
    ("seed", "train.seed"),
];

/// What such a file says of a model.
pub struct Official {
    pub arch: Arch,
    pub settings: Layer,
}

/// The file beside a checkpoint, if there is one.
pub fn beside(checkpoint: &Path) -> Result<Option<Official>> {
    let path = checkpoint.with_file_name(FILE);
    if !file::exists(&path)? {
        return Ok(None);
    }
    let bytes = file::read_at_most(&path, MAX_BYTES)?;
    let text = std::str::from_utf8(file::without_bom(&bytes));
    let text = text.map_err(|_| Error::corrupt(&path, "is not UTF-8"))?;
    read(text).map(Some).map_err(|what| Error::corrupt(&path, what))
}

/// # Errors
/// A model that is not computed here, in words that follow the file's name.
pub fn read(text: &str) -> Result<Official, String> {
    let all = yaml::scalars(text)?;
    let said = |path: &str| all.iter().find(|(p, _)| p == path).map(|(_, v)| v.as_str());
    let name = said("arch.name").ok_or("has no arch.name: no settings of HRM or TRM")?;
    let known = ARCHITECTURES.iter().filter_map(|arch| Some((*arch, arch.official()?)));
    let known: Vec<_> = known.collect();
    let found = known.iter().find(|(_, (_, names))| names.contains(&name));
    let &(arch, (program, _)) = found.ok_or_else(|| {
        let names: Vec<&str> = known.iter().flat_map(|(_, (_, names))| *names).copied().collect();
        format!("arch.name is {name}, which is not computed here: {} are", names.join(", "))
    })?;
    let is_mlp = said("arch.mlp_t").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let mut settings = Layer::new(Source::Official);
    let mut set = |key: &str, value: &str| settings.set(key, value.to_owned());
    // What the file leaves out is what the program then takes.
    set("train.precision", "bf16");
    if program == Program::Hrm {
        set("model.q_continue", "true");
    } else if said("arch.puzzle_emb_ndim").is_some_and(|v| v != "0") {
        set("model.puzzle_emb_len", TRM_PREFIX);
    }
    for (path, value) in &all {
        let Some(key) = path.strip_prefix("arch.") else { continue };
        let refuse = |why: &str| Err(format!("arch.{key} is {value}: {why}"));
        let is = |number: f32| value.parse().is_ok_and(|v: f32| v == number);
        match (key, program) {
            ("name", _) | ("H_layers", Program::Trm) => {}
            ("loss.name", _) if value != LOSS_HEAD => {
                return refuse("only losses@ACTLossHead is known here");
            }
            ("loss.name", _) => {}
            ("loss.loss_type", _) => match value.strip_suffix(LOSS_END) {
                Some(word @ ("stablemax" | "softmax")) => set("model.loss", word),
                _ => return refuse("stablemax_cross_entropy and softmax_cross_entropy are known"),
            },
            ("forward_dtype", _) => match value.as_str() {
                "bfloat16" => set("train.precision", "bf16"),
                "float32" => set("train.precision", "f32"),
                _ => return refuse("here models compute in bfloat16 or float32"),
            },
            ("rms_norm_eps", _) if !is(block::RMS_NORM_EPS) => {
                return refuse(&format!("here it is {}", block::RMS_NORM_EPS));
            }
            ("rope_theta", _) if !is(rope::THETA) => {
                return refuse(&format!("here it is {}", rope::THETA));
            }
            ("rms_norm_eps" | "rope_theta", _) => {}
            ("no_ACT_continue", Program::Trm) if !value.eq_ignore_ascii_case("true") => {
                return refuse("here a TRM halts on q_halt alone");
            }
            ("no_ACT_continue", Program::Trm) => {}
            ("mlp_t", Program::Hrm) if is_mlp => {
                return refuse("an HRM with an MLP over the sequence is not computed here");
            }
            ("mlp_t" | "puzzle_emb_len", Program::Hrm) => {}
            // The program makes the tables of a rotation that nothing then uses.
            ("pos_encodings", _) if is_mlp && value == "rope" => set("model.pos_encodings", "none"),
            (_, _) => match ARCH.iter().find(|(theirs, _)| *theirs == key) {
                Some((_, ours)) => set(ours, &value.to_lowercase()),
                None if is_off(value) => {}
                None => {
                    return refuse("this key is unknown here, and what it does is not computed");
                }
            },
        }
    }
    // Wrong types are found here, by the file's name.
    Merged::<Settings>::new(None).and_then(|mut m| m.put(&settings)).map_err(|e| e.to_string())?;
    Ok(Official { arch, settings })
}

/// A switch that is off, whatever it would do.
fn is_off(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "false" | "null" | "~" | "" | "0" | "0.0")
}

/// The file beside a checkpoint for `program`. `data` is where it will look for the data set.
pub fn write(program: Program, config: &Settings, data: &str) -> Result<String> {
    let table = toml::Table::try_from(config).map_err(|e| Error::invalid(e.to_string()))?;
    let all = flatten(&table);
    let find = |key: &str| all.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    let word = |key: &str| find(key).map_or("0".into(), text);
    let (is_trm, data) = (program == Program::Trm, format!("{data:?}"));
    let name = config.model.arch().official().and_then(|(_, names)| names.first().copied());
    let mut lines = format!("arch:\n  name: {}\n", name.unwrap_or_default());
    let loss = format!("{}{LOSS_END}", word("model.loss"));
    let precision = if word("train.precision") == "f32" { "float32" } else { "bfloat16" };
    let _ = writeln!(lines, "  loss:\n    name: {LOSS_HEAD}\n    loss_type: {loss}");
    for (theirs, ours) in ARCH {
        let value = match *theirs {
            // The program would count a prefix that is not there.
            "puzzle_emb_len" if word("model.puzzle_emb_ndim") == "0" => "0".into(),
            _ => word(ours),
        };
        // A TRM has no H layers, and says so; an HRM knows nothing of the keys of a TRM.
        if find(ours).is_some() || (is_trm && *theirs == "H_layers") {
            let _ = writeln!(lines, "  {theirs}: {value}");
        }
    }
    let _ = writeln!(lines, "  forward_dtype: {precision}");
    if is_trm {
        let is_arc = matches!(config.data.dataset, Dataset::Arc1 | Dataset::Arc2);
        let evaluators = if is_arc { "[{name: arc@ARC}]" } else { "[]" };
        let _ = writeln!(lines, "  no_ACT_continue: true");
        let _ = writeln!(lines, "data_paths: [{data}]\nevaluators: {evaluators}");
        let _ = writeln!(lines, "ema: {}", config.train.ema > 0.0);
        if config.train.ema > 0.0 {
            let _ = writeln!(lines, "ema_rate: {}", config.train.ema);
        }
    } else {
        let _ = writeln!(lines, "data_path: {data}");
    }
    let rows = config.train.batch_size * config.train.grad_accum;
    let _ = writeln!(lines, "global_batch_size: {rows}");
    for (theirs, ours) in TRAIN {
        let _ = writeln!(lines, "{theirs}: {}", word(ours));
    }
    lines += "checkpoint_every_eval: true\n";
    Ok(lines)
}

/// What [`write()`] says to TRM's program beyond its defaults, as words of a command line: it reads
/// no file beside a checkpoint.
pub fn overrides(settings: &str) -> Result<Vec<String>, String> {
    let all = yaml::scalars(settings)?;
    let told = all.iter().filter(|(path, _)| path.starts_with("arch.") && !path.ends_with("name"));
    let mut words: Vec<String> = told.map(|(path, value)| format!("{path}={value}")).collect();
    let data = all.iter().filter(|(path, _)| path.starts_with("data_paths."));
    words.extend(data.map(|(_, path)| format!("'data_paths=[{path:?}]'")));
    if !all.iter().any(|(path, _)| path.starts_with("evaluators.")) {
        words.push("'evaluators=[]'".into());
    }
    Ok(words)
}

/// Never with an exponent, which YAML 1.1 takes for text.
fn text(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Float(x) => format!("{x}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    const NAME: &str = "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1";

    fn trm(lines: &str) -> String {
        format!(
            "arch:\n  name: {NAME}\n  H_cycles: 3\n  L_cycles: 6\n  H_layers: 0\n  L_layers: 2\n  \
             hidden_size: 512\n  num_heads: 8\n  puzzle_emb_ndim: 512\n{lines}"
        )
    }

    fn value(official: &Official, key: &str) -> String {
        let mut merged = Merged::<Settings>::new(None).unwrap();
        merged.put(&official.settings).unwrap();
        text(merged.value(key).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (preset, _) in PRESETS {
            let config = Settings::load(Some(preset), None, &[]).unwrap();
            let Some((program, _)) = config.model.arch().official() else { continue };
            let read = read(&write(program, &config, "data/\"x\"").unwrap()).unwrap();
            assert_eq!(read.arch, config.model.arch());
            let all = flatten(&toml::Table::try_from(&config).unwrap());
            let told = all.iter().filter(|(key, _)| read.settings.has(key));
            // The official HRM always learns to go on.
            for (key, want) in told.filter(|(key, _)| key != "model.q_continue") {
                assert_eq!(value(&read, key), text(want), "{preset}: {key}");
            }
            let keys = all.iter().filter(|(key, _)| key.starts_with("model."));
            let kept = keys.filter(|(key, _)| read.settings.has(key)).count();
            assert!(kept >= 12, "{preset}: {kept} keys");
        }
    }

    #[test]
    fn what_is_left_out_is_what_the_program_takes() {
        let official = read(&trm("")).unwrap();
        assert_eq!(value(&official, "model.puzzle_emb_len"), "16");
        assert_eq!(value(&official, "train.precision"), "bf16");
        let mixed = read(&trm("  mlp_t: True\n  pos_encodings: rope\n")).unwrap();
        assert_eq!(value(&mixed, "model.pos_encodings"), "none");
        assert!(read(&trm("  dropout: 0.0\n  extra: false\n")).is_ok());
    }

    #[test]
    fn what_is_not_computed_here_is_refused() {
        for (lines, words) in [
            ("  forward_dtype: float16\n", "bfloat16 or float32"),
            ("  rms_norm_eps: 1.0e-06\n", "arch.rms_norm_eps is 1.0e-06: here it is 0.00001"),
            ("  rope_theta: 500000\n", "here it is 10000"),
            ("  no_ACT_continue: false\n", "halts on q_halt alone"),
            ("  loss:\n    name: losses@Other\n", "losses@ACTLossHead"),
            ("  loss:\n    loss_type: mse\n", "stablemax_cross_entropy"),
            ("  residual: true\n", "arch.residual is true: this key is unknown here"),
            ("  halt_max_steps: many\n", "model.halt_max_steps=many: expected a whole number"),
        ] {
            let error = read(&trm(lines)).err().unwrap();
            assert!(error.contains(words), "{lines}: {error}");
        }
        let single = trm("").replace("trm@", "trm_singlez@");
        assert!(read(&single).err().unwrap().contains("trm_singlez"));
        let hrm = "recursive_reasoning.hrm@HierarchicalReasoningModel_ACTV1";
        let hrm = trm("  mlp_t: true\n").replace(NAME, hrm);
        assert!(read(&hrm).err().unwrap().contains("MLP over the sequence"));
        assert!(read("epochs: 3\n").err().unwrap().contains("has no arch.name"));
    }
}
