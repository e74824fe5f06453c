//! Standard output. A reader that goes away (`hrm plan arc1 | head`) has seen what
//! it wanted: the rest of the text is dropped, the work goes on. Any other failure (a full disk)
//! ends in an error, after the work is done.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::OnceLock;

use crate::{Error, Result};

/// The first failure to write.
static FAILED: OnceLock<String> = OnceLock::new();

pub fn write(text: Arguments) {
    let mut stdout = io::stdout().lock();
    note(stdout.write_fmt(text).and_then(|()| stdout.flush()));
}

/// Remembers a failure, unless nobody reads any more.
pub fn note(written: io::Result<()>) {
    if let Err(e) = written
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(e.to_string());
    }
}

/// Whether all that was written to stdout went there.
///
/// # Errors
/// The first failure, unless it was a closed pipe.
pub fn finish() -> Result<()> {
    match FAILED.get() {
        None => Ok(()),
        Some(e) => Err(Error::invalid(format!("cannot write to standard output: {e}"))),
    }
}
