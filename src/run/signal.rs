//! SIGINT, SIGTERM, SIGHUP: the first asks the loop to save and stop, the second ends the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::io::say::say;
use crate::{Error, Result};

/// What a shell reports for a program that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Take over the signals; safe to call again.
pub fn install() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let handler = || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_INTERRUPTED.into());
        }
        say!("stopping: finishing this step and saving; once more to stop at once");
    };
    let installed =
        INSTALLED.get_or_init(|| ctrlc::set_handler(handler).map_err(|e| e.to_string()));
    installed.clone().map_err(|e| Error::invalid(format!("cannot handle signals: {e}")))
}

/// Nothing is left to save: the next signal ends the process.
pub fn stop_at_once_from_now_on() {
    ASKED.store(true, Ordering::SeqCst);
}

/// Whether to stop after the step at hand.
pub fn asked_to_stop() -> bool {
    ASKED.load(Ordering::SeqCst)
}
