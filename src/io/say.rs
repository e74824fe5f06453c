//! Lines for people, on stderr. A terminal or a pipe that is gone loses the line and nothing else.

use std::fmt::Arguments;
use std::io::Write;

pub fn line(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A line on stderr that may be lost.
macro_rules! say {
    ($($arg:tt)*) => { $crate::io::say::line(format_args!($($arg)*)) };
}
pub(crate) use say;
