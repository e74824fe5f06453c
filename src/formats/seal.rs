//! A checksum of the weights and of the metadata that goes with them, kept in the latter:
//! safetensors has none of its own, and a file of which one was exchanged must not pass for what
//! the other says.

use serde_json::{Map, Value};

use super::HostTensor;

const KEY: &str = "weights_blake3";

/// The metadata with the checksum. Errors follow the file's name.
pub fn sealed(meta: &str, tensors: &[(String, HostTensor)]) -> Result<String, String> {
    let mut about = object(meta)?;
    let digest = digest(&about, tensors);
    about.insert(KEY.into(), digest.into());
    Ok(Value::Object(about).to_string())
}

/// The metadata without the checksum, which is right.
pub fn opened(meta: &str, tensors: &[(String, HostTensor)]) -> Result<String, String> {
    let mut about = object(meta)?;
    let Some(Value::String(wanted)) = about.shift_remove(KEY) else {
        return Err("its metadata has no checksum of the weights".into());
    };
    match wanted == digest(&about, tensors) {
        true => Ok(Value::Object(about).to_string()),
        false => {
            Err("its weights or their metadata are not those that were exported: damaged, or \
                      changed since (without the metadata they pass as foreign weights)"
                .into())
        }
    }
}

fn object(meta: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(meta) {
        Ok(Value::Object(about)) => Ok(about),
        _ => Err("its metadata is no JSON object".into()),
    }
}

/// Digest of the metadata without the checksum, and of names, types, shapes and bytes in the order
/// of the names: formats keep different orders.
fn digest(about: &Map<String, Value>, tensors: &[(String, HostTensor)]) -> String {
    let mut sorted: Vec<&(String, HostTensor)> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hasher = blake3::Hasher::new();
    hasher.update(Value::Object(about.clone()).to_string().as_bytes());
    for (name, t) in sorted {
        let head = format!("{} {name} {} {:?} ", name.len(), t.dtype, t.shape.dims());
        hasher.update(head.as_bytes()).update(&t.bytes);
    }
    hasher.finalize().to_hex().to_string()
}
