//! Arrays of integers, as numpy saves them in any width and byte order.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use npyz::NpyHeader;

use crate::{Error, Result};

/// An integer type of numpy, by its description: `|u1`, `<i8`, `>u2`.
#[derive(Clone, Copy)]
struct IntType {
    bytes: usize,
    signed: bool,
    big_endian: bool,
}

impl IntType {
    fn parse(descr: &str) -> Option<Self> {
        let (order, kind, bytes) = match *descr.trim_matches('\'').as_bytes() {
            [order, kind, bytes @ (b'1' | b'2' | b'4' | b'8')] => (order, kind, bytes - b'0'),
            _ => return None,
        };
        let known = matches!(order, b'<' | b'>' | b'|') && matches!(kind, b'i' | b'u');
        let (signed, big_endian) = (kind == b'i', order == b'>');
        known.then_some(Self { bytes: bytes as usize, signed, big_endian })
    }

    /// `None` if the value is beyond 64 bits with a sign.
    fn value(self, bytes: &[u8]) -> Option<i64> {
        let mut wide = [0; 8];
        wide[..self.bytes].copy_from_slice(bytes);
        if self.big_endian {
            wide[..self.bytes].reverse();
        }
        let shift = 64 - 8 * self.bytes as u32;
        let value = u64::from_le_bytes(wide);
        match self.signed {
            true => Some(((value << shift) as i64) >> shift),
            false => i64::try_from(value).ok(),
        }
    }
}

/// Rows of a two-dimensional array of integers whose values fit a byte, read in order.
pub struct Rows {
    path: std::path::PathBuf,
    reader: BufReader<File>,
    int: IntType,
    pub count: usize,
    next: usize,
    raw: Vec<u8>,
    row: Vec<u8>,
}

impl Rows {
    pub fn open(path: &Path, seq_len: usize) -> Result<Self> {
        let (header, reader) = open_npy(path)?;
        let dtype = header.dtype().descr();
        let shape = header.shape();
        let int = IntType::parse(&dtype).filter(|_| header.order() == npyz::Order::C);
        let Some(int) = int.filter(|_| shape.len() == 2 && shape[1] == seq_len as u64) else {
            let what =
                format!("is {dtype} {shape:?}, expected row-major integers [rows, {seq_len}]");
            return Err(Error::corrupt(path, what));
        };
        let (count, path) = (shape[0] as usize, path.to_owned());
        let (raw, row) = (vec![0; int.bytes * seq_len], vec![0; seq_len]);
        Ok(Self { path, reader, int, count, next: 0, raw, row })
    }

    pub fn next_row(&mut self) -> Result<&[u8]> {
        self.next += 1;
        let path = &self.path;
        self.reader.read_exact(&mut self.raw).map_err(Error::io(path, "read row (truncated?)"))?;
        for (token, bytes) in self.row.iter_mut().zip(self.raw.chunks_exact(self.int.bytes)) {
            let value = self.int.value(bytes).and_then(|value| u8::try_from(value).ok());
            *token = value.ok_or_else(|| {
                let what = "has a token that is negative or beyond the vocabulary";
                Error::corrupt(path, format!("row {} {what}", self.next - 1))
            })?;
        }
        Ok(&self.row)
    }

    /// The error of the row that was read last.
    pub fn bad_row(&self, what: &str) -> Error {
        Error::corrupt(&self.path, format!("row {} {what}", self.next - 1))
    }
}

fn open_npy(path: &Path) -> Result<(NpyHeader, BufReader<File>)> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let header =
        NpyHeader::from_reader(&mut reader).map_err(|e| Error::corrupt(path, e.to_string()))?;
    Ok((header, reader))
}

/// All of a one-dimensional array.
pub fn read_ints(path: &Path) -> Result<Vec<i64>> {
    let (header, mut reader) = open_npy(path)?;
    let (dtype, shape) = (header.dtype().descr(), header.shape());
    let Some(int) = IntType::parse(&dtype).filter(|_| shape.len() == 1) else {
        let what = format!("is {dtype} {shape:?}, expected integers in one dimension");
        return Err(Error::corrupt(path, what));
    };
    let mut values = vec![];
    let mut bytes = [0; 8];
    for i in 0..shape[0] {
        let bytes = &mut bytes[..int.bytes];
        reader.read_exact(bytes).map_err(Error::io(path, "read value (truncated?)"))?;
        let value = int.value(bytes);
        values.push(value.ok_or_else(|| Error::corrupt(path, format!("value {i} is too large")))?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width() {
        let value = |descr, bytes: &[u8]| IntType::parse(descr).unwrap().value(bytes);
        assert_eq!(value("'|u1'", &[200]), Some(200));
        assert_eq!(value("|i1", &[255]), Some(-1));
        assert_eq!(value("<i2", &[1, 2]), Some(513));
        assert_eq!(value(">u2", &[1, 2]), Some(258));
        assert_eq!(value("<u4", &[255; 4]), Some(u32::MAX as i64));
        assert_eq!(value("<i8", &(-5i64).to_le_bytes()), Some(-5));
        assert_eq!(value("<u8", &[255; 8]), None);
        for other in ["<f4", "<i3", "|b1", "<U8", ""] {
            assert!(IntType::parse(other).is_none(), "{other}");
        }
    }
}
