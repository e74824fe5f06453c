"""CSV of nsys or ncu to one table. Needs nothing but Python's own library."""

import csv
import io
import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# ncu: time, bytes to and from memory, tensor-core instructions (by warp; one is an m16n8k16).
TIME = "gpu__time_duration.sum"
BYTES = "dram__bytes.sum"
MMA = "sm__inst_executed_pipe_tensor.sum"
NCU_METRICS = (TIME, BYTES, MMA)
# An HMMA.16816 multiplies 16 x 8 x 16.
FLOP_PER_HMMA = 2 * 16 * 8 * 16

SECONDS = {"nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3,
           "second": 1.0, "s": 1.0}
BYTE_UNITS = {"byte": 1.0, "B": 1.0, "Kbyte": 1e3, "KB": 1e3, "Mbyte": 1e6, "MB": 1e6, "Gbyte": 1e9, "GB": 1e9}

# bytes and flops are None where nobody knows them.
Kernel = namedtuple("Kernel", "name launches seconds bytes flops")


def cards():
    return {card["name"]: card for card in json.loads((ROOT / "src" / "cost" / "cards.json").read_text())}


def plan(path):
    """{kernel: (bytes, flops) of one launch} of `hrm plan --json`."""
    if path is None:
        return {}
    kernels = json.loads(path.read_text())["predicted"]["kernels"]
    return {k["kernel"]: (k["bytes"] / k["launches"], k["matmul_flops"] / k["launches"]) for k in kernels}


def missing(tool):
    """What to install, or None."""
    if shutil.which(tool) is None:
        package = {"nsys": "NVIDIA Nsight Systems (package nsight-systems-cli, or the CUDA toolkit)",
                   "ncu": "NVIDIA Nsight Compute (part of the CUDA toolkit)"}[tool]
        return f"{tool} is not installed: {package}; nothing was run"
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver here (nvidia-smi is missing); nothing was run"
    return None


def number(text):
    return float(text.replace(",", "")) if text.strip() else 0.0


def short(name):
    """A kernel's name without return type, template and parameters."""
    return re.sub(r"^(?:void )?([\w:]+).*$", r"\1", name.strip(), flags=re.DOTALL)


def read(text):
    """Kernels of either tool's CSV, whatever it prints before its header."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if "Total Time" in line and "Name" in line:
            return read_nsys(csv.DictReader(io.StringIO("\n".join(lines[at:]))))
        if "Kernel Name" in line and TIME in line:
            return read_ncu(csv.DictReader(io.StringIO("\n".join(lines[at:]))))
    raise ValueError("neither nsys's cuda_gpu_kern_sum nor ncu's raw page, as CSV")


def read_nsys(rows):
    kernels = []
    for row in rows:
        if row["Name"]:
            seconds = number(row["Total Time (ns)"]) * 1e-9
            kernels.append(Kernel(short(row["Name"]), int(number(row["Instances"])), seconds, None, None))
    return kernels


def read_ncu(rows):
    """One row for a launch, after a row of units."""
    units, sums = next(rows, None), {}
    if units is None:
        return []
    for row in rows:
        seconds = number(row[TIME]) * SECONDS[units[TIME]]
        moved = number(row[BYTES]) * BYTE_UNITS[units[BYTES]]
        flops = number(row[MMA]) * FLOP_PER_HMMA
        name = short(row["Kernel Name"])
        old = sums.get(name, Kernel(name, 0, 0.0, 0.0, 0.0))
        sums[name] = Kernel(name, old.launches + 1, old.seconds + seconds, old.bytes + moved, old.flops + flops)
    return list(sums.values())


def render(text, card, planned):
    kernels = read(text)
    if not kernels:
        raise ValueError("no kernels in it")
    lines = [f"{'kernel':<36}{'launches':>9}{'ms':>11}{'%':>7}{'GB/s':>9}{'TFLOP/s':>9}{'roofline':>10}"]
    total = sum(k.seconds for k in kernels)
    for k in sorted(kernels, key=lambda k: -k.seconds):
        if k.bytes is None and k.name in planned:
            moved, flops = planned[k.name]
            k = k._replace(bytes=moved * k.launches, flops=flops * k.launches)
        rates = f"{'':>28}"
        if k.bytes is not None and k.seconds > 0:
            least = max(k.bytes / card["dram_bytes_per_s"], k.flops / card["tensor_flops_per_s"])
            rates = (f"{k.bytes / k.seconds / 1e9:>9.1f}{k.flops / k.seconds / 1e12:>9.2f}"
                     f"{100 * least / k.seconds:>8.1f} %")
        share = 100 * k.seconds / total if total else 0.0
        lines.append(f"{k.name:<36}{k.launches:>9}{1e3 * k.seconds:>11.3f}{share:>7.1f}{rates}")
    launches = sum(k.launches for k in kernels)
    lines.append(f"{'all':<36}{launches:>9}{1e3 * total:>11.3f}")
    lines.append(f"roofline: {card['title']}, {card['tensor_flops_per_s'] / 1e12:.1f} TFLOPS, "
                 f"{card['dram_bytes_per_s'] / 1e9:.0f} GB/s")
    return "\n".join(lines)
