//! From the names in a foreign file to ours, and to the kind of model that they belong to.
//!
//! The official programs save the state_dict of their loss head around a compiled model: names
//! begin with `_orig_mod.model.inner.`, or with less where somebody saved an inner module.
//! Data-parallel wrappers add `module.`. What stands before the first known name is taken off, then
//! ours is put on.

use crate::formats::HostTensor;
use crate::models::foreign::Names;
use crate::models::{ARCHITECTURES, Arch};

/// Path components that wrappers put anywhere into a name.
const WRAPPERS: &[&str] = &["_orig_mod", "module"];

pub type Tensors = Vec<(String, HostTensor)>;

/// The kind of model, and its tensors under names without any prefix. Errors follow the file's
/// name.
pub fn recognise(tensors: Tensors) -> Result<(Arch, Tensors), String> {
    let mut tensors: Tensors =
        tensors.into_iter().map(|(name, t)| (without_wrappers(&name), t)).collect();
    let names = Names(tensors.iter().map(|(name, _)| name.as_str()).collect());
    let mut kinds = ARCHITECTURES.iter();
    let found = kinds.find_map(|arch| Some((*arch, arch.recognise(&names)?)));
    let (arch, prefix) = found.ok_or_else(|| unknown(&tensors))?;
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
    format!("{}{name}", arch.name_prefix())
}

fn without_wrappers(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

fn unknown(tensors: &Tensors) -> String {
    let some: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).take(4).collect();
    let marks: Vec<String> =
        ARCHITECTURES.iter().map(|arch| format!("{} has {}", arch.word(), arch.marks())).collect();
    format!(
        "holds no model that is known here: {}; this file has {} tensors, among them {}",
        marks.join(", "),
        tensors.len(),
        some.join(", ")
    )
}
