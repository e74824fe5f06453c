#!/usr/bin/env python3
"""What PyTorch's kernels take at the shapes of ours: products of the four linear layers (forward, dX, dW) by
torch.matmul, attention by its flash and cuDNN kernels, and a copy, whose rate is what memory gives.

    torch_peers.py [--json FILE] [--small]

bf16, random normal data, caches flushed before each run, the median of 20 by CUDA events. The last line on
stdout is one JSON object with a `summary`; FILE takes every time. --small: tiny shapes on the CPU, which shows
that the script runs and nothing else.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

RUNS, WARM_UP = 20, 3
FLUSH_BYTES = 256 << 20
# Name, batch, positions of a row; the width of the official model.
BATCHES = (("arc_100", 100, 901), ("sudoku_768", 768, 82))
C, HEADS, INNER = 512, 8, 1536
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


class Timer:
    def __init__(self, device):
        self.device = device
        self.flush = torch.empty(FLUSH_BYTES if device == "cuda" else 1, dtype=torch.uint8, device=device)

    def once_ms(self, run):
        self.flush.zero_()
        if self.device == "cpu":
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) * 1e3
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop)

    def median_ms(self, run):
        times = [self.once_ms(run) for _ in range(WARM_UP + RUNS)]
        return statistics.median(times[WARM_UP:])


def products(timer, name, m, c, inner):
    """Rows of the four layers; each pass as PyTorch's backward would call it."""

    def normal(*shape):
        return torch.randn(shape, device=timer.device, dtype=torch.bfloat16)

    layers = (("qkv", 3 * c, c), ("o", c, c), ("gate_up", 2 * inner, c), ("down", c, inner))
    for layer, n, k in layers:
        x, w, dy = normal(m, k), normal(n, k), normal(m, n)
        passes = {"fwd": lambda: x @ w.T, "dx": lambda: dy @ w, "dw": lambda: dy.T @ x}
        for which, run in passes.items():
            ms = timer.median_ms(run)
            yield {"workload": name, "op": layer, "pass": which, "ms": ms,
                   "tflop_per_s": 2 * m * n * k / ms / 1e9}


def attention(timer, name, b, t, c, heads, backend):
    shape = (b, heads, t, c // heads)
    q, k, v = (torch.randn(shape, device=timer.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    dy = torch.randn(shape, device=timer.device, dtype=torch.bfloat16)
    with sdpa_kernel(BACKENDS[backend] if timer.device == "cuda" else SDPBackend.MATH):
        with torch.no_grad():
            forward = timer.median_ms(lambda: F.scaled_dot_product_attention(q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        backward = timer.median_ms(lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True))
    # Forward two products; backward four, not counting scores that it computes again.
    flop = 4 * b * heads * t * t * (c // heads)
    for which, ms, of in (("fwd", forward, flop), ("bwd", backward, 2 * flop)):
        yield {"workload": name, "op": f"sdpa {backend}", "pass": which, "ms": ms, "tflop_per_s": of / ms / 1e9}


def copied(timer, size):
    source = torch.randn(size // 4, device=timer.device)
    target = torch.empty_like(source)
    ms = timer.median_ms(lambda: target.copy_(source))
    yield {"workload": "copy", "op": "copy", "pass": "run", "ms": ms, "gb_per_s": 2 * size / ms / 1e6}


def summary(rows):
    told = []
    for row in rows:
        if "error" in row:
            told.append(f"{row['workload']} {row['op']} {row['error']}")
            continue
        rate = f"{row['tflop_per_s']:.0f} TFLOP/s" if "tflop_per_s" in row else f"{row['gb_per_s']:.0f} GB/s"
        told.append(f"{row['workload']} {row['op']} {row['pass']} {row['ms']:.3f} ms {rate}")
    return "; ".join(told)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="every time, with PyTorch's version")
    parser.add_argument("--small", action="store_true", help="tiny shapes on the CPU")
    args = parser.parse_args()
    if not args.small and not torch.cuda.is_available():
        sys.exit("torch_peers: this PyTorch sees no card; nothing was timed")
    timer = Timer("cpu" if args.small else "cuda")
    batches, c, inner = (((("small", 2, 9),), 32, 64) if args.small else (BATCHES, C, INNER))
    wanted = [("copy", lambda: copied(timer, 4096 if args.small else 1 << 30))]
    for name, b, t in batches:
        wanted.append((f"{name} products", lambda name=name, m=b * t: products(timer, name, m, c, inner)))
        for backend in BACKENDS:
            wanted.append((f"{name} sdpa {backend}",
                           lambda name=name, b=b, t=t, backend=backend:
                           attention(timer, name, b, t, c, HEADS, backend)))
    rows = []
    for what, run in wanted:
        try:
            for row in run():
                rows.append(row)
                print(json.dumps(row), flush=True)
        except RuntimeError as error:  # a kernel that this card or build does not have
            said = (str(error).splitlines() or ["RuntimeError"])[0]
            rows.append({"workload": what, "op": "", "error": said})
    about = {"torch": torch.__version__, "cuda": torch.version.cuda,
             "device": "cpu" if args.small else torch.cuda.get_device_name()}
    if args.json:
        with open(args.json, "w") as file:
            json.dump(about | {"rows": rows}, file, indent=1)
    print(json.dumps(about | {"summary": summary(rows)}))
    return 0 if all("error" not in row for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
