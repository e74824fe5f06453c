#!/usr/bin/env python3
"""`hrm export --for hrm|trm` writes what the official programs load, and `hrm import` takes it back.

    official.py HRM         HRM: the binary to check

The file must load with torch.load(weights_only=True) as a bare state_dict into modules that have the
official names, shapes and element types (tools/baseline says which), strictly, plain and compiled; in f32
PyTorch computes from it the logits of `hrm eval --save-logits`. `all_config.yaml` beside it, as PyYAML
reads it, must say the model that was trained. With that file, import needs no preset; what contradicts it is refused.
Works in a temporary folder and needs no data.
"""

import sys
import tempfile
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from torch import nn

import formats
from formats import CELLS, HRM, SIDE, SMALL, TRM, hrm, recurrent, step, trm

PREFIX = "model.inner."
SETTINGS = ["model.halt_max_steps=3", "model.puzzle_emb_ndim=40", "model.l_cycles=3"]
MODELS = {
    "hrm": (["sudoku-mini", "model.h_layers=1", "model.l_layers=2", "model.h_cycles=2"], step,
            step.Config(**HRM, H_cycles=2, L_cycles=3)),
    "trm": (["trm-sudoku-mini", "model.puzzle_emb_len=3", "model.pos_encodings=none"], trm,
            trm.Config(**TRM, puzzle_emb_len=3, pos_encodings="none")),
}
# What PretrainConfig of either program wants, with the type that it wants.
NUMBERS = {"global_batch_size": int, "epochs": int, "lr": float, "lr_min_ratio": float,
           "lr_warmup_steps": int, "weight_decay": float, "beta1": float, "beta2": float,
           "puzzle_emb_lr": float, "puzzle_emb_weight_decay": float, "seed": int}


def expect(holds, what):
    if not holds:
        sys.exit(f"official.py: {what}")


def module(source, cfg):
    """The official module's names, shapes and types; it computes nothing."""
    shapes = dict(source.weight_shapes(cfg)) | {"puzzle_emb.weights": (1, cfg.puzzle_emb_ndim)}
    root = nn.Module()
    for name, shape in shapes.items():
        put(root, name, torch.zeros(shape))
    for name in ("H_init", "L_init"):
        put(root, name, torch.zeros(cfg.hidden_size, dtype=cfg.dtype))
    return root


def put(root, name, tensor):
    *path, last = (PREFIX + name).split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    root.register_buffer(last, tensor)


def check_strict(path, source, cfg, compiled):
    """Its tensors take the place of the module's own, as with the programs' assign=True."""
    weights, target = torch.load(path, weights_only=True), module(source, cfg)
    like = {name: (t.shape, t.dtype) for name, t in target.state_dict().items()}
    target = torch.compile(target) if compiled else target
    target.load_state_dict(weights, strict=True, assign=True)
    found = {k.removeprefix("_orig_mod."): (t.shape, t.dtype) for k, t in target.state_dict().items()}
    expect(found == like, f"{path}: {sorted(set(found.items()) ^ set(like.items()))[:4]}")
    return {k.removeprefix("_orig_mod."): t for k, t in weights.items()}


def check_settings(path, kind, cfg):
    said = yaml.safe_load(path.read_text())
    for key, value in NUMBERS.items():
        expect(isinstance(said.get(key), (int, value)), f"{path}: {key} is {said.get(key)!r}")
    arch, wanted = said["arch"], {k.lower(): v for k, v in cfg._asdict().items()}
    expect(arch["loss"] == {"name": "losses@ACTLossHead", "loss_type": cfg.loss_type},
           f"{path}: loss {arch['loss']}")
    for key, value in arch.items():
        if key.lower() in wanted and key != "halt_exploration_prob":
            expect(value == wanted[key.lower()], f"{path}: {key} is {value!r}")
    needed = {"H_cycles", "L_cycles", "H_layers", "L_layers", "hidden_size", "num_heads", "expansion",
              "pos_encodings", "halt_max_steps", "halt_exploration_prob", "forward_dtype"}
    expect(needed <= set(arch), f"{path}: without {needed - set(arch)}")
    expect(said["data_path" if kind == "hrm" else "data_paths"], f"{path}: no place of the data")


def check(folder, kind):
    preset, source, cfg = MODELS[kind]
    for precision, dtype in (("bf16", "bfloat16"), ("f32", "float32")):
        run, out = folder / f"{kind}-run", folder / f"{kind}-{precision}"
        hrm("train", *preset, *SETTINGS, *SMALL, f"train.precision={precision}", "--data",
            folder / "sudoku", "--run-dir", run, "--fresh")
        hrm("export", run, "--to", "pt", "--for", kind, "--output", out / "step_40")
        hrm("export", run, "--to", "pt", "--for", kind, "--compiled", "--output",
            folder / f"{kind}-{precision}-compiled" / "step_40")
        of_dtype = cfg._replace(forward_dtype=dtype)
        weights = check_strict(out / "step_40", source, of_dtype, False)
        named = check_strict(folder / f"{kind}-{precision}-compiled" / "step_40", source, of_dtype, True)
        expect(all(torch.equal(t, named[k]) for k, t in weights.items()), f"{kind}: compiled differs")
        check_settings(out / "all_config.yaml", kind, of_dtype)
    error = check_logits(folder, kind, run, weights, source, cfg)
    check_import(folder, kind, out, run)
    print(f"official.py: {kind}: loads strictly in f32 and bf16, compiled or not; logits within {error:.1e} "
          "of the largest, and it comes back by its all_config.yaml alone", flush=True)


def check_logits(folder, kind, run, weights, source, cfg):
    said = folder / f"{kind}.safetensors"
    hrm("eval", run, "--output", folder / "eval", "--save-logits", said)
    said = load_file(said)
    with torch.no_grad():
        inputs, ids = said["inputs"].long(), said["puzzle_identifiers"].long()
        logits, _ = recurrent(source.inner_forward, cfg)(weights, inputs, ids)
    error = ((logits - said["logits"]).abs().max() / logits.abs().max()).item()
    expect(error <= formats.LOGIT_TOLERANCE, f"{kind}: logits differ by {error:.2g} of the largest")
    return error


def check_import(folder, kind, out, run):
    """The same answers come back; a file beside it that says otherwise is refused."""
    checkpoint, back = folder / f"{kind}-back.safetensors", folder / f"{kind}-back-logits.safetensors"
    hrm("import", out / "step_40", "--data", folder / "sudoku", "--output", checkpoint)
    hrm("eval", checkpoint, "--output", folder / "eval", "--save-logits", back)
    found, wanted = load_file(back), load_file(folder / f"{kind}.safetensors")
    expect(torch.equal(found["logits"], wanted["logits"]), f"{kind}: other logits after import")
    settings = out / "all_config.yaml"
    text = settings.read_text()
    for line, instead, why in (
        ("  L_layers: 2", "  L_layers: 3", "the tensors say 2"),
        ("  forward_dtype: float32", "  forward_dtype: float16", "bfloat16 or float32"),
        ("  forward_dtype: float32", "  rope_theta: 500000.0", "here it is 10000"),
        ("  forward_dtype: float32", "  skip_connections: true", "unknown here"),
        ("@", "_singlez@", "not computed here"),
    ):
        expect(line in text, f"{settings}: no {line!r}")
        settings.write_text(text.replace(line, instead, 1))
        refused(why, "import", out / "step_40", f"data.canvas={SIDE}", "--output", folder / "no")
    settings.write_text(text)
    refused("all_config.yaml beside it says 3", "import", out / "step_40", "model.l_cycles=4",
            f"data.canvas={SIDE}", "--output", folder / "no")
    refused("choose another folder", "export", run, "--to", "pt", "--for", kind, "--output",
            folder / f"{kind}-bf16" / "step_40")
    other = "trm" if kind == "hrm" else "hrm"
    refused(f"kind {kind}", "export", run, "--to", "pt", "--for", other, "--output", folder / "no")


def refused(why, *args):
    done = formats.subprocess.run([formats.BINARY, *map(str, args)], capture_output=True, text=True)
    expect(done.returncode == 1 and why in done.stderr, f"{args}: {done.returncode}, {done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    formats.BINARY = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hrm("data", "build-sudoku", "--size", SIDE, "--train", 60, "--test", formats.BOARDS,
            "--output-dir", folder / "sudoku")
        expect(CELLS == SIDE * SIDE, "boards of another size")
        for kind in MODELS:
            check(folder, kind)
