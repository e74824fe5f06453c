//! One error type. Every variant says what went wrong, where, and (in its text) what to do.

use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user asked for something that cannot be: bad option, bad configuration, bad file
    /// content.
    #[error("{0}")]
    Invalid(String),
    /// A file or folder could not be read or written.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    /// A file is there but is not what it claims to be.
    #[error("{path}: {what}", path = path.display())]
    Corrupt { path: PathBuf, what: String },
    /// A tensor has the wrong shape or dtype for the op it was given to.
    #[error("{op}: {tensor} is {got}, expected {want}")]
    Tensor { op: String, tensor: String, got: String, want: String },
    /// The device cannot do it: out of memory, absent, or a buffer is in use.
    #[error("{device}: {what}")]
    Device { device: String, what: String },
    /// NaN or infinity where training must not go on.
    #[error("step {step}: {what}")]
    NonFinite { step: u64, what: String },
    /// SIGINT or SIGTERM; the state was saved where the text says.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid(what.into())
    }

    pub fn corrupt(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// For `map_err`: `fs::read(p).map_err(Error::io(p, "read"))`.
    pub fn io(path: impl AsRef<Path>, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, doing, source }
    }
}
