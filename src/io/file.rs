//! One way to put a file in place: it is there whole, or not at all, or as it was before.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Temporary files carry this prefix until they are complete.
pub const UNFINISHED_PREFIX: &str = ".saving-";

/// Write `bytes` to `path`: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// # Errors
/// Names the file and what failed; what stood there before is untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = || Error::io(path, "write (disk full?)");
    let mut file = temporary(path).map_err(io())?;
    file.write_all(bytes).map_err(io())?;
    persist(file, path).map_err(io())
}

/// A file beside `path` that is deleted on drop unless [`persist`] names it; readable by whoever the
/// umask lets.
pub fn temporary(path: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED_PREFIX);
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    builder.tempfile_in(folder_of(path))
}

/// Give a complete file its name; from here on it survives a power cut.
pub fn persist(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    File::open(folder_of(path))?.sync_all()
}

/// Make a folder's entries survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(Error::io(dir, "sync folder"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
