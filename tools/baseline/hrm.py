#!/usr/bin/env python3
"""PyTorch baseline of the HRM training step: times it, or checks it against the goldens.

  hrm.py --check [DIR]     compare four steps and the optimizers with the golden vectors
  hrm.py --bench [--json]  time the step; each variant in a process of its own

It reads no data set and trains nothing useful. bf16 means that weights and activations are cast
in the forward pass and master weights stay f32.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from timing import ROOT, add_options, time_steps  # first: it says where compiled code is kept

import torch

from check import check_all
from step import Config, Trainer, random_weights

SHAPES = {
    "b32-s81-h128": Config(32, 81, 128, 4, 2, 2, puzzle_emb_ndim=128),
    "b8-s81-h512": Config(8, 81, 512, 8, 4, 4, puzzle_emb_ndim=512),
    "b2-s900-h128": Config(2, 900, 128, 4, 2, 2, puzzle_emb_ndim=128, halt_max_steps=8),
    "b256-s81-h512": Config(256, 81, 512, 8, 4, 4, puzzle_emb_ndim=512),
    "b16-s900-h512": Config(16, 900, 512, 8, 4, 4, puzzle_emb_ndim=512),
    "b100-s900-h512": Config(100, 900, 512, 8, 4, 4, puzzle_emb_ndim=512),
    "b768-s81-h512": Config(768, 81, 512, 8, 4, 4, puzzle_emb_ndim=512),
    # Of the whole canvas: hrm packs these rows.
    "arc1-b16-h128": Config(16, 900, 128, 4, 2, 2, puzzle_emb_ndim=128),
    "arc1-b16-h512": Config(16, 900, 512, 8, 4, 4, puzzle_emb_ndim=512),
    "arc1-b100-h512": Config(100, 900, 512, 8, 4, 4, puzzle_emb_ndim=512),
}
CPU_SHAPES = tuple(SHAPES)[:3]
CUDA_SHAPES = tuple(SHAPES)[3:5]
VARIANTS = ("eager-f32", "compile-f32", "eager-bf16", "compile-bf16")
# Compiled by level, for who cannot wait until a whole step is. Where it is asked for.
REGIONAL = ("regional-f32", "regional-bf16")
COMPILED = {"eager": None, "compile": "step", "regional": "level"}


def time_variant(shape, variant, args):
    """Runs in its own process: median step time and peak memory of one variant. On CUDA the step ends
    with the loss on the host, as ours does; attention is PyTorch's own fused kernel."""
    mode, dtype = variant.split("-")
    cfg = SHAPES[shape]._replace(forward_dtype={"f32": "float32", "bf16": "bfloat16"}[dtype])
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    rows = (cfg.batch_size, cfg.seq_len)
    batch = {
        "inputs": torch.randint(0, cfg.vocab_size, rows),
        "labels": torch.randint(0, cfg.vocab_size, rows),
        "puzzle_identifiers": torch.randint(1, cfg.num_puzzle_identifiers, rows[:1]),
    }
    trainer = Trainer(
        cfg,
        random_weights(cfg),
        puzzle_table=torch.zeros(cfg.num_puzzle_identifiers, cfg.puzzle_emb_ndim),
        h_init=torch.randn(cfg.hidden_size),
        l_init=torch.randn(cfg.hidden_size),
        optimizer=args.optimizer,
        compiled=COMPILED[mode],
    )
    return time_steps(shape, variant, lambda: trainer.step(batch), args)


def bench(args):
    """Prints a table, or JSON on stdout with the table on stderr."""
    table = sys.stderr if args.json else sys.stdout
    where = torch.cuda.get_device_name() if args.device != "cpu" else f"{args.threads} threads"
    print(f"PyTorch {torch.__version__}, {where}, {args.steps} steps", file=table)
    columns = ("shape", "variant", "median_ms", "fastest_ms", "peak_MiB")
    print("{:<16}{:<16}{:>12}{:>12}{:>12}".format(*columns), file=table)
    options = ["--steps", args.steps, "--threads", args.threads, "--optimizer", args.optimizer]
    options += ["--device", args.device, "--warm-up", args.warm_up]
    results = []
    for shape, variant in itertools.product(args.shapes, args.variants or VARIANTS):
        command = [sys.executable, __file__, "--one", f"{shape}/{variant}", *map(str, options)]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if child.returncode != 0:
            sys.exit(f"hrm.py --bench: {shape} {variant} failed ({child.returncode})")
        r = json.loads(child.stdout.splitlines()[-1])
        results.append(r)
        row = (shape, variant, r["step_ms"], r["fastest_ms"], r["peak_bytes"] / 2**20)
        print("{:<16}{:<16}{:>12.1f}{:>12.1f}{:>12.0f}".format(*row), file=table, flush=True)
    if args.json:
        print(json.dumps(results, indent=1))


def chosen(known):
    def parse(names):
        wanted = names.split(",")
        if not set(wanted) <= set(known):
            raise argparse.ArgumentTypeError(f"{names!r}: choose from {', '.join(known)}")
        return wanted

    return parse


def parse_args():
    golden = Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden")
    parser = argparse.ArgumentParser(
        description="HRM training step in PyTorch: speed baseline, checked against the goldens.",
        epilog="Example: hrm.py --bench --shapes b32-s81-h128 --variants eager-f32 --json",
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--check", nargs="?", type=Path, const=golden, metavar="DIR",
                      help="folder of goldens (default: HRM_GOLDEN_DIR or ../shared/golden)")
    task.add_argument("--bench", action="store_true", help="time the training step")
    task.add_argument("--one", metavar="SHAPE/VARIANT", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="JSON on stdout, table on stderr")
    parser.add_argument("--shapes", type=chosen(SHAPES),
                        help=f"comma-separated, of {', '.join(SHAPES)} (default: those for the device)")
    parser.add_argument("--variants", type=chosen(VARIANTS + REGIONAL),
                        help=f"comma-separated, of {', '.join(VARIANTS + REGIONAL)} "
                             "(default: all but the regional ones; of --check: eager-f32)")
    add_options(parser)
    parser.add_argument("--optimizer", choices=("adamw", "atan2"), default="adamw")
    args = parser.parse_args()
    args.shapes = args.shapes or (CPU_SHAPES if args.device == "cpu" else CUDA_SHAPES)
    if args.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: this PyTorch sees no CUDA device")
    if args.device != "cpu" and args.check:
        parser.error("--check runs on the CPU")
    if args.steps < 1 or args.threads < 1 or args.warm_up < 0:
        parser.error("--steps and --threads must be at least 1, --warm-up 0 or more")
    if args.check and any("bf16" in v for v in args.variants or ()):
        parser.error("--check: the goldens are f32; choose those of f32")
    return args


def main():
    args = parse_args()
    if args.one:
        print(json.dumps(time_variant(*args.one.split("/"), args)))
    elif args.bench:
        bench(args)
    else:
        modes = [COMPILED[v.split("-")[0]] for v in args.variants or ["eager-f32"]]
        passed = [check_all(args.check, compiled) for compiled in modes]
        sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
