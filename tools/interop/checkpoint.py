#!/usr/bin/env python3
"""The safetensors library reads our checkpoints, and PyTorch computes what we say they compute.

    checkpoint.py HRM      HRM: the binary to check

A few training steps on a generated Sudoku; then the official weight names, shapes, finite values,
and the validation numbers of the run, recomputed by tools/baseline/step.py from the checkpoint and
the exported test split. What `hrm export` makes of it must hold the same bits for torch.load
(weights_only) and for safetensors. Works in a temporary folder and needs no data.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "baseline"))

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from step import IGNORE, Config, inner_forward, rope_tables, token_loss, weight_shapes

BOARDS, SIDE = 24, 4
STEPS = 60
# 48 dimensions on a width of 32: two prefix tokens, the second one padded.
MODEL = Config(
    batch_size=BOARDS, seq_len=SIDE * SIDE, hidden_size=32, num_heads=2, H_layers=1, L_layers=2,
    vocab_size=SIDE + 2, puzzle_emb_ndim=48, num_puzzle_identifiers=1, halt_max_steps=3,
)
SETTINGS = [
    f"model.hidden_size={MODEL.hidden_size}", f"model.num_heads={MODEL.num_heads}",
    f"model.h_layers={MODEL.H_layers}", f"model.l_layers={MODEL.L_layers}",
    f"model.puzzle_emb_ndim={MODEL.puzzle_emb_ndim}",
    f"model.halt_max_steps={MODEL.halt_max_steps}",
    "train.batch_size=16", f"train.max_steps={STEPS}", f"train.eval_every={STEPS}",
    "train.warmup_steps=1", "train.ema=0", "train.write_pt=true",
]
# Relative, of the recomputed validation loss; and cells whose argmax may tip over.
LOSS_TOLERANCE = {"f32": 1e-5, "bf16": 5e-3}
FLIPPED_CELLS = {"f32": 1, "bf16": 4}


def expect(holds, what):
    if not holds:
        sys.exit(f"checkpoint.py: {what}")


def hrm(*args):
    done = subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True)
    expect(done.returncode == 0, f"hrm {args[0]} failed: {done.stderr}")


def load(path):
    with safe_open(path, "pt") as file:
        expect(file.metadata()["format"].startswith("hrm-checkpoint-"), f"{path}: format")
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name, tensor in tensors.items():
        expect(bool(tensor.isfinite().all()), f"{path}: {name} is not finite")
    return tensors


def under(prefix, tensors):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def check_names(tensors):
    """Official names and shapes; the moments of the optimizer beside each trained weight."""
    trained = dict(weight_shapes(MODEL))
    fixed = {name: (MODEL.hidden_size,) for name in ("H_init", "L_init")}
    table = {"puzzle_emb.weights": (MODEL.num_puzzle_identifiers, MODEL.puzzle_emb_ndim)}
    wanted = {"model.inner.": trained | fixed | table, "exp_avg.": trained, "exp_avg_sq.": trained}
    for prefix, shapes in wanted.items():
        found = {name: tuple(t.shape) for name, t in under(prefix, tensors).items()}
        differing = sorted(dict(found.items() ^ shapes.items()))
        expect(not differing, f"{prefix}*: names or shapes differ: {differing}")


def validate(cfg, tensors, split):
    """Mean loss per board and the number of right cells after halt_max_steps segments."""
    files = (split / f"all__{name}.npy" for name in ("inputs", "labels"))
    inputs, labels = (torch.from_numpy(np.load(file)).long() for file in files)
    labels = torch.where(labels == 0, IGNORE, labels)
    w = under("model.inner.", tensors)
    puzzle_rows = w["puzzle_emb.weights"][torch.zeros(BOARDS, dtype=torch.long)]
    shape = (BOARDS, cfg.prefix_len + cfg.seq_len, cfg.hidden_size)
    z_h, z_l = (w[name].to(cfg.dtype).expand(shape) for name in ("H_init", "L_init"))
    with torch.no_grad():
        for _ in range(cfg.halt_max_steps):
            z_h, z_l, logits, _ = inner_forward(
                cfg, w, z_h, z_l, inputs, puzzle_rows, rope_tables(cfg)
            )
    valid = labels != IGNORE
    per_row = token_loss(cfg, logits, labels, valid).sum(-1) / valid.sum(-1)
    return per_row.mean().item(), (valid & (logits.argmax(-1) == labels)).sum().item()


def check_export(checkpoint, tensors, said):
    """Both formats, f32 and bf16, against the tensors of the checkpoint."""
    wanted = {name: t for name, t in tensors.items() if name.startswith("model.inner.")}
    for dtype in (torch.float32, torch.bfloat16):
        option = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
        paths = [checkpoint.with_name(f"{option}.{kind}") for kind in ("pt", "safetensors")]
        for path in paths:
            hrm("export", checkpoint, "--to", path.suffix[1:], "--output", path, "--dtype", option)
        whole = torch.load(paths[0], weights_only=True)
        expect(whole["global_step"] == STEPS, f"global_step is {whole['global_step']}")
        loss = whole["best_val_loss"]
        expect(abs(loss - said["val_lm_loss"]) <= 1e-9 * loss, f"best_val_loss is {loss}")
        for path, found in zip(paths, (whole["model_state_dict"], load_file(paths[1]))):
            expect(set(found) == set(wanted), f"{path.name}: names {sorted(set(found) ^ set(wanted))}")
            for name, t in found.items():
                expect(t.dtype == dtype and torch.equal(t, wanted[name].to(dtype)),
                       f"{path.name}: {name} differs from the checkpoint")


def check_best(checkpoints):
    """What training wrote for PyTorch beside its best checkpoint."""
    wanted = load(checkpoints / "hrm_arc_best.safetensors")
    whole = torch.load(checkpoints / "hrm_arc_best.pt", weights_only=True)
    expect({"epoch", "best_val_loss", "model_state_dict"} <= set(whole), f"keys {list(whole)}")
    for name, t in whole["model_state_dict"].items():
        expect(torch.equal(t, wanted[name]), f"hrm_arc_best.pt: {name} differs")


def check(folder, precision):
    run = folder / precision
    hrm("train", "sudoku-mini", "--data", folder / "sudoku", "--run-dir", run, "--device", "cpu",
        *SETTINGS, f"train.precision={precision}")
    checkpoint = run / "checkpoints" / "hrm_arc_final.safetensors"
    tensors = load(checkpoint)
    check_names(tensors)
    dtype = {"f32": "float32", "bf16": "bfloat16"}[precision]
    cfg = MODEL._replace(forward_dtype=dtype)
    expect(tensors["carry.0.z_H"].dtype == cfg.dtype, f"carry is {tensors['carry.0.z_H'].dtype}")

    loss, right = validate(cfg, tensors, folder / "npy" / "test")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    said = next(line for line in reversed(lines) if "val_lm_loss" in line)
    expect(said["step"] == STEPS, f"last validation is of step {said['step']}")
    error = abs(loss - said["val_lm_loss"]) / loss
    flipped = abs(right - said["val_accuracy"] * BOARDS * cfg.seq_len)
    print(f"checkpoint.py: {precision}: {len(tensors)} tensors; validation loss {loss:.5f}, "
          f"relative difference {error:.1e}; {flipped:.0f} cells differ")
    expect(error <= LOSS_TOLERANCE[precision], f"hrm said loss {said['val_lm_loss']}")
    expect(flipped < FLIPPED_CELLS[precision] + 0.5, f"hrm said {said['val_accuracy']}")
    check_export(checkpoint, tensors, said)
    check_best(checkpoint.parent)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BINARY = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hrm("data", "build-sudoku", "--size", SIDE, "--train", 60, "--test", BOARDS,
            "--output-dir", folder / "sudoku")
        hrm("data", "export", folder / "sudoku", "--output-dir", folder / "npy")
        for precision in LOSS_TOLERANCE:
            check(folder, precision)
