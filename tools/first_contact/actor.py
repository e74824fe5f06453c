#!/usr/bin/env python3
"""Says what the programs of a visit and NVIDIA's tools say, as whichever it is called: for a rehearsal of the
stages that only a card has. It computes nothing; no figure of it leaves the rehearsal."""

import json
import sys
import time
from pathlib import Path

BENCH = """\
workload,op,dtype,pass,median_us,fastest_us,slowest_us,gb_per_s,tflop_per_s
arc_100,matmul,bf16,fwd,1500.000,1400.000,1600.000,500.00,189.0000
arc_100,add,bf16,fwd,100.000,90.000,110.000,900.00,0.0000
arc_100,cut"""
NCU = '''\
==PROF== Connected to process 1
"ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"
"0","rms_norm_fwd_bf16","GPU Speed Of Light Throughput","Duration","us","12.5"
"0","rms_norm_fwd_bf16","Occupancy","Achieved Occupancy","%","61.0"
'''
CARD = {"name": "cuda:0", "model": "an actor", "compute_capability": 90, "driver_cuda_version": 13000,
        "simulated": False, "products": "cuBLASLt 13.0 (libcublasLt.so.13)"}
STEPS, KILLED_AT = 200, 120


def after(words, name):
    return words[words.index(name) + 1] if name in words else None


def tests(words):
    for word in words:
        if word.endswith("::"):
            print(f"test {word}a ... ok")
    print("compared: a of b: error 1e-3, bound 2e-3, share 0.500")
    print(f"test result: ok. 200 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s")


def train(words):
    """To its end, but for a run that is to be killed: that waits where it is until it is."""
    run = Path(after(words, "--run-dir"))
    resumed, waits = run.exists(), run.name.startswith("killed")
    run.mkdir(exist_ok=True)
    if resumed:
        print("going on from step 50: a checkpoint")
    with (run / "metrics.jsonl").open("a") as file:
        for step in range(1, STEPS + 1):
            print(json.dumps({"step": step, "lm_loss": 2 - step / STEPS}), file=file, flush=True)
            if waits and not resumed and step == KILLED_AT:
                time.sleep(60)


def hrm(words):
    if words[0] == "devices":
        print(json.dumps({"devices": [CARD, {"name": "cpu"}], "missing": []}))
    elif words[0] == "bench":
        print(json.dumps({"shape": after(words, "--one"), "variant": "hrm bf16", "step_ms": 400.0}))
    elif words[0] == "train":
        train(words)
    elif words[0] == "digest":
        print("checkpoint  step 200  0123abcd")
    elif words[:2] == ["data", "build-sudoku"]:
        Path(after(words, "--output-dir")).mkdir()
    else:
        sys.exit(f"hrm {words}: not in this play")


def ncu(words):
    if report := after(words, "--export"):
        Path(report).write_text("a report")
    else:
        print(NCU)


def main():
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "hrm":
        hrm(words)
    elif name in ("ops", "models"):
        tests(words)
    elif name == "bench-ops":
        Path(after(words, "--csv")).write_text(BENCH)
    elif name == "ncu":
        ncu(words)
    elif name == "compute-sanitizer":
        print("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)")
    elif name == "nvidia-smi":
        print("an actor, 580.00, 1 MiB")
    elif name == "hrm.py":
        print(json.dumps({"shape": after(words, "--one"), "step_ms": 500.0}))
    elif name == "torch_peers.py":
        print(json.dumps({"summary": "arc_100 qkv fwd 1.000 ms 100 TFLOP/s"}))
    else:
        sys.exit(f"{name}: not in this play")


if __name__ == "__main__":
    main()
