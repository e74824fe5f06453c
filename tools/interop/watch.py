#!/usr/bin/env python3
"""`hrm watch` on a terminal (a pseudo-terminal): it follows, resizes, and leaves no trace.

    watch.py HRM      HRM: the binary to check

A crafted run folder grows while it is watched. Each way to end the dashboard must leave the
terminal's settings and its screen as they were. Where no terminal is, the text comes once.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"
SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
PLAN = """preset = "crafted"
[train]
max_steps = 1000
epochs = 0
"""


def expect(holds, what):
    if not holds:
        sys.exit(f"watch.py: {what}")


def line(step):
    return json.dumps({"step": step, "epoch": 0, "lm_loss": 1 / step, "step_ms": 100.0}) + "\n"


class Dashboard:
    """The program on a terminal of its own."""

    def __init__(self, run, rows, columns):
        self.terminal, self.far_end = pty.openpty()
        self.resize(rows, columns)
        self.settings = termios.tcgetattr(self.far_end)
        self.shown = b""
        ends = {"stdin": self.far_end, "stdout": self.far_end, "stderr": self.far_end}
        self.process = subprocess.Popen([BINARY, "watch", run], **ends, start_new_session=True,
                                        env=os.environ | {"TERM": "xterm-256color"})

    def resize(self, rows, columns):
        fcntl.ioctl(self.far_end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if ready:
            self.shown += os.read(self.terminal, 65536)

    def wait_for(self, text):
        """Reads until `text` stands in what was shown since the last call."""
        for _ in range(300):
            if text in SEQUENCE.sub(b"", self.shown):
                self.shown = b""
                return
            code = self.process.poll()
            expect(code is None, f"ended with {code}: {self.shown}")
            self.read(0.1)
        expect(False, f"no {text} in {SEQUENCE.sub(b'', self.shown)}")

    def end(self, how):
        self.shown = b""
        how(self)
        for _ in range(300):
            self.read(0.1)
            if self.process.poll() is not None:
                break
        else:
            self.process.kill()
            expect(False, "the dashboard did not end")
        self.read(0.1)
        expect(self.process.returncode == 0, f"exit code {self.process.returncode}: {self.shown}")
        expect(LEAVE in self.shown, f"the screen is not given back: {self.shown}")
        expect(SHOW_CURSOR in self.shown, f"the cursor is not shown again: {self.shown}")
        expect(termios.tcgetattr(self.far_end) == self.settings, "the terminal's settings differ")
        os.close(self.terminal)
        os.close(self.far_end)


def press(key):
    return lambda dashboard: os.write(dashboard.terminal, key)


def term(dashboard):
    dashboard.process.send_signal(signal.SIGTERM)


def check_follow(run):
    metrics = run / "metrics.jsonl"
    dashboard = Dashboard(run, 15, 60)
    dashboard.wait_for(b"waiting for the first step")
    with metrics.open("a") as file:
        for step in range(1, 8):
            file.write(line(step))
        file.write('{"step": 8, "lm_')
    dashboard.wait_for(b"running")
    # A new size is drawn in full.
    dashboard.resize(50, 200)
    os.kill(dashboard.process.pid, signal.SIGWINCH)
    dashboard.wait_for(b"step 7/1000")
    with metrics.open("a") as file:
        file.write('loss": 0.1}\n' + line(90))
    for i in range(50):
        time.sleep(0.2)
        dashboard.resize(24, 80 + i % 2)
        os.kill(dashboard.process.pid, signal.SIGWINCH)
        dashboard.read(0.2)
        if b"step 90/1000" in SEQUENCE.sub(b"", dashboard.shown):
            break
    dashboard.wait_for(b"step 90/1000")
    dashboard.end(press(b"q"))


def check_lost_terminal(run):
    dashboard = Dashboard(run, 24, 80)
    dashboard.wait_for(b"step 90/1000")
    os.close(dashboard.far_end)
    os.close(dashboard.terminal)
    try:
        dashboard.process.wait(60)
    except subprocess.TimeoutExpired:
        dashboard.process.kill()
        expect(False, "the dashboard goes on without a terminal")
    code = dashboard.process.returncode
    expect(code in (0, 1), f"without a terminal the dashboard ended with {code}")


def check_without_terminal(run):
    def text(*more):
        done = subprocess.run([BINARY, "watch", run, *more], capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL)
        expect(done.returncode == 0, f"hrm watch {more}: {done.stderr}")
        expect("\x1b" not in done.stdout, f"hrm watch {more}: {done.stdout!r}")
        return done.stdout

    expect(all("step 90/1000" in text(*more) for more in ((), ("--once",))), text())
    expect(json.loads(text("--json"))["step"] == 90, text("--json"))


def main():
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        (run / "plan.toml").write_text(PLAN)
        check_follow(run)
        for how in (press(b"\x1b"), press(b"\x03"), term):
            dashboard = Dashboard(run, 24, 80)
            dashboard.wait_for(b"step 90/1000")
            dashboard.end(how)
        # What the terminal is told when the run cannot be read comes after it was given back.
        dashboard = Dashboard(run, 24, 80)
        dashboard.wait_for(b"step 90/1000")
        (run / "plan.toml").write_text("[")
        for _ in range(300):
            dashboard.read(0.1)
            if dashboard.process.poll() is not None:
                break
        dashboard.read(0.1)
        shown = dashboard.shown
        expect(dashboard.process.returncode == 1, f"exit code {dashboard.process.returncode}")
        expect(LEAVE in shown and b"plan.toml" in shown.split(LEAVE)[1], f"{shown}")
        expect(termios.tcgetattr(dashboard.far_end) == dashboard.settings, "settings differ")
        (run / "plan.toml").write_text(PLAN)
        check_lost_terminal(run)
        check_without_terminal(run)
    print("watch.py: the dashboard follows, resizes and leaves the terminal as it was")


if __name__ == "__main__":
    BINARY = str(Path(sys.argv[1]).resolve())
    main()
