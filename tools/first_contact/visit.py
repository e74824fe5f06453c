"""A visit to somebody's card: commands under a time limit, logs within their size, and a table of questions
that is written whatever happens."""

import os
import signal
import subprocess
import time
from collections import namedtuple

# What comes back from a borrowed machine: this many files, each this long at most.
MOST_FILES = 8
MOST_BYTES = 16 << 20
# Kept for the table and for ending what runs.
RESERVE_S = 10
VERDICTS = ("ok", "red", "dropped", "skipped")

# code is None for a command that ran out of time.
Done = namedtuple("Done", "code text seconds")


class NoDevice(Exception):
    """Nothing further can be learned here."""


class Visit:
    """`out` takes the files; `scratch` is thrown away afterwards. The budget counts from `started`."""

    def __init__(self, out, scratch, budget_s, head, started=None):
        self.out, self.scratch, self.head = out, scratch, head
        self.start, self.budget_s = started or time.monotonic(), budget_s
        self.rows, self.background, self.env = [], None, dict(os.environ)
        out.mkdir(parents=True, exist_ok=True)

    def left_s(self):
        return self.budget_s - RESERVE_S - (time.monotonic() - self.start)

    # ---- commands ----

    def run(self, log, command, limit_s, env=None):
        """Runs it to its end or its time; what it prints goes to `log` below `out` and is returned. The whole
        group ends with it: test programs and profilers start others."""
        command = [str(word) for word in command]
        limit_s = min(limit_s, self.left_s())
        if limit_s <= 0:
            return Done(None, "no time was left", 0.0)
        before, path = time.monotonic(), self.out / log
        with path.open("ab") as file:
            told = " ".join(f"{k}={v}" for k, v in (env or {}).items())
            file.write(f"\n+ {told + ' ' if told else ''}{' '.join(command)}\n".encode())
            file.flush()
            at = file.tell()
            try:
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                         cwd=self.scratch, env=self.env | (env or {}), start_new_session=True)
            except OSError as error:
                return Done(127, f"{command[0]}: {error.strerror}", 0.0)
            try:
                code = child.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
                end(child)
            except BaseException:
                end(child)
                raise
        seconds = time.monotonic() - before
        with path.open("rb+") as file:
            file.seek(at)
            text = file.read().decode(errors="replace")
            file.write(f"= {'out of time' if code is None else f'exit {code}'}, {seconds:.1f} s\n".encode())
        return Done(code, text, seconds)

    def start_background(self, command, env):
        """One command whose result nobody waits for; `end_background` before anything is timed."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.background = subprocess.Popen([str(word) for word in command], cwd=self.scratch,
                                           env=self.env | env, start_new_session=True, **quiet)

    def end_background(self):
        if self.background is not None:
            end(self.background)
            self.background = None

    # ---- the table ----

    def answer(self, question, answer, verdict):
        assert verdict in VERDICTS, verdict
        answer = " ".join(str(answer).split()).replace("|", "/") or "nothing was said"
        self.rows.append((question, answer, verdict))
        took = time.monotonic() - self.start
        print(f"{took:6.0f} s  {verdict:<8}{question}: {answer[:160]}", flush=True)
        self.write_table()

    def table(self):
        took = time.monotonic() - self.start
        lines = [f"# {self.head}", "", f"{took:.0f} of {self.budget_s:.0f} s were used.", ""]
        lines += ["| question | answer | |", "|---|---|---|"]
        return "\n".join(lines + [f"| {q} | {a} | {v} |" for q, a, v in self.rows]) + "\n"

    def write_table(self):
        """After every answer, so that it is there if somebody ends us."""
        (self.out / "table.md").write_text(self.table())

    def count(self, verdict):
        return sum(row[2] == verdict for row in self.rows)

    def do(self, stages):
        """Every stage in order: red ones do not stop later ones, those for which no time is left are dropped
        by name. `stages`: objects with `name`, `questions`, `needs_s` and `run(visit)`."""
        for stage in stages:
            if self.left_s() < stage.needs_s:
                for question in stage.questions:
                    self.answer(question, f"{stage.needs_s} s are needed, {max(self.left_s(), 0):.0f} are left",
                                "dropped")
                continue
            try:
                stage.run(self)
            except NoDevice as error:
                print(error, flush=True)
                break
            except Exception as error:  # a defect of ours must not cost the rest of the visit
                self.answer(stage.name, f"the script failed: {type(error).__name__}: {error}", "red")
            answered = {question for question, _, _ in self.rows}
            for question in stage.questions:
                if question not in answered:
                    self.answer(question, "the stage ended before it", "red")

    def finish(self):
        """Ends what runs, cuts long files, writes and prints the table."""
        self.end_background()
        self.write_table()
        for path in sorted(self.out.iterdir()):
            cut_middle(path)
        print("\n" + self.table(), flush=True)
        names = sorted(path.name for path in self.out.iterdir())
        if len(names) > MOST_FILES:
            print(f"first-contact: {len(names)} files, {MOST_FILES} come back: {', '.join(names)}", flush=True)
        return 1 if self.count("red") else 0


def end(child):
    """The child and what it started; nothing that is not ours has its group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def cut_middle(path, most=MOST_BYTES):
    """Beginning and end of a file that is too long, and a line that says so. A report of a profiler is of no
    use in parts."""
    size = path.stat().st_size
    if size <= most:
        return
    if path.suffix == ".zip":
        path.with_suffix(".txt").write_text(f"{path.name} had {size} bytes, more than {most}: left out\n")
        path.unlink()
        return
    told = f"\n\n... {size - most} bytes and a few lines were cut here ...\n\n".encode()
    half = (most - len(told)) // 2
    with path.open("rb") as file:
        first = file.read(half)
        file.seek(size - half)
        last = file.read()
    path.write_bytes(first + told + last)

