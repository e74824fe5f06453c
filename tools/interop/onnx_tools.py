#!/usr/bin/env python3
"""ONNX Runtime's own tools take what `hrm export --to onnx` writes.

    onnx_tools.py HRM       HRM: the binary to check

A small model of each kind is exported and goes through `symbolic_shape_infer`, `quant_pre_process`,
`quantize_dynamic` (8-bit weights) and the conversion to float16. Each result is a sound file that runs;
quantised and halved ones are smaller than a limit, and after all segments logits and answers stay within
the tolerances below. The TRM with an MLP over the sequence amplifies rounding beyond any: its weights are
not rounded here.
Works in a temporary folder and needs no data.
"""

import logging
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

import onnx_export as common
from onnx_export import Model, hrm

BOARDS, SIDE, WIDTH = 24, 4, 64


class Limits(NamedTuple):
    """RMS error of the logits by their deviation, least share of equal answers, most of the bytes."""

    error: float
    equal: float
    bytes: float = 2.0


# A recurrent model runs on from its own rounded states, and models of sixty steps have close calls.
SAME, HALF, EIGHT_BITS = Limits(1e-4, 1.0), Limits(0.01, 0.99, 0.72), Limits(0.15, 0.93, 0.65)
COMMON = [
    f"model.hidden_size={WIDTH}", "model.num_heads=2", "train.precision=f32", "train.batch_size=24",
    "train.max_steps=60", "train.eval_every=0", "train.warmup_steps=1",
]
RUNS = {kind: common.RUNS[kind] for kind in ("hrm", "trm", "trm_mlp", "hrm_seed", "transformer")}


def expect(holds, what):
    if not holds:
        sys.exit(f"onnx_tools.py: {what}")


def logits(path, tokens):
    """The logits (B, S, V) of all segments, which run on from each other's states in this file."""
    model = Model(str(path))
    feed = dict(tokens=tokens, puzzle_id=np.zeros(len(tokens), np.int64))
    feed["reset"] = np.ones(len(tokens), bool)
    if "z_h" in model.inputs:
        feed |= {name: np.zeros(model.state_shape(len(tokens)), np.float32) for name in ("z_h", "z_l")}
    for _ in range(int(model.about["halt_max_steps"])):
        out = model.run(**feed)
        feed["reset"] = np.zeros(len(tokens), bool)
        feed |= {name: out.get(f"{name}_next") for name in ("z_h", "z_l")}
    return out["logits"].astype(np.float32)


def shapes(source, target):
    model = SymbolicShapeInference.infer_shapes(onnx.load(source), auto_merge=False, verbose=0)
    onnx.save(model, target)
    known = {value.name for value in [*model.graph.value_info, *model.graph.output]}
    made = {name for node in model.graph.node for name in node.output}
    expect(made <= known, f"{source.name}: no shape for {sorted(made - known)[:3]}")


def preprocessed(source, target):
    quant_pre_process(source, target, auto_merge=False)


def eight_bits(source, target):
    # The loop of hrm_seed has its products in a graph within the graph.
    # Signed weights saturate on CPUs without VNNI.
    quantize_dynamic(source, target, weight_type=QuantType.QUInt8,
                     extra_options={"EnableSubgraph": True})
    left = products(onnx.load(target).graph, "MatMul")
    constant = products(onnx.load(source).graph, "MatMul")
    expect(constant and not left, f"{source.name}: {len(left)} of {len(constant)} products are in f32")


def products(graph, kind):
    """Names of products with a constant factor, those of inner graphs included."""
    stored, found = set(), []

    def visit(graph):
        stored.update(t.name for t in graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    visit(attribute.g)
            if node.op_type == kind and node.input[1] in stored:
                found.append(node.name)

    visit(graph)
    return found


def half(source, target):
    model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    model.topological_sort()  # the converter puts the casts of inputs last
    onnx.save(model.model, target)


TOOLS = [(shapes, SAME), (preprocessed, SAME), (eight_bits, EIGHT_BITS), (half, HALF)]


def check(folder, kind, tokens):
    run, path = folder / kind, folder / f"{kind}.onnx"
    hrm("train", *RUNS[kind], *COMMON, "--data", folder / "sudoku", "--run-dir", run,
        "--device", "cpu")
    hrm("export", run, "--to", "onnx", "--output", path)
    wanted, said = logits(path, tokens), []
    for tool, limits in TOOLS:
        if kind == "trm_mlp" and limits is not SAME:
            continue
        target, name = folder / "made.onnx", f"{kind}, {tool.__name__}"
        tool(path, target)
        onnx.checker.check_model(onnx.load(target))
        found = logits(target, tokens)
        error = np.sqrt(np.square(found - wanted).mean()) / wanted.std()
        equal = (found.argmax(-1) == wanted.argmax(-1)).mean()
        size = target.stat().st_size / path.stat().st_size
        expect(error <= limits.error, f"{name}: logits differ by {error:.2g} of their deviation")
        expect(equal >= limits.equal, f"{name}: {100 * equal:.1f} % of the answers are equal")
        expect(size <= limits.bytes, f"{name}: {size:.2f} of the bytes")
        said.append(f"{tool.__name__} {error:.1e}, {100 * equal:.1f} % equal, {size:.2f} of the bytes")
    print(f"onnx_tools.py: {kind}: {'; '.join(said)}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    common.BINARY = Path(sys.argv[1]).resolve()
    logging.disable(logging.WARNING)  # "consider to run pre-processing", which is checked by itself
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hrm("data", "build-sudoku", "--size", SIDE, "--train", 60, "--test", BOARDS,
            "--output-dir", folder / "sudoku")
        hrm("data", "export", folder / "sudoku", "--output-dir", folder / "npy")
        tokens = np.load(folder / "npy" / "test" / "all__inputs.npy").astype(np.int64)
        for kind in RUNS:
            check(folder, kind, tokens)
