"""All of `run` on the GPU simulator, small, and what no simulator has (times, profilers) on words as they print
them. Anything that is not as it should be is an error."""

import os
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import ab
import actor
import machine
import plan
import read
import stages
import variants
import visit
from variants import Refused

LIMIT_S = 300
TESTS = """\
test a::passes ... ok
test a::fails ... FAILED
compared: a of b: error 1e-3, bound 2e-3, share 0.500
skipped: own kernels beside the library (1 of the two here)
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s
"""


def expect(what, right):
    if not right:
        raise Refused(f"rehearsal: {what}")


def readers(folder):
    """What no simulator prints."""
    (folder / "bench.csv").write_text(actor.BENCH)
    rows = read.times(folder / "bench.csv")
    expect("a row that was cut off counts", len(rows) == 2)
    expect(read.by_op(rows), read.by_op(rows) == "matmul fwd 1.500 ms 189 TFLOP/s; add fwd 0.100 ms 900 GB/s")
    slower = [row | {"median_us": "3000"} for row in rows[:1]]
    text = ab.compared(slower, rows, rows[:1])
    expect(text, text == "arc_100 matmul fwd 1.500 -> 3.000 ms (2.000)")
    expect(read.profile(actor.NCU), read.profile(actor.NCU) == "Duration 12.5 us, Achieved Occupancy 61.0 %")
    text, verdict = read.tests(visit.Done(101, TESTS, 0.1))
    for part in ("1 passed", "1 FAILED: a::fails", "0.50 of it (a of b)", "own kernels beside the library"):
        expect(f"{part} is missing: {text}", part in text)
    expect("a failed test is red", verdict == "red")
    # A filter that has lost its tests, and a program that ends without a word.
    passing = visit.Done(0, "test a::b ... ok\ntest result: ok. 1 passed; 0 failed", 0.1)
    for filters, least, wanted in ((("a::",), 1, "ok"), (("a::", "c::"), 1, "red"), ((), 2, "red")):
        text, verdict = read.tests(passing, filters, least)
        expect(f"{filters}, at least {least}: {text}", verdict == wanted)
    expect("a crash is red", read.tests(visit.Done(-11, "", 0.1), least=0)[1] == "red")
    for before, after in (({}, "/a"), ({"LD_LIBRARY_PATH": "/b"}, "/a:/b")):
        expect("a folder for the loader", machine.with_folder(before, Path("/a"))["LD_LIBRARY_PATH"] == after)


def quietly(run):
    """What `run` returns; what it prints is of no use to anybody."""
    with open(os.devnull, "w") as nothing:
        sys.stdout, kept = nothing, sys.stdout
        try:
            return run()
        finally:
            sys.stdout = kept


def limits(folder):
    """A long log keeps both ends; a budget that is used up drops by name; a defect does not end the visit."""
    log = folder / "long.log"
    log.write_bytes(b"first" + b"x" * 5000 + b"last")
    visit.cut_middle(log, 1000)
    cut = log.read_bytes()
    expect("a log is cut in the middle", len(cut) <= 1000 and cut.startswith(b"first") and cut.endswith(b"last"))
    expect("a cut says so", b"bytes and a few lines were cut here" in cut)
    small = visit.Visit(folder / "out", folder, 30, "Limits")
    ran = small.run("run.log", ["sleep", 60], 0.2)
    quietly(lambda: small.do([stages.Stage("defect", ("A?",), 0, lambda _: 1 / 0),
                              stages.Stage("slow", ("B?", "C?"), 60, lambda _: None)]))
    quietly(small.finish)
    expect("a command is ended when its time is up", ran.code is None and ran.seconds < 20)
    verdicts = [(question, verdict) for question, _, verdict in small.rows]
    wanted = [("defect", "red"), ("A?", "red"), ("B?", "dropped"), ("C?", "dropped")]
    expect(f"verdicts are {verdicts}", verdicts == wanted)


def play(folder):
    """The whole plan, and a comparison of kernels, with an actor in the place of every program: what only a card
    has runs here, too, up to the numbers."""
    script, pack, tools = Path(actor.__file__), folder / "pack", folder / "tools"
    places = [pack / "bin" / name for name in ("hrm", "ops", "models", "bench-ops")]
    places += [pack / "tools" / "first_contact" / "torch_peers.py", pack / "tools" / "baseline" / "hrm.py"]
    places += [tools / name for name in ("nvidia-smi", "ncu", "compute-sanitizer")]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(script)
    for made in (pack / "golden" / "repository", pack / "variants" / "other"):
        made.mkdir(parents=True)
    (pack / "variants" / "other" / "matmul.ptx").touch()
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{tools}{os.pathsep}{path}"
    try:
        for name, acts in (("played", stages.full(pack, plan.FULL, no_torch=lambda: None)),
                           ("compared", ab.stages(pack, ab.chosen(pack, ["other"])))):
            scratch = folder / f"{name}-scratch"
            scratch.mkdir()
            played = visit.Visit(folder / name, scratch, 120, name)
            quietly(lambda: played.do(acts))
            code = quietly(played.finish)
            expect(f"a play with an actor: {played.table()}", code == 0 and played.count("ok") == len(played.rows))
            wanted = [question for stage in acts for question in stage.questions]
            expect(f"{name}: {played.rows}", [question for question, _, _ in played.rows] == wanted)
            files = [file.name for file in played.out.iterdir()]
            expect(f"{name}: {files}", "times.csv" in files and len(files) <= visit.MOST_FILES)
    finally:
        os.environ["PATH"] = path


def newest(folder, name, has):
    """The newest test program of a name that knows a test called so: benches have the same names."""
    files = [file for file in folder.glob(f"{name}-*") if not file.suffix and os.access(file, os.X_OK)]
    for file in sorted(files, key=lambda file: -file.stat().st_mtime):
        asked = subprocess.run([file, "--list"], capture_output=True, text=True)
        if asked.returncode == 0 and has in asked.stdout:
            return file
    raise Refused(f"{folder} has no test program {name}: cargo build --release --features cuda --bins --tests")


def linked(root, hrm, folder):
    """A pack of links to what was built."""
    if not hrm.exists():
        raise Refused(f"{hrm} is missing: cargo build --release --features cuda --bins --tests")
    programs = {"hrm": hrm, "ops": newest(hrm.parent / "deps", "ops", plan.SMALL.hot[0]),
                "models": newest(hrm.parent / "deps", "models", plan.SMALL.engine[0])}
    (folder / "bin").mkdir(parents=True)
    for name, path in programs.items():
        (folder / "bin" / name).symlink_to(path)
    (folder / "golden").mkdir()
    (folder / "golden" / "repository").symlink_to(root / "tests" / "golden")
    return folder


Row = namedtuple("Row", "answer verdict")


def table(path):
    """{question: Row} of table.md."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in path.read_text().splitlines()
             if line.startswith("| ")]
    return {cell[0]: Row(cell[1], cell[2]) for cell in cells[1:]}


def rehearse(root, hrm):
    variants.check(root)
    with tempfile.TemporaryDirectory(prefix="first-contact-") as folder:
        folder = Path(folder).resolve()
        readers(folder)
        limits(folder)
        play(folder / "play")
        out, library = folder / "rehearsed", hrm.parent / "deps" / "libgpusim.so"
        # What was built with the tests; without it the simulator builds itself.
        env = {"GPUSIM_LIBRARY": str(library)} if library.exists() else {}
        pack = linked(root, hrm, folder / "pack")
        command = [root / "tools" / "gpusim" / "run", "--no-races", "--", sys.executable, root / "tools" /
                   "first-contact", "run", pack, "--out", out, "--budget", LIMIT_S, "--small"]
        done = subprocess.run(list(map(str, command)), env=os.environ | env, timeout=LIMIT_S)
        rows = table(out / "table.md")
        logs = "".join(f"\n-- {path.name}\n{path.read_text(errors='replace')[-6000:]}" for path in out.glob("*.log"))
        expect(f"exit code {done.returncode}{logs}", done.returncode == 0)
        for question in [q for stage in stages.full(pack, plan.SMALL, True) for q in stage.questions]:
            expect(f"no answer to: {question}", question in rows)
        answered = (*stages.Stages.STEP, *stages.Stages.HOT, *stages.Stages.ENGINE, stages.Stages.REST[0],
                    *stages.training.QUESTIONS)
        for question in answered:
            expect(f"{question} {rows[question]}{logs}", rows[question].verdict == "ok")
        expect("comparisons are told", "comparisons" in rows[stages.Stages.HOT[0]].answer)
        files = list(out.iterdir())
        expect(f"{len(files)} files", len(files) <= visit.MOST_FILES)
    print("rehearsed: " + ", ".join(f"{sum(row.verdict == v for row in rows.values())} {v}"
                                    for v in visit.VERDICTS))
    return 0
