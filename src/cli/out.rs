//! Standard output of the commands. A reader that goes away (`hrm plan arc1 | head`) has seen what it
//! wanted: the program ends quietly.

use std::fmt::Arguments;
use std::io::Write;

pub fn write(text: Arguments) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_fmt(text).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

macro_rules! out {
    ($($arg:tt)*) => { $crate::cli::out::write(format_args!($($arg)*)) };
}

macro_rules! outln {
    ($($arg:tt)*) => { $crate::cli::out::write(format_args!("{}\n", format_args!($($arg)*))) };
}
