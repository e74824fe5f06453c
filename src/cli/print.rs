//! What commands print with: `print!` and `println!` that end in [`crate::io::out::finish`].

macro_rules! out {
    ($($arg:tt)*) => { $crate::io::out::write(format_args!($($arg)*)) };
}

macro_rules! outln {
    ($($arg:tt)*) => { $crate::io::out::write(format_args!("{}\n", format_args!($($arg)*))) };
}
