"""What programs printed, as answers of one line."""

import csv
import io
import json
import re
from pathlib import Path

SHARE = re.compile(r"^compared: (.*): error (\S+), bound (\S+), share (\S+)$", re.M)
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed", re.M)
FAILED = re.compile(r"^test (\S+) \.\.\. FAILED$", re.M)
SKIPPED = re.compile(r"^skipped: (.*)$", re.M)
# Metrics of ncu that say why a kernel takes as long as it does.
METRICS = ("Duration", "Compute (SM) Throughput", "Memory Throughput", "DRAM Throughput", "Achieved Occupancy",
           "Registers Per Thread", "Shared Memory Configuration Size")


def tests(done, filters=(), least=1):
    """(answer, verdict) of a program of libtest with HRM_TEST_ERRORS. A filter that has lost its tests, and fewer
    than `least` tests in all, prove nothing: they are red."""
    passed, failed = (sum(int(run[i]) for run in RESULT.findall(done.text)) for i in (0, 1))
    red, text = FAILED.findall(done.text), []
    if done.code is None:
        passed = len(re.findall(r"^test \S+ \.\.\. ok$", done.text, re.M))
        text.append(f"cut after {done.seconds:.0f} s")
    text.append(f"{passed} passed")
    if red:
        text.append(f"{len(red)} FAILED: {', '.join(red)}")
    shares = [(float(share), what) for what, _, _, share in SHARE.findall(done.text)]
    if shares:
        share, what = max(shares)
        text.append(f"{len(shares)} comparisons, the nearest to its bound {share:.2f} of it ({what})")
    skipped = sorted(set(SKIPPED.findall(done.text)))
    if skipped:
        text.append("skipped by the tests: " + "; ".join(skipped))
    if done.code is None:
        return ", ".join(text), "red" if red else "dropped"
    if done.code != 0 and not red:
        text.append(f"exit code {done.code}: {last_line(done.text)}")
    ran = re.findall(r"^test (\S+) \.\.\.", done.text, re.M)
    without = [name for name in filters if not any(name in test for test in ran)]
    if without:
        text.append(f"no test is called {', '.join(without)}")
    if passed + failed < least:
        text.append(f"at least {least} were expected")
    return ", ".join(text), "ok" if done.code == 0 and passed >= least and not without else "red"


def last_line(text):
    return (text.strip().splitlines() or ["nothing was said"])[-1]


def last_json(text):
    """The last line that is a JSON object, or None."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return None


def failure(done):
    """Why a command gave nothing."""
    if done.code is None:
        return f"cut after {done.seconds:.0f} s: {last_line(done.text)}"
    return f"exit code {done.code}: {last_line(done.text)}"


def times(path):
    """Rows of the op bench's CSV; a run that was cut has left those that it finished."""
    path = Path(path)
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    return [row for row in rows if row.get("tflop_per_s") is not None]


def time(row):
    """`fwd 1.23 ms, 640 TFLOP/s`, or GB/s of what multiplies nothing."""
    tflop = float(row["tflop_per_s"])
    rate = f"{tflop:.0f} TFLOP/s" if tflop > 0 else f"{float(row['gb_per_s']):.0f} GB/s"
    return f"{row['pass']} {float(row['median_us']) / 1e3:.3f} ms {rate}"


def by_op(rows):
    """`matmul fwd .. bwd ..; attention ..`."""
    ops = {}
    for row in rows:
        ops.setdefault(row["op"], []).append(time(row))
    return "; ".join(f"{op} {', '.join(all_)}" for op, all_ in ops.items())


def profile(text):
    """Metrics of the first kernel in ncu's details page as CSV."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return ""
    found = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines[start:]))):
        if row.get("Metric Name") in METRICS:
            found.setdefault(row["Metric Name"], f"{row['Metric Value']} {row['Metric Unit']}".strip())
    return ", ".join(f"{name} {found[name]}" for name in METRICS if name in found)
