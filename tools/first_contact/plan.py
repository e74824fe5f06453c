"""What is asked of a card, and the small version of it that the simulator answers in seconds."""

from dataclasses import dataclass

HOT_OPS = ("matmul", "attention", "rms_norm", "swiglu", "embedding", "cross_entropy", "adam", "global_norm")

# 9 x 9 boards and the official width: all of the kernels that a large model takes.
BOARDS = ("--size", "9", "--train", "200", "--test", "20", "--num-aug", "2")
WIDE = (
    "model.hidden_size=512", "model.num_heads=8", "model.h_layers=4", "model.l_layers=4",
    "model.puzzle_emb_ndim=512", "train.batch_size=32", "train.lr=3e-4", "train.warmup_steps=20",
    "train.precision=bf16", "train.log_every=1",
)

SMALL_BOARDS = ("--size", "4", "--train", "16", "--test", "4", "--num-aug", "1")
NARROW = (
    "model.hidden_size=16", "model.num_heads=2", "model.h_layers=1", "model.l_layers=1", "model.h_cycles=1",
    "model.l_cycles=1", "model.puzzle_emb_ndim=16", "model.halt_max_steps=2", "train.batch_size=4",
    "train.warmup_steps=2", "train.precision=bf16", "train.log_every=1",
)


@dataclass(frozen=True)
class Plan:
    # Tests by names that they contain: ops that a step spends its time in, the engine.
    hot: tuple
    engine: tuple
    # Whether the tests beside these run, too; else those named here.
    rest: tuple
    threads: int
    boards: tuple
    model: tuple
    steps: int
    checkpoint_every: int
    # The step after which the training is killed.
    killed_after: int
    # Of the op bench; none where its times mean nothing.
    workloads: tuple = ()
    more_workloads: tuple = ()
    # Whole steps beside PyTorch's; the first is also the shape of the first step.
    first_shape: str = ""
    shapes: tuple = ()
    # Kernel, op of the bench that launches it.
    profiled: tuple = ()


FULL = Plan(
    hot=tuple(f"{op}::" for op in HOT_OPS),
    engine=("engine::",),
    rest=(),
    threads=8,
    boards=BOARDS,
    model=WIDE,
    steps=200,
    checkpoint_every=50,
    killed_after=80,
    workloads=("arc_100", "sudoku_768"),
    more_workloads=("arc_packed", "trm_32", "seed_24"),
    first_shape="b8-s81-h512",
    shapes=("b100-s900-h512", "b768-s81-h512"),
    profiled=(("matmul_swiglu_bf16", "gated_mlp"), ("attention_fwd_hd64_bf16", "attention"),
              ("matmul_swiglu_bwd_bf16", "gated_mlp")),
)

SMALL = Plan(
    hot=("global_norm::", "swiglu::f32", "embedding::bf16"),
    engine=("engine::four_steps_follow_the_cpu_in_f32",),
    rest=("cast::",),
    threads=2,
    boards=SMALL_BOARDS,
    model=NARROW,
    steps=20,
    checkpoint_every=2,
    killed_after=3,
)
