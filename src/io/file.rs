//! One way to put a file in place: it is there whole, or not at all, or as it was before.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// What is looked at before a file is read.
const HEAD_BYTES: usize = 4096;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Temporary files carry this prefix until they are complete.
pub const UNFINISHED_PREFIX: &str = ".saving-";

/// Links that lead to each other; the system's own limit.
const MAX_LINKS: usize = 40;

/// Write `bytes` to `path`: temporary file in the same folder, fsync, rename, fsync of the folder.
/// A link stays, and what it leads to is written; a device or a pipe is written to.
///
/// # Errors
/// Names the file and what failed; what stood there before is untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = || Error::io(path, "write (disk full?)");
    let mut file = temporary(path).map_err(io())?;
    file.write_all(bytes).map_err(io())?;
    persist(file, path).map_err(io())
}

/// Whether something is there. A folder that may not be entered is an error, not absence.
pub fn exists(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(Error::io(path, "look at")(e)),
    }
}

/// Where a path leads: what links lead to need not be there.
pub fn followed(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = folder_of(&path).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(std::io::Error::other("links lead to each other"))
}

/// Make a folder and those above it; where a link leads to one, that one.
pub fn create_dir(dir: &Path) -> Result<()> {
    create_followed(dir).map_err(Error::io(dir, "create folder"))
}

fn create_followed(dir: &Path) -> std::io::Result<()> {
    let dir = followed(dir)?;
    match fs::create_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound && folder_of(&dir) != dir => {
            create_followed(folder_of(&dir))?;
            match fs::create_dir(&dir) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
                made => made,
            }
        }
        made => made,
    }
}

/// Whether a path leads to a device or a pipe, which is written to and never replaced.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// The content of a file of at most `most_bytes`: what is read is bounded.
pub fn read_at_most(path: &Path, most_bytes: u64) -> Result<Vec<u8>> {
    read_if(path, "it", most_bytes, |_, _| None)
}

/// Text without the byte order mark that some editors put before it.
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// The text of a file of at most `most_bytes` whose first byte that is not white is `first`,
/// without a byte order mark.
///
/// # Errors
/// Names the file and what it is instead; `what` stands for what it should be.
pub fn read_text(path: &Path, what: &str, first: u8, most_bytes: u64) -> Result<Vec<u8>> {
    let mut text = read_if(path, what, most_bytes, |head, _| {
        let begins = match without_bom(head).iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(byte) => *byte == first,
            None => head.len() < HEAD_BYTES,
        };
        (!begins).then(|| format!("is not {what}: it does not begin like one"))
    })?;
    if text.starts_with(BOM) {
        text.drain(..BOM.len());
    }
    Ok(text)
}

/// The content of a file of at most `most_bytes`, unless `fault` finds one in how it begins and how
/// long it is: what is something else, or too long, is not read whole.
///
/// # Errors
/// Names the file and the fault; `what` stands for what it should be.
pub fn read_if(
    path: &Path,
    what: &str,
    most_bytes: u64,
    fault: impl FnOnce(&[u8], u64) -> Option<String>,
) -> Result<Vec<u8>> {
    let io = || Error::io(path, "read");
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let length = file.metadata().map_err(io())?.len();
    let mut bytes = vec![];
    (&file).take(HEAD_BYTES as u64).read_to_end(&mut bytes).map_err(io())?;
    if let Some(fault) = fault(&bytes, length) {
        return Err(Error::corrupt(path, fault));
    }
    if length <= most_bytes {
        let rest = (most_bytes + 1).saturating_sub(bytes.len() as u64);
        file.take(rest).read_to_end(&mut bytes).map_err(io())?;
    }
    if length.max(bytes.len() as u64) > most_bytes {
        let mib = most_bytes >> 20;
        let fault = format!("is longer than the {mib} MiB that {what} may have");
        return Err(Error::corrupt(path, fault));
    }
    Ok(bytes)
}

/// A file beside what `path` leads to that is deleted on drop unless [`persist`] names it; readable
/// by whoever the umask lets. For a device or a pipe it stands among the system's temporary files.
pub fn temporary(path: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED_PREFIX);
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666))
    };
    if is_stream(path) {
        return builder.tempfile();
    }
    builder.tempfile_in(folder_of(&followed(path)?))
}

/// Give a complete file its name; from here on it survives a power cut.
pub fn persist(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    if is_stream(path) {
        let (mut from, mut to) = (file.reopen()?, File::options().write(true).open(path)?);
        return std::io::copy(&mut from, &mut to).map(drop);
    }
    let path = followed(path)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|e| e.error)?;
    File::open(folder_of(&path))?.sync_all()
}

/// Make a folder's entries survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(Error::io(dir, "sync folder"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        assert!(exists(&at("file")).unwrap() && !exists(&at("none")).unwrap());
        assert!(!exists(&at("file/below")).unwrap());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
            let error = exists(&at("loop/dataset.json")).unwrap_err().to_string();
            assert!(error.contains("loop/dataset.json: look at"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_devices_are_written_to() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir(&at("disk")).unwrap();
        symlink("disk/file", at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        // The first time there is nothing behind the links.
        for text in ["one", "two"] {
            write(&at("b"), text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(at("disk/file")).unwrap(), text);
        }
        symlink("disk/folder", at("c")).unwrap();
        create_dir(&at("c")).unwrap();
        create_dir(&at("c")).unwrap();
        write(&at("c/file"), b"x").unwrap();
        assert_eq!(fs::read(at("disk/folder/file")).unwrap(), b"x");
        let is_link = |name| fs::symlink_metadata(at(name)).unwrap().is_symlink();
        assert!(["a", "b", "c"].into_iter().all(is_link));
        symlink("later", at("big")).unwrap();
        create_dir(&at("big/run/checkpoints")).unwrap();
        assert!(at("later/run/checkpoints").is_dir() && is_link("big"));
        write(Path::new("/dev/null"), b"x").unwrap();
        let null = fs::metadata("/dev/null").unwrap().file_type();
        assert!(null.is_char_device());
        let error = write(Path::new("/dev/full"), b"x").unwrap_err().to_string();
        assert!(error.contains("/dev/full: write"), "{error}");
        symlink("d", at("d")).unwrap();
        assert!(
            write(&at("d"), b"x").unwrap_err().to_string().contains("links lead to each other")
        );
    }

    #[test]
    fn reading_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        File::create(&path).unwrap().set_len(5 << 30).unwrap();
        let error = read_at_most(&path, 16 << 20).unwrap_err().to_string();
        assert!(error.contains("longer than the 16 MiB"), "{error}");
        fs::write(&path, "\u{feff}[1]").unwrap();
        assert_eq!(without_bom(&read_at_most(&path, 6).unwrap()), b"[1]");
        assert!(read_at_most(&path, 5).is_err());
        assert_eq!(read_text(&path, "a list", b'[', 6).unwrap(), b"[1]");
        let error = read_text(&path, "an object", b'{', 6).unwrap_err().to_string();
        assert!(error.contains("is not an object"), "{error}");
        fs::write(&path, " \n").unwrap();
        assert_eq!(read_text(&path, "a list", b'[', 6).unwrap(), b" \n");
    }
}
