#!/usr/bin/env python3
"""ONNX Runtime computes what `hrm` computes, from the file that `hrm export --to onnx` writes.

    onnx_export.py HRM      HRM: the binary to check

A few training steps of each kind of model on a generated Sudoku, in f32. Then: onnx's checker with
shape inference; weights bit-equal to the safetensors export; logits, Q logits and states of single
segments, with rows that start anew and with rows of some cells of the canvas, against PyTorch
(tools/baseline, or layers of torch.nn); answers and q_halt after all segments against `hrm eval`. The lines for Python in docs/interchange.md are run as they stand.
Works in a temporary folder and needs no data.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "baseline"))

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file
from torch import nn

import hrm_seed
import step
import trm

BOARDS, SIDE, WIDTH, HEADS, SEGMENTS = 24, 4, 32, 2, 3
CELLS, VOCAB = SIDE * SIDE, SIDE + 2
PREFIX = "model.inner."
TOLERANCE = 3e-5  # of the largest magnitude of a tensor; sums are formed in other orders
COMMON = [
    f"model.hidden_size={WIDTH}", f"model.num_heads={HEADS}", "train.precision=f32",
    "train.batch_size=16", "train.max_steps=40", "train.eval_every=40", "train.warmup_steps=1",
]
ACT = [f"model.halt_max_steps={SEGMENTS}", "train.puzzle_emb_lr=1e-1"]
# 48 dimensions on a width of 32: two prefix tokens, the second one padded.
RUNS = {
    "hrm": ["sudoku-mini", *ACT, "model.h_layers=1", "model.puzzle_emb_ndim=48",
            "model.q_continue=true"],
    "hrm_learned": ["sudoku-mini", *ACT, "model.l_layers=1", "model.puzzle_emb_ndim=32",
                    "model.pos_encodings=learned", "model.h_cycles=1", "model.l_cycles=3",
                    "train.ema=0"],
    "trm": ["trm-sudoku-mini", *ACT, "model.puzzle_emb_ndim=32", "model.puzzle_emb_len=3"],
    "trm_mlp": ["trm-sudoku-mini", *ACT, "model.puzzle_emb_ndim=0", "model.mlp_t=true",
                "model.pos_encodings=none"],
    "hrm_seed": ["arc-full", "model.h_layers=2", "model.l_layers=1", "model.max_cycles=4",
                 "train.epochs=0"],
    "transformer": ["arc-simple", "model.h_layers=2", "train.epochs=0"],
}

# Those that take rows of some cells of the canvas.
PACKED = ("hrm", "hrm_learned", "trm", "transformer")


def expect(holds, what):
    if not holds:
        sys.exit(f"onnx_export.py: {what}")


def hrm(*args):
    done = subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True)
    expect(done.returncode == 0, f"hrm {' '.join(map(str, args))} failed: {done.stderr}")


def close(name, got, want):
    want = np.asarray(want)
    expect(got.shape == want.shape, f"{name}: shape {got.shape}, not {want.shape}")
    error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-12)
    expect(error <= TOLERANCE, f"{name}: relative error {error}")
    return error


class Model:
    """A session; `run` takes and gives arrays by name."""

    def __init__(self, model):
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.about = self.session.get_modelmeta().custom_metadata_map
        self.inputs = [x.name for x in self.session.get_inputs()]
        self.outputs = [x.name for x in self.session.get_outputs()]

    def run(self, **feed):
        feed = {name: feed[name] for name in self.inputs}
        return dict(zip(self.outputs, self.session.run(None, feed)))

    def state_shape(self, rows):
        return rows, int(self.about["positions"]), int(self.about["hidden_size"])


# ---- references --------------------------------------------------------------------------------


def tensors_of(path):
    return {k.removeprefix(PREFIX): torch.from_numpy(v) for k, v in load_file(path).items()}


def config_of(kind):
    base = dict(batch_size=BOARDS, seq_len=CELLS, hidden_size=WIDTH, num_heads=HEADS,
                vocab_size=VOCAB, H_layers=2, L_layers=2)
    if kind == "hrm":
        module = step
        cfg = step.Config(**base | dict(H_layers=1, puzzle_emb_ndim=48))
    elif kind == "hrm_learned":
        module = step
        cfg = step.Config(**base | dict(L_layers=1, puzzle_emb_ndim=32, H_cycles=1, L_cycles=3,
                                        pos_encodings="learned"))
    else:
        module = trm
        base.pop("H_layers")
        puzzle = {"trm": dict(puzzle_emb_ndim=32, puzzle_emb_len=3), "trm_mlp": dict(mlp_t=True)}
        cfg = trm.Config(**base, H_cycles=2, L_cycles=3, **puzzle[kind])
    return cfg, module


def segment_of(kind):
    cfg, module = config_of(kind)
    return lambda *args: module.inner_forward(cfg, *args, step.rope_tables(cfg))


# ---- checks ------------------------------------------------------------------------------------


def check_file(path, exported):
    """Sound in itself, and the weights are those of the other format, linear ones turned."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    expect(not model.functions, f"{path.name}: functions, which no quantiser looks into")
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    own = {name for name in found if name.startswith(("rope.", "pos_encoding.", "constant_"))}
    wanted = load_file(exported)
    wanted.pop("pos_encoding.pe", None)
    differing = (set(found) - own) ^ set(wanted)
    expect(not differing, f"{path.name}: weights {sorted(differing)}")
    factors = set(factors_of(model.graph))
    expect(factors, f"{path.name}: no weight is a factor of a product itself")
    for name, w in wanted.items():
        turned = found[name].T if name in factors else found[name]
        expect(np.array_equal(turned, w), f"{path.name}: {name} differs")
    return model


def factors_of(graph):
    """Right factors of products, those of inner graphs included."""
    for node in graph.node:
        if node.op_type == "MatMul":
            yield node.input[1]
        for attribute in node.attribute:
            yield from factors_of(attribute.g)


def check_segments(kind, model, w, tokens):
    """Three segments; before the last one a row starts anew, out of whatever is in its states."""
    segment, rng = segment_of(kind), np.random.default_rng(7)
    rows, worst = len(tokens), 0.0
    puzzle_id = np.zeros(rows, np.int64)
    table = w.get("puzzle_emb.weights")
    puzzle_rows = None if table is None else table[torch.zeros(rows, dtype=torch.long)]
    states = [np.full(model.state_shape(rows), np.nan, np.float32) for _ in range(2)]
    reset = np.ones(rows, bool)
    for _ in range(SEGMENTS):
        out = model.run(tokens=tokens, puzzle_id=puzzle_id, z_h=states[0], z_l=states[1],
                        reset=reset)
        starts = [w["H_init"], w["L_init"]]
        fresh = torch.from_numpy(reset).view(-1, 1, 1)
        z = [torch.where(fresh, a, torch.from_numpy(b)) for a, b in zip(starts, states)]
        z_h, z_l, logits, q = segment(w, *z, torch.from_numpy(tokens), puzzle_rows)
        wanted = {"z_h_next": z_h, "z_l_next": z_l, "logits": logits, "q_halt": q[:, 0],
                  "q_continue": q[:, 1]}
        for name in model.outputs:
            worst = max(worst, close(f"{kind} {name}", out[name], wanted[name]))
        states = [out["z_h_next"], out["z_l_next"]]
        reset = np.arange(rows) == 1
        states[0][1] = rng.standard_normal(states[0][1].shape)
        tokens = np.where(reset[:, None], tokens[::-1], tokens)
    return worst


def check_packed(kind, model, w, tokens):
    """A segment over some cells of the canvas, in order and at their places."""
    rng = np.random.default_rng(5)
    cells = np.sort(rng.permutation(CELLS)[: CELLS // 2 + 1])
    rows, tokens = len(tokens), np.ascontiguousarray(tokens[:, cells])
    if kind == "transformer":
        w = w | {"pos_encoding.pe": w["pos_encoding.pe"][cells]}
        return transformer_logits(model, w, tokens, cells=cells)
    cfg, module = config_of(kind)
    prefix = int(model.about["positions"]) - CELLS
    places = np.concatenate([np.arange(prefix), prefix + cells])
    if "embed_pos.embedding_weight" in w:
        w = w | {"embed_pos.embedding_weight": w["embed_pos.embedding_weight"][places]}
    rope = step.rope_tables(cfg)
    rope = rope and tuple(table[places] for table in rope)
    puzzle_rows = w["puzzle_emb.weights"][torch.zeros(rows, dtype=torch.long)]
    z = [w[name].expand(rows, len(places), -1) for name in ("H_init", "L_init")]
    wanted = module.inner_forward(cfg, w, *z, torch.from_numpy(tokens), puzzle_rows, rope)
    states = [np.full((rows, len(places), WIDTH), np.nan, np.float32) for _ in range(2)]
    out = model.run(tokens=tokens, cells=cells, puzzle_id=np.zeros(rows, np.int64),
                    z_h=states[0], z_l=states[1], reset=np.ones(rows, bool))
    names = ("z_h_next", "z_l_next", "logits")
    return max(close(f"{kind} packed {n}", out[n], x) for n, x in zip(names, wanted))


def check_seed(path, model, w, tokens):
    """All cycles, and a halt after the second, which a bias brings about."""
    cfg = hrm_seed.Config(BOARDS, CELLS, VOCAB, WIDTH, HEADS, 2, 1, max_cycles=4)
    module = hrm_seed.HrmSeed(cfg).eval()
    w = {k: v for k, v in w.items() if k != "pos_encoding.pe"}
    worst = 0.0
    for bias, cycles in ((None, 4), (9.0, 2)):
        module.load_state_dict(w)
        if bias is not None:
            module.halt_predictor.bias.data.fill_(bias)
            for t in model.graph.initializer:
                if t.name == "halt_predictor.bias":
                    t.CopyFrom(numpy_helper.from_array(np.array([bias], np.float32), t.name))
        logits, halts = module(torch.from_numpy(tokens))
        out = Model(model.SerializeToString()).run(tokens=tokens)
        expect(out["cycles"] == len(halts) == cycles, f"{out['cycles']} cycles, not {cycles}")
        worst = max(worst, close(f"{path.name} logits", out["logits"], logits))
        halted = 1 / (1 + np.exp(-out["q_halt"]))
        worst = max(worst, close(f"{path.name} q_halt", halted, halts[-1]))
    return worst


def check_transformer(path, model, w, tokens):
    return transformer_logits(model, w, tokens)


def transformer_logits(model, w, tokens, **more):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, batch_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    name = "transformer."
    module.load_state_dict({k.removeprefix(name): v for k, v in w.items() if k.startswith(name)})
    e = w["token_embedding.weight"][torch.from_numpy(tokens)]
    x = e + w["pos_encoding.pe"][: tokens.shape[1]]
    logits = module(x) @ w["output.weight"].T + w["output.bias"]
    return close("transformer logits", model.run(tokens=tokens, **more)["logits"], logits)


def answers(model, tokens):
    """Tokens and q_halt after all segments, as a user would get them."""
    rows = len(tokens)
    feed = dict(tokens=tokens, puzzle_id=np.zeros(rows, np.int64), reset=np.ones(rows, bool))
    if "z_h" in model.inputs:
        feed |= {name: np.zeros(model.state_shape(rows), np.float32) for name in ("z_h", "z_l")}
    for _ in range(int(model.about["halt_max_steps"])):
        out = model.run(**feed)
        feed |= dict(reset=np.zeros(rows, bool))
        feed |= {name: out.get(f"{name}_next") for name in ("z_h", "z_l")}
    return out["logits"].argmax(-1), out.get("q_halt")


def check_eval(kind, run, model, tokens):
    lines = [json.loads(line) for line in (run / "eval" / "predictions.jsonl").open()]
    lines.sort(key=lambda line: line["example"])
    said = np.array([[int(cell) for row in line["answer"] for cell in row] for line in lines])
    found, q_halt = answers(model, tokens)
    expect(said.shape == found.shape, f"{kind}: {said.shape} answers, not {found.shape}")
    differing = int((said != found).sum())
    expect(differing <= 1, f"{kind}: {differing} cells differ from hrm eval")
    if q_halt is not None:
        close(f"{kind} q_halt of hrm eval", q_halt, [line["q_halt"] for line in lines])


def check_document(path, tokens):
    """The lines of docs/interchange.md, on this file and these rows."""
    lines = (ROOT / "docs" / "interchange.md").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("import onnxruntime"))
    code = "\n".join(lines[first : lines.index("```", first)])
    expect("model.onnx" in code, "docs/interchange.md: no model.onnx in the lines for ONNX Runtime")
    names = {"tokens": tokens}
    exec(code.replace("model.onnx", str(path)), names)
    found, _ = answers(Model(str(path)), tokens)
    expect(np.array_equal(names["answer"], found), "docs/interchange.md: another answer")


def check(folder, kind):
    run, path, exported = (folder / f"{kind}{end}" for end in ("", ".onnx", ".safetensors"))
    hrm("train", *RUNS[kind], *COMMON, "--data", folder / "sudoku", "--run-dir", run,
        "--device", "cpu")
    for output in (path, exported):
        hrm("export", run, "--to", output.suffix[1:], "--output", output)
    hrm("eval", run, "--device", "cpu")
    proto, model, w = check_file(path, exported), Model(str(path)), tensors_of(exported)
    about = {"arch": kind.removesuffix("_mlp").removesuffix("_learned"), "canvas": str(SIDE),
             "vocab_size": str(VOCAB), "step": "40"}
    expect(about.items() <= model.about.items(), f"{kind}: metadata {model.about}")
    tokens = np.load(folder / "npy" / "test" / "all__inputs.npy").astype(np.int64)
    with torch.no_grad():
        if kind == "hrm_seed":
            worst = check_seed(path, proto, w, tokens)
        elif kind == "transformer":
            worst = check_transformer(path, model, w, tokens)
        else:
            worst = check_segments(kind, model, w, tokens[:5])
    check_eval(kind, run, model, tokens)
    if kind in PACKED:
        with torch.no_grad():
            worst = max(worst, check_packed_run(folder, kind, tokens[:5]))
    if kind == "hrm":
        check_document(path, tokens)
        check_choices(run, folder, tokens)
    print(f"onnx_export.py: {kind}: {len(proto.graph.node)} nodes; "
          f"largest relative difference from PyTorch {worst:.1e}")


def check_packed_run(folder, kind, tokens):
    run, path, exported = (folder / f"{kind}_packed{end}" for end in ("", ".onnx", ".safetensors"))
    short = [x for x in COMMON if not x.startswith(("train.max_steps", "train.eval_every"))]
    hrm("train", *RUNS[kind], *short, "train.max_steps=2", "data.layout=packed", "--data",
        folder / "sudoku", "--run-dir", run, "--device", "cpu")
    for output in (path, exported):
        hrm("export", run, "--to", output.suffix[1:], "--output", output)
    check_file(path, exported)
    return check_packed(kind, Model(str(path)), tensors_of(exported), tokens)


def check_choices(run, folder, tokens):
    """Trained weights instead of averaged ones; weights in a file of their own; what is refused."""
    beside = folder / "beside.onnx"
    hrm("export", run, "--to", "onnx", "--output", beside, "--external-data")
    check_file(beside, folder / f"{run.name}.safetensors")
    found, wanted = (answers(Model(str(path)), tokens) for path in (beside, f"{run}.onnx"))
    expect(all(map(np.array_equal, found, wanted)), "--external-data: another answer")
    inside = len(beside.read_bytes()) / len(Path(f"{run}.onnx").read_bytes())
    expect(inside < 0.2, f"--external-data: {inside} of the bytes are in the graph")
    for output in (folder / "trained.onnx", folder / "trained.safetensors"):
        hrm("export", run, "--to", output.suffix[1:], "--output", output, "--weights", "trained")
    check_file(folder / "trained.onnx", folder / "trained.safetensors")
    args = [BINARY, "export", run, "--to", "onnx", "--dtype", "bf16"]
    done = subprocess.run(args, capture_output=True, text=True)
    expect(done.returncode != 0 and "f32" in done.stderr, f"bf16 was not refused: {done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BINARY = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hrm("data", "build-sudoku", "--size", SIDE, "--train", 60, "--test", BOARDS,
            "--output-dir", folder / "sudoku")
        hrm("data", "export", folder / "sudoku", "--output-dir", folder / "npy")
        for kind in RUNS:
            check(folder, kind)
