//! The dashboard on a real terminal: follows the run until a key or a signal ends it, and leaves
//! the terminal as it was, whatever happens meanwhile.
//!
//! Keys are read by a thread of their own: the reader never returns from a terminal that is gone,
//! while drawing there fails, which ends the program.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;

use super::dashboard::{View, draw};
use super::run::RunView;
use super::summary::Summary;
use crate::track::system::System;
use crate::{Error, Result};

/// Between pictures, looks at the run's files, looks at the machine.
const DRAW_EVERY: Duration = Duration::from_millis(250);
const READ_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(2);

enum Happened {
    Typed(io::Result<Event>),
    AskedToStop,
}

/// Until q, Esc, Ctrl-C or a signal.
pub fn follow(run: RunView) -> Result<()> {
    let (typed, happened) = channel();
    let asked = typed.clone();
    let handled = ctrlc::set_handler(move || drop(asked.send(Happened::AskedToStop)));
    handled.map_err(|e| Error::invalid(format!("cannot handle signals: {e}")))?;
    let shown = ratatui::try_init().map_err(terminal).and_then(|mut screen| {
        thread::spawn(move || while typed.send(Happened::Typed(event::read())).is_ok() {});
        let shown = show(&mut screen, run, &happened);
        if screen.show_cursor().is_err() {
            // The terminal is gone. To drop it would be to try again, and to panic where stderr is
            // it.
            std::mem::forget(screen);
        }
        shown
    });
    let restored = ratatui::try_restore().map_err(terminal);
    shown.and(restored)
}

fn terminal(e: io::Error) -> Error {
    Error::io(Path::new("terminal"), "show the dashboard (--once prints instead)")(e)
}

fn show(
    screen: &mut DefaultTerminal,
    mut run: RunView,
    happened: &Receiver<Happened>,
) -> Result<()> {
    let mut system = System::new(run.pid);
    let mut load = system.sample();
    let (mut looked, mut read) = (Instant::now(), Instant::now());
    loop {
        let summary = Summary::of(&run);
        let view = View { run: &run, summary: &summary, load: &load };
        screen.draw(|frame| draw(frame, &view)).map_err(terminal)?;
        match happened.recv_timeout(DRAW_EVERY) {
            Ok(Happened::AskedToStop) => return Ok(()),
            Ok(Happened::Typed(Ok(Event::Key(key)))) if ends(key) => return Ok(()),
            Ok(Happened::Typed(Err(e))) => return Err(terminal(e)),
            Ok(Happened::Typed(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if read.elapsed() >= READ_EVERY {
            let pid = run.pid;
            run.refresh()?;
            read = Instant::now();
            if run.pid != pid {
                system = System::new(run.pid);
                load = system.sample();
            }
        }
        if looked.elapsed() >= LOOK_EVERY {
            load = system.sample();
            looked = Instant::now();
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let quits = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc) || ctrl_c;
    key.kind == KeyEventKind::Press && quits
}
