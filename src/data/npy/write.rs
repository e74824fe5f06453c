//! Arrays as `numpy.save` writes them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::SET;
use crate::{Error, Result};

/// Writes one array, with the header that numpy itself would write.
pub struct NpyWriter<T> {
    path: std::path::PathBuf,
    writer: BufWriter<File>,
    left: usize,
    element: std::marker::PhantomData<T>,
}

/// An element of the arrays, little-endian.
pub trait Element {
    const DESCR: &str;
    type Bytes: AsRef<[u8]>;
    fn bytes(self) -> Self::Bytes;
}

impl Element for u8 {
    const DESCR: &str = "|u1";
    type Bytes = [u8; 1];
    fn bytes(self) -> [u8; 1] {
        [self]
    }
}

impl Element for i32 {
    const DESCR: &str = "<i4";
    type Bytes = [u8; 4];
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

/// Version 1.0: magic, length, a Python literal, blanks up to a multiple of 64 bytes.
fn numpy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", sides.join(", "));
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // numpy leaves room for the first side to grow to 21 digits.
    text.push_str(&" ".repeat(21 - sides.first().map_or(0, String::len)));
    let padding = 64 - (10 + text.len() + 1) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

impl<T: Element> NpyWriter<T> {
    pub fn create(dir: &Path, what: &str, shape: &[usize]) -> Result<Self> {
        let path = dir.join(format!("{SET}__{what}.npy"));
        let file = File::create_new(&path).map_err(Error::io(&path, "create"))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let header = numpy_header(T::DESCR, shape);
        writer.write_all(&header).map_err(Error::io(&path, "write (disk full?)"))?;
        let left = shape.iter().product();
        Ok(Self { path, writer, left, element: std::marker::PhantomData })
    }

    pub fn push(&mut self, values: impl IntoIterator<Item = T>) -> Result<()> {
        for value in values {
            let written = self.writer.write_all(value.bytes().as_ref());
            written.map_err(Error::io(&self.path, "write (disk full?)"))?;
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        debug_assert_eq!(self.left, 0, "{}", self.path.display());
        self.writer.flush().map_err(Error::io(&self.path, "write (disk full?)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers as `numpy.save` writes them.
    #[test]
    fn headers_are_those_of_numpy() {
        let literal = |descr: &str, shape: &[usize]| {
            let header = numpy_header(descr, shape);
            assert_eq!((header.len(), &header[..10]), (128, &b"\x93NUMPY\x01\x00v\x00"[..]));
            let text = String::from_utf8(header[10..].to_vec()).unwrap();
            assert!(text.ends_with('\n'));
            text.trim_end().to_owned()
        };
        let expected = "{'descr': '|u1', 'fortran_order': False, 'shape': (126, 900), }";
        assert_eq!(literal("|u1", &[126, 900]), expected);
        let expected = "{'descr': '<i4', 'fortran_order': False, 'shape': (7,), }";
        assert_eq!(literal("<i4", &[7]), expected);
    }
}
