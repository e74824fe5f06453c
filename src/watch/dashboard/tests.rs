use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::Duration;

use super::*;
use crate::track::gpu::Card;
use crate::watch::fixture;

const PLAN: &str = "[train]\nmax_steps = 1000\nepochs = 0\neval_every = 100\n";

/// What a terminal of this size shows.
fn screen(run: &RunView, load: &Load, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let summary = Summary::of(run);
    let view = View { run, summary: &summary, load };
    terminal.draw(|frame| draw(frame, &view)).unwrap();
    // A test terminal without columns cannot be printed.
    if width == 0 { String::new() } else { terminal.backend().to_string() }
}

fn metrics(steps: u64) -> String {
    let mut text = String::new();
    for step in 1..=steps {
        let loss = 2.0 / step as f64;
        text += &format!(
            "{{\"step\":{step},\"epoch\":0,\"samples\":{step},\"lm_loss\":{loss},\"accuracy\":0.5,\
             \"exact_accuracy\":null,\"act_steps\":3.5,\"grad_norm\":1.0,\"lr\":0.001,\
             \"step_ms\":250.0,\"data_wait_ms\":0.5,\"samples_per_s\":64.0,\"mem_bytes\":1073741824}}\n"
        );
        if step.is_multiple_of(100) {
            text += &format!(
                "{{\"step\":{step},\"val_lm_loss\":{loss},\"val_exact_accuracy\":0.25}}\n"
            );
        }
    }
    text
}

fn load() -> Load {
    Load {
        cpu_percent: Some(150.0),
        memory_used_bytes: 3e9,
        memory_total_bytes: 24e9,
        process_bytes: Some(2_147_483_648.0),
        cards: vec![Card { busy_percent: Some(97.0), power_w: Some(112.4), ..Card::default() }],
    }
}

#[test]
fn a_wide_screen_shows_state_numbers_curves_and_log() {
    let (dir, mut run) = fixture::run(PLAN, &metrics(500));
    std::fs::write(dir.path().join("train.log"), "   1.0s  a line of the log\n").unwrap();
    run.refresh().unwrap();
    let text = screen(&run, &load(), 200, 50);
    for wanted in [
        "running",
        "step 500/1000   about 2m05s left   best val_lm_loss 0.0040 at step 500",
        "val exact    0.2500",
        "step ms      250",
        "data wait ms 0.5000",
        "tensors      1.00 GiB",
        "process      2.00 GiB",
        "cpu          ████████ 150 %",
        "memory       2.8/22.4 GiB",
        "gpu 0        ████████  97 %",
        "gpu 0        112 W",
        "─ loss lm_loss 4.00e-3 val_lm_loss 4.00e-3",
        "─ ACT steps act_steps 3.5000",
        "1.0s  a line of the log",
        "q: quit",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    let braille = text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
    assert!(braille > 100, "{braille} cells of curves in\n{text}");
}

#[test]
fn a_small_screen_shows_the_same_in_short() {
    let (_dir, run) = fixture::run(PLAN, &metrics(500));
    let text = screen(&run, &load(), 60, 15);
    for wanted in ["step 500/1000   about 2m05s left", "loss ", "ACT steps", "q: quit"] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "no curve in\n{text}");
}

#[test]
fn a_run_that_has_written_nothing_or_stopped_or_ended_says_so() {
    let (_dir, run) = fixture::run(PLAN, "");
    let text = screen(&run, &Load::default(), 80, 24);
    assert!(
        text.contains("waiting for the first step") && text.contains("no metrics yet"),
        "{text}"
    );
    let (_dir, mut run) = fixture::run("", &metrics(3));
    run.silence = Some(Duration::from_secs(600));
    let text = screen(&run, &Load::default(), 80, 24);
    assert!(text.contains("stopped? no line for 10m00s") && text.contains(" step 3"), "{text}");
    run.silence = Some(Duration::from_secs(1));
    run.pid = Some(4711);
    let text = screen(&run, &Load::default(), 80, 24);
    assert!(text.contains("unfinished; its process 4711 is not on this machine"), "{text}");
    run.finished = true;
    assert!(screen(&run, &Load::default(), 80, 24).contains("finished"));
}

/// Values that a damaged or diverging run may leave, on screens down to nothing.
#[test]
fn any_run_fits_any_screen() {
    let damaged = "{\"step\":18446744073709551615,\"lm_loss\":1e308,\"step_ms\":1e308}\n\
                   {\"step\":1,\"lm_loss\":-1e308,\"step_ms\":-1e308,\"val_lm_loss\":null}\nnoise\n\
                   {\"step\":2,\"lm_loss\":0.0,\"accuracy\":\"NaN\",\"lr\":1e-300,\"mem_bytes\":-1}\n{\"st";
    for metrics in ["", damaged, &metrics(1), &metrics(7)] {
        let (_dir, run) = fixture::run(PLAN, metrics);
        for (width, height) in [
            (0, 0),
            (1, 1),
            (1, 50),
            (10, 3),
            (28, 6),
            (60, 15),
            (99, 24),
            (100, 7),
            (300, 2),
            (200, 50),
        ] {
            let text = screen(&run, &load(), width, height);
            assert_eq!(text.lines().count(), height as usize, "{width}x{height}");
        }
    }
}
