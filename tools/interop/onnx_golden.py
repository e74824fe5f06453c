#!/usr/bin/env python3
"""ONNX Runtime computes from our files what the official programs computed.

    onnx_golden.py HRM      HRM: the binary to check

The weights of the golden vectors go through `hrm import` and `hrm export --to onnx`; then ONNX Runtime
follows the recorded steps of the official HRM and TRM (rows that halted start anew with other
puzzles) and the cases of the run that `arc-full` replaces. Logits, Q logits, states and cycles must be
the recorded ones. So must the logits of our grid model in PyTorch, sequence by sequence. Goldens come
from HRM_GOLDEN_DIR (default ../shared/golden, the grid model's tests/golden); absent ones are skipped by
name.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import onnx_export as common
from onnx_export import Model, ROOT, hrm, hrm_seed

from check import Comparison, load_golden, under

TOLERANCE = 1e-3
# A canvas with room for the grid model's places.
SIDE = 12


def exported(folder, weights, *settings):
    """The model of official `weights`, by way of a checkpoint."""
    paths = [folder / name for name in ("official.safetensors", "imported.safetensors", "x.onnx")]
    save_file({name: w.detach().clone().contiguous() for name, w in weights.items()}, paths[0])
    hrm("import", paths[0], *settings, "--output", paths[1])
    hrm("export", paths[1], "--to", "onnx", "--output", paths[2])
    return Model(str(paths[2]))


def reasoner_settings(about):
    """A preset for the kind of model, and what no tensor tells."""
    c = about["config"]
    settings = {
        "num_heads": c["num_heads"], "h_cycles": c["H_cycles"], "l_cycles": c["L_cycles"],
        "expansion": c["expansion"], "halt_max_steps": c["halt_max_steps"],
        "pos_encodings": c["pos_encodings"], "puzzle_emb_ndim": c["puzzle_emb_ndim"],
        "hidden_size": c["hidden_size"], "l_layers": c["L_layers"],
    }
    if "mlp_t" in c:
        preset = "trm-sudoku-mini"
        settings |= {"mlp_t": c["mlp_t"], "puzzle_emb_len": c["puzzle_emb_len"]}
    else:
        preset = "arc1"
        settings |= {"h_layers": c["H_layers"], "q_continue": True}
    words = [f"model.{key}={str(value).lower()}" for key, value in settings.items()]
    return [preset, *words, f"data.canvas={round(c['seq_len'] ** 0.5)}"]


def check_reasoner(folder, golden, name):
    tensors, about = golden
    result = Comparison()
    model = exported(folder, under("w/", tensors), *reasoner_settings(about))
    rows = about["config"]["batch_size"]
    # What is in a row's state before it starts must not matter.
    states = {state: np.full(model.state_shape(rows), np.nan, np.float32) for state in ("z_h", "z_l")}
    reset = np.ones(rows, bool)
    steps = len({key.split("/")[0] for key in tensors if key.startswith("step")})
    for i in range(1, steps + 1):
        part = {key: t.numpy() for key, t in under(f"step{i}/", tensors).items()}
        out = model.run(
            tokens=part["current/inputs"].astype(np.int64),
            puzzle_id=part["current/puzzle_identifiers"].astype(np.int64), reset=reset, **states,
        )
        wanted = {"logits": "out/logits", "q_halt": "out/q_halt_logits",
                  "z_h_next": "carry/z_H", "z_l_next": "carry/z_L"}
        if "mlp_t" not in about["config"]:
            wanted["q_continue"] = "out/q_continue_logits"
        common.expect(set(wanted) == set(out), f"{name}: outputs {sorted(out)}")
        for got, want in wanted.items():
            result.close(got, f"step{i}/{want}", out[got], part[want], TOLERANCE)
        states = {"z_h": out["z_h_next"], "z_l": out["z_l_next"]}
        reset = part["carry/halted"].astype(bool)
    return result.report(name)


def check_seed(folder, golden, name):
    tensors, about = golden
    result, config = Comparison(), hrm_seed.Config(**about["config"])
    weights = dict(hrm_seed.initial_weights(tensors, about, hrm_seed.HrmSeed(config)))
    for case, how in about["cases"].items():
        part = under(f"{case}/", tensors)
        weights["halt_predictor.bias"] = part["halt_bias"]
        cycles = how["max_cycles_argument"] or config.max_cycles
        model = exported(
            folder, weights, "arc-full", f"model.num_heads={config.num_heads}",
            f"model.max_cycles={cycles}", f"data.canvas={round(config.seq_len ** 0.5)}",
        )
        out = model.run(tokens=tensors["inputs"].numpy().astype(np.int64))
        result.equal(f"{case}/num_cycles", out["cycles"], how["num_cycles"])
        result.close("logits", f"{case}/logits", out["logits"], part["logits"], TOLERANCE)
        halted = torch.from_numpy(out["q_halt"]).sigmoid()
        result.close("halt", f"{case}/halt_probs", halted, part["halt_probs"][-1], TOLERANCE)
    return result.report(name)


def check_grid(folder, golden, name):
    """The reference reads each sequence's end, too; what it says after that is not asked."""
    tensors, about = golden
    result, config = Comparison(), about["config"]
    model = exported(
        folder, under("w/", tensors), "grid-small", f"model.num_heads={config['num_heads']}",
        f"data.canvas={SIDE}",
    )
    part, start = {key: t.numpy() for key, t in under("step1/", tensors).items()}, 0
    for row, length in enumerate(part["lengths"]):
        own = slice(start, start + length - 1)
        x, y, z = (part["places"][own, axis].astype(np.int64) for axis in range(3))
        out = model.run(
            tokens=part["tokens"][None, own].astype(np.int64),
            cells=(z * (SIDE + 1) + y) * (SIDE + 1) + x,
            puzzle_identifiers=8 * part["task"][row : row + 1].astype(np.int64) + part["turn"][row],
        )
        result.close("logits", f"row {row}", out["logits"][0], part["logits"][own], TOLERANCE)
        start += length
    return result.report(name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    common.BINARY = Path(sys.argv[1]).resolve()
    goldens = Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden")
    checks = dict.fromkeys(("hrm_tiny", "hrm_tiny_learned", "hrm_small", "trm_att", "trm_mlp"),
                           check_reasoner)
    checks["seed_hrm"] = check_seed
    checks["grid_lm"] = check_grid
    with tempfile.TemporaryDirectory() as temporary:
        def place(name):
            is_ours = name == "grid_lm" and not (goldens / "grid_lm.json").exists()
            return ROOT / "tests" / "golden" if is_ours else goldens

        found = {name: load_golden(place(name), name) for name in checks}
        good = [checks[name](Path(temporary), golden, name)
                for name, golden in found.items() if golden is not None]
    sys.exit(0 if all(good) else "onnx_golden.py: differs from the official programs")
