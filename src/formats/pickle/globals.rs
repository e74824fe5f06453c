//! The few names of functions and types that a pickle may hold.

use super::Kind;

/// A function or type by what it means here; nothing of it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Global {
    /// `_codecs.encode(text, "latin1")`: bytes in protocol 2 of Python 3.
    Encode,
    /// The type `bytes`: called without arguments, empty bytes.
    Bytes,
    Reconstruct,
    FromBuffer,
    Ndarray,
    Dtype,
    OrderedDict,
    RebuildTensor,
    /// The element type as PyTorch's class names have it: `Float` of `torch.FloatStorage`.
    Storage(&'static str),
}

/// All of `torch.<name>Storage`.
const STORAGES: &[&str] =
    &["Float", "BFloat16", "Half", "Double", "Bool", "Byte", "Char", "Short", "Int", "Long"];

impl Global {
    /// The global of a name, unless `kind` has no use for it.
    pub(super) fn named(kind: &Kind, module: &str, name: &str) -> Result<Self, String> {
        let same = std::mem::discriminant::<Global>;
        let global = Self::known(module, name);
        global.filter(|global| kind.globals.iter().any(|g| same(g) == same(global))).ok_or_else(
            || {
                let asked: String = format!("{module}.{name}").chars().take(80).collect();
                format!("asks for {asked:?}, which no {} needs: refused", kind.what)
            },
        )
    }

    fn known(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("_codecs", "encode") => Global::Encode,
            ("__builtin__" | "builtins", "bytes") => Global::Bytes,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Global::Reconstruct
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::FromBuffer,
            ("numpy", "ndarray") => Global::Ndarray,
            ("numpy", "dtype") => Global::Dtype,
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch", name) => {
                let dtype = name.strip_suffix("Storage")?;
                Global::Storage(STORAGES.iter().find(|known| **known == dtype)?)
            }
            _ => return None,
        })
    }
}
