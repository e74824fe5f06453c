//! Named members of a tar file, gzipped or not, read into memory within bounds.
//!
//! Nothing is written to disk, so a member's path cannot lead anywhere; one that tries is refused
//! all the same, for no honest archive has it. The whole stream is read to its end: gzip's checksum
//! stands there, and it is what tells a damaged download.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use md5::{Digest, Md5};

use crate::{Error, Result};

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// A published batch has 31 MB.
const MAX_MEMBER_BYTES: u64 = 256 << 20;
/// The published archives hold 186 MB.
const MAX_TOTAL_BYTES: u64 = 1 << 30;
const MAX_MEMBERS: usize = 10_000;

pub struct Archive {
    /// Wanted members by base name.
    pub members: BTreeMap<String, Vec<u8>>,
    /// MD5 of the file itself, lower-case hex.
    pub md5: String,
}

/// The members whose base name `wanted` accepts.
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Archive> {
    let file = File::open(path).map_err(Error::io(path, "open archive"))?;
    let mut hashed = Hashed { inner: BufReader::with_capacity(1 << 16, file), md5: Md5::new() };
    let head = hashed.fill_buf().map_err(Error::io(path, "read archive"))?;
    let gzipped = head.starts_with(&GZIP);
    let unzipped: Box<dyn Read + '_> = match gzipped {
        true => Box::new(MultiGzDecoder::new(&mut hashed)),
        false => Box::new(&mut hashed),
    };
    let members = members(unzipped, wanted).map_err(|what| {
        let advice = "a complete download of CIFAR-10 has about 163 MB (binary) or 171 MB (python)";
        Error::corrupt(path, format!("{what}: {advice}"))
    })?;
    io::copy(&mut hashed, &mut io::sink()).map_err(Error::io(path, "read archive"))?;
    let md5 = hashed.md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Archive { members, md5 })
}

fn members(
    stream: impl Read,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut archive = tar::Archive::new(stream.take(MAX_TOTAL_BYTES));
    let mut members = BTreeMap::new();
    let entries = archive.entries().map_err(|e| format!("not a tar or tar.gz file: {e}"))?;
    for (i, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|e| format!("entry {i}: damaged or truncated: {e}"))?;
        if i >= MAX_MEMBERS {
            return Err(format!("more than {MAX_MEMBERS} entries, which no CIFAR-10 archive has"));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path.starts_with('/') || path.split(['/', '\\']).any(|part| part == "..") {
            return Err(format!("entry {path:?} leads out of the archive: refused"));
        }
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if !wanted(&name) {
            continue;
        }
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            return Err(format!("entry {path:?} is no regular file ({kind:?}): refused"));
        }
        let bytes = entry.size();
        if bytes > MAX_MEMBER_BYTES {
            return Err(format!("entry {path:?} claims {bytes} bytes, more than any batch has"));
        }
        let mut content = vec![];
        entry
            .read_to_end(&mut content)
            .map_err(|e| format!("entry {path:?}: damaged or truncated: {e}"))?;
        if content.len() as u64 != bytes {
            return Err(format!("entry {path:?} is truncated: {} of {bytes} bytes", content.len()));
        }
        if members.insert(name, content).is_some() {
            return Err(format!("entry {path:?} is there twice"));
        }
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|e| format!("damaged or truncated: {e}"))?;
    match rest.limit() {
        0 => {
            Err(format!("holds more than {MAX_TOTAL_BYTES} bytes, which no CIFAR-10 archive does"))
        }
        _ => Ok(members),
    }
}

/// A file that is gzipped or plain, at most `limit` bytes of its content.
pub fn read_plain_or_gzip(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let head = reader.fill_buf().map_err(Error::io(path, "read"))?;
    let mut content = vec![];
    let read = match head.starts_with(&GZIP) {
        true => MultiGzDecoder::new(reader).take(limit + 1).read_to_end(&mut content),
        false => reader.take(limit + 1).read_to_end(&mut content),
    };
    read.map_err(|e| Error::corrupt(path, format!("damaged or truncated: {e}: get it anew")))?;
    if content.len() as u64 > limit {
        return Err(Error::corrupt(path, format!("holds more than {limit} bytes: refused")));
    }
    Ok(content)
}

struct Hashed<R> {
    inner: R,
    md5: Md5,
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.md5.update(&out[..n]);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.md5.update(&buffer[..n]);
        }
        self.inner.consume(n);
    }
}
