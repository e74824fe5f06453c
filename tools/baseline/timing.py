"""Times training steps for `hrm bench`: a line of JSON on stdout after each step, warm-up included,
so that whoever started the process can give up early; the result is the last line."""

import json
import math
import os
import re
import resource
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(ROOT / "target" / "torchinductor"))

import torch


def peak_resident_bytes():
    """Highest resident memory since `reset_peak`, or of the whole process without Linux's /proc."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_bytes(device):
    return peak_resident_bytes() if device == "cpu" else torch.cuda.max_memory_allocated()


def reset_peak(device):
    """Compilation needs more memory than training and happens once: it is not counted."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def time_steps(shape, variant, step, args):
    """Median step time and peak memory of `step`, which returns the loss on the host."""
    step_ms = []
    for i in range(args.warm_up + args.steps):
        if i == args.warm_up:
            reset_peak(args.device)
        start = time.perf_counter()
        loss = step()
        step_ms.append((time.perf_counter() - start) * 1e3)
        print(json.dumps({"step_ms": step_ms[-1]}), flush=True)
        if not math.isfinite(loss):
            sys.exit(f"{shape} {variant}: loss is {loss}")
    timed = step_ms[args.warm_up :]
    return {
        "shape": shape,
        "variant": variant,
        "step_ms": round(statistics.median(timed), 3),
        "fastest_ms": round(min(timed), 3),
        "peak_bytes": peak_bytes(args.device),
    }


def add_options(parser, steps=9, warm_up=3):
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--steps", type=int, default=steps, help=f"timed steps ({steps})")
    parser.add_argument("--warm-up", type=int, default=warm_up, help=f"steps before ({warm_up})")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (2)")
