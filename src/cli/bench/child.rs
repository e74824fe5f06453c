//! A process that times one variant: its steps as it tells them, and its end if it is hopeless. The
//! limit is held here, whatever the process does.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::step::Timing;
use crate::io::machine::end_process;
use crate::io::progress::Progress;

/// What a process is given.
pub struct Terms {
    /// What progress calls it.
    pub name: String,
    /// Steps that it will make.
    pub steps: usize,
    /// Whether the first step compiles: for that it has the limit once more.
    pub compiles: bool,
    pub limit: Duration,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    Timed(Timing),
    /// After this long, and what its last step took.
    Cut {
        after_s: f64,
        step_ms: Option<f64>,
    },
}

/// A line of its stdout.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Result(Timing),
    Step { step_ms: f64 },
}

/// Run it to its end, or end it when its steps take longer than the limit, or would.
pub fn run(command: &mut Command, terms: &Terms) -> Result<Ended, String> {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    let heard = follow(&mut child, terms);
    let status = match &heard {
        Heard::TooLong(_) => None,
        Heard::Result(_) | Heard::Nothing => wait_at_most(&mut child, terms.limit)?,
    };
    if status.is_none() {
        end_process(child.id());
        child.wait().map_err(|e| e.to_string())?;
    }
    match (heard, status) {
        (Heard::Result(timing), Some(status)) if status.success() => Ok(Ended::Timed(timing)),
        (_, Some(status)) => Err(format!("failed ({status})")),
        (Heard::TooLong(step_ms), None) => {
            Ok(Ended::Cut { after_s: start.elapsed().as_secs_f64(), step_ms })
        }
        (_, None) => Err("does not end".into()),
    }
}

enum Heard {
    Result(Timing),
    /// What the last step took.
    TooLong(Option<f64>),
    Nothing,
}

fn follow(child: &mut Child, terms: &Terms) -> Heard {
    let (tell, hear) = mpsc::channel();
    let stdout = child.stdout.take();
    // It ends with the process, whose end of the pipe it reads.
    std::thread::spawn(move || {
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        lines.map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    let bar = Progress::Shown.bar(&terms.name, terms.steps as u64);
    let (mut since, mut done, mut last_ms, mut result) = (Instant::now(), 0, None, None);
    loop {
        let line = match hear.recv_timeout(terms.limit.saturating_sub(since.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if result.is_none() => return Heard::TooLong(last_ms),
            Err(_) => return result.map_or(Heard::Nothing, Heard::Result),
        };
        match serde_json::from_str(&line) {
            Ok(Said::Result(timing)) => result = Some(timing),
            Ok(Said::Step { step_ms }) => {
                done += 1;
                bar.advance(1);
                if terms.compiles && done == 1 {
                    since = Instant::now();
                    continue;
                }
                last_ms = Some(step_ms);
                let rest_s = step_ms * 1e-3 * terms.steps.saturating_sub(done) as f64;
                if since.elapsed().as_secs_f64() + rest_s > terms.limit.as_secs_f64() {
                    return Heard::TooLong(last_ms);
                }
            }
            Err(_) => {} // whatever else it prints
        }
    }
}

fn wait_at_most(
    child: &mut Child,
    limit: Duration,
) -> Result<Option<std::process::ExitStatus>, String> {
    let start = Instant::now();
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => return Ok(Some(status)),
            None if start.elapsed() > limit => return Ok(None),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, limit_s: f64) -> Result<Ended, String> {
        let limit = Duration::from_secs_f64(limit_s);
        let terms = Terms { name: "x".into(), steps: 3, compiles: false, limit };
        run(Command::new("sh").args(["-c", script]), &terms)
    }

    const RESULT: &str = r#"{"shape":"s","variant":"v","step_ms":2,"fastest_ms":1,"peak_bytes":3}"#;

    #[test]
    fn the_result_is_the_last_line_and_others_are_passed_over() {
        let script = format!("echo a warning; echo '{{\"step_ms\": 1}}'; echo '{RESULT}'");
        match shell(&script, 60.0) {
            Ok(Ended::Timed(timing)) => assert_eq!((timing.step_ms, timing.peak_bytes), (2.0, 3)),
            other => panic!("{other:?}"),
        }
        assert!(shell("exit 3", 60.0).unwrap_err().contains("failed"));
        assert!(shell("true", 60.0).is_err(), "no result");
    }

    #[test]
    fn what_would_take_too_long_is_ended_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alive");
        // A step of 30 s, of three within 60 s: after the first there is nothing to hope for.
        let beat = format!("while :; do date > {}; sleep 0.05; done", file.display());
        let script = format!("({beat}) & echo '{{\"step_ms\": 30000}}'; wait");
        let start = Instant::now();
        match shell(&script, 40.0) {
            Ok(Ended::Cut { step_ms, .. }) => assert_eq!(step_ms, Some(30_000.0)),
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        let _ = std::fs::remove_file(&file);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!file.exists(), "the child's child lives on");
        match shell("sleep 30", 0.1) {
            Ok(Ended::Cut { after_s, step_ms }) => assert!(after_s < 20.0 && step_ms.is_none()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn compiling_has_a_limit_of_its_own() {
        let limit = Duration::from_secs(40);
        let terms = Terms { name: "x".into(), steps: 3, compiles: true, limit };
        let script = format!("echo '{{\"step_ms\": 30000}}'; echo '{RESULT}'");
        let ended = run(Command::new("sh").args(["-c", &script]), &terms);
        assert!(matches!(ended, Ok(Ended::Timed(_))), "{ended:?}");
    }
}
