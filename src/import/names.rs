//! From the names in a foreign file to ours, and to the kind of model that they belong to.
//!
//! The official programs save the state_dict of their loss head around a compiled model: names begin
//! with `_orig_mod.model.inner.`, or with less where somebody saved an inner module. Data-parallel
//! wrappers add `module.`. What stands before the first known name is taken off, then ours is put on.

use crate::config::Arch;
use crate::formats::HostTensor;
use crate::models::io;
use crate::models::{hrm, hrm_seed, transformer, trm};
use crate::run::checkpoint::prefix_of;

/// Path components that wrappers put anywhere into a name.
const WRAPPERS: &[&str] = &["_orig_mod", "module"];

pub type Tensors = Vec<(String, HostTensor)>;

/// The kind of model, and its tensors under names without any prefix. Errors follow the file's name.
pub fn recognise(tensors: Tensors) -> Result<(Arch, Tensors), String> {
    let mut tensors: Tensors =
        tensors.into_iter().map(|(name, t)| (without_wrappers(&name), t)).collect();
    let has = |end: &str| tensors.iter().find_map(|(name, _)| prefix_before(name, end));
    let layer = |level: &str| format!("{level}.layers.0.mlp.down_proj.weight");
    let seed_layer = format!("{}.linear1.weight", hrm_seed::names::h_layer(0));
    let plain_layer = format!("{}.linear1.weight", transformer::names::layer(0));
    let (arch, prefix) = if let Some(prefix) = has(io::EMBED_TOKENS) {
        match (has(&layer(hrm::names::H_LEVEL)), has(&layer(trm::names::L_LEVEL))) {
            (Some(_), _) => (Arch::Hrm, prefix),
            (None, Some(_)) => (Arch::Trm, prefix),
            (None, None) => return Err(unknown(&tensors)),
        }
    } else if let Some(prefix) = has(&seed_layer) {
        (Arch::HrmSeed, prefix)
    } else if let Some(prefix) = has(&plain_layer) {
        (Arch::Transformer, prefix)
    } else {
        return Err(unknown(&tensors));
    };
    for (name, _) in &mut tensors {
        if let Some(rest) = name.strip_prefix(&prefix) {
            *name = rest.to_owned();
        }
    }
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two tensors are {} once prefixes are taken off", pair[0])),
        None => Ok((arch, tensors)),
    }
}

/// The name as our checkpoints have it.
pub fn ours(arch: Arch, name: &str) -> String {
    format!("{}{name}", prefix_of(arch))
}

fn without_wrappers(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

/// What stands before `end`, when a whole component begins there.
fn prefix_before(name: &str, end: &str) -> Option<String> {
    let prefix = name.strip_suffix(end)?;
    (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
}

fn unknown(tensors: &Tensors) -> String {
    let some: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).take(4).collect();
    format!(
        "holds no model that is known here: HRM and TRM have {} and L_level.layers.0.*, hrm_seed \
         has h_layers.0.*, the transformer has transformer.layers.0.*; this file has {} tensors, \
         among them {}",
        io::EMBED_TOKENS,
        tensors.len(),
        some.join(", ")
    )
}
