//! A zip archive as `torch.save` writes it: one folder, entries stored and not compressed, none
//! over another. Anything else is refused, so that no entry is larger than the file.

use std::collections::HashSet;
use std::io::{Cursor, Read};

use zip::{CompressionMethod, ZipArchive};

/// A state dict has one entry per tensor.
const MAX_ENTRIES: usize = 100_000;
const CENTRAL_ENTRY: &[u8] = b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;

pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The folder, with its `/`.
    root: String,
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let broken = |e| format!("a .pt file that is no zip archive: truncated? ({e})");
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        check_names(bytes, &mut zip)?;
        let mut places = vec![];
        let mut root = None;
        for i in 0..zip.len() {
            let entry = zip.by_index_raw(i).map_err(broken)?;
            let name = entry.name();
            if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
                return Err(format!(
                    "entry {name} is compressed or encrypted; torch.save does neither"
                ));
            }
            if entry.size() != entry.compressed_size() {
                return Err(format!("entry {name} has two sizes"));
            }
            if let Some(folder) = name.strip_suffix("data.pkl") {
                root.get_or_insert(folder.to_owned());
            }
            let start = entry.data_start();
            let end = start.checked_add(entry.size()).filter(|end| *end <= bytes.len() as u64);
            places.push((start, end.ok_or_else(|| format!("entry {name} ends beyond the file"))?));
        }
        places.sort();
        if places.windows(2).any(|pair| pair[1].0 < pair[0].1) {
            return Err("entries of the archive overlap: refused".into());
        }
        let root = root.ok_or("a zip archive without data.pkl: not written by torch.save")?;
        let mut archive = Self { zip, root };
        match archive.read("byteorder").as_deref() {
            Ok(b"little") | Err(_) => Ok(archive),
            Ok(_) => Err("written on a big-endian machine: refused".into()),
        }
    }

    /// The entry's bytes; its checksum is right.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let name = format!("{}{name}", self.root);
        let mut entry = self.zip.by_name(&name).map_err(|e| format!("entry {name}: {e}"))?;
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        entry.read_to_end(&mut bytes).map_err(|e| format!("entry {name}: {e}"))?;
        Ok(bytes)
    }
}

/// Names as the central directory has them, which a reader that keeps one entry per name hides.
fn check_names(bytes: &[u8], zip: &mut ZipArchive<Cursor<&[u8]>>) -> Result<(), String> {
    let broken = || "a .pt file without the directory of its archive: truncated?".to_owned();
    if zip.len() > MAX_ENTRIES {
        return Err(format!("{} entries, of at most {MAX_ENTRIES}", zip.len()));
    }
    let mut at = usize::try_from(zip.central_directory_start()).map_err(|_| broken())?;
    let mut seen = HashSet::new();
    while let Some(entry) = bytes.get(at..at.saturating_add(CENTRAL_BYTES)) {
        if !entry.starts_with(CENTRAL_ENTRY) {
            break;
        }
        let size = |i: usize| usize::from(u16::from_le_bytes([entry[i], entry[i + 1]]));
        let start = at + CENTRAL_BYTES;
        let name = bytes.get(start..start + size(28)).ok_or_else(broken)?;
        let name = std::str::from_utf8(name).map_err(|_| "an entry whose name is not UTF-8")?;
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if name.contains('\\') || name.contains('\0') || name.split('/').any(odd) {
            return Err(format!("entry {name:?} leads out of the archive: refused"));
        }
        if !seen.insert(name) {
            return Err(format!("entry {name} is there twice"));
        }
        at = start + size(28) + size(30) + size(32);
    }
    match seen.len() == zip.len() && zip.by_index_raw(0).is_ok() {
        true => Ok(()),
        false => Err(broken()),
    }
}
