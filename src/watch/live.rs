//! The dashboard on a real terminal: follows the run until a key or a signal ends it, and leaves the
//! terminal as it was, whatever happens meanwhile.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::dashboard::{View, draw};
use super::run::Run;
use super::summary::Summary;
use crate::track::system::{Load, System};
use crate::{Error, Result};

/// Between looks at keys, at the run's files, at the machine.
const KEYS_EVERY: Duration = Duration::from_millis(200);
const RUN_EVERY: Duration = Duration::from_secs(1);
const MACHINE_EVERY: Duration = Duration::from_secs(2);

static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

/// Until q, Esc, Ctrl-C or a signal.
pub fn follow(run: Run) -> Result<()> {
    let handled = ctrlc::set_handler(|| ASKED_TO_STOP.store(true, Ordering::SeqCst));
    handled.map_err(|e| Error::invalid(format!("cannot handle signals: {e}")))?;
    let shown =
        ratatui::try_init().map_err(terminal).and_then(|mut terminal| show(&mut terminal, run));
    let restored = ratatui::try_restore().map_err(terminal);
    shown.and(restored)
}

fn terminal(e: io::Error) -> Error {
    Error::io(Path::new("terminal"), "show the dashboard (--once prints instead)")(e)
}

fn show(screen: &mut DefaultTerminal, mut run: Run) -> Result<()> {
    let mut system = System::new(run.pid);
    let (mut load, mut looked, mut read) = (system.sample(), Instant::now(), Instant::now());
    let mut summary = Summary::of(&run);
    loop {
        let view = View { run: &run, summary: &summary, load: &load };
        screen.draw(|frame| draw(frame, &view)).map_err(terminal)?;
        // Whatever is typed or resized meanwhile is taken before the next picture.
        let mut wait = KEYS_EVERY;
        while event::poll(wait).map_err(terminal)? {
            match event::read().map_err(terminal)? {
                Event::Key(key) if ends(key) => return Ok(()),
                _ => wait = Duration::ZERO,
            }
        }
        if ASKED_TO_STOP.load(Ordering::SeqCst) {
            return Ok(());
        }
        if read.elapsed() >= RUN_EVERY {
            let pid = run.pid;
            run.refresh()?;
            summary = Summary::of(&run);
            read = Instant::now();
            if run.pid != pid {
                system = System::new(run.pid);
                load = Load { cpu_percent: load.cpu_percent, ..system.sample() };
            }
        }
        if looked.elapsed() >= MACHINE_EVERY {
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
