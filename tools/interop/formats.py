#!/usr/bin/env python3
"""PyTorch computes from our exports what `hrm` computes, and `hrm import` takes what PyTorch saves.

    formats.py HRM      HRM: the binary to check

A few training steps of each kind of model; then torch.load(weights_only=True) of the export into the
modules of tools/baseline must give the logits that `hrm eval --save-logits` wrote. The golden weights,
saved by torch as the official programs save them, must come back from import and export with the same
bits. Autoencoders: the error that `hrm distill test` reports, from the exported student and teacher.
Works in a temporary folder; goldens that are not there are skipped by name.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "baseline"), str(Path(__file__).resolve().parent)]

import numpy as np
import torch
from safetensors.torch import load_file

import hrm_seed
import step
import trm
from check import load_golden, under
from distill import archive, smooth_images
from tiny_vae import StandardVAE, TinyVAE
from tiny_vae_pro import Pro
from transformer import Config as TransformerConfig, Transformer

BOARDS, SIDE, WIDTH, HEADS = 24, 4, 32, 2
CELLS, VOCAB = SIDE * SIDE, SIDE + 2
# Of the largest logit: sums are formed in other orders. The MLP over the sequence amplifies that: a change
# of its weights by one ulp moves its golden's outputs by 8e-5, attention's by 3e-6.
LOGIT_TOLERANCE, MLP_TOLERANCE = 1e-4, 1e-3
PREFIX = "model.inner."

SMALL = [
    f"model.hidden_size={WIDTH}", f"model.num_heads={HEADS}", "train.precision=f32",
    f"train.batch_size={BOARDS}", "train.max_steps=40", "train.warmup_steps=1", "--quick",
]
# 40 dimensions on a width of 32: two prefix tokens, the second one padded.
ACT = ["model.halt_max_steps=3", "model.puzzle_emb_ndim=40"]
ONE = dict(batch_size=BOARDS, seq_len=CELLS, hidden_size=WIDTH, vocab_size=VOCAB, num_heads=HEADS)
HRM = dict(ONE, H_layers=1, L_layers=2, puzzle_emb_ndim=40, halt_max_steps=3)
TRM = dict(ONE, L_layers=2, H_cycles=2, L_cycles=3, puzzle_emb_ndim=40, halt_max_steps=3)


def expect(holds, what):
    if not holds:
        sys.exit(f"formats.py: {what}")


def hrm(*args):
    done = subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True)
    expect(done.returncode == 0, f"hrm {' '.join(map(str, args))} failed: {done.stderr}")
    return done.stdout


def state_dict(path):
    whole = torch.load(path, weights_only=True)
    expect({"epoch", "best_val_loss", "model_state_dict"} <= set(whole), f"{path}: {list(whole)}")
    return whole["model_state_dict"]


# ---- logits ------------------------------------------------------------------------------------


def recurrent(forward, cfg):
    """Logits and both Q logits after all segments."""

    def run(weights, inputs, ids):
        w = {name.removeprefix(PREFIX): t for name, t in weights.items()}
        expect(all(name.startswith(PREFIX) for name in weights), "names without the official prefix")
        shape = (len(inputs), cfg.prefix_len + cfg.seq_len, cfg.hidden_size)
        z_h, z_l = w["H_init"].expand(shape), w["L_init"].expand(shape)
        rows = w["puzzle_emb.weights"][ids]
        for _ in range(cfg.halt_max_steps):
            z_h, z_l, logits, q = forward(cfg, w, z_h, z_l, inputs, rows, step.rope_tables(cfg))
        return logits, q

    return run


def load(module, weights):
    """All of the state_dict but the table of positions, which the module makes itself."""
    weights = dict(weights)
    table = weights.pop("pos_encoding.pe")
    error = (table[:CELLS] - module.positions).abs().max().item()
    expect(error <= 1e-5, f"pos_encoding.pe differs by {error}")
    module.load_state_dict(weights)
    return module.eval()


def seed(weights, inputs, _):
    cfg = hrm_seed.Config(
        BOARDS, CELLS, VOCAB, WIDTH, HEADS, num_h_layers=1, num_l_layers=2, max_cycles=3
    )
    logits, halts = load(hrm_seed.HrmSeed(cfg), weights)(inputs)
    expect(len(halts) == 3, f"hrm_seed halted after {len(halts)} cycles, which depends on the batch")
    return logits, None


def plain(weights, inputs, _):
    cfg = TransformerConfig(CELLS, VOCAB, WIDTH, HEADS, layers=2)
    return load(Transformer(cfg), weights)(inputs), None


MODELS = {
    "hrm": (["sudoku-mini", *ACT, "model.h_layers=1", "model.l_layers=2"],
            recurrent(step.inner_forward, step.Config(**HRM))),
    "hrm, learned positions": (
        ["sudoku-mini", *ACT, "model.h_layers=1", "model.l_layers=2", "model.pos_encodings=learned"],
        recurrent(step.inner_forward, step.Config(**HRM, pos_encodings="learned"))),
    "trm": (["trm-sudoku-mini", *ACT, "model.puzzle_emb_len=3"],
            recurrent(trm.inner_forward, trm.Config(**TRM, puzzle_emb_len=3))),
    "trm, MLP over the sequence": (
        ["trm-sudoku-mini", *ACT, "model.mlp_t=true", "model.pos_encodings=none"],
        recurrent(trm.inner_forward, trm.Config(**TRM, pos_encodings="none", mlp_t=True))),
    "hrm_seed": (["arc-full", "model.h_layers=1", "model.l_layers=2", "model.max_cycles=3"], seed),
    "transformer": (["arc-simple", "model.h_layers=2"], plain),
}


def check_logits(folder, name, preset, reference):
    run, pt, said = folder / "run", folder / "model.pt", folder / "logits.safetensors"
    hrm("train", *preset, *SMALL, "--data", folder / "sudoku", "--run-dir", run, "--fresh")
    hrm("export", run, "--to", "pt", "--output", pt)
    hrm("eval", run, "--output", folder / "eval", "--save-logits", said)
    said = load_file(said)
    with torch.no_grad():
        ids = said["puzzle_identifiers"].long()
        logits, q = reference(state_dict(pt), said["inputs"].long(), ids)
    expect(logits.shape == said["logits"].shape == (BOARDS, CELLS, VOCAB), f"{name}: {logits.shape}")
    scale = logits.abs().max()
    error = ((logits - said["logits"]).abs().max() / scale).item()
    tolerance = MLP_TOLERANCE if "MLP" in name else LOGIT_TOLERANCE
    expect(error <= tolerance, f"{name}: logits differ by {error:.2g} of the largest")
    best, second = logits.topk(2, dim=-1).values.unbind(-1)
    clear = best - second > 4 * tolerance * scale
    same = logits.argmax(-1) == said["logits"].argmax(-1)
    expect(bool(same[clear].all()) and bool(clear.float().mean() > 0.9), f"{name}: other answers")
    q_error = 0.0
    if q is not None:
        wanted = torch.stack((said["q_halt_logits"], said["q_continue_logits"]), dim=-1)
        q_error = ((q - wanted).abs().max() / q.abs().max()).item()
        expect(q_error <= tolerance, f"{name}: Q logits differ by {q_error:.2g}")
    print(f"formats.py: {name}: logits within {error:.1e} of the largest, Q {q_error:.1e}, "
          f"{int(clear.sum())} of {clear.numel()} answers decided and equal", flush=True)


# ---- official checkpoints ----------------------------------------------------------------------

CYCLES = ("num_heads", "H_cycles", "L_cycles", "halt_max_steps", "max_cycles")


def settings(about):
    """What no shape tells, from the golden's own configuration."""
    given = {key: value for key, value in about["config"].items() if key in CYCLES}
    side = int(about["config"]["seq_len"] ** 0.5)
    is_trm_with_attention = not about["config"].get("mlp_t", True)
    untold = ("puzzle_emb_len", "pos_encodings") if is_trm_with_attention else ()
    extra = {key: about["config"][key] for key in untold}
    return [f"data.canvas={side}"] + [f"model.{k.lower()}={v}" for k, v in (given | extra).items()]


def compiled(weights):
    """As the official programs save: compiled, initial states in bf16."""
    named = {f"_orig_mod.{k}": v.bfloat16() if k.endswith("_init") else v for k, v in weights.items()}
    whole = OrderedDict(named)
    whole._metadata = OrderedDict({"": {"version": 1}, "_orig_mod": {"version": 1}})
    return whole


def parallel(weights):
    """As DistributedDataParallel names them, all in bf16, some of them views of one storage."""
    whole = {f"module.{k}": v.bfloat16() for k, v in weights.items()}
    flat = torch.cat([v.flatten() for v in whole.values()])
    sizes = [v.numel() for v in whole.values()]
    parts = flat.split(sizes)
    return {k: part.view(v.shape) for (k, v), part in zip(whole.items(), parts)}


FORMS = {
    "compiled": compiled,
    "data parallel, bf16 views": parallel,
    "inner module": lambda weights: {k.removeprefix(PREFIX): v for k, v in weights.items()},
    "in a dictionary": lambda weights: {
        "epoch": 3, "best_val_loss": 0.5, "model_state_dict": OrderedDict(weights)},
    "transposed in memory": lambda weights: {
        k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in weights.items()},
}


def check_official(folder, golden):
    found = load_golden(Path(os.environ.get("HRM_GOLDEN_DIR") or ROOT.parent / "shared" / "golden"),
                        golden)
    if found is None:
        return
    tensors, about = found
    weights = under("w/", tensors)
    file, checkpoint, back = folder / "step_12", folder / "i.safetensors", folder / "back.pt"
    for form, make in FORMS.items():
        saved = make(weights)
        torch.save(saved, file)
        hrm("import", file, *settings(about), "--output", checkpoint)
        hrm("export", checkpoint, "--to", "pt", "--output", back)
        whole = torch.load(back, weights_only=True)
        kept = {"epoch": 3, "best_val_loss": 0.5} if "epoch" in saved else {"global_step": 12}
        expect(kept.items() <= whole.items(), f"{golden}, {form}: counters are {whole.keys()}")
        got = whole["model_state_dict"]
        saved = saved.get("model_state_dict", saved).values()
        for (name, like), value in zip(weights.items(), saved):
            if name == "pos_encoding.pe":
                like, value = got[name][: len(like)], like
                error = (like - value.float()).abs().max().item()
                expect(error <= 4e-3, f"{golden}: {name} differs by {error}")
                continue
            expect(torch.equal(got[name], value.float()), f"{golden}, {form}: {name} differs")
        expect(set(got) == set(weights), f"{golden}: names {set(got) ^ set(weights)}")
    print(f"formats.py: {golden}: {len(weights)} tensors in {len(FORMS)} forms came back bit for bit")


# ---- autoencoders ------------------------------------------------------------------------------


def check_autoencoder(folder, images, preset, models):
    run = folder / "vae"
    hrm("distill", preset, "--dataset", folder / "images.tar.gz", "--run-dir", run, "--fresh",
        "train.batch_size=32", "train.epochs=2", "--teacher-epochs", 1)
    hrm("distill", "test", run, "--output", folder / "scores")
    rows = json.loads((folder / "scores" / "distill.json").read_text())["coders"]
    x = torch.from_numpy(images).float() / 255
    for side, module in models.items():
        for kind in ("pt", "safetensors"):
            path = folder / f"{side}.{kind}"
            hrm("export", run, "--to", kind, "--model", side, "--output", path)
            module.load_state_dict(state_dict(path) if kind == "pt" else load_file(path))
            with torch.no_grad():
                mu, _ = module.eval().encode(x)
                mse = (module.decode(mu) - x).square().mean().item()
            said = next(row for row in rows if row["name"].startswith(side))["mse"]
            error = abs(mse - said) / mse
            expect(error <= 1e-4, f"{preset} {side} {kind}: MSE {mse}, hrm said {said}")
        print(f"formats.py: {preset}, {side}: MSE {mse:.5f}, relative difference {error:.1e}")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hrm("data", "build-sudoku", "--size", SIDE, "--train", 60, "--test", BOARDS,
            "--output-dir", folder / "sudoku")
        for name, (preset, reference) in MODELS.items():
            check_logits(folder, name, preset, reference)
        for golden in ("hrm_tiny", "hrm_tiny_learned", "hrm_small", "trm_att", "trm_mlp", "seed_hrm"):
            check_official(folder, golden)
        rng = np.random.default_rng(7)
        batches = {f"data_batch_{i}": smooth_images(rng, 60) for i in range(1, 6)}
        batches["test_batch"] = smooth_images(rng, 40)
        archive(folder / "images.tar.gz", batches)
        test = batches["test_batch"]
        check_autoencoder(folder, test, "tiny-vae", {"student": TinyVAE(), "teacher": StandardVAE()})
        check_autoencoder(folder, test, "tiny-vae-pro", {"student": Pro()})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BINARY = Path(sys.argv[1]).resolve()
    main()
